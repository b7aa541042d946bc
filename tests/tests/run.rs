//! `spinredis run` with a real Redis: what a message meets, from the channel to the handler's outcome.

use std::{fs, process::Command, thread};

use serde_json::{Value, json};
use spinredis_tests::{
    app::{App, NAMESPACE, assert_no_stack_trace, manifest, run_command},
    guests::{self, source},
    metrics::{DROPPED, FAILED, HANDLED, IN_FLIGHT, QUEUED, RECEIVED},
    redis::Redis,
    runtime::{Runtime, binary},
};

/// A component that gets one channel, named after itself.
fn component(id: &str, guest: &str) -> Value {
    json!({"id": id, "channels": [id], "source": source(guest)})
}

/// The same with more fields.
fn component_with(id: &str, guest: &str, more: Value) -> Value {
    let mut component = component(id, guest);
    component.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    component
}

fn run(redis: &Redis, components: Value) -> Runtime {
    App::new(redis.trigger(), components).run()
}

// ---- Messages -------------------------------------------------------------------------------------------------------

#[test]
fn a_published_message_is_handled_and_counted() {
    let redis = Redis::start();
    let runtime = run(&redis, json!([component("hello", "hello.wat")]));
    assert_eq!(redis.publish("hello", "hi there"), 1);
    let entry = runtime.wait_for_guest("hello", "Got message: hi there");
    assert_eq!((&entry["channel"], &entry["stream"]), (&json!("hello"), &json!("stdout")));
    let labels = [("component", "hello"), ("subscription", "hello")];
    runtime.wait_for_metric(HANDLED, &labels, 1.0);
    assert_eq!(runtime.metric(RECEIVED, &labels), 1.0);
    assert_eq!(runtime.metric("spinredis_handler_duration_seconds_count", &[("component", "hello")]), 1.0);
    runtime.scrape().assert_balanced();
}

#[test]
fn log_lines_are_text_unless_json_is_asked_for() {
    let redis = Redis::start();
    let app = App::new(redis.trigger(), json!([component("hello", "hello.wat")]));
    let runtime = Runtime::start(Command::new(binary()).arg("run").arg("-f").arg(app.file()).arg("--refs").arg(app.refs()));
    runtime.wait_for_line("ready: subscribed");
    redis.publish("hello", "hi");
    let line = runtime.wait_for_line("Got message: hi");
    assert!(line.contains("component=hello") && line.contains("channel=hello") && !line.contains('{'), "{line}");
}

#[test]
fn payloads_of_any_content_and_size_reach_the_handler() {
    let redis = Redis::start();
    let runtime = run(&redis, json!([component("hello", "hello.wat")]));
    redis.publish("hello", "");
    runtime.wait_for_guest("hello", "Got message: ");
    redis.publish("hello", "grüße 👋 \"quoted\" \\ \t");
    runtime.wait_for_guest("hello", "Got message: grüße 👋 \"quoted\" \\ \t");
    redis.publish("hello", [0x66, 0xff, 0x00, 0x67]);
    runtime.wait_for_guest("hello", "Got message: f\u{fffd}\0g");
    redis.publish("hello", vec![b'x'; 1 << 20]);
    let entry = runtime.wait_for_message("xxxx");
    let line = entry["message"].as_str().unwrap();
    assert!(line.starts_with("Got message: xxx") && line.ends_with("bytes more)"), "{}", &line[line.len() - 100..]);
    runtime.wait_for_metric(HANDLED, &[], 4.0);
}

