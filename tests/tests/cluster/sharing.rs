//! Replicas that share messages, as an operator runs them: scaled, edited, drained from their node and given a new runtime under load, with
//! exact accounts. Each handler rejects its message, so the stream of dead letters is a ledger of what was handled, kept where no pod's end can touch it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::{Value, json};
use spinredis_tests::{
    chart, guests,
    kubernetes::{Namespace, app, cluster, condition, kubectl, kubectl_json},
    wait::{eventually, eventually_within},
};

use crate::chart as releases;

/// Messages that go out together. One `kubectl exec` takes some 200 ms here, so this is some 5,000 in a second.
const BUNDLE: u64 = 1_000;
/// How long pods may take to come and go on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);
const PUBLISH: &str = "for n = ARGV[2], ARGV[3] do redis.call('PUBLISH', ARGV[1] .. '.' .. n % 16, 'J ' .. n) end";

/// Publishes until it is stopped, and says how many messages that were.
struct Load {
    thread: JoinHandle<u64>,
    stop: Arc<AtomicBool>,
}

impl Load {
    fn start(channel: String) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let mut published = 0;
            while !stopped.load(Ordering::Relaxed) {
                let last = (published + BUNDLE - 1).to_string();
                cluster().redis.cli(&["EVAL", PUBLISH, "0", &channel, &published.to_string(), &last]);
                published += BUNDLE;
            }
            published
        });
        Self { thread, stop }
    }

    fn finish(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn shared(namespace: &Namespace, ledger: &str) -> Value {
    let component = json!({
        "id": "c",
        "patterns": [format!("{}.*", namespace.channel("c"))],
        "source": guests::source("dispatch.wat"),
        "concurrency": 8,
        "deadLetter": {"stream": ledger, "maxLength": 1_000_000},
    });
    let mut app = app("shared", json!({"address": cluster().redis.address()}), json!([component]));
    app["spec"]["delivery"] = json!("Shared");
    // Tells its pods from those of an app of the same name in another namespace.
    app["spec"]["pod"] = json!({"labels": {"namespace": namespace.name()}});
    app
}

/// How often each message is in the ledger.
fn ledger(stream: &str) -> BTreeMap<u64, u32> {
    let text = cluster().redis.cli(&["--raw", "XRANGE", stream, "-", "+"]);
    let mut times = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line == "payload"
            && let Some(number) = lines.next().and_then(|payload| payload.strip_prefix("J ")?.parse().ok())
        {
            *times.entry(number).or_insert(0) += 1;
        }
    }
    times
}

/// Waits until each published message is in the ledger, once.
fn assert_each_once(stream: &str, published: u64) {
    eventually(&format!("all of {published} messages are in the ledger"), || {
        let length: u64 = cluster().redis.cli(&["XLEN", stream]).parse().unwrap();
        if length >= published { Ok(()) } else { Err(length.to_string()) }
    });
    let times = ledger(stream);
    let lost = (0..published).filter(|number| !times.contains_key(number)).count();
    let twice = times.values().filter(|times| **times > 1).count();
    cluster().redis.cli(&["DEL", stream]);
    assert_eq!((lost, twice), (0, 0), "of {published} messages");
}

/// Drains the node of this app's pods, as far as its PodDisruptionBudget permits at a time. The only node takes pods again at once, as
/// another one would, so that the drain goes on to the next.
fn drain_of(namespace: &Namespace) {
    let node = kubectl(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]);
    let before = namespace.pod_names("shared");
    let selector = format!("namespace={}", namespace.name());
    let draining = thread::spawn({
        let node = node.clone();
        move || kubectl(&["drain", &node, "--pod-selector", &selector, "--delete-emptydir-data", "--timeout=180s"])
    });
    eventually_within(PATIENCE, "all pods are other ones", || {
        kubectl(&["uncordon", &node]);
        let now = namespace.pod_names("shared");
        if now.iter().any(|pod| before.contains(pod)) || now.len() != 2 { Err(format!("{before:?}, {now:?}")) } else { Ok(()) }
    });
    let printed = draining.join().unwrap();
    assert!(printed.contains("drained"), "{printed}");
    kubectl(&["uncordon", &node]);
}

/// The edits of the app that there are pods of, each as many times as there are pods.
fn edits(namespace: &Namespace) -> Vec<String> {
    let pods = kubectl_json(&["get", "pods", "-n", namespace.name(), "-l", "spinredis.dev/app=shared"]);
    pods["items"].as_array().unwrap().iter().map(|pod| pod["metadata"]["labels"]["pod-template-hash"].to_string()).collect()
}

