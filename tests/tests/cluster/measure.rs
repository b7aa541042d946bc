//! Numbers, for people: `cargo test --release -p spinredis-tests --test cluster -- --ignored --nocapture measure`. They need
//! a cluster whose nodes are this machine.

use std::{
    fs,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;
use spinredis_tests::kubernetes::{Namespace, cluster, hello, kubectl_json, operator_pod};

/// Lines of /proc/PID/status of the process that runs in a pod and has this in its command line.
fn memory(pod: &str, program: &str) -> String {
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    let variable = format!("POD_NAME={pod}");
    let of_pod = |path: &std::path::PathBuf| {
        let environment = fs::read(path.join("environ")).unwrap_or_default();
        let command = fs::read(path.join("cmdline")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())
            && String::from_utf8_lossy(&command).contains(program)
    };
    let process = processes.into_iter().find(of_pod).unwrap_or_else(|| panic!("no process of pod {pod} on this machine"));
    let status = fs::read_to_string(process.join("status")).unwrap();
    let lines = status.lines().filter(|line| ["VmRSS", "RssAnon", "RssFile", "Threads"].iter().any(|name| line.starts_with(name)));
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join(", ")
}

fn milliseconds(time: Duration) -> u128 {
    time.as_millis()
}

#[test]
#[ignore = "prints numbers"]
fn measure_the_time_from_apply_to_the_first_message_and_the_memory_at_rest() {
    let namespace = Namespace::new("measure");
    let shared = &cluster().redis;
    let redis_pod = first_pod("spinredis-tests", "app.kubernetes.io/name=redis");
    let ip = redis_pod["status"]["podIP"].as_str().unwrap().to_owned();
    let mut redis = redis::Client::open(format!("redis://{ip}:6379")).unwrap().get_connection().unwrap();
    let mut first_messages = Vec::new();
    for round in 0..6 {
        let (name, channel) = (format!("round-{round}"), namespace.channel(&format!("round-{round}")));
        let start = SystemTime::now();
        namespace.apply(&hello(&name, &shared.address(), &channel));
        let applied = start.elapsed().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let subscribers: u64 = redis::cmd("PUBLISH").arg(&channel).arg("first").query(&mut redis).unwrap();
            if subscribers > 0 {
                break;
            }
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(2));
        }
        let pod = namespace.pod_names(&name).remove(0);
        namespace.wait_for_line(&pod, "Got message: first");
        let handled = namespace
            .log(&pod)
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .find(|entry| entry["message"] == "Got message: first")
            .unwrap();
        let handled: Timestamp = handled["timestamp"].as_str().unwrap().parse().unwrap();
        let started = start.duration_since(UNIX_EPOCH).unwrap();
        let handled = Duration::from_micros(u64::try_from(handled.as_microsecond()).unwrap()) - started;
        namespace.wait_until_ready(&name);
        let ready = start.elapsed().unwrap();
        // The first round pulls the image.
        if round > 0 {
            first_messages.push(handled);
        }
        eprintln!(
            "round {round}: kubectl apply took {} ms, first message handled after {} ms, seen Ready after {} ms",
            milliseconds(applied),
            milliseconds(handled),
            milliseconds(ready)
        );
    }
    namespace.apply(&hello("idle", &shared.address(), &namespace.channel("idle")));
    namespace.wait_until_ready("idle");
    eprintln!("serve, subscribed and never called: {}", memory(&namespace.pod_names("idle")[0], "serve"));
    eprintln!("serve, after one message: {}", memory(&namespace.pod_names("round-5")[0], "serve"));
    first_messages.sort();
    eprintln!(
        "from the start of kubectl apply to the first handled message: median {} ms",
        milliseconds(first_messages[first_messages.len() / 2])
    );
    eprintln!("operator: {}", memory(operator_pod()["metadata"]["name"].as_str().unwrap(), "spin-redis-operator"));
}

/// The first pod with a label.
fn first_pod(namespace: &str, label: &str) -> Value {
    kubectl_json(&["get", "pods", "-n", namespace, "-l", label])["items"][0].clone()
}