#[test]
fn channels_and_patterns_reach_the_components_that_list_them() {
    let redis = Redis::start();
    let runtime = run(
        &redis,
        json!([
            {"id": "both", "channels": ["orders.eu"], "patterns": ["orders.*"], "source": source("hello.wat")},
            {"id": "exact", "channels": ["orders.eu", "größe, mit: allem"], "source": source("hello.wat")},
            {"id": "pattern", "patterns": ["orders.?s"], "source": source("hello.wat")},
        ]),
    );
    assert_eq!(runtime.status()["wanted"], 4);
    redis.publish("orders.eu", "one");
    redis.publish("orders.us", "two");
    redis.publish("größe, mit: allem", "three");
    redis.publish("elsewhere", "nobody");

    let handled =
        |component: &str, subscription: &str| runtime.metric(HANDLED, &[("component", component), ("subscription", subscription)]);
    runtime.wait_for_metric(HANDLED, &[], 6.0);
    // A component that lists a channel and a matching pattern gets the message for each.
    assert_eq!((handled("both", "orders.eu"), handled("both", "orders.*")), (1.0, 2.0));
    assert_eq!((handled("exact", "orders.eu"), handled("exact", "größe, mit: allem")), (1.0, 1.0));
    assert_eq!(handled("pattern", "orders.?s"), 1.0);
    assert_eq!(runtime.guest_lines("pattern"), ["Got message: two"]);
    let entry = runtime.wait_for_guest("pattern", "Got message: two");
    assert_eq!(entry["channel"], "orders.us", "the log has the channel, not the pattern");
    runtime.scrape().assert_balanced();
}

#[test]
fn a_components_messages_are_handled_in_order() {
    let redis = Redis::start();
    let runtime = run(&redis, json!([component("hello", "hello.wat")]));
    redis.publish_all("hello", (0..500).map(|n| n.to_string()));
    runtime.wait_for_guest("hello", "Got message: 499");
    let expected: Vec<String> = (0..500).map(|n| format!("Got message: {n}")).collect();
    assert_eq!(runtime.guest_lines("hello"), expected);
}

#[test]
fn guests_of_both_generations_of_spin_sdks_answer() {
    let redis = Redis::start();
    let uploaded = |id: &str| json!({"id": id, "channels": ["all"], "source": {"configMap": {"name": "built", "key": id}}});
    let components = json!([uploaded("sdk5"), uploaded("sdk7"), {"id": "async", "channels": ["all"], "source": source("async.wat")}]);
    let app = App::new(redis.trigger(), components)
        .with("configmap/built/sdk5", guests::built("rust-sdk5"))
        .with("configmap/built/sdk7", guests::built("hello"));
    let runtime = app.run();
    for text in ["first", "second", "grüße 👋"] {
        redis.publish("all", text);
        runtime.wait_for_guest("sdk5", &format!("got {} bytes", text.len()));
        for component in ["sdk7", "async"] {
            runtime.wait_for_guest(component, &format!("Got message: {text}"));
        }
    }
    runtime.wait_for_metric(HANDLED, &[], 9.0);
}

// ---- Where things come from -----------------------------------------------------------------------------------------

#[test]
fn a_config_map_and_a_secret_in_the_same_file_are_used() {
    let redis = Redis::builder().password("sesame").start();
    let trigger = json!({"address": redis.address(), "passwordFrom": {"secretKeyRef": {"name": "redis", "key": "password"}}});
    let config_map =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine"}, "data": {"guest": guests::wat("hello.wat")}});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "redis"}, "stringData": {"password": "sesame"}});
    let components = json!([{"id": "hello", "channels": ["hello"], "source": {"configMap": {"name": "mine", "key": "guest"}}}]);
    let app = App::from_text(&format!("{config_map}\n---\n{secret}\n---\n{}\n", manifest(trigger, components)));
    let runtime = Runtime::start(&mut run_command(&app.file()));
    runtime.ready();
    redis.publish("hello", "hi");
    runtime.wait_for_guest("hello", "Got message: hi");
}

#[test]
fn a_local_file_takes_the_place_of_a_source() {
    let redis = Redis::start();
    let components = json!([{"id": "hello", "channels": ["hello"], "source": {"oci": {"reference": "registry.invalid/hello:v1"}}}]);
    let app = App::new(redis.trigger(), components);
    let file = guests::repository().join("examples/hello/hello.wat");
    let runtime = Runtime::start(run_command(&app.file()).arg("--component").arg(format!("hello={}", file.display())));
    runtime.ready();
    redis.publish("hello", "hi");
    runtime.wait_for_guest("hello", "Got message: hi");
}

