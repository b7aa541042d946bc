//! `wasi:config/store` of September 2024, and the names that the same two functions had before and after.

use wasmtime::component::Linker;

use super::VariableError;
use crate::host::{
    GuestState, HostView,
    bindings::wasi_config::wasi::config::store::{Error, Host},
};

/// Other names of the interface.
const OTHER_NAMES: [&str; 2] = ["wasi:config/store@0.2.0-rc.1", "wasi:config/runtime@0.2.0-draft"];

impl Host for HostView<'_> {
    async fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<String>, Error>> {
        Ok(match self.variable(&key) {
            Ok(value) => Ok(Some(value)),
            Err(VariableError::InvalidName(_) | VariableError::Undefined(_)) => Ok(None),
            Err(VariableError::Provider(text)) => Err(Error::Upstream(text)),
        })
    }

    async fn get_all(&mut self) -> wasmtime::Result<Result<Vec<(String, String)>, Error>> {
        let settings = self.host.settings().map_err(|error| Error::Upstream(error.to_string()));
        Ok(settings.map(|settings| settings.variables.iter().map(|(name, value)| (name.clone(), value.clone())).collect()))
    }
}

/// Defines the interface under its other names.
pub fn add_drafts_to_linker<T: GuestState>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    for name in OTHER_NAMES {
        let mut interface = linker.instance(name)?;
        interface.func_wrap_async("get", |mut store, (key,): (String,)| {
            Box::new(async move { Ok((Host::get(&mut store.data_mut().host(), key).await?,)) })
        })?;
        interface.func_wrap_async("get-all", |mut store, (): ()| {
            Box::new(async move { Ok((Host::get_all(&mut store.data_mut().host()).await?,)) })
        })?;
    }
    Ok(())
}
