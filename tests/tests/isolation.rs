//! One component's misbehaviour is its own: those beside it, the process and its health port never feel it.

use std::{
    fs,
    io::{self, Read, Write},
    net::TcpListener,
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use spinredis_tests::{
    app::{App, Prepared},
    guests::{self, source},
    metrics::{DROPPED, FAILED, HANDLED, IN_FLIGHT, QUEUED, RECEIVED},
    redis::Redis,
    runtime::Runtime,
    wait::eventually,
};

/// What `/readyz` may take, whatever guests do.
const HEALTH_WITHIN: Duration = Duration::from_millis(100);
/// What a message to a good component may take beside bad ones, who share a machine that is perhaps busy.
const NEIGHBOUR_WITHIN: Duration = Duration::from_secs(5);

/// What a component may log at once, and then in each second, in bytes.
const LOG_BURST: usize = 4 << 20;
/// See [`LOG_BURST`].
const LOG_PER_SECOND: usize = 1 << 20;

/// A component that gets the channel of its own name, with more fields.
fn component(id: &str, source: Value, more: Value) -> Value {
    let mut component = json!({"id": id, "channels": [id], "source": source});
    component.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    component
}

/// A guest that was built, as a key of the ConfigMap `built`.
fn built(name: &str) -> Value {
    json!({"configMap": {"name": "built", "key": name}})
}

/// An app with some of the guests that were built.
fn app(redis: &Redis, components: Value, names: &[&str]) -> App {
    let app = App::new(redis.trigger(), components);
    for name in names {
        app.set(&format!("configmap/built/{name}"), guests::built(name));
    }
    app
}

/// Publishes to a good component and waits until it has handled the message. Gives the time from one to the other.
fn round_trip(redis: &Redis, runtime: &Runtime, text: &str) -> Duration {
    let published = Instant::now();
    redis.publish("neighbour", text);
    runtime.wait_for_guest("neighbour", &format!("Got message: {text}"));
    published.elapsed()
}

/// Memory that a process has in RAM, in bytes: VmRSS of proc(5).
fn resident(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

// ---- Guests that misbehave ------------------------------------------------------------------------------------------

#[test]
fn a_good_component_handles_everything_beside_bad_ones() {
    let redis = Redis::start();
    let short = || json!({"timeout": "300ms"});
    let bad = [
        ("trap", "trap.wat", json!({}), "trap", "unreachable"),
        ("loop", "loop.wat", short(), "timeout", "no answer within 300ms"),
        ("sleep", "sleep.wat", short(), "timeout", "no answer within 300ms"),
        ("start", "bomb-start.wat", short(), "timeout", "no answer within 300ms"),
        ("memory", "memory.wat", json!({"memoryLimit": "64Mi"}), "out_of_memory", "memoryLimit of 67108864 bytes"),
        ("table", "table.wat", json!({}), "trap", "unreachable"),
        ("instances", "instances.wat", json!({}), "trap", "instance count"),
    ];
    let mut components: Vec<Value> = bad.iter().map(|(id, guest, more, ..)| component(id, source(guest), more.clone())).collect();
    components.push(component("flood", source("flood.wat"), json!({})));
    // These are at it from the first to the last message.
    components.push(component("forever", source("loop.wat"), json!({"timeout": "1h"})));
    components.push(component("forever-start", source("bomb-start.wat"), json!({"timeout": "1h"})));
    components.push(component("neighbour", source("hello.wat"), json!({})));
    let app = app(&redis, json!(components), &[]);
    let runtime = app.run();
    for id in ["forever", "forever-start"] {
        redis.publish(id, "");
        runtime.wait_for_metric(IN_FLIGHT, &[("component", id)], 1.0);
    }

    let mut slowest = Duration::ZERO;
    for round in 0..10 {
        for (id, ..) in &bad {
            redis.publish(id, "");
        }
        redis.publish("flood", "");
        for n in 0..5 {
            slowest = slowest.max(round_trip(&redis, &runtime, &format!("{round}.{n}")));
        }
        runtime.scrape().assert_balanced();
    }
    assert!(slowest < NEIGHBOUR_WITHIN, "a message to the neighbour took {slowest:?}");

    for (id, _, _, reason, words) in &bad {
        runtime.wait_for_metric(FAILED, &[("component", id), ("reason", reason)], 10.0);
        let failure = runtime.eventually("the failure is logged", || {
            let mut entries = runtime.entries();
            entries.retain(|entry| entry["component"] == *id && entry["reason"] == *reason);
            if entries.len() == 10 { Ok(entries.swap_remove(0)) } else { Err(format!("{id} has {} failures", entries.len())) }
        });
        assert!(failure["message"].as_str().unwrap().contains(words), "`{words}` in {failure}");
    }
    runtime.wait_for_metric(HANDLED, &[("component", "flood")], 10.0);
    runtime.wait_for_metric(HANDLED, &[("component", "neighbour")], 50.0);
    let metrics = runtime.scrape();
    metrics.assert_balanced();
    assert_eq!((metrics.sum(FAILED, &[]), metrics.sum(DROPPED, &[]), metrics.sum(IN_FLIGHT, &[])), (70.0, 0.0, 2.0));
    assert_eq!(runtime.get("/readyz").0, 200);
}

#[test]
fn what_a_guest_took_is_given_back_when_its_call_ends() {
    let redis = Redis::start();
    let bad = [("memory", "memory.wat", "out_of_memory"), ("table", "table.wat", "trap"), ("instances", "instances.wat", "trap")];
    let mut components: Vec<Value> = bad.iter().map(|(id, guest, _)| component(id, source(guest), json!({}))).collect();
    components.push(component("neighbour", source("hello.wat"), json!({})));
    let runtime = app(&redis, json!(components), &[]).run();
    let fail = |total: u32| {
        for (id, ..) in bad {
            redis.publish_all(id, (0..total).map(|_| String::new()));
        }
        for (id, _, reason) in bad {
            let labels = [("component", id), ("reason", reason)];
            runtime.eventually("all fail", || match runtime.metric(FAILED, &labels) {
                failed if failed >= f64::from(total) => Ok(()),
                failed => Err(format!("{failed} of {id}")),
            });
        }
        runtime.wait_for_metric(IN_FLIGHT, &[], 0.0);
        runtime.wait_for_metric(QUEUED, &[], 0.0);
        resident(runtime.id())
    };
    let first = fail(5);
    let last = fail(100);
    // One that is kept of the 100 that take 128 MiB would be seen.
    assert!(last < first + (96 << 20), "{first} bytes after a few failures, {last} after 300 more");
    round_trip(&redis, &runtime, "still here");
}

#[test]
fn a_component_that_floods_call_after_call_is_held_to_a_rate() {
    let redis = Redis::start();
    let runtime = app(&redis, json!([component("flood", source("flood.wat"), json!({}))]), &[]).run();
    let started = Instant::now();
    redis.publish_all("flood", (0..200).map(|_| String::new()));
    runtime.wait_for_metric(HANDLED, &[], 200.0);
    // What a line costs beside its text counts too: these are short.
    let logged: usize = runtime.guest_lines("flood").iter().map(|line| line.len() + 128).sum();
    let allowed = LOG_BURST + LOG_PER_SECOND * (started.elapsed().as_secs() as usize + 1);
    assert!(logged <= allowed, "{logged} bytes of some 29 MB were logged, and {allowed} are allowed");
    runtime.wait_for_message("bytes more were not logged");
}

#[test]
fn every_slot_looping_delays_neither_health_nor_receiving() {
    let redis = Redis::start();
    // Guest code loops in every form of guest there is: where each yields, and to whom, differs.
    let forms = [
        ("sync", source("loop.wat")),
        ("start", source("bomb-start.wat")),
        ("legacy", source("legacy.wat")),
        ("async", built("rust-sdk7")),
        ("trigger", built("trigger")),
        ("command", built("rust-command")),
    ];
    let slots = thread::available_parallelism().unwrap().get() * 2;
    let ids: Vec<(String, &Value)> =
        forms.iter().cycle().take(slots.max(forms.len())).enumerate().map(|(n, (form, source))| (format!("{form}-{n}"), source)).collect();
    let mut components: Vec<Value> = ids.iter().map(|(id, source)| component(id, (*source).clone(), json!({"timeout": "1h"}))).collect();
    components.push(component("brief", source("loop.wat"), json!({"timeout": "300ms"})));
    components.push(component("neighbour", source("hello.wat"), json!({})));
    let runtime = app(&redis, json!(components), &["rust-sdk7", "trigger", "rust-command"]).run();
    for (id, _) in &ids {
        redis.publish(id, "loop");
        runtime.wait_for_metric(IN_FLIGHT, &[("component", id)], 1.0);
    }

    // Three tries, since other programs may take a machine's time too; a runtime that is held up is held up each time.
    let slowest_answer = || {
        (0..100).fold(Duration::ZERO, |slowest, _| {
            let asked = Instant::now();
            assert_eq!(runtime.get("/readyz").0, 200);
            slowest.max(asked.elapsed())
        })
    };
    let tries: Vec<Duration> = (0..3).map(|_| slowest_answer()).collect();
    assert!(tries.iter().any(|slowest| *slowest < HEALTH_WITHIN), "the slowest of 100 answers of /readyz, three times: {tries:?}");

    let waiting = ids[0].0.as_str();
    let labels = [("component", waiting)];
    for round in 1..=20 {
        redis.publish_all(waiting, (0..100).map(|n| n.to_string()));
        runtime.wait_for_metric(RECEIVED, &labels, f64::from(round) * 100.0 + 1.0);
    }
    assert_eq!(runtime.metric(QUEUED, &labels), 2000.0);
    for n in 0..20 {
        let took = round_trip(&redis, &runtime, &n.to_string());
        assert!(took < NEIGHBOUR_WITHIN, "a message to the neighbour took {took:?}");
    }
    // A deadline is kept among so many.
    let published = Instant::now();
    redis.publish("brief", "");
    runtime.wait_for_metric(FAILED, &[("component", "brief"), ("reason", "timeout")], 1.0);
    assert!(published.elapsed() < NEIGHBOUR_WITHIN, "a deadline of 300 ms took {:?}", published.elapsed());

    runtime.wait_for_metric(HANDLED, &[("component", "neighbour")], 20.0);
    let metrics = runtime.scrape();
    metrics.assert_balanced();
    assert_eq!(metrics.sum(IN_FLIGHT, &[]), ids.len() as f64, "the loops ran all the time");
    assert_eq!((metrics.sum(FAILED, &[]), metrics.sum(DROPPED, &[])), (1.0, 0.0));
}

// ---- Guests that wait in a host call --------------------------------------------------------------------------------

/// A server that accepts connections, answers the first that it hears with `answer`, and then says nothing more. Tells when a
/// client has gone.
struct Silent {
    port: u16,
    gone: Receiver<()>,
}

impl Silent {
    fn start(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tell, gone) = mpsc::channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, tell) = (stream.unwrap(), tell.clone());
                thread::spawn(move || {
                    // What a client hears of it shows in what it does; here errors only mean that it has gone.
                    let _ = stream.read(&mut [0; 4096]);
                    let _ = stream.write_all(answer.as_bytes());
                    let _ = io::copy(&mut stream, &mut io::sink());
                    let _ = tell.send(());
                });
            }
        });
        Self { port, gone }
    }

    fn wait_until_the_client_is_gone(&self, what: &str) {
        eventually(&format!("{what}: the connection is closed"), || self.gone.try_recv().map_err(|error| error.to_string()));
    }
}

