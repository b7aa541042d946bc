//! `spinredis serve` with a real Redis: signing in, TLS, permissions, and coming back when the connection is lost.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    thread,
};

use serde_json::{Value, json};
use spinredis_tests::{
    app::{App, NAME, NAMESPACE, assert_no_stack_trace},
    guests::source,
    ports,
    redis::Redis,
    runtime::Runtime,
    tls::Authority,
};

const HANDLED: &str = "spinredis_messages_handled_total";
const DROPPED: &str = "spinredis_messages_dropped_total";

/// An app whose component prints what comes on the channel `messages`.
fn app(trigger: Value) -> App {
    App::new(trigger, json!([{"id": "hello", "channels": ["messages"], "source": source("hello.wat")}]))
}

fn secret_key(name: &str, key: &str) -> Value {
    json!({"secretKeyRef": {"name": name, "key": key}})
}

/// Publishes a message and waits for the handler's line.
fn assert_answers(runtime: &Runtime, redis: &Redis, text: &str) {
    runtime.ready();
    assert_eq!(redis.publish("messages", text), 1, "{}", runtime.log());
    runtime.wait_for_guest("hello", &format!("Got message: {text}"));
}

/// It waits for this to be mended: the log says so once, `/readyz` and `/status` as long as it lasts.
fn assert_waits(runtime: &Runtime, reason: &str, parts: &[&str]) {
    let message = assert_unready(runtime, reason, parts);
    let entry = runtime.wait_for_message(&message);
    assert_eq!((&entry["level"], &entry["reason"]), (&json!("WARN"), &json!(reason)));
}

/// `/readyz` says no with this reason, `/healthz` says yes, and nothing in the log is for programmers.
fn assert_unready(runtime: &Runtime, reason: &str, parts: &[&str]) -> String {
    let message = runtime.wait_for_reason(reason);
    for part in parts {
        assert!(message.contains(part), "`{part}` in `{message}`");
    }
    let body = runtime.unready();
    assert!(body.starts_with(reason), "{body}");
    assert_eq!(runtime.get("/healthz").0, 200);
    assert_eq!(runtime.metric("spinredis_subscribed", &[]), 0.0);
    assert_no_stack_trace(&runtime.log());
    message
}

// ---- Signing in -----------------------------------------------------------------------------------------------------

#[test]
fn the_password_is_used_and_a_corrected_one_needs_no_restart() {
    let redis = Redis::builder().password("sesame").start();
    let trigger = json!({"address": redis.address(), "passwordFrom": secret_key("redis", "password")});
    let app = app(trigger).with("secret/redis/password", "hunter2");
    let runtime = app.serve();
    assert_waits(&runtime, "RedisAuthFailed", &[&redis.address(), "the default user", "key password of Secret redis"]);
    // Editors and `echo` leave a line break at the end.
    app.set("secret/redis/password", "sesame\n");
    assert_answers(&runtime, &redis, "in");
}

#[test]
fn a_missing_password_is_asked_for() {
    let redis = Redis::builder().password("sesame").start();
    let runtime = app(redis.trigger()).serve();
    assert_waits(&runtime, "RedisAuthFailed", &[&redis.address(), "wants a password", "trigger.passwordFrom"]);
}

#[test]
fn a_password_that_redis_does_not_want_is_said_to_be_so() {
    let redis = Redis::start();
    let trigger = json!({"address": redis.address(), "passwordFrom": secret_key("redis", "password")});
    let runtime = app(trigger).with("secret/redis/password", "sesame").serve();
    assert_waits(&runtime, "RedisAuthFailed", &["without any password configured"]);
}