#[test]
fn references_come_from_files_and_environment_variables() {
    let redis = Redis::builder().password("sesame").start();
    let trigger = json!({"address": redis.address(), "passwordFrom": {"secretKeyRef": {"name": "redis", "key": "password"}}});
    let app = App::new(trigger, json!([component("hello", "hello.wat")]));
    let password = app.refs().join("password.txt");
    fs::write(&password, "sesame\n").unwrap();
    let wat = app.refs().join("configmap/guests/hello.wat");
    let with_references = |password: &str| {
        let mut command = run_command(&app.file());
        command.args(["--ref", password, "--ref", &format!("configmap/guests/hello.wat=@{}", wat.display())]);
        command.env("REDIS_PASSWORD", "sesame");
        command
    };
    for password in [format!("secret/redis/password=@{}", password.display()), "secret/redis/password=env:REDIS_PASSWORD".to_owned()] {
        let runtime = Runtime::start(&mut with_references(&password));
        runtime.ready();
        assert!(!runtime.log().contains("sesame"));
    }
}

#[test]
fn another_address_can_be_given_for_a_laptop() {
    let redis = Redis::start();
    let app = App::new(json!({"address": "redis://redis.default.svc:6379"}), json!([component("hello", "hello.wat")]));
    let runtime = Runtime::start(app.run_command().args(["--address", &redis.address()]));
    runtime.ready();
}

#[test]
fn what_is_wrong_with_a_command_is_said_in_one_sentence() {
    let redis = Redis::start();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let components = json!([{"id": "hello", "channels": ["hello"], "source": source("hello.wat")}]);
    let app = App::new(redis.trigger(), components);
    let wrong = App::new(json!({"address": "http://redis"}), json!([component("hello", "hello.wat")]));
    let missing_secret = App::new(
        json!({"address": redis.address(), "passwordFrom": {"secretKeyRef": {"name": "redis", "key": "password"}}}),
        json!([component("hello", "hello.wat")]),
    );
    let with = |app: &App, args: &[&str]| {
        let mut command = app.run_command();
        command.args(args);
        command
    };
    let no_file = || run_command(&app.refs().join("none.yaml"));
    for (mut command, code, parts) in [
        (no_file(), 1, &["none.yaml", "No such file"][..]),
        (with(&wrong, &[]), 1, &["app.yaml", "address must start with redis://"]),
        (with(&missing_secret, &[]), 1, &["key password of Secret redis"]),
        (with(&app, &["--component", "other=a.wat"]), 1, &["--component other", "it has hello"]),
        (with(&app, &["--component", "hello=none.wat"]), 1, &["component hello", "none.wat", "No such file"]),
        (with(&app, &["--component", "hello"]), 2, &["write ID=PATH"]),
        (with(&app, &["--ref", "secret/redis/password=@none.txt"]), 1, &["none.txt", "No such file"]),
        (with(&app, &["--ref", "secret/redis/password=env:NOT_SET_ANYWHERE"]), 1, &["NOT_SET_ANYWHERE is not set"]),
        (with(&app, &["--ref", "secret/redis/password=hunter2"]), 1, &["KIND/NAME/KEY=@FILE", "never an argument"]),
        (with(&app, &["--ref", "pod/redis/password=@a"]), 1, &["pod/redis/password", "secret or configmap"]),
        (with(&app, &["--docker-config", "none.json"]), 1, &["none.json", "No such file"]),
    ] {
        let mut runtime = Runtime::start(&mut command);
        let found = runtime.wait();
        let log = runtime.log();
        assert_eq!(found, code, "{log}");
        assert_no_stack_trace(&log);
        for part in parts {
            assert!(log.contains(part), "`{part}` in:\n{log}");
        }
    }
    let mut command = Command::new(binary());
    command.arg("run").arg("-f").arg(app.file()).arg("--refs").arg(app.refs()).args(["--listen", &taken]);
    let mut runtime = Runtime::start(&mut command);
    assert_eq!(runtime.wait(), 1);
    assert!(runtime.log().contains(&format!("cannot listen on {taken}")), "{}", runtime.log());
}

#[test]
fn a_secret_given_as_an_argument_is_not_repeated() {
    let app = App::new(json!({"address": "redis://127.0.0.1:1"}), json!([component("hello", "hello.wat")]));
    let mut runtime = Runtime::start(app.run_command().args(["--ref", "secret/redis/password=hunter2"]));
    assert_eq!(runtime.wait(), 1);
    let log = runtime.log();
    assert!(log.contains("never an argument") && !log.contains("hunter2"), "{log}");
}