/// Waits until the two pods that share are of other edits than these.
fn wait_until_rolled_out(namespace: &Namespace, before: &[String]) {
    eventually_within(PATIENCE, "the edit is rolled out", || {
        let now = edits(namespace);
        if now.len() == 2 && now.iter().all(|edit| !before.contains(edit)) { Ok(()) } else { Err(format!("{now:?}")) }
    });
    wait_for_replicas(namespace, 2);
}

fn wait_for_replicas(namespace: &Namespace, count: i64) -> Value {
    let mut seen = Value::Null;
    eventually_within(PATIENCE, &format!("{count} replicas share"), || {
        seen = namespace.app("shared");
        let message = condition(&seen, "Ready")["message"].as_str().unwrap_or_default().to_owned();
        if message.starts_with(&format!("Shared {count}/{count}")) { Ok(()) } else { Err(message) }
    });
    seen
}

#[test]
fn scaling_rollouts_and_drains_under_load_lose_nothing_and_repeat_nothing() {
    let namespace = Namespace::new("shared");
    let stream = format!("ledger-{}", namespace.name());
    namespace.add_guest("dispatch.wat");
    let manifest = shared(&namespace, &stream);
    namespace.apply(&manifest);
    namespace.wait_until_ready("shared");
    wait_for_replicas(&namespace, 1);

    let load = Load::start(namespace.channel("c"));
    namespace.kubectl(&["scale", "spinredisapp", "shared", "--replicas=5"]);
    wait_for_replicas(&namespace, 5);
    namespace.kubectl(&["scale", "spinredisapp", "shared", "--replicas=2"]);
    wait_for_replicas(&namespace, 2);
    // An edit: new pods come before the old ones go.
    let before = edits(&namespace);
    namespace.patch("shared", &json!({"spec": {"variables": [{"name": "edited", "value": "yes"}]}}));
    wait_until_rolled_out(&namespace, &before);
    drain_of(&namespace);
    wait_for_replicas(&namespace, 2);
    thread::sleep(Duration::from_secs(1));
    assert_each_once(&stream, load.finish());
}

#[test]
fn an_upgrade_of_the_operator_with_a_new_runtime_under_load_loses_nothing_and_repeats_nothing() {
    let namespace = releases::namespace("shared-upgrade");
    let stream = format!("ledger-{}", namespace.name());
    namespace.add_guest("dispatch.wat");
    let mut values = releases::values(&namespace);
    releases::install(&namespace, &values);
    let mut manifest = shared(&namespace, &stream);
    manifest["spec"]["replicas"] = json!(2);
    namespace.apply(&manifest);
    wait_for_replicas(&namespace, 2);

    let load = Load::start(namespace.channel("c"));
    let before = edits(&namespace);
    // The same images by other names, as the next version's have.
    for image in [&["image"][..], &["runtime", "image"]] {
        let repository = image.iter().fold(&mut values, |value, field| &mut value[*field]).get_mut("repository").unwrap();
        *repository = json!(format!("{}:next", repository.as_str().unwrap()));
    }
    releases::helm(&namespace, &values, &["upgrade", releases::RELEASE, chart::folder().to_str().unwrap(), "--wait", "--timeout", "2m"]);
    wait_until_rolled_out(&namespace, &before);
    let image = &namespace.json(&["get", "deployment", "shared"])["spec"]["template"]["spec"]["containers"][0]["image"];
    assert!(image.as_str().unwrap().contains(":next@"), "{image}");
    thread::sleep(Duration::from_secs(1));
    assert_each_once(&stream, load.finish());
}

#[test]
fn spinredis_status_names_the_replicas_that_share() {
    let namespace = Namespace::new("shared-status");
    namespace.add_guest("dispatch.wat");
    let mut manifest = shared(&namespace, "unused");
    manifest["spec"]["replicas"] = json!(2);
    namespace.apply(&manifest);
    wait_for_replicas(&namespace, 2);
    eventually("both replicas are named", || {
        let text = kubectl(&["exec", "-n", namespace.name(), "deploy/shared", "--", "spinredis", "status"]);
        let named = namespace.pod_names("shared").iter().filter(|pod| text.contains(pod.as_str())).count();
        if named == 2 && text.contains("owns a share") { Ok(()) } else { Err(text) }
    });
}