#[test]
fn a_user_signs_in_by_name() {
    let redis = Redis::builder().line("user anna on >sesame ~* &* +@all").start();
    let trigger = |user: &str| json!({"address": redis.address(), "username": user, "passwordFrom": secret_key("redis", "password")});
    let runtime = app(trigger("anna")).with("secret/redis/password", "sesame").serve();
    assert_answers(&runtime, &redis, "as anna");
    let clients: String = redis.command(&["CLIENT", "LIST"]);
    assert!(clients.lines().any(|line| line.contains(" user=anna ") && line.contains(&format!(" name={NAMESPACE}/{NAME} "))), "{clients}");

    let runtime = app(trigger("bert")).with("secret/redis/password", "sesame").serve();
    assert_waits(&runtime, "RedisAuthFailed", &["user bert"]);
}

#[test]
fn a_user_without_a_password_is_never_mistaken_for_the_default_user() {
    let redis = Redis::builder().line("user anna on nopass ~* &* +@all").line("user bert on >sesame ~* &* +@all").start();
    let trigger = |user: &str| json!({"address": redis.address(), "username": user});
    let runtime = app(trigger("anna")).serve();
    assert_answers(&runtime, &redis, "as anna");
    let clients: String = redis.command(&["CLIENT", "LIST"]);
    assert!(clients.lines().any(|line| line.contains(" user=anna ")), "{clients}");

    let runtime = app(trigger("bert")).serve();
    assert_waits(&runtime, "RedisAuthFailed", &["user bert"]);
}

#[test]
fn a_user_without_a_password_signs_in_by_name_too() {
    let redis = Redis::builder().line("user anna on nopass ~* &* +@all").start();
    let runtime = app(json!({"address": redis.address(), "username": "anna"})).serve();
    assert_answers(&runtime, &redis, "as anna");
    let clients: String = redis.command(&["CLIENT", "LIST"]);
    assert!(clients.lines().any(|line| line.contains(" user=anna ") && line.contains(" sub=1 ")), "{clients}");
}

#[test]
fn many_refused_channels_are_counted_and_the_first_are_named() {
    let redis = Redis::builder().line("user anna on >sesame resetchannels +subscribe").start();
    let channels: Vec<String> = (10..40).map(|n| format!("channel-{n}")).collect();
    // The database may not be selected either, which a subscriber does not need.
    let trigger = json!({"address": format!("{}/1", redis.address()), "username": "anna", "passwordFrom": secret_key("redis", "password")});
    let app = App::new(trigger, json!([{"id": "hello", "channels": channels, "source": source("hello.wat")}]));
    let runtime = app.with("secret/redis/password", "sesame").serve();
    let message = runtime.eventually("all refusals are known", || {
        let message = runtime.status()["message"].as_str().unwrap().to_owned();
        if message.contains("and 20 more") { Ok(message) } else { Err(message) }
    });
    assert!(message.contains("channel-10 (NOPERM") && message.contains("channel-19") && !message.contains("channel-20"), "{message}");
}

#[test]
fn a_refused_channel_is_named_the_others_work_and_it_recovers() {
    // The least that a user needs, and not a command more.
    let redis = Redis::builder().line("user anna on >sesame resetchannels &messages +subscribe +psubscribe").start();
    let trigger = json!({"address": redis.address(), "username": "anna", "passwordFrom": secret_key("redis", "password")});
    let components = json!([
        {"id": "hello", "channels": ["messages"], "source": source("hello.wat")},
        {"id": "other", "channels": ["secrets"], "patterns": ["private.*"], "source": source("hello.wat")},
    ]);
    let app = App::new(trigger, components).with("secret/redis/password", "sesame");
    let runtime = app.serve();
    assert_unready(&runtime, "RedisPermission", &["secrets", "private.*", "NOPERM", "ACL SETUSER"]);
    let status = runtime.status();
    assert_eq!((&status["subscribed"], &status["wanted"]), (&json!(1), &json!(3)), "{status}");
    assert!(!status["message"].as_str().unwrap().contains("messages"), "{status}");
    redis.publish("messages", "meanwhile");
    runtime.wait_for_guest("hello", "Got message: meanwhile");

    // They are asked for again every few seconds until Redis permits them, which the log need not repeat.
    let _: String = redis.command(&["ACL", "SETUSER", "anna", "&secrets", "&private.*"]);
    runtime.ready();
    let refusals = runtime.entries().into_iter().filter(|entry| entry["message"].as_str().is_some_and(|text| text.contains("NOPERM")));
    assert_eq!(refusals.count(), 2, "{}", runtime.log());
    redis.publish("secrets", "now");
    runtime.wait_for_guest("other", "Got message: now");
    redis.publish("private.1", "this too");
    runtime.wait_for_guest("other", "Got message: this too");
}

