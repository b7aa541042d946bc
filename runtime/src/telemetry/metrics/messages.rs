//! Metrics of messages, from one snapshot of each queue.
//!
//! They are the many ones, several for each subscription, so they are written straight into the text, with labels that were made
//! once: ten times as fast as through the registry, which writes all others.

use std::{borrow::Cow, collections::BTreeMap, fmt, fmt::Write, sync::Arc, time::Instant};

use super::sources::Component;
use crate::{
    call::FailureKind,
    queue::{Counts, DropReason, Snapshot},
};

/// A component with more subscriptions than this shows one of them only once it has received a message: ten thousands of series
/// that stay 0 cost whoever stores them more than they tell.
const ALWAYS_SHOWN: usize = 128;

const COUNTER: &str = "counter";
const GAUGE: &str = "gauge";

/// What one metric shows of a subscription's counts: one value, or one for each value of a label, by their places.
enum Read {
    One(fn(&Counts) -> u64),
    By(&'static str, fn(usize) -> Option<&'static str>, fn(&Counts, usize) -> u64),
}

/// Metrics of each subscription: name, help, type and what they show.
const OF_SUBSCRIPTIONS: [(&str, &str, &str, Read); 8] = [
    (
        "messages_received",
        "Messages received, one for each component that gets them",
        COUNTER,
        Read::By(
            "source",
            |place| ["channel", "redrive"].get(place).copied(),
            |counts, place| [counts.received - counts.redriven, counts.redriven][place],
        ),
    ),
    ("messages_handled", "Messages handled without error", COUNTER, Read::One(|counts| counts.handled)),
    (
        "messages_failed",
        "Messages that failed for good, by the reason of their last attempt",
        COUNTER,
        Read::By("reason", |place| FailureKind::ALL.get(place).map(|kind| kind.as_str()), |counts, place| counts.failed[place]),
    ),
    (
        "messages_dropped",
        "Messages that were not handled to an end, by reason",
        COUNTER,
        Read::By("reason", |place| DropReason::ALL.get(place).map(|reason| reason.as_str()), |counts, place| counts.dropped[place]),
    ),
    ("messages_queued", "Messages that wait for their handler", GAUGE, Read::One(|counts| counts.queued)),
    ("messages_retrying", "Messages that wait for their next attempt", GAUGE, Read::One(|counts| counts.retrying)),
    ("messages_in_flight", "Messages that are being handled", GAUGE, Read::One(|counts| counts.in_flight)),
    ("retries", "Attempts after the first", COUNTER, Read::One(|counts| counts.retries)),
];

/// What one metric shows of a component.
type ReadComponent = fn(&Shown<'_>) -> u64;

/// Metrics of each component: name, help and what they show.
const OF_COMPONENTS: [(&str, &str, ReadComponent); 5] = [
    ("queued_bytes", "Bytes that wait in the queue", |shown| shown.snapshot.queued_bytes),
    ("queue_max_bytes", "Bytes that may wait in the queue", |shown| shown.series.component.limits.queue_bytes),
    ("lanes", "Channels that have a message which is not done", |shown| shown.snapshot.lanes as u64),
    ("workers", "Handlers that run or are about to", |shown| shown.snapshot.workers as u64),
    ("concurrency", "Handlers that may run at once", |shown| shown.series.component.limits.concurrency as u64),
];

/// Metrics of messages.
pub(super) struct Messages {
    components: Arc<[Component]>,
    /// Labels of each component and of its subscriptions.
    labels: Vec<Labels>,
}

struct Labels {
    component: String,
    /// Each with the places whose counts it shows. A channel and a pattern may have the same text; they share one series.
    subscriptions: Vec<(String, Vec<usize>)>,
}

/// A component and its labels.
#[derive(Clone, Copy)]
struct Series<'a> {
    component: &'a Component,
    labels: &'a Labels,
}

/// What one scrape shows of a component.
struct Shown<'a> {
    series: Series<'a>,
    snapshot: &'a Snapshot,
    subscriptions: Vec<(&'a str, Cow<'a, Counts>)>,
}

impl Messages {
    pub(super) fn new(components: Arc<[Component]>) -> Self {
        Self { labels: components.iter().map(Labels::new).collect(), components }
    }

