//! A Redis server that the app is configured with: one connection that everybody shares, made when it is first needed and
//! made again when it is lost.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use redis::{Cmd, FromRedisValue, RedisConnectionInfo, Value, aio::MultiplexedConnection, cmd};
use spinredis_crds::Connection as Spec;
use tokio::{net::TcpStream, sync::Mutex};

use crate::{
    connect::{ConnectError, Endpoint},
    references::References,
};

/// A connection that was used this recently is not asked whether it still works.
pub const TRUSTED_FOR: Duration = Duration::from_secs(1);

/// Why a command had no answer.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Redis refused the connection or the command.
    #[error("{0}")]
    Redis(#[from] redis::RedisError),
}

/// A server of the manifest, with its credentials.
pub struct Server {
    spec: Spec,
    /// What errors call it, for example `trigger` or `keyValueStores[cache].connection`.
    field: String,
    references: Arc<References>,
    current: Mutex<Option<Shared>>,
}

/// The connection that everybody shares.
struct Shared {
    connection: MultiplexedConnection,
    used: Instant,
}

impl Server {
    /// A server that nobody has connected to yet.
    pub fn new(spec: Spec, field: String, references: Arc<References>) -> Self {
        Self { spec, field, references, current: Mutex::new(None) }
    }

    /// Runs a command, once. When its connection breaks while it waits for the answer it may have been run or not, and fails.
    pub async fn query_once<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, ServerError> {
        let mut connection = self.connection().await?;
        let answer = command.query_async(&mut connection).await;
        if answer.as_ref().is_err_and(is_broken) {
            *self.current.lock().await = None;
        }
        Ok(answer?)
    }

    /// Runs a command that may as well be run twice: once more on another connection when its first one breaks.
    pub async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, ServerError> {
        match self.query_once(command).await {
            Err(ServerError::Redis(error)) if is_broken(&error) => self.query_once(command).await,
            other => other,
        }
    }

    async fn connection(&self) -> Result<MultiplexedConnection, ServerError> {
        let mut current = self.current.lock().await;
        if let Some(shared) = &mut *current {
            // Redis closes idle connections (`timeout` in redis.conf); asked here, nothing is lost by it.
            let works = shared.used.elapsed() < TRUSTED_FOR || cmd("PING").query_async::<Value>(&mut shared.connection).await.is_ok();
            if works {
                shared.used = Instant::now();
                return Ok(shared.connection.clone());
            }
        }
        let endpoint = Endpoint::resolve(&self.spec, &self.field, &self.references)?;
        let connection = open(&endpoint, |host, port| TcpStream::connect((host, port))).await?;
        *current = Some(Shared { connection: connection.clone(), used: Instant::now() });
        Ok(connection)
    }
}

fn is_broken(error: &redis::RedisError) -> bool {
    error.is_io_error() || error.is_connection_dropped()
}

/// Opens a connection and signs in. `tcp` makes the TCP connection, so that it can say which addresses are allowed.
pub async fn open<'a, F>(endpoint: &'a Endpoint, tcp: impl FnOnce(&'a str, u16) -> F) -> Result<MultiplexedConnection, ServerError>
where
    F: Future<Output = io::Result<TcpStream>> + 'a,
{
    let address = &endpoint.address;
    let stream = endpoint.connect_with(tcp(&address.host, address.port)).await?;
    let mut info = RedisConnectionInfo::default().set_db(i64::from(address.database)).set_skip_set_lib_name();
    if let Some(username) = &endpoint.username {
        info = info.set_username(username);
    }
    // Without a password the client would not sign in at all, and be the default user; a user without one (ACL `nopass`) takes any.
    if let Some(password) = endpoint.password.as_deref().or(endpoint.username.as_ref().map(|_| "")) {
        info = info.set_password(password);
    }
    // The deadline of the attempt is the only time limit: a guest may wait in BLPOP as long as that allows.
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    let (connection, driver) = MultiplexedConnection::new_with_config(&info, stream, config).await?;
    tokio::spawn(driver);
    Ok(connection)
}
