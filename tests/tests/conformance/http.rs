//! `wasi:http` outgoing requests: 0.2 in the synchronous guest, 0.3 in the asynchronous one.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use spinredis_tests::{ports, redis::Redis};

use crate::{
    calls::{ASYNC, BOTH, Guests, SYNC},
    server::Server,
};

fn allowing(redis: &Redis, hosts: Value) -> Guests<'_> {
    Guests::with(redis, json!({"allowedOutboundHosts": hosts}))
}

/// Guests that may ask any server of this machine.
fn allowing_this_machine(redis: &Redis) -> Guests<'_> {
    allowing(redis, json!(["http://127.0.0.1:*", "https://127.0.0.1:*"]))
}

fn get(url: &str) -> Value {
    json!(["http.get", url])
}

#[test]
fn status_and_body_come_back() {
    let (redis, server) = (Redis::start(), Server::start());
    let guests = allowing_this_machine(&redis);
    for guest in BOTH {
        let asked = |path: &str| guests.value(guest, get(&server.url(path)));
        assert_eq!(asked("/a/path?and=a%20query&more"), json!({"status": 200, "body": "GET /a/path?and=a%20query&more"}));
        assert_eq!(asked(""), json!({"status": 200, "body": "GET /"}));
        assert_eq!(asked("/header/host")["body"], format!("127.0.0.1:{}", server.port()));
        assert_eq!(asked("/chunked"), json!({"status": 200, "body": "one two"}));
        for status in [201, 204, 304, 400, 404, 418, 500, 503] {
            assert_eq!(asked(&format!("/status/{status}")), json!({"status": status, "body": ""}), "a status is no error");
        }
    }
}

#[test]
fn bodies_of_any_size_are_sent_and_received() {
    let (redis, server) = (Redis::start(), Server::start());
    let guests = allowing_this_machine(&redis);
    for guest in BOTH {
        let post = |path: &str, body: &str| guests.value(guest, json!(["http.post", server.url(path), body]))["body"].take();
        for body in ["", "small", "grüße \0 👋\r\n"] {
            assert_eq!(post("/echo", body), body);
        }
        for length in [4096, 65_537, 3 << 20] {
            assert_eq!(post("/length", &"y".repeat(length)), length.to_string(), "{guest}");
        }
        // The log cuts the line and says how much there was more.
        let length = 3 << 20;
        let line = guests.lines(guest, &[get(&server.url(&format!("/large/{length}")))]).remove(0);
        let (beginning, more) = line.rsplit_once("… (").unwrap();
        let more: usize = more.strip_suffix(" bytes more)").unwrap().parse().unwrap();
        assert_eq!(beginning.len() + more, json!({"ok": {"body": "", "status": 200}}).to_string().len() + length, "{guest}");
    }
}

#[test]
fn a_host_that_is_not_allowed_is_never_asked_and_the_log_names_the_missing_entry() {
    let (redis, server, stranger) = (Redis::start(), Server::start(), Server::start());
    let guests = allowing(&redis, json!([server.url("")]));
    for guest in BOTH {
        assert_eq!(guests.value(guest, get(&server.url("/")))["status"], 200);
        let urls = [
            stranger.url("/"),
            server.url("/").replace("http:", "https:"),
            server.url("/").replace("127.0.0.1", "localhost"),
            "http://example.com/".to_owned(),
        ];
        for url in urls {
            guests.assert_error(guest, get(&url), "http-request-denied", &[]);
        }
    }
    assert_eq!(stranger.connections(), 0);
    for entry in [stranger.url(""), format!("https://127.0.0.1:{}", server.port()), "http://example.com".to_owned()] {
        guests.runtime.wait_for_message(&format!("add \"{entry}\" to allowedOutboundHosts"));
    }
}

#[test]
fn what_can_go_wrong_has_its_own_error() {
    let (redis, server) = (Redis::start(), Server::start());
    let guests = allowing(&redis, json!(["http://127.0.0.1:*", "https://127.0.0.1:*", "http://*.invalid"]));
    let nobody = format!("http://127.0.0.1:{}/", ports::free());
    for guest in BOTH {
        guests.assert_error(guest, get(&nobody), "connection-refused", &[]);
        guests.assert_error(guest, get("http://no-such-host.invalid/"), "dns-error", &[]);
        guests.assert_error(guest, get(&server.url("/close")), "connection-terminated", &[]);
        guests.assert_error(guest, get(&server.url("/garbage")), "http-protocol-error", &[]);
        let (name, _) = guests.error(guest, get(&server.url("/").replace("http:", "https:")));
        assert!(name.starts_with("tls-"), "{guest}: {name} of a server without TLS");
    }
    guests.assert_error(ASYNC, get(&server.url("/cut")), "http-response-incomplete", &[]);
    // The synchronous guest reads a stream, whose end it takes for a reason to give up.
    let (reason, _) = guests.failure(SYNC, get(&server.url("/cut")));
    assert_eq!(reason, "trap");
    assert!(guests.runtime.log().contains("reading failed"), "{}", guests.runtime.log());
}

#[test]
fn redirects_are_the_guests_business_and_checked_like_any_request() {
    let (redis, server, stranger) = (Redis::start(), Server::start(), Server::start());
    let guests = allowing(&redis, json!([server.url("")]));
    for guest in BOTH {
        let redirect = server.url(&format!("/redirect?{}", stranger.url("/secret")));
        assert_eq!(guests.value(guest, get(&redirect)), json!({"status": 302, "body": "elsewhere"}));
        guests.assert_error(guest, get(&stranger.url("/secret")), "http-request-denied", &[]);
    }
    assert_eq!(stranger.connections(), 0);
}

#[test]
fn connections_are_used_again_by_the_same_component_only() {
    let (redis, server) = (Redis::start(), Server::start());
    let guests = allowing_this_machine(&redis);
    for guest in BOTH {
        let before = server.connections();
        for number in 0..10 {
            guests.value(guest, get(&server.url(&format!("/{number}"))));
        }
        assert_eq!(server.connections() - before, 1, "{guest}: ten messages, one connection");
    }
    assert_eq!(server.requests(), 20);
}

#[test]
fn a_server_that_never_answers_is_waited_for_until_the_deadline() {
    let (redis, server) = (Redis::start(), Server::start());
    let guests = Guests::with(&redis, json!({"allowedOutboundHosts": ["http://127.0.0.1:*"], "timeout": "1s"}));
    for guest in BOTH {
        let asked = Instant::now();
        let (reason, message) = guests.failure(guest, get(&server.url("/silent")));
        assert_eq!(reason, "timeout", "{message}");
        assert!(asked.elapsed() >= Duration::from_secs(1));
        assert_eq!(guests.value(guest, get(&server.url("/")))["status"], 200, "the next message is handled");
    }
}
