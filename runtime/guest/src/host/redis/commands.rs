//! The operations of a guest's connection, which all versions of the interface share.

use std::sync::Arc;

use redis::{Cmd, FromRedisValue, Value, aio::MultiplexedConnection, cmd};
use spinredis_crds::address::RedisAddress;
use tokio::sync::Mutex;

use super::{
    RedisError,
    answer::{self, Part},
    pool::{Lease, Pool},
    server::{self, ServerError},
};
use crate::{connect::ConnectError, host::Host};

/// Commands after which a connection is not what it was: they are run, and the connection is closed afterwards.
const STATEFUL: [&str; 11] = ["AUTH", "CLIENT", "DISCARD", "EXEC", "HELLO", "MULTI", "QUIT", "READONLY", "RESET", "SELECT", "WATCH"];
/// Commands that turn a connection into one that Redis sends to unasked, or that have another number of answers than one; the
/// interface has no way to give those to a guest.
const REFUSED: [&str; 10] =
    ["MONITOR", "PSUBSCRIBE", "PSYNC", "PUNSUBSCRIBE", "REPLCONF", "SSUBSCRIBE", "SUBSCRIBE", "SUNSUBSCRIBE", "SYNC", "UNSUBSCRIBE"];

/// An argument of `execute`.
pub enum Parameter {
    /// An integer.
    Int64(i64),
    /// Bytes.
    Binary(Vec<u8>),
}

/// A connection that a guest holds.
#[derive(Clone)]
pub struct Connection(Arc<Inner>);

struct Inner {
    address: String,
    pool: Arc<Pool>,
    state: Mutex<State>,
}

struct State {
    /// Absent while a command runs, and for good when it was cancelled: nobody else may get its answer.
    lease: Option<Lease>,
    /// Whether it is no longer as it was when it was opened.
    changed: bool,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        if let Some(lease) = state.lease.take().filter(|_| !state.changed) {
            self.pool.give_back(&self.address, lease);
        }
    }
}

impl Connection {
    /// Opens a connection to an address that the component may connect to.
    pub async fn open(host: &Arc<Host>, text: &str) -> Result<Self, RedisError> {
        let wrong = |error: &dyn std::fmt::Display| {
            tracing::warn!(target: "guest", component = %host.component, "the guest opens a Redis connection to a wrong address: {error}");
            RedisError::InvalidAddress
        };
        let address = RedisAddress::parse(text).map_err(|error| wrong(&error))?;
        let scheme = if address.tls { "rediss" } else { "redis" };
        let settings = host.settings().map_err(|error| RedisError::Other(error.to_string()))?;
        settings.network.check(scheme, &address.host, address.port).map_err(|_| RedisError::InvalidAddress)?;
        let permit = host.connections.permit().ok_or(RedisError::TooManyConnections)?;
        let connection = match pooled(&host.connections, text).await {
            Some(connection) => connection,
            None => {
                let endpoint = host.endpoint(address).map_err(|error| RedisError::Other(error.to_string()))?;
                let network = settings.network.clone();
                server::open(&endpoint, move |host, port| async move { network.connect(scheme, host, port).await }).await.map_err(
                    |error| match error {
                        ServerError::Connect(ConnectError::Tcp { error, .. }) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                            RedisError::InvalidAddress
                        }
                        other => RedisError::Other(other.to_string()),
                    },
                )?
            }
        };
        let state = State { lease: Some(Lease::new(connection, permit)), changed: false };
        Ok(Self(Arc::new(Inner { address: text.to_owned(), pool: host.connections.clone(), state: Mutex::new(state) })))
    }

    /// Runs a command whose answer has a known type.
    async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        redis::from_redis_value(self.run(command, false).await?).map_err(|_| RedisError::TypeError)
    }

    /// Runs a command, one at a time.
    async fn run(&self, command: &Cmd, changes: bool) -> Result<Value, RedisError> {
        let mut state = self.0.state.lock().await;
        let mut lease = state.lease.take().ok_or_else(|| RedisError::Other("the connection is closed".to_owned()))?;
        state.changed |= changes;
        let answer = command.query_async::<Value>(&mut lease.connection).await;
        if !answer.as_ref().is_err_and(|error| error.is_io_error() || error.is_connection_dropped()) {
            state.lease = Some(lease);
        }
        Ok(answer?)
    }

    /// PUBLISH.
    pub async fn publish(&self, channel: &str, payload: &[u8]) -> Result<(), RedisError> {
        self.query::<i64>(cmd("PUBLISH").arg(channel).arg(payload)).await.map(drop)
    }

    /// GET.
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, RedisError> {
        self.query(cmd("GET").arg(key)).await
    }

    /// SET.
    pub async fn set(&self, key: &str, value: &[u8]) -> Result<(), RedisError> {
        self.query(cmd("SET").arg(key).arg(value)).await
    }

    /// INCR.
    pub async fn incr(&self, key: &str) -> Result<i64, RedisError> {
        self.query(cmd("INCR").arg(key)).await
    }

    /// DEL; of no keys there are none.
    pub async fn del(&self, keys: &[String]) -> Result<u32, RedisError> {
        if keys.is_empty() {
            return Ok(0);
        }
        self.query(cmd("DEL").arg(keys)).await
    }

    /// SADD.
    pub async fn sadd(&self, key: &str, values: &[String]) -> Result<u32, RedisError> {
        if values.is_empty() {
            return Ok(0);
        }
        self.query(cmd("SADD").arg(key).arg(values)).await
    }

    /// SMEMBERS.
    pub async fn smembers(&self, key: &str) -> Result<Vec<String>, RedisError> {
        self.query(cmd("SMEMBERS").arg(key)).await
    }

    /// SREM.
    pub async fn srem(&self, key: &str, values: &[String]) -> Result<u32, RedisError> {
        if values.is_empty() {
            return Ok(0);
        }
        self.query(cmd("SREM").arg(key).arg(values)).await
    }

    /// Any command but those of [`REFUSED`].
    pub async fn execute(&self, command: &str, arguments: Vec<Parameter>) -> Result<Vec<Part>, RedisError> {
        let name = command.to_uppercase();
        if REFUSED.contains(&name.as_str()) {
            return Err(RedisError::Other(format!(
                "{name} cannot be executed by a component: a message comes to it when the app lists the channel"
            )));
        }
        let mut command = cmd(command);
        for argument in arguments {
            match argument {
                Parameter::Int64(number) => command.arg(number),
                Parameter::Binary(bytes) => command.arg(bytes),
            };
        }
        Ok(answer::parts(self.run(&command, STATEFUL.contains(&name.as_str())).await?))
    }
}

/// An idle connection that still works.
async fn pooled(pool: &Pool, address: &str) -> Option<MultiplexedConnection> {
    let (mut connection, idle) = pool.take(address)?;
    // A server that closed it meanwhile is noticed here, where opening another is still possible.
    let works = idle < server::TRUSTED_FOR || cmd("PING").query_async::<Value>(&mut connection).await.is_ok();
    works.then_some(connection)
}