    /// Writes them all.
    pub(super) fn write(&self, text: &mut String) -> fmt::Result {
        let snapshots: Vec<Snapshot> = self.components.iter().map(|component| component.queue.snapshot()).collect();
        let series = self.components.iter().zip(&self.labels).map(|(component, labels)| Series { component, labels });
        let shown: Vec<Shown<'_>> = series.zip(&snapshots).map(|(series, snapshot)| series.shown(snapshot)).collect();
        for (name, help, kind, read) in OF_SUBSCRIPTIONS {
            let suffix = if kind == COUNTER { "_total" } else { "" };
            describe(text, name, help, kind)?;
            for (labels, counts) in shown.iter().flat_map(|shown| &shown.subscriptions) {
                match read {
                    Read::One(read) => writeln!(text, "spinredis_{name}{suffix}{{{labels}}} {}", read(counts))?,
                    Read::By(label, value, read) => {
                        for (place, value) in (0..).map_while(value).enumerate() {
                            writeln!(text, "spinredis_{name}{suffix}{{{labels},{label}=\"{value}\"}} {}", read(counts, place))?;
                        }
                    }
                }
            }
        }
        for (name, help, read) in OF_COMPONENTS {
            describe(text, name, help, GAUGE)?;
            for shown in &shown {
                writeln!(text, "spinredis_{name}{{{}}} {}", shown.series.labels.component, read(shown))?;
            }
        }
        let now = Instant::now();
        describe(text, "oldest_queued_age_seconds", "Age of the message that waits longest", GAUGE)?;
        writeln!(text, "# UNIT spinredis_oldest_queued_age_seconds seconds")?;
        for shown in &shown {
            let age = shown.snapshot.oldest.map_or(0.0, |received| now.saturating_duration_since(received).as_secs_f64());
            writeln!(text, "spinredis_oldest_queued_age_seconds{{{}}} {age}", shown.series.labels.component)?;
        }
        Ok(())
    }
}

impl Labels {
    fn new(component: &Component) -> Self {
        let mut places: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (place, name) in component.queue.subscriptions().iter().enumerate() {
            places.entry(name).or_default().push(place);
        }
        let id = format!("component=\"{}\"", escaped(component.queue.component()));
        let subscriptions = places.into_iter().map(|(name, places)| (format!("{id},subscription=\"{}\"", escaped(name)), places));
        Self { subscriptions: subscriptions.collect(), component: id }
    }
}

impl<'a> Series<'a> {
    fn shown(self, snapshot: &'a Snapshot) -> Shown<'a> {
        let all = &self.labels.subscriptions;
        let is_shown = |places: &[usize]| all.len() <= ALWAYS_SHOWN || places.iter().any(|place| snapshot.counts[*place].received > 0);
        let subscriptions = all.iter().filter(|(_, places)| is_shown(places)).map(|(labels, places)| {
            let counts = match places[..] {
                [place] => Cow::Borrowed(&snapshot.counts[place]),
                _ => Cow::Owned(sum(places.iter().map(|place| &snapshot.counts[*place]))),
            };
            (labels.as_str(), counts)
        });
        Shown { series: self, snapshot, subscriptions: subscriptions.collect() }
    }
}

fn describe(text: &mut String, name: &str, help: &str, kind: &str) -> fmt::Result {
    writeln!(text, "# HELP spinredis_{name} {help}\n# TYPE spinredis_{name} {kind}")
}

/// A label's value as the format wants it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn sum<'a>(all: impl Iterator<Item = &'a Counts>) -> Counts {
    all.fold(Counts::default(), |mut sum, counts| {
        // Every field is named, so that one which is added later cannot be forgotten here.
        let Counts { received, redriven, handled, failed, dropped, queued, retrying, in_flight, retries } = *counts;
        sum.received += received;
        sum.redriven += redriven;
        sum.handled += handled;
        sum.failed.iter_mut().zip(failed).for_each(|(sum, count)| *sum += count);
        sum.dropped.iter_mut().zip(dropped).for_each(|(sum, count)| *sum += count);
        sum.queued += queued;
        sum.retrying += retrying;
        sum.in_flight += in_flight;
        sum.retries += retries;
        sum
    })
}
