//! `fermyon:spin/key-value@2.0.0`.

use wasmtime::component::Resource;

use super::{MAX_OPEN, Opened, StoreError};
use crate::host::{
    HostView,
    bindings::spin_2::fermyon::spin::key_value::{Error, Host, HostStore},
};

type Answer<T> = wasmtime::Result<Result<T, Error>>;

translate_errors!(Error, Other);

impl Host for HostView<'_> {}

impl HostStore for HostView<'_> {
    async fn open(&mut self, label: String) -> Answer<Resource<Opened>> {
        self.open_store(&label)?.map_or_else(|error| Ok(Err(error.into())), |store| Ok(Ok(store)))
    }

    async fn get(&mut self, store: Resource<Opened>, key: String) -> Answer<Option<Vec<u8>>> {
        let store = self.store(&store)?;
        Ok(store.get(&key).await.map_err(Error::from))
    }

    async fn set(&mut self, store: Resource<Opened>, key: String, value: Vec<u8>) -> Answer<()> {
        let store = self.store(&store)?;
        Ok(store.set(&key, &value).await.map_err(Error::from))
    }

    async fn delete(&mut self, store: Resource<Opened>, key: String) -> Answer<()> {
        let store = self.store(&store)?;
        Ok(store.delete(&key).await.map_err(Error::from))
    }

    async fn exists(&mut self, store: Resource<Opened>, key: String) -> Answer<bool> {
        let store = self.store(&store)?;
        Ok(store.exists(&key).await.map_err(Error::from))
    }

    async fn get_keys(&mut self, store: Resource<Opened>) -> Answer<Vec<String>> {
        let store = self.store(&store)?;
        Ok(store.keys().await.map_err(Error::from))
    }

    async fn drop(&mut self, store: Resource<Opened>) -> wasmtime::Result<()> {
        self.close_store(store)
    }
}

impl HostView<'_> {
    /// Opens a store for a guest.
    pub(in crate::host) fn open_store(&mut self, name: &str) -> wasmtime::Result<Result<Resource<Opened>, StoreError>> {
        if self.open.stores >= MAX_OPEN {
            return Ok(Err(StoreError::TableFull));
        }
        match self.host.stores.open(&self.host.component, name) {
            Ok(store) => {
                let opened = self.table.push(Opened(store))?;
                self.open.stores += 1;
                Ok(Ok(opened))
            }
            Err(error) => Ok(Err(error)),
        }
    }

    /// The store of a handle.
    pub(in crate::host) fn store(&self, store: &Resource<Opened>) -> wasmtime::Result<std::sync::Arc<super::Store>> {
        Ok(self.table.get(store)?.0.clone())
    }

    /// Closes a guest's handle.
    pub(in crate::host) fn close_store(&mut self, store: Resource<Opened>) -> wasmtime::Result<()> {
        self.table.delete(store)?;
        self.open.stores = self.open.stores.saturating_sub(1);
        Ok(())
    }
}
