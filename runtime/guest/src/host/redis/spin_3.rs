//! `spin:redis/redis@3.0.0`, whose functions are asynchronous.

use wasmtime::component::{Accessor, Resource};

use super::{Connection, commands::Parameter};
use crate::host::{
    HasHost, HostView,
    bindings::redis_3::spin::redis::redis::{Error, Host, HostConnection, HostConnectionWithStore, RedisParameter, RedisResult},
};

type Answer<T> = wasmtime::Result<Result<T, Error>>;

translate_errors!(Error);
translate_values!(RedisParameter, RedisResult);

impl Host for HostView<'_> {}

impl HostConnection for HostView<'_> {
    fn drop(&mut self, connection: Resource<Connection>) -> wasmtime::Result<()> {
        self.close_connection(connection)
    }
}

fn of<T: 'static>(accessor: &Accessor<T, HasHost>, connection: &Resource<Connection>) -> wasmtime::Result<Connection> {
    accessor.with(|mut access| access.get().connection(connection))
}

impl<T: Send + 'static> HostConnectionWithStore<T> for HasHost {
    async fn open(accessor: &Accessor<T, Self>, address: String) -> Answer<Resource<Connection>> {
        let counted = accessor.with(|mut access| {
            let mut view = access.get();
            view.count_connection().map(|()| view.host.clone())
        });
        let host = match counted {
            Ok(host) => host,
            Err(error) => return Ok(Err(error.into())),
        };
        match Connection::open(&host, &address).await {
            Ok(connection) => Ok(Ok(accessor.with(|mut access| access.get().table.push(connection))?)),
            Err(error) => {
                accessor.with(|mut access| access.get().uncount_connection());
                Ok(Err(error.into()))
            }
        }
    }

    async fn publish(accessor: &Accessor<T, Self>, connection: Resource<Connection>, channel: String, payload: Vec<u8>) -> Answer<()> {
        Ok(of(accessor, &connection)?.publish(&channel, &payload).await.map_err(Error::from))
    }

    async fn get(accessor: &Accessor<T, Self>, connection: Resource<Connection>, key: String) -> Answer<Option<Vec<u8>>> {
        Ok(of(accessor, &connection)?.get(&key).await.map_err(Error::from))
    }

    async fn set(accessor: &Accessor<T, Self>, connection: Resource<Connection>, key: String, value: Vec<u8>) -> Answer<()> {
        Ok(of(accessor, &connection)?.set(&key, &value).await.map_err(Error::from))
    }

    async fn incr(accessor: &Accessor<T, Self>, connection: Resource<Connection>, key: String) -> Answer<i64> {
        Ok(of(accessor, &connection)?.incr(&key).await.map_err(Error::from))
    }

    async fn del(accessor: &Accessor<T, Self>, connection: Resource<Connection>, keys: Vec<String>) -> Answer<u32> {
        Ok(of(accessor, &connection)?.del(&keys).await.map_err(Error::from))
    }

    async fn sadd(accessor: &Accessor<T, Self>, connection: Resource<Connection>, key: String, values: Vec<String>) -> Answer<u32> {
        Ok(of(accessor, &connection)?.sadd(&key, &values).await.map_err(Error::from))
    }

    async fn smembers(accessor: &Accessor<T, Self>, connection: Resource<Connection>, key: String) -> Answer<Vec<String>> {
        Ok(of(accessor, &connection)?.smembers(&key).await.map_err(Error::from))
    }

    async fn srem(accessor: &Accessor<T, Self>, connection: Resource<Connection>, key: String, values: Vec<String>) -> Answer<u32> {
        Ok(of(accessor, &connection)?.srem(&key, &values).await.map_err(Error::from))
    }

    async fn execute(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connection>,
        command: String,
        arguments: Vec<RedisParameter>,
    ) -> Answer<Vec<RedisResult>> {
        let answer = of(accessor, &connection)?.execute(&command, arguments.into_iter().map(Parameter::from).collect()).await;
        Ok(answer.map(|parts| parts.into_iter().map(RedisResult::from).collect()).map_err(Error::from))
    }
}