#[test]
fn environment_arguments_and_stderr_reach_the_guest_and_the_log() {
    let redis = Redis::start();
    let env = json!({
        "env": [
            {"name": "MODE", "value": "fast = furious"},
            {"name": "EMPTY", "value": ""},
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "api", "key": "token"}}},
            {"name": "REGION", "valueFrom": {"configMapKeyRef": {"name": "site", "key": "region"}}},
        ],
        "args": ["--verbose", "two words"],
    });
    let app = App::new(redis.trigger(), json!([component_with("env", "env.wat", env)]))
        .with("secret/api/token", "first")
        .with("configmap/site/region", "north");
    let runtime = app.run();
    redis.publish("env", "");
    let stderr = runtime.wait_for_guest("env", "this line goes to stderr");
    assert_eq!(stderr["stream"], "stderr");
    assert_eq!(
        runtime.guest_lines("env"),
        [
            "MODE=fast = furious",
            "EMPTY=",
            "TOKEN=first",
            "REGION=north",
            "arg: env",
            "arg: --verbose",
            "arg: two words",
            "this line goes to stderr"
        ]
    );

    // A changed Secret is seen by new instances without a restart, and a missing one is a failure that names it.
    app.set("secret/api/token", "second");
    runtime.eventually("the changed value is seen", || {
        redis.publish("env", "");
        let lines = runtime.guest_lines("env");
        if lines.iter().any(|line| line == "TOKEN=second") { Ok(()) } else { Err(lines.len().to_string()) }
    });
    app.remove("secret/api/token");
    runtime.eventually("the missing value is a failure", || {
        redis.publish("env", "");
        let failed = runtime.metric(FAILED, &[("reason", "environment")]);
        if failed > 0.0 { Ok(()) } else { Err(failed.to_string()) }
    });
    let entry = runtime.wait_for_message("Secret api or its key token does not exist");
    assert_eq!(entry["reason"], "environment");
}

// ---- Outcomes -------------------------------------------------------------------------------------------------------

#[test]
fn each_kind_of_failure_is_counted_and_the_next_message_is_handled() {
    let redis = Redis::start();
    let short = json!({"timeout": "300ms"});
    let runtime = run(
        &redis,
        json!([
            component("error", "error.wat"),
            component("trap", "trap.wat"),
            component_with("loop", "loop.wat", short.clone()),
            component_with("sleep", "sleep.wat", short),
            component_with("memory", "memory.wat", json!({"memoryLimit": "4Mi"})),
        ]),
    );
    for (component, reason, words) in [
        ("error", "guest_error", "the handler returned an error: error"),
        ("trap", "trap", "unreachable"),
        ("loop", "timeout", "no answer within 300ms"),
        ("sleep", "timeout", "no answer within 300ms"),
        ("memory", "out_of_memory", "memoryLimit of 4194304 bytes"),
    ] {
        redis.publish(component, "first");
        redis.publish(component, "second");
        runtime.wait_for_metric(FAILED, &[("component", component), ("reason", reason)], 2.0);
        let failures = runtime.eventually("both failures are logged", || {
            let mut entries = runtime.entries();
            entries.retain(|entry| entry["component"] == component && entry["reason"] == reason);
            if entries.len() == 2 { Ok(entries) } else { Err(entries.len().to_string()) }
        });
        assert!(failures[0]["message"].as_str().unwrap().contains(words), "{}", failures[0]);
        assert_eq!(failures[0]["channel"], component);
    }
    let metrics = runtime.scrape();
    assert_eq!((metrics.sum(FAILED, &[]), metrics.sum(HANDLED, &[])), (10.0, 0.0));
    metrics.assert_balanced();
    assert_eq!(runtime.get("/readyz").0, 200, "failing guests are no reason to get no messages");
}

#[test]
fn a_guest_within_its_memory_limit_works_and_one_byte_less_fails() {
    let redis = Redis::start();
    // hello.wat has one page of 64 KiB and takes more for a larger payload.
    let runtime = run(&redis, json!([component_with("hello", "hello.wat", json!({"memoryLimit": "128Ki"}))]));
    redis.publish("hello", vec![b'x'; (128 << 10) - 33]);
    runtime.wait_for_metric(HANDLED, &[], 1.0);
    redis.publish("hello", vec![b'x'; (128 << 10) - 32]);
    runtime.wait_for_metric(FAILED, &[("reason", "out_of_memory")], 1.0);
    redis.publish("hello", "small");
    runtime.wait_for_guest("hello", "Got message: small");
}

