//! A redis-server of the benchmark's own, on loopback, without persistence; it ends with the benchmark.

use std::{
    fs,
    net::TcpListener,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use tempfile::TempDir;

/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running server.
pub struct Server {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl Server {
    /// Starts a server. Subscribers that read slowly are kept, unless `limits` says that Redis may drop them as it does by default.
    pub fn start(limits: bool) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        // Free when asked; whoever takes it in between makes redis-server say so.
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let buffers = if limits { "" } else { "client-output-buffer-limit pubsub 0 0 0\n" };
        let config = format!("bind 127.0.0.1\nport {port}\nsave \"\"\nlogfile redis.log\n{buffers}");
        fs::write(folder.path().join("redis.conf"), config)?;
        let child = Command::new("redis-server")
            .arg("redis.conf")
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("redis-server cannot be started: install it (Debian, Ubuntu: apt-get install redis-server)")?;
        let mut server = Self { child, port, _folder: folder };
        let deadline = Instant::now() + PATIENCE;
        while server.connect().is_err() {
            if let Some(status) = server.child.try_wait()? {
                let log = fs::read_to_string(server._folder.path().join("redis.log")).unwrap_or_default();
                bail!("redis-server ended with {status}: {log}");
            }
            if Instant::now() > deadline {
                bail!("redis-server does not answer on port {port} within {} s", PATIENCE.as_secs());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(server)
    }

    /// `HOST:PORT`.
    pub fn socket(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `redis://HOST:PORT`.
    pub fn address(&self) -> String {
        format!("redis://{}", self.socket())
    }

    /// A connection for commands.
    pub fn connect(&self) -> redis::RedisResult<redis::Connection> {
        let mut connection = redis::Client::open(self.address())?.get_connection()?;
        redis::cmd("PING").query::<String>(&mut connection)?;
        Ok(connection)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How many subscribe to a channel.
pub fn subscribers(connection: &mut redis::Connection, channel: &str) -> redis::RedisResult<u64> {
    let (_, count): (String, u64) = redis::cmd("PUBSUB").arg("NUMSUB").arg(channel).query(connection)?;
    Ok(count)
}