#[test]
fn a_permission_that_is_taken_away_is_noticed() {
    let redis = Redis::builder().line("user anna on >sesame &* +@all").start();
    let trigger = json!({"address": redis.address(), "username": "anna", "passwordFrom": secret_key("redis", "password")});
    let runtime = app(trigger).with("secret/redis/password", "sesame").serve();
    assert_answers(&runtime, &redis, "before");
    let _: String = redis.command(&["ACL", "SETUSER", "anna", "resetchannels", "&others"]);
    assert_unready(&runtime, "RedisPermission", &["messages", "NOPERM"]);
}

#[test]
fn a_whole_url_may_come_from_a_secret() {
    let redis = Redis::builder().line("user anna on >p@ss:word/1 ~* &* +@all").start();
    let url = format!("redis://anna:p%40ss%3Aword%2F1@127.0.0.1:{}/2\n", redis.port());
    let app = app(json!({"addressFrom": secret_key("redis", "url")})).with("secret/redis/url", url);
    let runtime = app.serve();
    assert_answers(&runtime, &redis, "by url");
    let clients: String = redis.command(&["CLIENT", "LIST"]);
    assert!(clients.lines().any(|line| line.contains(" user=anna ") && line.contains(" db=2 ")), "{clients}");
}

#[test]
fn a_url_of_a_secret_that_cannot_be_used_is_described_by_its_key() {
    for (url, part) in [
        ("redis://:canary@127.0.0.1:port", "is not a URL"),
        ("canary", "must start with redis://"),
        ("redis-sentinel://:canary@a,b", "Sentinel"),
        ("redis://:canary@a:1,b:2", "one host"),
        ("redis://:canary@127.0.0.1/0?db=canary", "after `?`"),
        ("", "must start with redis://"),
    ] {
        let runtime = app(json!({"addressFrom": secret_key("redis", "url")})).with("secret/redis/url", url).serve();
        assert_waits(&runtime, "RedisUnreachable", &["trigger.addressFrom", "key url of Secret redis", part]);
        assert!(!runtime.log().contains("canary"), "{}", runtime.log());
    }
}

#[test]
fn a_missing_secret_key_is_named_and_used_once_it_is_there() {
    let redis = Redis::builder().password("sesame").start();
    let trigger = json!({"address": redis.address(), "passwordFrom": secret_key("redis", "password")});
    let app = app(trigger).with("secret/redis/password", "sesame");
    assert_eq!(app.prepare().code, 0);
    app.remove("secret/redis/password");
    let runtime = Runtime::start(&mut app.serve_command());
    assert_waits(&runtime, "MissingReference", &["Secret redis", "key password"]);
    app.set("secret/redis/password", "sesame");
    assert_answers(&runtime, &redis, "in");
}

#[test]
fn a_rotated_password_is_used_at_the_next_connect() {
    let redis = Redis::builder().line("user anna on >one ~* &* +@all").start();
    let trigger = json!({"address": redis.address(), "username": "anna", "passwordFrom": secret_key("redis", "password")});
    let app = app(trigger).with("secret/redis/password", "one");
    let runtime = app.serve();
    assert_answers(&runtime, &redis, "before");
    let _: String = redis.command(&["ACL", "SETUSER", "anna", "resetpass", ">two"]);
    app.set("secret/redis/password", "two");
    let _: i64 = redis.command(&["CLIENT", "KILL", "USER", "anna"]);
    runtime.wait_for_message("ready again");
    assert_answers(&runtime, &redis, "after");
}