#[test]
fn a_guest_that_waits_in_a_host_call_is_stopped_by_its_deadline() {
    let redis = Redis::start();
    let silent = Silent::start("");
    let stalling = Silent::start("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
    let address = redis.address();
    let more = json!({
        "timeout": "700ms",
        "allowedOutboundHosts": [address, format!("*://127.0.0.1:{}", silent.port), format!("*://127.0.0.1:{}", stalling.port)],
    });
    let forms = ["conformance-sync", "conformance-async"];
    let mut components: Vec<Value> = forms.iter().map(|name| component(name, built(name), more.clone())).collect();
    components.push(component("neighbour", source("hello.wat"), json!({})));
    let runtime = app(&redis, json!(components), &forms).run();
    let (quiet, stalls) = (format!("127.0.0.1:{}", silent.port), format!("127.0.0.1:{}", stalling.port));

    for name in forms {
        let mut failures = 0.0;
        let mut times_out = |call: Value| {
            let started = Instant::now();
            redis.publish(name, call.to_string());
            runtime.wait_for_metric(IN_FLIGHT, &[("component", name)], 1.0);
            round_trip(&redis, &runtime, &format!("beside {name} {call}"));
            failures += 1.0;
            runtime.wait_for_metric(FAILED, &[("component", name), ("reason", "timeout")], failures);
            assert!(started.elapsed() >= Duration::from_millis(650), "{call} took only {:?}", started.elapsed());
            assert_eq!(runtime.metric(FAILED, &[("component", name)]), failures, "{call} of {name}: {}", runtime.log());
        };

        times_out(json!(["redis.execute", address, "BLPOP", {"binary": format!("queue-{name}")}, {"int64": 0}]));
        eventually("no client waits in Redis", || {
            let clients: String = redis.command(&["CLIENT", "LIST"]);
            if clients.contains("cmd=blpop") { Err(clients) } else { Ok(()) }
        });
        times_out(json!(["http.get", format!("http://{quiet}/")]));
        silent.wait_until_the_client_is_gone("an HTTP request without an answer");
        times_out(json!(["http.get", format!("http://{stalls}/")]));
        stalling.wait_until_the_client_is_gone("an HTTP request with half an answer");
        if name == "conformance-sync" {
            times_out(json!(["tcp.exchange", "127.0.0.1", silent.port, "hello?"]));
            silent.wait_until_the_client_is_gone("a TCP connection without an answer");
        }

        // No answer that a stopped call did not wait for goes to the next one.
        redis.command::<()>(&["SET", "key", "right"]);
        redis.command::<()>(&["LPUSH", &format!("queue-{name}"), "wrong"]);
        redis.publish(name, json!(["redis.get", address, "key"]).to_string());
        runtime.wait_for_guest(name, r#"{"ok":"right"}"#);
        runtime.wait_for_metric(HANDLED, &[("component", name)], 1.0);
    }
    let metrics = runtime.scrape();
    metrics.assert_balanced();
    assert_eq!(metrics.sum(FAILED, &[("reason", "timeout")]), 7.0);
}

#[test]
fn many_guests_that_wait_hold_up_nobody() {
    let redis = Redis::start();
    let ids: Vec<String> = (0..32).map(|n| format!("sleep-{n}")).collect();
    let mut components: Vec<Value> = ids.iter().map(|id| component(id, source("sleep.wat"), json!({"timeout": "10m"}))).collect();
    components.push(component("neighbour", source("hello.wat"), json!({})));
    let runtime = app(&redis, json!(components), &[]).run();
    for id in &ids {
        redis.publish(id, "");
    }
    runtime.wait_for_metric(IN_FLIGHT, &[], 32.0);
    for n in 0..20 {
        let took = round_trip(&redis, &runtime, &n.to_string());
        assert!(took < NEIGHBOUR_WITHIN, "a message to the neighbour took {took:?}");
    }
}

// ---- What is refused before it can run ------------------------------------------------------------------------------

fn prepare(guest: &str, more: Value) -> Prepared {
    App::new(json!({"address": "redis://127.0.0.1:1"}), json!([component("bad", source(guest), more)])).prepare()
}

#[test]
fn a_memory_that_starts_beyond_the_limit_is_refused() {
    for (guest, more, wanted, limit) in [
        ("memory-4g.wat", json!({}), 4_u64 << 30, 128_u64 << 20),
        ("memory-4g.wat", json!({"memoryLimit": "4095Mi"}), 4 << 30, 4095 << 20),
        ("memory-10g.wat", json!({}), 10 << 30, 128 << 20),
        ("memory-10g.wat", json!({"memoryLimit": "4Gi"}), 10 << 30, 4 << 30),
    ] {
        let prepared = prepare(guest, more);
        let (reason, message) = prepared.problem();
        assert_eq!(reason, "Invalid", "{message}");
        for part in ["component bad", &format!("{wanted} bytes"), &format!("memoryLimit is {limit} bytes"), "raise memoryLimit"] {
            assert!(message.contains(part), "`{part}` in {message}");
        }
    }
}

#[test]
fn a_memory_that_starts_at_the_limit_is_accepted() {
    let redis = Redis::start();
    let runtime = app(&redis, json!([component("large", source("memory-4g.wat"), json!({"memoryLimit": "4Gi"}))]), &[]).run();
    redis.publish("large", "");
    runtime.wait_for_metric(HANDLED, &[], 1.0);
}

#[test]
fn a_module_of_2022_that_imports_of_spin_is_refused_by_name() {
    let prepared = prepare("legacy-spin-import.wat", json!({}));
    let (reason, message) = prepared.problem();
    assert_eq!(reason, "UnsupportedImport", "{message}");
    for part in ["component bad", "outbound-redis", "publish", "docs/guests.md"] {
        assert!(message.contains(part), "`{part}` in {message}");
    }
}
