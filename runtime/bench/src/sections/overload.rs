//! Four times the messages that the handler takes: memory, connection and count of the real program.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use serde_json::json;

use super::CHANNEL;
use crate::{
    load::Publisher,
    metrics::Metrics,
    program::{App, Process},
    report::Overload,
    server::{Server, subscribers},
};

/// Of each message.
const PAYLOAD: usize = 4 << 10;
/// How many times what the handler takes.
const TIMES: f64 = 4.0;
/// Published more than it can take, to see what it takes.
const CALIBRATION: Duration = Duration::from_secs(3);
/// Messages in a second meanwhile: more than any processor takes, with a handler of a hundred microseconds and more.
const CALIBRATION_RATE: f64 = 20_000.0;
/// Between two reads of the metrics.
const BETWEEN_READS: Duration = Duration::from_millis(50);
/// How long Redis may hold what it has not sent yet.
const SETTLING: Duration = Duration::from_secs(30);

/// Runs for this long. Redis has its usual limits for subscribers, so one that does not read is disconnected.
pub fn run(binary: &Path, time: Duration) -> anyhow::Result<Overload> {
    let server = Server::start(true)?;
    let guest = wat::parse_str(include_str!("../../guests/busy.wat"))?;
    let bound = spinredis_crds::defaults::QUEUE_BYTES;
    let components = [json!({"id": "busy", "channels": [CHANNEL], "source": App::source("busy.wasm")})];
    let app = App::new(binary, &server.address(), &components, &[("busy.wasm", &guest)])?;
    app.prepare()?;
    let mut process = app.serve(true)?;
    let mut connection = server.connect()?;
    process.wait_until("subscribed", || Ok(subscribers(&mut connection, CHANNEL)? > 0))?;
    let client = subscriber(&mut connection)?;
    let mut publisher = Publisher::connect(&server.socket(), CHANNEL, PAYLOAD)?;
    let before = process.anonymous()? as f64;

    let first = watch(&process, || publish(&mut publisher, CALIBRATION_RATE, CALIBRATION))?;
    let takes = first.handled / first.seconds;
    let second = watch(&process, || publish(&mut publisher, takes * TIMES, time))?;

    // What was published and is still on its way to the runtime arrives; then the counts must agree.
    let published = (first.published + second.published) as f64;
    let deadline = Instant::now() + SETTLING;
    let mut last = process.metrics()?;
    while last.sum("messages_received_total") < published && Instant::now() < deadline {
        thread::sleep(BETWEEN_READS);
        last = process.metrics()?;
    }
    let missing = (published - last.sum("messages_received_total")).abs();
    let gone = if subscriber(&mut connection)? == client { 0.0 } else { 1.0 };
    Ok(Overload {
        seconds: second.seconds,
        published_rate: second.published as f64 / second.seconds,
        handled_rate: second.handled / second.seconds,
        above_bound: first.most.max(second.most) - before - bound as f64,
        disconnects: last.sum("reconnects_total").max(gone),
        unaccounted: first.unaccounted.max(second.unaccounted).max(missing).max(last.unaccounted()),
        reads: first.reads + second.reads,
        dropped: last.sum("messages_dropped_total"),
    })
}

/// What was seen of the process while messages were published.
#[derive(Default)]
struct Seen {
    seconds: f64,
    published: u64,
    handled: f64,
    most: f64,
    unaccounted: f64,
    reads: usize,
}

fn watch(process: &Process, publish: impl FnOnce() -> anyhow::Result<u64> + Send) -> anyhow::Result<Seen> {
    let handled = |metrics: &Metrics| metrics.sum("messages_handled_total");
    let (before, start) = (handled(&process.metrics()?), Instant::now());
    let mut seen = Seen::default();
    let done = AtomicBool::new(false);
    seen.published = thread::scope(|scope| {
        let publishing = scope.spawn(|| {
            let published = publish();
            done.store(true, Ordering::SeqCst);
            published
        });
        while !done.load(Ordering::SeqCst) {
            seen.most = seen.most.max(process.anonymous()? as f64);
            seen.unaccounted = seen.unaccounted.max(process.metrics()?.unaccounted());
            seen.reads += 1;
            thread::sleep(BETWEEN_READS);
        }
        publishing.join().map_err(|_| anyhow::anyhow!("the load panicked"))?
    })?;
    seen.handled = handled(&process.metrics()?) - before;
    seen.seconds = start.elapsed().as_secs_f64();
    Ok(seen)
}

/// Publishes at a rate for a time; gives how many.
fn publish(publisher: &mut Publisher, rate: f64, time: Duration) -> anyhow::Result<u64> {
    let start = Instant::now();
    let mut sent = 0;
    while start.elapsed() < time {
        let due = (start.elapsed().as_secs_f64() * rate) as u64;
        publisher.publish((sent..due).map(|_| 0))?;
        sent = due;
        thread::sleep(Duration::from_millis(1));
    }
    Ok(sent)
}

/// The id that Redis gave the runtime's connection. A new connection has another one.
fn subscriber(connection: &mut redis::Connection) -> anyhow::Result<String> {
    let list: String = redis::cmd("CLIENT").arg("LIST").arg("TYPE").arg("PUBSUB").query(connection)?;
    let id = list.split_whitespace().find_map(|word| word.strip_prefix("id="));
    Ok(id.context("Redis has no subscriber any longer")?.to_owned())
}
