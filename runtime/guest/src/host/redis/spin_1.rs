//! `fermyon:spin/redis` without a version: each call names its server, and an error says nothing. What happened is logged.

use super::{Connection, RedisError, answer::Part, commands::Parameter};
use crate::host::{
    HostView,
    bindings::spin_1::fermyon::spin::{
        redis::Host,
        redis_types::{self, Error, RedisParameter, RedisResult},
    },
};

type Answer<T> = wasmtime::Result<Result<T, Error>>;

translate_values!(RedisParameter, RedisResult);

impl HostView<'_> {
    fn failed(&self, error: &RedisError) -> Error {
        tracing::warn!(target: "guest", component = %self.host.component, "an outbound Redis call failed: {error}");
        Error::Error
    }
}

impl redis_types::Host for HostView<'_> {}

/// Opens a connection, runs a command on it and puts it back.
macro_rules! on {
    ($view:ident, $address:ident, $connection:ident => $call:expr) => {
        match Connection::open($view.host, &$address).await {
            Ok($connection) => Ok($call.await.map_err(|error| $view.failed(&error))),
            Err(error) => Ok(Err($view.failed(&error))),
        }
    };
}

impl Host for HostView<'_> {
    async fn publish(&mut self, address: String, channel: String, payload: Vec<u8>) -> Answer<()> {
        on!(self, address, connection => connection.publish(&channel, &payload))
    }

    async fn get(&mut self, address: String, key: String) -> Answer<Vec<u8>> {
        let answer: Answer<Option<Vec<u8>>> = on!(self, address, connection => connection.get(&key));
        Ok(answer?.map(Option::unwrap_or_default))
    }

    async fn set(&mut self, address: String, key: String, value: Vec<u8>) -> Answer<()> {
        on!(self, address, connection => connection.set(&key, &value))
    }

    async fn incr(&mut self, address: String, key: String) -> Answer<i64> {
        on!(self, address, connection => connection.incr(&key))
    }

    async fn del(&mut self, address: String, keys: Vec<String>) -> Answer<i64> {
        let answer: Answer<u32> = on!(self, address, connection => connection.del(&keys));
        Ok(answer?.map(i64::from))
    }

    async fn sadd(&mut self, address: String, key: String, values: Vec<String>) -> Answer<i64> {
        let answer: Answer<u32> = on!(self, address, connection => connection.sadd(&key, &values));
        Ok(answer?.map(i64::from))
    }

    async fn smembers(&mut self, address: String, key: String) -> Answer<Vec<String>> {
        on!(self, address, connection => connection.smembers(&key))
    }

    async fn srem(&mut self, address: String, key: String, values: Vec<String>) -> Answer<i64> {
        let answer: Answer<u32> = on!(self, address, connection => connection.srem(&key, &values));
        Ok(answer?.map(i64::from))
    }

    async fn execute(&mut self, address: String, command: String, arguments: Vec<RedisParameter>) -> Answer<Vec<RedisResult>> {
        let arguments = arguments.into_iter().map(Parameter::from).collect();
        let answer: Answer<Vec<Part>> = on!(self, address, connection => connection.execute(&command, arguments));
        Ok(answer?.map(|parts| parts.into_iter().map(RedisResult::from).collect()))
    }
}
