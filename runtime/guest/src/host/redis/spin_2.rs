//! `fermyon:spin/redis@2.0.0`.

use wasmtime::component::Resource;

use super::{Connection, MAX_OPEN, RedisError, commands::Parameter};
use crate::host::{
    HostView,
    bindings::spin_2::fermyon::spin::redis::{Error, Host, HostConnection, RedisParameter, RedisResult},
};

type Answer<T> = wasmtime::Result<Result<T, Error>>;

translate_errors!(Error);
translate_values!(RedisParameter, RedisResult);

impl HostView<'_> {
    /// Whether a guest may open one more connection; counts it if so.
    pub(in crate::host) fn count_connection(&mut self) -> Result<(), RedisError> {
        if self.open.connections >= MAX_OPEN {
            return Err(RedisError::TooManyConnections);
        }
        self.open.connections += 1;
        Ok(())
    }

    /// Takes back what was counted.
    pub(in crate::host) fn uncount_connection(&mut self) {
        self.open.connections = self.open.connections.saturating_sub(1);
    }

    /// The connection of a handle.
    pub(in crate::host) fn connection(&self, connection: &Resource<Connection>) -> wasmtime::Result<Connection> {
        Ok(self.table.get(connection)?.clone())
    }

    /// Closes a guest's handle.
    pub(in crate::host) fn close_connection(&mut self, connection: Resource<Connection>) -> wasmtime::Result<()> {
        self.table.delete(connection)?;
        self.uncount_connection();
        Ok(())
    }
}

impl Host for HostView<'_> {}

impl HostConnection for HostView<'_> {
    async fn open(&mut self, address: String) -> Answer<Resource<Connection>> {
        if let Err(error) = self.count_connection() {
            return Ok(Err(error.into()));
        }
        match Connection::open(self.host, &address).await {
            Ok(connection) => Ok(Ok(self.table.push(connection)?)),
            Err(error) => {
                self.uncount_connection();
                Ok(Err(error.into()))
            }
        }
    }

    async fn publish(&mut self, connection: Resource<Connection>, channel: String, payload: Vec<u8>) -> Answer<()> {
        Ok(self.connection(&connection)?.publish(&channel, &payload).await.map_err(Error::from))
    }

    async fn get(&mut self, connection: Resource<Connection>, key: String) -> Answer<Option<Vec<u8>>> {
        Ok(self.connection(&connection)?.get(&key).await.map_err(Error::from))
    }

    async fn set(&mut self, connection: Resource<Connection>, key: String, value: Vec<u8>) -> Answer<()> {
        Ok(self.connection(&connection)?.set(&key, &value).await.map_err(Error::from))
    }

    async fn incr(&mut self, connection: Resource<Connection>, key: String) -> Answer<i64> {
        Ok(self.connection(&connection)?.incr(&key).await.map_err(Error::from))
    }

    async fn del(&mut self, connection: Resource<Connection>, keys: Vec<String>) -> Answer<u32> {
        Ok(self.connection(&connection)?.del(&keys).await.map_err(Error::from))
    }

    async fn sadd(&mut self, connection: Resource<Connection>, key: String, values: Vec<String>) -> Answer<u32> {
        Ok(self.connection(&connection)?.sadd(&key, &values).await.map_err(Error::from))
    }

    async fn smembers(&mut self, connection: Resource<Connection>, key: String) -> Answer<Vec<String>> {
        Ok(self.connection(&connection)?.smembers(&key).await.map_err(Error::from))
    }

    async fn srem(&mut self, connection: Resource<Connection>, key: String, values: Vec<String>) -> Answer<u32> {
        Ok(self.connection(&connection)?.srem(&key, &values).await.map_err(Error::from))
    }

    async fn execute(
        &mut self,
        connection: Resource<Connection>,
        command: String,
        arguments: Vec<RedisParameter>,
    ) -> Answer<Vec<RedisResult>> {
        let answer = self.connection(&connection)?.execute(&command, arguments.into_iter().map(Parameter::from).collect()).await;
        Ok(answer.map(|parts| parts.into_iter().map(RedisResult::from).collect()).map_err(Error::from))
    }

    async fn drop(&mut self, connection: Resource<Connection>) -> wasmtime::Result<()> {
        self.close_connection(connection)
    }
}