#[test]
fn a_looping_component_delays_neither_the_others_nor_the_health_port() {
    let redis = Redis::start();
    let runtime = run(
        &redis,
        json!([
            component("loop-a", "loop.wat"),
            component("loop-b", "loop.wat"),
            component("loop-c", "loop.wat"),
            component("hello", "hello.wat")
        ]),
    );
    for component in ["loop-a", "loop-b", "loop-c"] {
        redis.publish(component, "");
        runtime.wait_for_metric(IN_FLIGHT, &[("component", component)], 1.0);
    }
    for n in 0..20 {
        redis.publish("hello", n.to_string());
        runtime.wait_for_guest("hello", &format!("Got message: {n}"));
        assert_eq!(runtime.get("/healthz").0, 200);
        assert_eq!(runtime.get("/readyz").0, 200);
    }
    let metrics = runtime.scrape();
    assert_eq!(metrics.sum(FAILED, &[]), 0.0, "the loops ran all the time");
}

#[test]
fn a_flood_of_output_is_bounded() {
    let redis = Redis::start();
    let runtime = run(&redis, json!([component("flood", "flood.wat"), component("hello", "hello.wat")]));
    redis.publish("flood", "");
    runtime.wait_for_guest("flood", "line 999");
    let lines = runtime.guest_lines("flood");
    assert_eq!(lines.len(), 1001);
    assert!(lines[0].len() < 10_000 && lines[0].ends_with("bytes more)"), "a line of 1 MiB is cut, and has {}", lines[0].len());

    let line = "0123456789".repeat(100) + "\n";
    redis.publish("hello", line.repeat(1000));
    let entry = runtime.wait_for_message("bytes more were not logged");
    assert_eq!(entry["component"], "hello");
    let logged: usize = runtime.guest_lines("hello").iter().map(String::len).sum();
    assert!((200_000..300_000).contains(&logged), "{logged} bytes of 1 MB were logged");
    runtime.wait_for_metric(HANDLED, &[], 2.0);
}

// ---- The queue ------------------------------------------------------------------------------------------------------

#[test]
fn a_full_queue_drops_the_oldest_and_every_scrape_adds_up() {
    let redis = Redis::start();
    let runtime = run(&redis, json!([component("slow", "slow.wat")]));
    // 3000 messages of 3,900 bytes are more than the 8 MiB of the queue.
    let payload = |n: usize| format!("{n:04} {}", "x".repeat(3_895));
    thread::scope(|scope| {
        let publishing = scope.spawn(|| {
            for start in (0..3000).step_by(100) {
                redis.publish_all("slow", (start..start + 100).map(payload));
            }
        });
        let mut scrapes = 0;
        while scrapes < 50 || !publishing.is_finished() {
            runtime.scrape().assert_balanced();
            scrapes += 1;
        }
    });
    runtime.wait_for_metric(RECEIVED, &[], 3000.0);
    let metrics = runtime.scrape();
    metrics.assert_balanced();
    let dropped = metrics.sum(DROPPED, &[("reason", "queue_full")]);
    assert!(dropped > 100.0, "{dropped} of 3000 were dropped");
    assert_eq!(metrics.sum(DROPPED, &[]), dropped);
    assert!(metrics.sum("spinredis_queued_bytes", &[]) <= f64::from(8 << 20));
    assert!(metrics.sum("spinredis_oldest_queued_age_seconds", &[]) > 0.0);

    // What is handled next is what came after everything that was dropped: the oldest are missing, in one piece.
    runtime.eventually("the handled messages have a gap", || {
        let lines = runtime.guest_lines("slow");
        let numbers: Vec<u32> = lines.iter().map(|line| line["Done: ".len()..][..4].parse().unwrap()).collect();
        assert!(numbers.is_sorted(), "{numbers:?}");
        if numbers.windows(2).any(|pair| pair[1] - pair[0] > 50) { Ok(()) } else { Err(format!("{numbers:?}")) }
    });
}