#[test]
fn a_database_is_selected_and_one_that_is_not_there_is_refused() {
    let redis = Redis::start();
    let at = |database: u32| app(json!({"address": format!("{}/{database}", redis.address())}));
    let runtime = at(3).serve();
    assert_answers(&runtime, &redis, "in three");
    let clients: String = redis.command(&["CLIENT", "LIST"]);
    assert!(clients.contains(" db=3 "), "{clients}");

    let runtime = at(999).serve();
    assert_waits(&runtime, "RedisUnreachable", &["SELECT 999", "out of range"]);
}

// ---- TLS ------------------------------------------------------------------------------------------------------------

/// A trigger that trusts the authority in Secret `ca`, with more fields of `tls`.
fn tls_trigger(redis: &Redis, more: &Value) -> Value {
    let mut tls = json!({"caFrom": secret_key("ca", "ca.crt")});
    tls.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"address": redis.address(), "tls": tls})
}

#[test]
fn a_server_of_a_private_authority_is_trusted() {
    let authority = Authority::new("ours");
    let redis = Redis::builder().password("sesame").tls(&authority.server(&["127.0.0.1", "redis.example"]), None).start();
    let mut trigger = tls_trigger(&redis, &json!({}));
    trigger["passwordFrom"] = secret_key("redis", "password");
    let runtime = app(trigger).with("secret/ca/ca.crt", authority.certificate()).with("secret/redis/password", "sesame").serve();
    assert_answers(&runtime, &redis, "encrypted");
}

#[test]
fn a_server_that_cannot_be_trusted_is_not_spoken_to() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let redis = Redis::builder().tls(&theirs.server(&["127.0.0.1"]), None).start();
    let app_trusting_ours = app(tls_trigger(&redis, &json!({}))).with("secret/ca/ca.crt", ours.certificate());
    let runtime = app_trusting_ours.serve();
    assert_waits(&runtime, "RedisUnreachable", &[&redis.address(), "UnknownIssuer", "trigger.tls.caFrom"]);
    // A corrected authority needs no restart either.
    app_trusting_ours.set("secret/ca/ca.crt", theirs.certificate());
    assert_answers(&runtime, &redis, "trusted");

    let without_authority = app(json!({"address": redis.address()})).serve();
    assert_waits(&without_authority, "RedisUnreachable", &["UnknownIssuer", "trigger.tls.caFrom"]);
}

#[test]
fn a_certificate_for_another_host_is_refused() {
    let authority = Authority::new("ours");
    let redis = Redis::builder().tls(&authority.server(&["redis.example"]), None).start();
    let runtime = app(tls_trigger(&redis, &json!({}))).with("secret/ca/ca.crt", authority.certificate()).serve();
    assert_waits(&runtime, "RedisUnreachable", &["not valid for name", "redis.example", "name a host in the address"]);
}

#[test]
fn mutual_tls_presents_the_clients_certificate() {
    let authority = Authority::new("ours");
    let redis = Redis::builder().tls(&authority.server(&["127.0.0.1"]), Some(&authority)).start();
    let client = authority.client("app");
    let trigger = tls_trigger(&redis, &json!({"clientCertificateFrom": {"secretName": "client"}}));
    let with_client = app(trigger)
        .with("secret/ca/ca.crt", authority.certificate())
        .with("secret/client/tls.crt", &client.certificate)
        .with("secret/client/tls.key", &client.key);
    let runtime = with_client.serve();
    assert_answers(&runtime, &redis, "mutual");

    let runtime = app(tls_trigger(&redis, &json!({}))).with("secret/ca/ca.crt", authority.certificate()).serve();
    assert_waits(&runtime, "RedisAuthFailed", &[&redis.address(), "CertificateRequired", "trigger.tls.clientCertificateFrom"]);

    let strangers = Authority::new("strangers").client("app");
    with_client.set("secret/client/tls.crt", &strangers.certificate);
    with_client.set("secret/client/tls.key", &strangers.key);
    let runtime = Runtime::start(&mut with_client.serve_command());
    assert_waits(&runtime, "RedisAuthFailed", &[&redis.address(), "trigger.tls.clientCertificateFrom"]);
}

