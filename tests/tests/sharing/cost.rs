//! What sharing costs and what it gains, as ratios of one run. Run by `make bench-sharing`, on a machine where nothing else runs.

use std::{
    fs,
    time::{Duration, Instant},
};

use serde_json::json;
use spinredis_tests::{metrics::HANDLED, redis::Redis};

use super::replicas::{Replicas, let_it_run, shared, soon_missed};

/// Kernel ticks in a second, as `/proc` counts processor time on Linux (USER_HZ).
const TICKS: f64 = 100.0;

fn ticks(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after: Vec<&str> = text.rsplit(") ").next().unwrap().split(' ').collect();
    after[11].parse::<f64>().unwrap() + after[12].parse::<f64>().unwrap()
}

/// A field of `INFO`.
fn info(redis: &Redis, section: &str, field: &str) -> f64 {
    let text: String = redis.command(&["INFO", section]);
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{field}:")).map(str::to_owned));
    line.unwrap_or_else(|| panic!("no {field} in {text}")).trim().parse().unwrap()
}

fn script_calls(redis: &Redis) -> (f64, f64) {
    let text: String = redis.command(&["INFO", "commandstats"]);
    let line = text.lines().find(|line| line.starts_with("cmdstat_evalsha:")).unwrap_or_default().to_owned();
    let value = |name: &str| line.split([':', ',']).find_map(|part| part.strip_prefix(&format!("{name}="))?.parse().ok()).unwrap_or(0.0);
    (value("calls"), value("usec"))
}

#[test]
#[ignore = "measures: make bench-sharing"]
fn beats() {
    const MEASURED: Duration = Duration::from_secs(10);
    println!(
        "\nBeats at rest, defaults (200 ms)\n| replicas | calls/s | bytes/s in and out of Redis | Redis, µs a call | Redis, % of a core | replica, % of a core |\n|---|---|---|---|---|---|"
    );
    for count in [2, 10, 50] {
        let redis = Redis::start();
        let mut replicas = Replicas::of(&soon_missed(shared(redis.trigger(), json!({}))));
        replicas.add(count);
        let_it_run(Duration::from_secs(3));
        let bytes = || info(&redis, "stats", "total_net_input_bytes") + info(&redis, "stats", "total_net_output_bytes");
        let cpu = || replicas.all().map(|replica| ticks(replica.id())).sum::<f64>() / TICKS;
        let server = || info(&redis, "cpu", "used_cpu_user") + info(&redis, "cpu", "used_cpu_sys");
        let before = (bytes(), cpu(), server(), script_calls(&redis));
        let begun = Instant::now();
        let_it_run(MEASURED);
        let seconds = begun.elapsed().as_secs_f64();
        let after = (bytes(), cpu(), server(), script_calls(&redis));
        let calls = after.3.0 - before.3.0;
        println!(
            "| {count} | {:.1} | {:.0} | {:.0} | {:.2} | {:.2} |",
            calls / seconds,
            (after.0 - before.0) / seconds,
            (after.3.1 - before.3.1) / calls,
            (after.2 - before.2) / seconds * 100.0,
            (after.1 - before.1) / seconds / f64::from(u32::try_from(count).unwrap()) * 100.0,
        );
    }
}

/// Messages in a second with a handler that waits a millisecond and handles one at a time.
fn throughput(count: usize) -> f64 {
    const MESSAGES: u32 = 6_000;
    let redis = Redis::start();
    let mut replicas = Replicas::of(&shared(redis.trigger(), json!({"concurrency": 1, "ordering": "None"})));
    replicas.add(count);
    let begun = Instant::now();
    redis.publish_all("c.one", (0..MESSAGES).map(|number| format!("V0001 {number}")));
    while replicas.sum(HANDLED) < f64::from(MESSAGES) {
        let_it_run(Duration::from_millis(5));
    }
    f64::from(MESSAGES) / begun.elapsed().as_secs_f64()
}

#[test]
#[ignore = "measures: make bench-sharing"]
fn gain() {
    // Turn by turn; the best of each.
    let mut best = [0.0_f64; 2];
    for _ in 0..3 {
        best[0] = best[0].max(throughput(1));
        best[1] = best[1].max(throughput(3));
    }
    println!(
        "\nA handler of 1 ms, concurrency 1: one replica {:.0} messages/s, three {:.0}: {:.2} x (goal ≥ 2.7 x)",
        best[0],
        best[1],
        best[1] / best[0]
    );
}
