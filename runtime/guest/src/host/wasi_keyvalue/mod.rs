//! `wasi:keyvalue@0.2.0-draft2`: the same stores as Spin's key-value interface, called buckets.

use std::sync::Arc;

use wasmtime::component::Resource;

use super::{
    HostView,
    bindings::wasi_keyvalue::wasi::keyvalue::{
        atomics::{self, CasError},
        batch,
        store::{self, Error, KeyResponse},
    },
    key_value::{Opened, Store, StoreError},
};

type Answer<T> = wasmtime::Result<Result<T, Error>>;

/// The value that a key had when a guest looked.
pub struct Remembered {
    store: Arc<Store>,
    key: String,
    value: Option<Vec<u8>>,
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NoSuchStore => Error::NoSuchStore,
            StoreError::AccessDenied => Error::AccessDenied,
            StoreError::TableFull | StoreError::Other(_) => Error::Other(error.to_string()),
        }
    }
}

impl store::Host for HostView<'_> {
    async fn open(&mut self, identifier: String) -> Answer<Resource<Opened>> {
        Ok(self.open_store(&identifier)?.map_err(Error::from))
    }
}

impl store::HostBucket for HostView<'_> {
    async fn get(&mut self, bucket: Resource<Opened>, key: String) -> Answer<Option<Vec<u8>>> {
        let store = self.store(&bucket)?;
        Ok(store.get(&key).await.map_err(Error::from))
    }

    async fn set(&mut self, bucket: Resource<Opened>, key: String, value: Vec<u8>) -> Answer<()> {
        let store = self.store(&bucket)?;
        Ok(store.set(&key, &value).await.map_err(Error::from))
    }

    async fn delete(&mut self, bucket: Resource<Opened>, key: String) -> Answer<()> {
        let store = self.store(&bucket)?;
        Ok(store.delete(&key).await.map_err(Error::from))
    }

    async fn exists(&mut self, bucket: Resource<Opened>, key: String) -> Answer<bool> {
        let store = self.store(&bucket)?;
        Ok(store.exists(&key).await.map_err(Error::from))
    }

    async fn list_keys(&mut self, bucket: Resource<Opened>, cursor: Option<String>) -> Answer<KeyResponse> {
        let store = self.store(&bucket)?;
        let Ok(cursor) = cursor.as_deref().unwrap_or("0").parse() else {
            return Ok(Err(Error::Other("the cursor is not one that an earlier page gave".to_owned())));
        };
        let page = store.page(cursor).await.map_err(Error::from);
        Ok(page.map(|page| KeyResponse { keys: page.keys, cursor: page.cursor.map(|cursor| cursor.to_string()) }))
    }

    async fn drop(&mut self, bucket: Resource<Opened>) -> wasmtime::Result<()> {
        self.close_store(bucket)
    }
}

impl atomics::Host for HostView<'_> {
    async fn increment(&mut self, bucket: Resource<Opened>, key: String, delta: i64) -> Answer<i64> {
        let store = self.store(&bucket)?;
        Ok(store.increment(&key, delta).await.map_err(Error::from))
    }

    async fn swap(&mut self, cas: Resource<Remembered>, value: Vec<u8>) -> wasmtime::Result<Result<(), CasError>> {
        let Remembered { store, key, value: expected } = self.table.delete(cas)?;
        let failed = |error: StoreError| Ok(Err(CasError::StoreError(error.into())));
        match store.compare_and_set(&key, expected.as_deref(), &value).await {
            Ok(true) => Ok(Ok(())),
            Ok(false) => match store.get(&key).await {
                Ok(value) => Ok(Err(CasError::CasFailed(self.table.push(Remembered { store, key, value })?))),
                Err(error) => failed(error),
            },
            Err(error) => failed(error),
        }
    }
}

impl atomics::HostCas for HostView<'_> {
    async fn new(&mut self, bucket: Resource<Opened>, key: String) -> Answer<Resource<Remembered>> {
        let store = self.store(&bucket)?;
        match store.get(&key).await {
            Ok(value) => Ok(Ok(self.table.push(Remembered { store, key, value })?)),
            Err(error) => Ok(Err(error.into())),
        }
    }

    async fn current(&mut self, cas: Resource<Remembered>) -> Answer<Option<Vec<u8>>> {
        Ok(Ok(self.table.get(&cas)?.value.clone()))
    }

    async fn drop(&mut self, cas: Resource<Remembered>) -> wasmtime::Result<()> {
        self.table.delete(cas)?;
        Ok(())
    }
}

impl batch::Host for HostView<'_> {
    async fn get_many(&mut self, bucket: Resource<Opened>, keys: Vec<String>) -> Answer<Vec<(String, Option<Vec<u8>>)>> {
        let store = self.store(&bucket)?;
        Ok(store.get_many(&keys).await.map(|values| keys.into_iter().zip(values).collect()).map_err(Error::from))
    }

    async fn set_many(&mut self, bucket: Resource<Opened>, pairs: Vec<(String, Vec<u8>)>) -> Answer<()> {
        let store = self.store(&bucket)?;
        Ok(store.set_many(&pairs).await.map_err(Error::from))
    }

    async fn delete_many(&mut self, bucket: Resource<Opened>, keys: Vec<String>) -> Answer<()> {
        let store = self.store(&bucket)?;
        Ok(store.delete_many(&keys).await.map_err(Error::from))
    }
}
