//! `fermyon:spin/variables@2.0.0`.

use super::VariableError;
use crate::host::{
    HostView,
    bindings::spin_2::fermyon::spin::variables::{Error, Host},
};

impl Host for HostView<'_> {
    async fn get(&mut self, name: String) -> wasmtime::Result<Result<String, Error>> {
        Ok(self.variable(&name).map_err(|error| match error {
            VariableError::InvalidName(_) => Error::InvalidName(error.to_string()),
            VariableError::Undefined(_) => Error::Undefined(error.to_string()),
            VariableError::Provider(text) => Error::Provider(text),
        }))
    }
}
