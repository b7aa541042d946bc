//! wasi:http and wasi:sockets, both 0.2.0.

use protocol::{Answer, Call, failure, text};
use serde_json::{Value, json};
use wasi::{
    http::{
        outgoing_handler,
        types::{ErrorCode, Fields, IncomingResponse, Method, OutgoingBody, OutgoingRequest, Scheme},
    },
    io::streams::{InputStream, StreamError},
    sockets::{
        instance_network::instance_network,
        ip_name_lookup::resolve_addresses,
        network::{ErrorCode as SocketError, IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress},
        tcp_create_socket::create_tcp_socket,
    },
};

pub fn answer(call: &Call) -> Answer {
    match call.name() {
        "http.get" => send(Method::Get, call.text(0), &[]).map_err(failure),
        "http.post" => send(Method::Post, call.text(0), call.text(1).as_bytes()).map_err(failure),
        "tcp.connect" => exchange(call.text(0), port(call), None).map_err(failure),
        "tcp.exchange" => exchange(call.text(0), port(call), Some(call.text(2))).map_err(failure),
        "dns.lookup" => lookup(call.text(0)).map(|found| found.into_iter().map(shown).collect()).map_err(failure),
        _ => call.unknown(),
    }
}

fn port(call: &Call) -> u16 {
    u16::try_from(call.number(1)).unwrap_or_else(|_| panic!("a port is at most 65535"))
}

fn send(method: Method, url: &str, body: &[u8]) -> Result<Value, ErrorCode> {
    let (scheme, rest) = url.split_once("://").unwrap_or_else(|| panic!("{url} is no URL"));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    };
    let request = OutgoingRequest::new(Fields::new());
    let set = request.set_method(&method).is_ok()
        && request.set_scheme(Some(&scheme)).is_ok()
        && request.set_authority(Some(authority)).is_ok()
        && request.set_path_with_query(Some(if path.is_empty() { "/" } else { path })).is_ok();
    assert!(set, "{url} is refused as a URL");
    let outgoing = request.body().expect("a new request has a body to take");
    let pending = outgoing_handler::handle(request, None)?;
    if !body.is_empty() {
        let stream = outgoing.write().expect("a new body has a stream to take");
        for part in body.chunks(4096) {
            // A request that failed closes its body; the answer below says why.
            if stream.blocking_write_and_flush(part).is_err() {
                break;
            }
        }
    }
    let _ = OutgoingBody::finish(outgoing, None);
    pending.subscribe().block();
    let response = pending.get().expect("it was waited for").expect("it was not taken before")?;
    let status = response.status();
    Ok(json!({"status": status, "body": text(read_body(&response))}))
}

fn read_body(response: &IncomingResponse) -> Vec<u8> {
    let body = response.consume().expect("a new response has a body to take");
    let stream = body.stream().expect("a new body has a stream to take");
    read(&stream, usize::MAX)
}

/// Reads to the end, or until there are so many bytes.
fn read(stream: &InputStream, enough: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < enough {
        match stream.blocking_read(1 << 16) {
            Ok(part) => bytes.extend(part),
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(error)) => panic!("reading failed: {}", error.to_debug_string()),
        }
    }
    bytes
}

fn lookup(name: &str) -> Result<Vec<IpAddress>, SocketError> {
    let stream = resolve_addresses(&instance_network(), name)?;
    let mut found = Vec::new();
    loop {
        match stream.resolve_next_address() {
            Ok(Some(address)) => found.push(address),
            Ok(None) => return Ok(found),
            Err(SocketError::WouldBlock) => stream.subscribe().block(),
            Err(error) => return Err(error),
        }
    }
}

fn shown(address: IpAddress) -> Value {
    match address {
        IpAddress::Ipv4((a, b, c, d)) => std::net::Ipv4Addr::new(a, b, c, d).to_string().into(),
        IpAddress::Ipv6((a, b, c, d, e, f, g, h)) => std::net::Ipv6Addr::new(a, b, c, d, e, f, g, h).to_string().into(),
    }
}

/// Connects to the first address of a host; with a text, sends it and tells the first bytes that come back.
fn exchange(host: &str, port: u16, sent: Option<&str>) -> Result<Value, SocketError> {
    let address = lookup(host)?.into_iter().next().ok_or(SocketError::NameUnresolvable)?;
    let (family, address) = match address {
        IpAddress::Ipv4(address) => (IpAddressFamily::Ipv4, IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address })),
        IpAddress::Ipv6(address) => {
            let address = Ipv6SocketAddress { port, flow_info: 0, address, scope_id: 0 };
            (IpAddressFamily::Ipv6, IpSocketAddress::Ipv6(address))
        }
    };
    let socket = create_tcp_socket(family)?;
    socket.start_connect(&instance_network(), address)?;
    let (input, output) = loop {
        match socket.finish_connect() {
            Err(SocketError::WouldBlock) => socket.subscribe().block(),
            done => break done?,
        }
    };
    let Some(sent) = sent else { return Ok(Value::Null) };
    if let Err(error) = output.blocking_write_and_flush(sent.as_bytes()) {
        panic!("writing failed: {error:?}");
    }
    Ok(text(read(&input, 1)))
}
