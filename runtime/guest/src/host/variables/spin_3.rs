//! `spin:variables/variables@3.0.0`, whose function is asynchronous.

use wasmtime::component::Accessor;

use super::VariableError;
use crate::host::{
    HasHost, HostView,
    bindings::variables_3::spin::variables::variables::{Error, Host, HostWithStore},
};

impl Host for HostView<'_> {}

impl<T: Send + 'static> HostWithStore<T> for HasHost {
    async fn get(accessor: &Accessor<T, Self>, name: String) -> wasmtime::Result<Result<String, Error>> {
        Ok(accessor.with(|mut access| access.get().variable(&name)).map_err(|error| match error {
            VariableError::InvalidName(_) => Error::InvalidName(error.to_string()),
            VariableError::Undefined(_) => Error::Undefined(error.to_string()),
            VariableError::Provider(text) => Error::Provider(text),
        }))
    }
}
