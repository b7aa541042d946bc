//! A real redis-server on a port of its own, without persistence.
//!
//! Tests speak to it through a Unix socket, so that they reach it whatever its TCP port wants: a password or TLS.

use std::{fs, path::PathBuf, process::Command};

use ::redis::{Client, Connection, FromRedisValue};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    ports,
    process::Process,
    tls::{Authority, Identity},
    wait::eventually,
};

/// A Redis server and its folder.
pub struct Redis {
    folder: TempDir,
    port: u16,
    tls: bool,
    password: Option<String>,
    process: Option<Process>,
}

/// How a server should be. Made by [`Redis::builder`].
pub struct Builder {
    folder: TempDir,
    port: u16,
    tls: bool,
    password: Option<String>,
    lines: Vec<String>,
}

impl Builder {
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
        let config = format!("bind 127.0.0.1\n{ports}\nunixsocket redis.sock\nsave \"\"\n{}\n", self.lines.join("\n"));
        fs::write(self.folder.path().join("redis.conf"), config).unwrap();
        let mut redis = Redis { folder: self.folder, port: self.port, tls: self.tls, password: self.password, process: None };
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
        Builder { folder: tempfile::tempdir().unwrap(), port: ports::free(), tls: false, password: None, lines: Vec::new() }
    }

    /// Starts the server again, on the same port, after [`kill`](Self::kill) or [`stop`](Self::stop).
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "this Redis runs already");
        let _ = fs::remove_file(self.socket());
        let mut process = Process::start(Command::new("redis-server").arg("redis.conf").current_dir(self.folder.path()));
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

    /// Publishes many messages in one go.
    pub fn publish_all(&self, channel: &str, payloads: impl IntoIterator<Item = String>) {
        let mut pipeline = ::redis::pipe();
        for payload in payloads {
            pipeline.cmd("PUBLISH").arg(channel).arg(payload).ignore();
        }
        pipeline.exec(&mut self.connect()).unwrap();
    }

    /// Any command: `["CLIENT", "LIST"]`.
    pub fn command<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = ::redis::Cmd::new();
        for word in words {
            command.arg(word);
        }
        command.query(&mut self.connect()).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    fn connect(&self) -> Connection {
        self.try_connect().unwrap_or_else(|error| panic!("Redis on port {} does not answer: {error}", self.port))
    }

    fn try_connect(&self) -> ::redis::RedisResult<Connection> {
        let password = self.password.as_deref().map(|password| format!("?pass={password}")).unwrap_or_default();
        Client::open(format!("redis+unix://{}{password}", self.socket().display()))?.get_connection()
    }
}
