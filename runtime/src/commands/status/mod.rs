//! `spinredis status`: asks a running app, over its health port, how it fares, and shows it. Meant for `kubectl exec`, where
//! there is no curl; it needs no manifest, no reference and no Redis.

mod print;

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    process::ExitCode,
    time::Duration,
};

use super::say;
use crate::{
    cli::{OutputFormat, StatusArgs},
    report::{self, Report},
};

/// How long connecting and each read may take. The health port shares no thread with guests, so it answers at once or not at all.
const TIMEOUT: Duration = Duration::from_secs(5);
/// An app of 64 components with all their failures has less.
const MAX_ANSWER_BYTES: u64 = 16 << 20;

/// Why nothing could be shown.
#[derive(Debug, thiserror::Error)]
enum StatusError {
    /// Nobody listens there.
    #[error("nobody answers at {address}: {error}; the app was started with another --listen, or not yet: give its address with --listen")]
    Unreachable {
        /// Where.
        address: String,
        /// What the operating system says.
        error: io::Error,
    },
    /// It said no.
    #[error("{address} answers {line}; is it the health port of spinredis {}?", env!("CARGO_PKG_VERSION"))]
    Refused {
        /// Where.
        address: String,
        /// The status line.
        line: String,
    },
    /// It said something else.
    #[error("what {address} answers is no status: {error}; is it the health port of spinredis {}?", env!("CARGO_PKG_VERSION"))]
    Unreadable {
        /// Where.
        address: String,
        /// What is wrong.
        error: serde_json::Error,
    },
}

pub(super) fn run(args: &StatusArgs) -> ExitCode {
    match ask(&address(&args.listen)) {
        Ok(report) => {
            match args.output {
                OutputFormat::Text => say(print::text(&report).trim_end()),
                OutputFormat::Json => say(serde_json::to_string_pretty(&report).unwrap_or_default()),
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

/// Where to ask for what an app listens at: `:8080`, which is every address, has this machine among them.
fn address(listen: &str) -> String {
    match listen.strip_prefix(':') {
        Some(port) => format!("127.0.0.1:{port}"),
        None => listen.to_owned(),
    }
}

fn ask(address: &str) -> Result<Report, StatusError> {
    let answer = get(address).map_err(|error| StatusError::Unreachable { address: address.to_owned(), error })?;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(answer.len());
    let (head, body) = (&answer[..end], answer.get(end + 4..).unwrap_or_default());
    let line = String::from_utf8_lossy(head).lines().next().unwrap_or_default().to_owned();
    if line.split(' ').nth(1) != Some("200") {
        return Err(StatusError::Refused { address: address.to_owned(), line: line.escape_default().to_string() });
    }
    serde_json::from_slice(body).map_err(|error| StatusError::Unreadable { address: address.to_owned(), error })
}

/// Head and body of the answer to a request of HTTP/1.0, after which the connection is closed.
fn get(address: &str) -> io::Result<Vec<u8>> {
    let addresses: Vec<SocketAddr> = address.to_socket_addrs()?.collect();
    let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address");
    for address in addresses {
        let mut stream = match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(stream) => stream,
            Err(error) => {
                last = error;
                continue;
            }
        };
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        // In one piece: whoever answers after the first piece and closes would break the pipe for the others.
        stream.write_all(format!("GET {} HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n", report::PATH).as_bytes())?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer)?;
        return Ok(answer);
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    /// Answers one request with this.
    fn answering(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 512]).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        address
    }

    #[test]
    fn every_address_has_this_machine_among_them() {
        assert_eq!(address(":9090"), "127.0.0.1:9090");
        assert_eq!(address("[::1]:9090"), "[::1]:9090");
    }

    #[test]
    fn whoever_else_listens_there_is_told_from_an_app() {
        let error = ask(&answering("HTTP/1.1 404 Not Found\r\n\r\n")).unwrap_err().to_string();
        assert!(error.contains("answers HTTP/1.1 404 Not Found"), "{error}");
        let error = ask(&answering("HTTP/1.1 200 OK\r\n\r\n<html>")).unwrap_err().to_string();
        assert!(error.contains("is no status"), "{error}");
        let error = ask(&answering("")).unwrap_err().to_string();
        assert!(error.contains("health port"), "{error}");
    }

    #[test]
    fn where_nobody_listens_the_option_is_named() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let error = ask(&address).unwrap_err().to_string();
        assert!(error.contains(&address) && error.contains("--listen"), "{error}");
    }
}
