//! `wasi:sockets`: TCP and name lookup, 0.2 in the synchronous guest, 0.3 in the asynchronous one.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use serde_json::{Value, json};
use spinredis_tests::{ports, redis::Redis};

use crate::calls::{BOTH, Guests, SYNC};

/// A TCP server that sends back what it gets, in upper case, and counts its connections.
struct Echo {
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl Echo {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                counted.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || {
                    let mut buffer = [0; 1024];
                    while let Ok(length @ 1..) = stream.read(&mut buffer) {
                        let _ = stream.write_all(&buffer[..length].to_ascii_uppercase());
                    }
                });
            }
        });
        Self { port, connections }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn allowing(redis: &Redis, hosts: Value) -> Guests<'_> {
    Guests::with(redis, json!({"allowedOutboundHosts": hosts}))
}

#[test]
fn an_allowed_server_can_be_spoken_to() {
    let redis = Redis::start();
    let servers = ["tcp://127.0.0.1", "*://127.0.0.0/8", "tcp://localhost", "*://*"].map(|entry| (entry, Echo::start()));
    let entries: Vec<String> = servers.iter().map(|(entry, echo)| format!("{entry}:{}", echo.port)).collect();
    let guests = allowing(&redis, json!(entries));
    for (entry, echo) in servers {
        for guest in BOTH {
            assert_eq!(guests.value(guest, json!(["tcp.connect", "127.0.0.1", echo.port])), Value::Null, "{guest} {entry}");
        }
        for host in ["127.0.0.1", "localhost"] {
            assert_eq!(guests.value(SYNC, json!(["tcp.exchange", host, echo.port, "hello"])), "HELLO", "{host} {entry}");
        }
    }
}

#[test]
fn other_servers_are_refused_and_the_log_names_the_missing_entry() {
    let (redis, echo) = (Redis::start(), Echo::start());
    // The port is allowed for other protocols, and another host.
    let guests = allowing(
        &redis,
        json!([
            format!("http://127.0.0.1:{}", echo.port),
            format!("udp://127.0.0.1:{}", echo.port),
            format!("tcp://127.0.0.2:{}", echo.port)
        ]),
    );
    for guest in BOTH {
        guests.assert_error(guest, json!(["tcp.connect", "127.0.0.1", echo.port]), "access-denied", &[]);
    }
    let line = guests.runtime.wait_for_message(&format!("add \"tcp://127.0.0.1:{}\" to allowedOutboundHosts", echo.port));
    assert!(BOTH.iter().any(|guest| line["component"] == *guest), "{line}");
    assert_eq!(echo.connections(), 0);
}

#[test]
fn a_component_without_allowed_hosts_connects_nowhere_and_looks_nothing_up() {
    let (redis, echo) = (Redis::start(), Echo::start());
    let guests = allowing(&redis, json!([]));
    for guest in BOTH {
        guests.error(guest, json!(["tcp.connect", "127.0.0.1", echo.port]));
        guests.error(guest, json!(["dns.lookup", "localhost"]));
    }
    assert_eq!(echo.connections(), 0);
}

#[test]
fn nobody_listening_is_an_error_of_its_own() {
    let redis = Redis::start();
    let guests = allowing(&redis, json!(["tcp://127.0.0.1:*"]));
    for guest in BOTH {
        guests.assert_error(guest, json!(["tcp.connect", "127.0.0.1", ports::free()]), "connection-refused", &[]);
    }
}

#[test]
fn names_are_looked_up() {
    let redis = Redis::start();
    let guests = allowing(&redis, json!(["tcp://localhost:80"]));
    for guest in BOTH {
        let found = guests.value(guest, json!(["dns.lookup", "localhost"]));
        assert!(found.as_array().unwrap().contains(&json!("127.0.0.1")), "{found}");
        assert_eq!(guests.value(guest, json!(["dns.lookup", "10.1.2.3"])), json!(["10.1.2.3"]));
        guests.assert_error(guest, json!(["dns.lookup", "no-such-host.invalid"]), "name-unresolvable", &[]);
        guests.assert_error(guest, json!(["dns.lookup", "not a name"]), "invalid-argument", &[]);
    }
}
