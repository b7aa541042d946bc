//! `fermyon:spin/config`, as the first Spin SDKs called it.

use super::VariableError;
use crate::host::{
    HostView,
    bindings::spin_1::fermyon::spin::config::{Error, Host},
};

impl Host for HostView<'_> {
    async fn get_config(&mut self, key: String) -> wasmtime::Result<Result<String, Error>> {
        Ok(self.variable(&key).map_err(|error| match error {
            VariableError::InvalidName(_) | VariableError::Undefined(_) => Error::InvalidKey(error.to_string()),
            VariableError::Provider(text) => Error::Provider(text),
        }))
    }
}
