//! A small HTTP server of the test's own: says what it was asked, and misbehaves when it is asked to.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// Answers at a port of the loopback address until the test ends.
pub struct Server {
    port: u16,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    connections: AtomicUsize,
    requests: AtomicUsize,
}

/// One request.
struct Request {
    method: String,
    target: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Server {
    /// A server that answers by path:
    /// `/status/CODE` with that status; `/large/BYTES` with so many bytes; `/redirect?URL` with a redirect there; `/echo` with
    /// the body; `/length` with the length of the body; `/header/NAME` with the value of that header; `/chunked` in chunks;
    /// `/close` by closing the connection; `/garbage` with no HTTP; `/cut` with half of what it announces; `/silent` never;
    /// anything else with method and target.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let counts = Arc::new(Counts::default());
        let counted = counts.clone();
        // Ends with the test program.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counted.connections.fetch_add(1, Ordering::SeqCst);
                let counts = counted.clone();
                thread::spawn(move || serve(stream, &counts));
            }
        });
        Self { port, counts }
    }

    /// Port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `http://127.0.0.1:PORT` and a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::SeqCst)
    }

    /// How many requests came.
    pub fn requests(&self) -> usize {
        self.counts.requests.load(Ordering::SeqCst)
    }
}

/// Answers the requests of one connection until either side ends it.
fn serve(stream: TcpStream, counts: &Counts) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    loop {
        let request = read(&mut reader)?;
        counts.requests.fetch_add(1, Ordering::SeqCst);
        answer(&mut stream, &request)?;
    }
}

fn read(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = || -> Option<String> {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
        Some(line.trim_end().to_owned())
    };
    let first = line()?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let mut headers = BTreeMap::new();
    loop {
        let header = line()?;
        let Some((name, value)) = header.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let mut body = Vec::new();
    if let Some(length) = headers.get("content-length") {
        body.resize(length.parse().ok()?, 0);
        reader.read_exact(&mut body).ok()?;
    } else if headers.get("transfer-encoding").is_some_and(|encoding| encoding == "chunked") {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).ok()?;
            let size = usize::from_str_radix(size.trim(), 16).ok()?;
            let start = body.len();
            body.resize(start + size + 2, 0);
            reader.read_exact(&mut body[start..]).ok()?;
            body.truncate(start + size);
            if size == 0 {
                break;
            }
        }
    }
    Some(Request { method, target, headers, body })
}

/// `None` ends the connection.
fn answer(stream: &mut TcpStream, request: &Request) -> Option<()> {
    let text = |stream: &mut TcpStream, status: u16, header: &str, body: &[u8]| {
        write!(stream, "HTTP/1.1 {status} Whatever\r\nContent-Length: {}\r\n{header}\r\n", body.len()).ok()?;
        stream.write_all(body).ok()
    };
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let mut parts = path.trim_start_matches('/').splitn(2, '/');
    let (what, argument) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    match what {
        "status" if argument == "204" => write!(stream, "HTTP/1.1 204 No Content\r\n\r\n").ok(),
        "status" => text(stream, argument.parse().ok()?, "", b""),
        "large" => text(stream, 200, "", &vec![b'x'; argument.parse().ok()?]),
        "redirect" => text(stream, 302, &format!("Location: {query}\r\n"), b"elsewhere"),
        "echo" => text(stream, 200, "", &request.body),
        "length" => text(stream, 200, "", request.body.len().to_string().as_bytes()),
        "header" => text(stream, 200, "", request.headers.get(argument).map_or("none", String::as_str).as_bytes()),
        "chunked" => write!(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n4\r\n two\r\n0\r\n\r\n").ok(),
        "close" => None,
        "garbage" => {
            write!(stream, "this is no HTTP\r\n\r\n").ok()?;
            None
        }
        "cut" => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf").ok()?;
            None
        }
        "silent" => {
            // The other side gives up first.
            let _ = stream.read(&mut [0]);
            None
        }
        _ => text(stream, 200, "", format!("{} {}", request.method, request.target).as_bytes()),
    }
}
