//! Where guests may connect to, over HTTP, Redis and TCP alike: allowedOutboundHosts, and what no entry opens.

use serde_json::{Value, json};
use spinredis_tests::{ports, redis::Redis};

use crate::{
    calls::{BOTH, Guests, app},
    server::Server,
};

fn allowing(redis: &Redis, hosts: Value) -> Guests<'_> {
    Guests::with(redis, json!({"allowedOutboundHosts": hosts}))
}

/// The error of `wasi:http` for an address that is not allowed although its name is, as the bindings write it.
const PROHIBITED: &str = "destination-ip-prohibited";

/// The three kinds of connections to a host and port.
fn attempts(host: &str, port: u16) -> [Value; 3] {
    let in_url = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    [
        json!(["http.get", format!("http://{in_url}:{port}/")]),
        json!(["redis.get", format!("redis://{in_url}:{port}"), "key"]),
        json!(["tcp.connect", host, port]),
    ]
}

/// The name of an error, if it is one.
fn error(answer: &Value) -> &str {
    answer["error"][0].as_str().unwrap_or("none")
}

/// Checks that a host and port are reached in no way, although an entry allows them.
fn assert_refused(guests: &Guests<'_>, guest: &str, host: &str, port: u16) {
    // A socket is not connected to an address that stands for no host, whoever asks (wasi:sockets).
    let of_a_socket = if host == "0.0.0.0" || host.starts_with("::ffff:") { "invalid-argument" } else { "access-denied" };
    for (attempt, name) in attempts(host, port).into_iter().zip([PROHIBITED, "invalid-address", of_a_socket]) {
        let answer = guests.ask(guest, attempt.clone());
        assert_eq!(error(&answer), name, "{guest} {attempt}: {answer}");
    }
}

