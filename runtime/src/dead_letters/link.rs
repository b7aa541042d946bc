//! A connection to the Redis server of dead letters: shared by all who keep letters there, made when it is first needed and
//! made again when it is lost or the server has changed its mind about it. Every answer is waited for only so long, so that a
//! server that is silent costs a try and nothing else.

use std::{sync::Arc, time::Duration};

use redis::{Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult, Value, aio::MultiplexedConnection};
use spinredis_crds::Connection;
use tokio::{net::TcpStream, sync::Mutex, time::timeout};

use crate::{
    connect::{ConnectError, Endpoint},
    host::redis::server::{ServerError, open},
    references::References,
};

/// How long signing in and how long one answer may take. Writing a batch of large letters over a slow network takes some
/// seconds; nobody waits for it but the writer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Errors that say nothing against the connection: it is asked again with the next command. After any other the next command
/// finds a new connection, made with the credentials and to the address that hold by then.
const ABOUT_THE_KEY: [&str; 8] = ["NOSCRIPT", "WRONGTYPE", "OOM", "NOGROUP", "BUSYGROUP", "ERR", "MISCONF", "NOREPLICAS"];

/// Why a command has no answer.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Redis refuses the connection or the command.
    #[error("{0}")]
    Redis(#[from] RedisError),
    /// Redis refuses user or password.
    // What Redis itself says is lost in redis-rs.
    #[error("{server} refuses to sign in {user}: correct {origin}, or the user")]
    Auth {
        /// The server, without credentials.
        server: String,
        /// As whom.
        user: String,
        /// Where the password comes from.
        origin: String,
    },
    /// Redis is silent.
    #[error("{0} did not answer within 10 s")]
    Silent(String),
}

/// A Redis server of the manifest, with its credentials.
pub struct Link {
    connection: Connection,
    /// What errors call it, for example `trigger`.
    field: String,
    references: Arc<References>,
    /// Whether the database that the address names is left alone: channels know no databases.
    is_of_channels: bool,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    connection: Option<MultiplexedConnection>,
    /// How many connections were made, so that a late failure of an old one does not end the new one.
    number: u64,
}

impl Link {
    /// A server that nobody has connected to yet.
    pub fn new(connection: Connection, field: String, references: Arc<References>) -> Self {
        Self { connection, field, references, is_of_channels: false, current: Mutex::default() }
    }

    /// The same for what belongs to channels: in database 0, whichever the address names, so that two addresses of one server lead to the
    /// same and nobody needs the right to select another.
    pub fn of_channels(connection: Connection, field: String, references: Arc<References>) -> Self {
        Self { is_of_channels: true, ..Self::new(connection, field, references) }
    }

    /// The server without credentials, as far as its address can be had.
    pub fn server(&self) -> String {
        match Endpoint::address(&self.connection, &self.field, &self.references) {
            Ok((_, address)) => address.to_string(),
            Err(_) => self.field.clone(),
        }
    }

    /// Whether the next command finds a connection that has worked so far. While one is being made it does not.
    pub fn is_open(&self) -> bool {
        self.current.try_lock().is_ok_and(|current| current.connection.is_some())
    }

    /// Runs one command, once. When its connection breaks while it waits for the answer it may have been run or not.
    pub async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, LinkError> {
        self.run(async |connection| command.query_async(connection).await).await
    }

    /// Runs commands in one go, and gives the answer to each.
    pub async fn each(&self, commands: &mut Pipeline) -> Result<Vec<RedisResult<Value>>, LinkError> {
        let answers: Vec<RedisResult<Value>> = self.run(async |connection| commands.ignore_errors().query_async(connection).await).await?;
        if let Some(number) = answers.iter().find_map(|answer| answer.as_ref().err()).filter(|error| ends(error)) {
            tracing::debug!("the next command uses a new connection: {number}");
            self.current.lock().await.connection = None;
        }
        Ok(answers)
    }

    /// The next command makes a new connection.
    pub async fn forget(&self) {
        self.current.lock().await.connection = None;
    }

    async fn run<T>(&self, command: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>) -> Result<T, LinkError> {
        let (mut connection, number) = self.connection().await?;
        let result = match timeout(PATIENCE, command(&mut connection)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) if !ends(&error) => return Err(error.into()),
            Ok(Err(error)) => error.into(),
            Err(_) => LinkError::Silent(self.server()),
        };
        let mut current = self.current.lock().await;
        if current.number == number {
            current.connection = None;
        }
        Err(result)
    }

    async fn connection(&self) -> Result<(MultiplexedConnection, u64), LinkError> {
        let mut current = self.current.lock().await;
        if let Some(connection) = &current.connection {
            return Ok((connection.clone(), current.number));
        }
        let mut endpoint = Endpoint::resolve(&self.connection, &self.field, &self.references)?;
        if self.is_of_channels {
            endpoint.address.database = 0;
        }
        let opening = open(&endpoint, |host, port| TcpStream::connect((host, port)));
        let connection = match timeout(PATIENCE, opening).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(ServerError::Connect(error))) => return Err(error.into()),
            Ok(Err(ServerError::Redis(error))) if error.kind() == ErrorKind::AuthenticationFailed => {
                return Err(refused(&endpoint));
            }
            Ok(Err(ServerError::Redis(error))) => return Err(error.into()),
            Err(_) => return Err(LinkError::Silent(endpoint.address.to_string())),
        };
        current.number += 1;
        current.connection = Some(connection.clone());
        Ok((connection, current.number))
    }
}

fn refused(endpoint: &Endpoint) -> LinkError {
    LinkError::Auth {
        server: endpoint.address.to_string(),
        user: endpoint.username.as_ref().map_or_else(|| "the default user".to_owned(), |user| format!("user {user}")),
        origin: endpoint.password_origin.clone(),
    }
}

/// Whether an error ends the connection.
fn ends(error: &RedisError) -> bool {
    !error.code().is_some_and(|code| ABOUT_THE_KEY.contains(&code))
}
