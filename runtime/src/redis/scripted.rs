//! A server for tests that says what a test wants it to say.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
};

/// What the server does with a command.
pub enum Answer {
    /// It says this.
    Say(Vec<u8>),
    /// It says this and closes the connection.
    SayAndClose(Vec<u8>),
    /// It says nothing.
    Silence,
}

/// What a well-behaved server says to each command.
pub fn usual(command: &[String]) -> Answer {
    let say = |text: &str| Answer::Say(text.as_bytes().to_vec());
    let word = command[0].as_str();
    match word {
        "PING" => say("+PONG\r\n"),
        "INFO" => info("standalone"),
        "SUBSCRIBE" | "PSUBSCRIBE" => {
            say(&format!("*3\r\n${}\r\n{}\r\n${}\r\n{}\r\n:1\r\n", word.len(), word.to_lowercase(), command[1].len(), command[1]))
        }
        "QUIT" => Answer::SayAndClose(b"+OK\r\n".to_vec()),
        _ => say("+OK\r\n"),
    }
}

/// The answer to INFO of a server that runs in this mode.
pub fn info(mode: &str) -> Answer {
    let info = format!("# Server\r\nredis_mode:{mode}\r\n");
    Answer::Say(format!("${}\r\n{info}\r\n", info.len()).into_bytes())
}

/// A command, and the number of the connection it came by, from 1.
type Asked = (usize, Vec<String>);

/// A server on loopback.
pub struct Scripted {
    /// Where it is.
    pub address: String,
    /// What it was asked.
    pub asked: Arc<Mutex<Vec<Asked>>>,
}

impl Scripted {
    /// Starts a server that answers by this script: the connection's number, from 1, and the command.
    pub async fn start(script: impl Fn(usize, &[String]) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("redis://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (script, heard) = (Arc::new(script), asked.clone());
        tokio::spawn(async move {
            for connection in 1.. {
                let (stream, _) = listener.accept().await.unwrap();
                let (script, heard) = (script.clone(), heard.clone());
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    while let Some(command) = command(&mut stream).await {
                        let answer = script(connection, &command);
                        heard.lock().unwrap().push((connection, command));
                        let (say, close) = match answer {
                            Answer::Say(bytes) => (bytes, false),
                            Answer::SayAndClose(bytes) => (bytes, true),
                            Answer::Silence => continue,
                        };
                        if stream.write_all(&say).await.is_err() || close {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, asked }
    }

    /// How often a command was heard on a connection.
    pub fn heard(&self, connection: usize, command: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|(number, parts)| *number == connection && parts[0] == command).count()
    }

    /// How many connections said anything.
    pub fn connections(&self) -> usize {
        self.asked.lock().unwrap().iter().map(|(number, _)| *number).max().unwrap_or_default()
    }
}

async fn command(stream: &mut (impl AsyncBufReadExt + Unpin)) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    for _ in 0..number(stream).await? {
        let mut part = vec![0; number(stream).await? + 2];
        stream.read_exact(&mut part).await.ok()?;
        part.truncate(part.len() - 2);
        parts.push(String::from_utf8(part).unwrap());
    }
    Some(parts)
}

async fn number(stream: &mut (impl AsyncBufReadExt + Unpin)) -> Option<usize> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    line.trim().get(1..)?.parse().ok()
}

/// Waits until something is so.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), waiting).await.unwrap_or_else(|_| panic!("waiting for: {what}"));
}
