//! A real redis-server on a port of its own, without persistence.
//!
//! Tests speak to it through a Unix socket, so that they reach it whatever its TCP port wants: a password or TLS.

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command};

use ::redis::{Client, Connection, FromRedisValue};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    ports,
    process::Process,
    tls::{Authority, Identity},
    wait::eventually,
};

/// The fields of a stream's entry.
pub type Fields = BTreeMap<String, Vec<u8>>;

/// A Redis server and its folder.
pub struct Redis {
    folder: TempDir,
    port: u16,
    tls: bool,
    password: Option<String>,
    sentinel: bool,
    process: Option<Process>,
}

/// How a server should be. Made by [`Redis::builder`].
pub struct Builder {
    folder: TempDir,
    port: u16,
    tls: bool,
    password: Option<String>,
    lines: Vec<String>,
    sentinel: bool,
}

impl Builder {
    /// Not a Redis but a Sentinel, which watches the Redis on this port.
    pub fn sentinel_of(mut self, port: u16) -> Self {
        self.sentinel = true;
        self.line(&format!("sentinel monitor watched 127.0.0.1 {port} 1"))
    }

    /// The password of the default user.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self.line(&format!("requirepass {password}"))
    }

    /// A line of redis.conf, such as `user anna on >secret ~* &orders +@all`.
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    /// A port that [`ports::free`] gave.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// TLS only, as this server. With `clients`, only clients that this authority vouches for get in.
    pub fn tls(mut self, server: &Identity, clients: Option<&Authority>) -> Self {
        self.tls = true;
        let file = |name: &str, text: &str| {
            let path = self.folder.path().join(name);
            fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let certificate = file("server.crt", &server.certificate);
        let key = file("server.key", &server.key);
        let lines = match clients {
            Some(authority) => format!("tls-auth-clients yes\ntls-ca-cert-file {}", file("clients.crt", &authority.certificate())),
            // Redis wants an authority even where it asks no client for a certificate.
            None => format!("tls-auth-clients no\ntls-ca-cert-file {certificate}"),
        };
        self.line(&format!("tls-cert-file {certificate}\ntls-key-file {key}\n{lines}"))
    }

    /// Starts the server and waits until it answers.
    pub fn start(self) -> Redis {
        let ports = if self.tls { format!("port 0\ntls-port {}", self.port) } else { format!("port {}", self.port) };
        // A Sentinel keeps nothing and does not know the setting.
        let save = if self.sentinel { "" } else { "save \"\"\n" };
        let config = format!("bind 127.0.0.1\n{ports}\nunixsocket redis.sock\n{save}{}\n", self.lines.join("\n"));
        fs::write(self.folder.path().join("redis.conf"), config).unwrap();
        let mut redis =
            Redis { folder: self.folder, port: self.port, tls: self.tls, password: self.password, sentinel: self.sentinel, process: None };
        redis.start_again();
        redis
    }
}

impl Redis {
    /// A server that wants no password.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// A server with options.
    pub fn builder() -> Builder {
        Builder {
            folder: tempfile::tempdir().unwrap(),
            port: ports::free(),
            tls: false,
            password: None,
            lines: Vec::new(),
            sentinel: false,
        }
    }

    /// Starts the server again, on the same port, after [`kill`](Self::kill) or [`stop`](Self::stop).
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "this Redis runs already");
        let _ = fs::remove_file(self.socket());
        let mut command = Command::new("redis-server");
        command.arg("redis.conf").args(self.sentinel.then_some("--sentinel")).current_dir(self.folder.path());
        let mut process = Process::start(&mut command);
        eventually("redis-server answers", || {
            if let Some(code) = process.ended() {
                panic!("redis-server ended with code {code}; it printed:\n{}", process.text());
            }
            let mut connection = self.try_connect().map_err(|error| format!("{error}; it printed:\n{}", process.text()))?;
            ::redis::cmd("PING").query::<String>(&mut connection).map_err(|error| error.to_string())
        });
        self.process = Some(process);
    }

    /// Ends the server as a crash would.
    pub fn kill(&mut self) {
        self.process.take().expect("this Redis runs").kill();
    }

    /// Ends the server in an orderly way.
    pub fn stop(&mut self) {
        let mut process = self.process.take().expect("this Redis runs");
        process.signal("TERM");
        process.wait();
    }

    /// Takes its processor time away, so that its connections stay open and are dead: SIGSTOP.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Ends [`pause`](Self::pause).
    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        self.process.as_ref().expect("this Redis runs").signal(name);
    }

    /// Another certificate for a server with TLS, from its next start on.
    pub fn set_identity(&self, server: &Identity) {
        for (name, text) in [("server.crt", &server.certificate), ("server.key", &server.key)] {
            fs::write(self.folder.path().join(name), text).unwrap();
        }
    }

    /// TCP port, with TLS if the server has it.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `redis://127.0.0.1:PORT`, or `rediss://` with TLS.
    pub fn address(&self) -> String {
        let scheme = if self.tls { "rediss" } else { "redis" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// `spec.trigger` of an app that needs nothing but the address.
    pub fn trigger(&self) -> Value {
        json!({"address": self.address()})
    }

    /// Publishes a message and gives the number of subscribers that got it.
    pub fn publish(&self, channel: &str, payload: impl AsRef<[u8]>) -> u64 {
        let mut connection = self.connect();
        ::redis::cmd("PUBLISH").arg(channel).arg(payload.as_ref()).query(&mut connection).unwrap()
    }

    /// Publishes many messages on one channel in one go. Gives how many deliveries that were.
    pub fn publish_all(&self, channel: &str, payloads: impl IntoIterator<Item = String>) -> u64 {
        self.publish_each(payloads.into_iter().map(|payload| (channel, payload)))
    }

    /// Publishes many messages, each with its channel, in one go. Gives how many deliveries that were.
    pub fn publish_each<'a>(&self, messages: impl IntoIterator<Item = (&'a str, String)>) -> u64 {
        let mut pipeline = ::redis::pipe();
        for (channel, payload) in messages {
            pipeline.cmd("PUBLISH").arg(channel).arg(payload);
        }
        pipeline.query::<Vec<u64>>(&mut self.connect()).unwrap().into_iter().sum()
    }

    /// Any command: `["CLIENT", "LIST"]`.
    pub fn command<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = ::redis::Cmd::new();
        for word in words {
            command.arg(word);
        }
        command.query(&mut self.connect()).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// All entries of a stream, the oldest first; none where there is no stream.
    pub fn stream(&self, key: &str) -> Vec<Fields> {
        self.command::<Vec<(String, Fields)>>(&["XRANGE", key, "-", "+"]).into_iter().map(|(_, fields)| fields).collect()
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    /// A connection of the test's own.
    pub fn connect(&self) -> Connection {
        self.try_connect().unwrap_or_else(|error| panic!("Redis on port {} does not answer: {error}", self.port))
    }

    fn try_connect(&self) -> ::redis::RedisResult<Connection> {
        let password = self.password.as_deref().map(|password| format!("?pass={password}")).unwrap_or_default();
        Client::open(format!("redis+unix://{}{password}", self.socket().display()))?.get_connection()
    }
}