#[test]
fn tls_settings_are_never_dropped_for_an_address_that_turns_out_to_be_plain() {
    let redis = Redis::start();
    let trigger = json!({"addressFrom": secret_key("redis", "url"), "tls": {"caFrom": secret_key("ca", "ca.crt")}});
    let runtime = app(trigger).with("secret/redis/url", redis.address()).with("secret/ca/ca.crt", "any").serve();
    assert_waits(&runtime, "RedisUnreachable", &["trigger.tls", "key url of Secret redis", "rediss://"]);
}

#[test]
fn certificates_that_are_none_are_named() {
    let authority = Authority::new("ours");
    let redis = Redis::builder().tls(&authority.server(&["127.0.0.1"]), None).start();
    let runtime = app(tls_trigger(&redis, &json!({}))).with("secret/ca/ca.crt", "canary").serve();
    assert_waits(&runtime, "RedisUnreachable", &["trigger.tls.caFrom", "key ca.crt of Secret ca", "no PEM certificate"]);

    let client = authority.client("app");
    for (certificate, key, parts) in [
        ("canary", client.key.as_str(), &["trigger.tls.clientCertificateFrom", "key tls.crt of Secret client", "no PEM certificate"][..]),
        (
            client.certificate.as_str(),
            "canary",
            &["trigger.tls.clientCertificateFrom", "key tls.key of Secret client", "no PEM private key"],
        ),
        (client.certificate.as_str(), authority.client("other").key.as_str(), &["trigger.tls.clientCertificateFrom", "Secret client"]),
    ] {
        let app = app(tls_trigger(&redis, &json!({"clientCertificateFrom": {"secretName": "client"}})))
            .with("secret/ca/ca.crt", authority.certificate())
            .with("secret/client/tls.crt", certificate)
            .with("secret/client/tls.key", key);
        let runtime = app.serve();
        assert_waits(&runtime, "RedisUnreachable", parts);
        assert!(!runtime.log().contains("canary"));
    }
}

#[test]
fn tls_to_a_plain_port_and_plain_to_a_tls_port_are_told_apart_from_silence() {
    let authority = Authority::new("ours");
    let plain = Redis::start();
    let runtime = app(json!({"address": plain.address().replace("redis://", "rediss://")})).serve();
    assert_waits(&runtime, "RedisUnreachable", &["does not speak TLS"]);

    let encrypted = Redis::builder().tls(&authority.server(&["127.0.0.1"]), None).start();
    let runtime = app(json!({"address": encrypted.address().replace("rediss://", "redis://")})).serve();
    assert_waits(&runtime, "RedisUnreachable", &[&format!("127.0.0.1:{}", encrypted.port())]);
}

// ---- Connections ----------------------------------------------------------------------------------------------------

#[test]
fn an_app_that_was_there_before_redis_waits_for_it() {
    let port = ports::free();
    let address = format!("redis://127.0.0.1:{port}");
    let runtime = app(json!({"address": address})).serve();
    assert_waits(&runtime, "RedisUnreachable", &[&address, "refused"]);
    let redis = Redis::builder().port(port).start();
    assert_answers(&runtime, &redis, "at last");
    let metrics = runtime.scrape();
    // What was never there was not lost.
    assert_eq!((metrics.sum("spinredis_reconnects_total", &[]), metrics.sum("spinredis_outage_seconds_total", &[])), (0.0, 0.0));
}