#[test]
fn without_an_entry_nothing_is_reached_and_the_log_names_each_that_is_missing() {
    let (redis, server) = (Redis::start(), Server::start());
    let guests = allowing(&redis, json!([]));
    let [http, outbound_redis, _] = attempts("127.0.0.1", server.port());
    for guest in BOTH {
        guests.assert_error(guest, http.clone(), "http-request-denied", &[]);
        guests.assert_error(guest, outbound_redis.clone(), "invalid-address", &[]);
        guests.assert_error(guest, json!(["redis.get", redis.address(), "key"]), "invalid-address", &[]);
    }
    for scheme in ["http", "redis"] {
        let line = guests.runtime.wait_for_message(&format!("add \"{scheme}://127.0.0.1:{}\" to allowedOutboundHosts", server.port()));
        assert_eq!((&line["level"], &line["target"]), (&json!("WARN"), &json!("guest")));
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_refusal_is_logged_once_and_not_for_each_message() {
    let (redis, server) = (Redis::start(), Server::start());
    let guests = allowing(&redis, json!([]));
    for guest in BOTH {
        let calls = vec![json!(["http.get", server.url("/")]); 50];
        assert!(guests.ask_all(guest, &calls).iter().all(|answer| error(answer) == "http-request-denied"));
    }
    let entry = format!("add \"{}\"", server.url(""));
    let logged = guests.runtime.entries().iter().filter(|line| line["message"].as_str().is_some_and(|text| text.contains(&entry))).count();
    assert_eq!(logged, 2, "once for each component");
}

#[test]
fn wildcards_networks_ranges_and_case_are_understood() {
    let (redis, server) = (Redis::start(), Server::start());
    let (port, closed) = (server.port(), ports::free());
    let entries = json!([
        format!("HTTP://127.0.0.1:{port}"),
        format!("http://LocalHost:{port}"),
        "http://127.0.1.0/24:*",
        format!("*://127.0.2.1:{closed}..{}", closed + 2),
        "http://*.b.invalid",
        "https://a.invalid",
        "http://*:7777",
    ]);
    let guests = allowing(&redis, entries);
    let answered = "none";
    let refused = "http-request-denied";
    // Names below .invalid are looked up, and not found, only if they are allowed (RFC 6761); nobody listens elsewhere on the
    // loopback network.
    let (unknown, tried) = ("dns-error", "connection-refused");
    for guest in BOTH {
        for (url, expected) in [
            (server.url("/"), answered),
            (server.url("/").replace("127.0.0.1", "LOCALHOST"), answered),
            (format!("http://127.0.0.1:{closed}/"), refused),
            (format!("http://127.0.1.7:{closed}/"), tried),
            (format!("http://127.0.3.7:{closed}/"), refused),
            (format!("http://127.0.2.1:{closed}/"), tried),
            (format!("http://127.0.2.1:{}/", closed + 1), tried),
            (format!("http://127.0.2.1:{}/", closed + 2), refused),
            (format!("http://127.0.2.2:{closed}/"), refused),
            ("http://A.B.invalid/".to_owned(), unknown),
            ("http://x.a.b.invalid/".to_owned(), unknown),
            ("http://b.invalid/".to_owned(), refused),
            ("http://notb.invalid/".to_owned(), refused),
            ("http://b.invalid.c.invalid/".to_owned(), refused),
            ("https://a.invalid/".to_owned(), unknown),
            ("http://a.invalid:443/".to_owned(), refused),
            ("https://x.a.invalid/".to_owned(), refused),
            ("http://any.invalid:7777/".to_owned(), unknown),
            ("http://any.invalid:7778/".to_owned(), refused),
            ("https://any.invalid:7777/".to_owned(), refused),
        ] {
            let answer = guests.ask(guest, json!(["http.get", url]));
            assert_eq!(error(&answer), expected, "{guest} asks {url}: {answer}");
        }
    }
}

#[test]
fn self_is_the_triggers_server_for_that_scheme_only() {
    let (redis, stranger) = (Redis::start(), Redis::start());
    let guests = allowing(&redis, json!(["redis://self"]));
    for guest in BOTH {
        assert_eq!(guests.value(guest, json!(["redis.get", redis.address(), "key"])), Value::Null);
        guests.assert_error(guest, json!(["redis.get", stranger.address(), "key"]), "invalid-address", &[]);
        guests.assert_error(guest, json!(["http.get", redis.address().replace("redis:", "http:")]), "http-request-denied", &[]);
        guests.assert_error(guest, json!(["tcp.connect", "127.0.0.1", redis.port()]), "access-denied", &[]);
    }
}

#[test]
fn link_local_addresses_are_refused_whatever_they_are_called() {
    let redis = Redis::start();
    // None of these lists one of the addresses below literally.
    let guests = allowing(&redis, json!(["*://*:*", "*://169.254.0.0/16:*", "*://[fe80::]/10:*", "http://169.254.169.253:*"]));
    for guest in BOTH {
        for host in ["169.254.169.254", "169.254.0.1", "::ffff:169.254.169.254", "fe80::1", "fd00:ec2::254", "64:ff9b::a9fe:a9fe"] {
            assert_refused(&guests, guest, host, 80);
        }
        // Other ways to write the address, which only name lookup understands.
        for host in ["2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518", "[0:0:0:0:0:ffff:a9fe:a9fe]"] {
            let answer = guests.ask(guest, json!(["http.get", format!("http://{host}/latest/meta-data/")]));
            assert_eq!(error(&answer), PROHIBITED, "{guest} {host}: {answer}");
        }
    }
    let line = guests.runtime.wait_for_message("a link-local address");
    assert!(line["message"].as_str().unwrap().contains("list that very address in allowedOutboundHosts"), "{line}");
}

#[test]
fn the_port_of_the_own_health_checks_is_refused_whatever_is_allowed() {
    let redis = Redis::start();
    let guests = allowing(&redis, json!(["*://127.0.0.1:*", "*://*:*", "*://localhost:*", "*://0.0.0.0:*"]));
    let (_, port) = guests.runtime.health().rsplit_once(':').unwrap();
    let port: u16 = port.parse().unwrap();
    assert_eq!(guests.runtime.get("/healthz").0, 200, "it does listen");
    for guest in BOTH {
        for host in ["127.0.0.1", "localhost", "0.0.0.0", "::ffff:127.0.0.1"] {
            assert_refused(&guests, guest, host, port);
        }
        // Another port of the same machine is only not answered.
        guests.assert_error(guest, json!(["http.get", format!("http://127.0.0.1:{}/", ports::free())]), "connection-refused", &[]);
    }
    guests.runtime.wait_for_message("health port of this very process");
}

#[test]
fn entries_may_be_made_of_variables() {
    let (redis, first, second) = (Redis::start(), Server::start(), Server::start());
    let component = json!({
        "allowedOutboundHosts": ["http://{{ host }}:{{port}}", "{{ scheme }}://self"],
        "variables": [
            {"name": "host", "value": "127.0.{{ end }}"},
            {"name": "port", "valueFrom": {"configMapKeyRef": {"name": "api", "key": "port"}}},
            {"name": "scheme", "value": "redis"},
        ],
    });
    let shared = json!({"variables": [{"name": "end", "value": "0.1"}]});
    let app = app(redis.trigger(), component, shared).with("configmap/api/port", first.port().to_string());
    let guests = Guests::run(&redis, &app);
    for guest in BOTH {
        assert_eq!(guests.value(guest, json!(["http.get", first.url("/")]))["status"], 200);
        guests.assert_error(guest, json!(["http.get", second.url("/")]), "http-request-denied", &[]);
        assert_eq!(guests.value(guest, json!(["redis.get", redis.address(), "key"])), Value::Null);
    }
    // A changed value counts for the next messages, also for connections that are kept.
    app.set("configmap/api/port", second.port().to_string());
    for guest in BOTH {
        guests.runtime.eventually("the other port is allowed", || {
            let answer = guests.ask(guest, json!(["http.get", second.url("/")]));
            if answer["ok"]["status"] == 200 { Ok(()) } else { Err(answer.to_string()) }
        });
        guests.assert_error(guest, json!(["http.get", first.url("/")]), "http-request-denied", &[]);
    }
}