#[test]
fn the_largest_payload_is_handled_although_it_fills_the_queue() {
    let redis = Redis::start();
    let runtime = run(&redis, json!([component("hello", "hello.wat")]));
    // With what it costs beside its 8 MiB it is more than the 8 MiB of the queue.
    redis.publish("hello", vec![b'x'; 8 << 20]);
    runtime.wait_for_metric(RECEIVED, &[], 1.0);
    runtime.wait_for_metric(HANDLED, &[], 1.0);
    runtime.scrape().assert_balanced();
}

// ---- The end --------------------------------------------------------------------------------------------------------

#[test]
fn sigterm_finishes_what_is_queued() {
    let redis = Redis::start();
    let mut runtime = run(&redis, json!([component("slow", "slow.wat")]));
    redis.publish_all("slow", (0..20).map(|n| n.to_string()));
    runtime.terminate();
    runtime.wait_for_message("stopping");
    assert_eq!(runtime.wait(), 0, "{}", runtime.log());
    let expected: Vec<String> = (0..20).map(|n| format!("Done: {n}")).collect();
    assert_eq!(runtime.guest_lines("slow"), expected, "{}", runtime.log());
    assert!(runtime.log().contains("drained: nothing is left"), "{}", runtime.log());
}

#[test]
fn a_stopping_process_is_unready_and_unsubscribed_while_it_drains() {
    let redis = Redis::start();
    let mut runtime = run(&redis, json!([component("slow", "slow.wat")]));
    redis.publish_all("slow", (0..20).map(|n| n.to_string()));
    runtime.wait_for_guest("slow", "Done: 0");
    runtime.terminate();
    assert!(runtime.unready().contains("stopping"));
    assert_eq!(runtime.get("/healthz").0, 200);
    runtime.eventually("it is unsubscribed", || match redis.publish("slow", "late") {
        0 => Ok(()),
        subscribers => Err(format!("{subscribers} subscribers")),
    });
    assert_eq!(runtime.wait(), 0);
    assert!(runtime.guest_lines("slow").contains(&"Done: 19".to_owned()), "{}", runtime.log());
}

#[test]
fn sigterm_ends_a_process_whose_guest_loops() {
    let redis = Redis::start();
    let mut runtime = run(&redis, json!([component_with("loop", "loop.wat", json!({"timeout": "300ms"}))]));
    redis.publish_all("loop", ["1", "2"].map(str::to_owned));
    runtime.wait_for_metric(IN_FLIGHT, &[], 1.0);
    runtime.terminate();
    assert_eq!(runtime.wait(), 0);
    let failures = runtime.entries().into_iter().filter(|entry| entry["reason"] == "timeout").count();
    assert_eq!(failures, 2, "{}", runtime.log());
}

#[test]
fn a_second_sigterm_ends_at_once_and_says_what_was_left() {
    let redis = Redis::start();
    let mut runtime = run(&redis, json!([component("loop", "loop.wat")]));
    redis.publish_all("loop", (0..5).map(|n| n.to_string()));
    runtime.wait_for_metric(QUEUED, &[], 4.0);
    runtime.terminate();
    runtime.wait_for_message("a second signal gives up what is left");
    let started = std::time::Instant::now();
    runtime.terminate();
    runtime.wait();
    assert!(started.elapsed().as_secs() < 15, "well before the 30 s of a drain");
    let entry = runtime.wait_for_message("messages were not handled");
    assert_eq!((&entry["component"], &entry["abandoned"]), (&json!("loop"), &json!(5)));
}

#[test]
fn sigterm_ends_a_process_without_redis() {
    let app = App::new(json!({"address": "redis://127.0.0.1:1"}), json!([component("hello", "hello.wat")]));
    let mut runtime = Runtime::start(&mut app.run_command());
    runtime.wait_for_message("cannot be reached");
    runtime.terminate();
    assert_eq!(runtime.wait(), 0, "{}", runtime.log());
}

#[test]
fn the_connection_is_named_after_the_app() {
    let redis = Redis::start();
    let app = App::new(redis.trigger(), json!([component("hello", "hello.wat")]));
    let runtime = Runtime::start(app.run_command().env("POD_NAME", "app-7d4b9"));
    runtime.ready();
    let clients: String = redis.command(&["CLIENT", "LIST"]);
    assert!(clients.contains(&format!(" name={NAMESPACE}/app/app-7d4b9 ")), "{clients}");
}
