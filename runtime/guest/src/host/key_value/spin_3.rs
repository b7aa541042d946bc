//! `spin:key-value/key-value@3.0.0`, whose functions are asynchronous and whose listing is a stream.

use wasmtime::component::{Accessor, FutureReader, Resource, StreamReader};

use super::Opened;
use crate::host::{
    HasHost, HostView,
    bindings::key_value_3::spin::key_value::key_value::{Error, Host, HostStore, HostStoreWithStore},
};

type Answer<T> = wasmtime::Result<Result<T, Error>>;

translate_errors!(Error, Other);

impl Host for HostView<'_> {}

impl HostStore for HostView<'_> {
    fn drop(&mut self, store: Resource<Opened>) -> wasmtime::Result<()> {
        self.close_store(store)
    }
}

fn of<T: 'static>(accessor: &Accessor<T, HasHost>, store: &Resource<Opened>) -> wasmtime::Result<std::sync::Arc<super::Store>> {
    accessor.with(|mut access| access.get().store(store))
}

impl<T: Send + 'static> HostStoreWithStore<T> for HasHost {
    async fn open(accessor: &Accessor<T, Self>, label: String) -> Answer<Resource<Opened>> {
        Ok(accessor.with(|mut access| access.get().open_store(&label))?.map_err(Error::from))
    }

    async fn get(accessor: &Accessor<T, Self>, store: Resource<Opened>, key: String) -> Answer<Option<Vec<u8>>> {
        let store = of(accessor, &store)?;
        Ok(store.get(&key).await.map_err(Error::from))
    }

    async fn set(accessor: &Accessor<T, Self>, store: Resource<Opened>, key: String, value: Vec<u8>) -> Answer<()> {
        let store = of(accessor, &store)?;
        Ok(store.set(&key, &value).await.map_err(Error::from))
    }

    async fn delete(accessor: &Accessor<T, Self>, store: Resource<Opened>, key: String) -> Answer<()> {
        let store = of(accessor, &store)?;
        Ok(store.delete(&key).await.map_err(Error::from))
    }

    async fn exists(accessor: &Accessor<T, Self>, store: Resource<Opened>, key: String) -> Answer<bool> {
        let store = of(accessor, &store)?;
        Ok(store.exists(&key).await.map_err(Error::from))
    }

    async fn get_keys(
        accessor: &Accessor<T, Self>,
        store: Resource<Opened>,
    ) -> wasmtime::Result<(StreamReader<String>, FutureReader<Result<(), Error>>)> {
        let store = of(accessor, &store)?;
        let (keys, end) = match store.keys().await {
            Ok(keys) => (keys, Ok(())),
            Err(error) => (Vec::new(), Err(Error::from(error))),
        };
        accessor.with(|mut access| {
            let stream = StreamReader::new(&mut access, keys)?;
            let end = FutureReader::new(&mut access, async move { wasmtime::error::Ok(end) })?;
            Ok((stream, end))
        })
    }
}