#[test]
fn a_redis_that_dies_and_comes_back_is_subscribed_again() {
    let mut redis = Redis::start();
    let runtime = app(redis.trigger()).serve();
    let id = runtime.id();
    assert_answers(&runtime, &redis, "before");
    redis.kill();
    assert_waits(&runtime, "RedisUnreachable", &[&redis.address()]);
    redis.start_again();
    runtime.wait_for_message("ready again: what was published meanwhile is lost");
    assert_answers(&runtime, &redis, "after");
    redis.stop();
    assert_waits(&runtime, "RedisUnreachable", &[&redis.address()]);
    redis.start_again();
    assert_answers(&runtime, &redis, "again");

    let metrics = runtime.scrape();
    assert_eq!(metrics.sum("spinredis_reconnects_total", &[]), 2.0);
    assert!(metrics.sum("spinredis_outage_seconds_total", &[]) > 0.0);
    assert_eq!((metrics.sum("spinredis_subscribed", &[]), runtime.id()), (1.0, id));
    runtime.wait_for_metric(HANDLED, &[], 3.0);
}

#[test]
fn a_server_that_is_not_redis_is_said_to_be_so() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("redis://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let runtime = app(json!({"address": address})).serve();
    assert_waits(&runtime, "RedisUnreachable", &[&address, "not Redis"]);
}

#[test]
fn a_host_that_does_not_exist_is_named() {
    let runtime = app(json!({"address": "redis://redis.invalid:6379"})).serve();
    assert_waits(&runtime, "RedisUnreachable", &["redis://redis.invalid:6379"]);
}

#[test]
fn a_payload_over_8_mib_is_skipped_and_the_next_one_handled() {
    let redis = Redis::start();
    let runtime = app(redis.trigger()).serve();
    runtime.ready();
    redis.publish("messages", vec![b'x'; (8 << 20) + 1]);
    redis.publish("messages", "next");
    runtime.wait_for_guest("hello", "Got message: next");
    runtime.wait_for_metric(HANDLED, &[], 1.0);
    assert_eq!(runtime.metric(DROPPED, &[("reason", "too_large")]), 1.0);
    let entry = runtime.wait_for_message("larger than a message may be");
    assert_eq!((&entry["channel"], &entry["length"]), (&json!("messages"), &json!((8 << 20) + 1)));
    assert_eq!(runtime.metric("spinredis_reconnects_total", &[]), 0.0);
}

// ---- Secrets --------------------------------------------------------------------------------------------------------

#[test]
fn secrets_are_seen_nowhere() {
    let redis = Redis::builder().line("user anna on >canary-password ~* &* +@all").start();
    let components = json!([{
        "id": "hello", "channels": ["messages"], "source": source("hello.wat"),
        "env": [{"name": "TOKEN", "valueFrom": secret_key("api", "token")}],
    }]);
    let by_fields = json!({"address": redis.address(), "username": "anna", "passwordFrom": secret_key("redis", "password")});
    let by_url = json!({"addressFrom": secret_key("redis", "password")});
    let url = |password: &str| format!("redis://anna:{password}@127.0.0.1:{}", redis.port());
    for (trigger, wrong, right) in
        [(by_fields, "canary-wrong".to_owned(), "canary-password".to_owned()), (by_url, url("canary-wrong"), url("canary-password"))]
    {
        let app = App::new(trigger, components.clone()).with("secret/api/token", "canary-token").with("secret/redis/password", wrong);
        let prepared = app.prepare();
        let mut runtime = Runtime::start(app.serve_command().env("SPINREDIS_LOG", "trace"));
        let refused = runtime.wait_for_reason("RedisAuthFailed");
        app.set("secret/redis/password", right);
        assert_answers(&runtime, &redis, "in");
        let mut seen = vec![prepared.log, prepared.report.to_string(), refused];
        seen.extend(["/status", "/readyz", "/metrics", "/healthz"].map(|path| runtime.get(path).1));
        seen.push(String::from_utf8_lossy(&fs::read(format!("/proc/{}/cmdline", runtime.id())).unwrap()).into_owned());
        runtime.terminate();
        assert_eq!(runtime.wait(), 0);
        seen.push(runtime.log());
        for text in seen {
            assert!(!text.contains("canary"), "a secret is in:\n{text}");
        }
    }
}
