//! `fermyon:spin/key-value` without a version: stores are numbers there, not resources.

use std::{collections::BTreeMap, sync::Arc};

use super::{MAX_OPEN, Store};
use crate::host::{
    HostView,
    bindings::spin_1::fermyon::spin::key_value::{Error, Host},
};

type Answer<T> = wasmtime::Result<Result<T, Error>>;

translate_errors!(Error, Io);

/// The open stores of a call, by the numbers that its guest knows them by.
#[derive(Default)]
pub struct Handles {
    last: u32,
    stores: BTreeMap<u32, Arc<Store>>,
}

impl HostView<'_> {
    fn handle(&self, handle: u32) -> Result<Arc<Store>, Error> {
        self.open.handles.stores.get(&handle).cloned().ok_or(Error::InvalidStore)
    }
}

/// Runs a command on the store of a handle.
macro_rules! on {
    ($view:ident, $handle:ident, $store:ident => $call:expr) => {
        match $view.handle($handle) {
            Ok($store) => Ok($call.await.map_err(Error::from)),
            Err(error) => Ok(Err(error)),
        }
    };
}

impl Host for HostView<'_> {
    async fn open(&mut self, name: String) -> Answer<u32> {
        if self.open.handles.stores.len() >= MAX_OPEN {
            return Ok(Err(Error::StoreTableFull));
        }
        Ok(self.host.stores.open(&self.host.component, &name).map_err(Error::from).map(|store| {
            let handles = &mut self.open.handles;
            handles.last = handles.last.wrapping_add(1);
            handles.stores.insert(handles.last, store);
            handles.last
        }))
    }

    async fn get(&mut self, handle: u32, key: String) -> Answer<Vec<u8>> {
        let found: Answer<Option<Vec<u8>>> = on!(self, handle, store => store.get(&key));
        Ok(found?.and_then(|value| value.ok_or(Error::NoSuchKey)))
    }

    async fn set(&mut self, handle: u32, key: String, value: Vec<u8>) -> Answer<()> {
        on!(self, handle, store => store.set(&key, &value))
    }

    async fn delete(&mut self, handle: u32, key: String) -> Answer<()> {
        on!(self, handle, store => store.delete(&key))
    }

    async fn exists(&mut self, handle: u32, key: String) -> Answer<bool> {
        on!(self, handle, store => store.exists(&key))
    }

    async fn get_keys(&mut self, handle: u32) -> Answer<Vec<String>> {
        on!(self, handle, store => store.keys())
    }

    async fn close(&mut self, handle: u32) -> wasmtime::Result<()> {
        self.open.handles.stores.remove(&handle);
        Ok(())
    }
}
