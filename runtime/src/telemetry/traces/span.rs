//! Spans as workers make them: a few copies of pointers while a message is handled, everything else when they are sent.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::mpsc::Sender;

/// Longest text of an error in a span, in bytes.
const MAX_ERROR_BYTES: usize = 512;

/// Makes the spans of one component. Cheap to clone.
#[derive(Clone, Default)]
pub struct ComponentTraces(pub(super) Option<Arc<Prepared>>);

/// What the spans of a component have in common.
pub(super) struct Prepared {
    pub app: String,
    pub component: String,
    pub subscriptions: Vec<Destination>,
    /// Different in each process and component, and so are the traces of messages with the same number.
    seed: u64,
    sampler: f64,
    finished: Sender<Record>,
    dropped: Arc<AtomicU64>,
}

/// A subscription, as the manifest has it: what spans are named after. Never a pattern's concrete channel, of which there is no
/// end.
pub(super) struct Destination {
    pub name: String,
    pub is_pattern: bool,
}

/// One attempt that begins.
#[derive(Clone, Copy)]
pub struct Attempt<'a> {
    /// The component's subscription that matched, as a place in its list.
    pub subscription: usize,
    /// The channel the message was published on.
    pub channel: &'a Arc<str>,
    /// The server it came from, without credentials.
    pub address: &'a Arc<str>,
    /// The message's number in the component.
    pub sequence: u64,
    /// 1 for the first.
    pub attempt: u32,
    /// Size of the payload.
    pub bytes: usize,
    /// When the message was received.
    pub received: Instant,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptEnd<'a> {
    /// The handler was content.
    Handled,
    /// It was not.
    Failed {
        /// The kind of failure, as metrics name it.
        reason: &'static str,
        /// In words.
        error: &'a str,
        /// Whether another attempt follows.
        retrying: bool,
    },
}

/// An attempt that is being made. Dropped without [`end`](Span::end), it was given up when the time to drain was up.
pub struct Span(Option<Record>);

/// A span that is done, or will be.
pub(super) struct Record {
    pub prepared: Arc<Prepared>,
    pub trace: u128,
    pub id: u64,
    pub subscription: usize,
    pub channel: Arc<str>,
    pub address: Arc<str>,
    pub sequence: u64,
    pub attempt: u32,
    pub bytes: usize,
    pub began: SystemTime,
    /// From being received to this attempt.
    pub waited: Duration,
    started: Instant,
    pub took: Duration,
    pub outcome: &'static str,
    /// Reason and words of a failure.
    pub error: Option<(&'static str, String)>,
}

impl Prepared {
    pub(super) fn new<'a>(
        app: &str,
        component: &str,
        subscriptions: impl IntoIterator<Item = (&'a str, bool)>,
        sampler: f64,
        finished: Sender<Record>,
        dropped: &Arc<AtomicU64>,
    ) -> Self {
        let subscriptions = subscriptions.into_iter().map(|(name, is_pattern)| Destination { name: name.to_owned(), is_pattern });
        Self {
            app: app.to_owned(),
            component: component.to_owned(),
            subscriptions: subscriptions.collect(),
            seed: rand::random(),
            sampler,
            finished,
            dropped: dropped.clone(),
        }
    }
}

impl ComponentTraces {
    /// Begins the span of an attempt; `None` when there are no traces, or this message is not of the share that is traced.
    pub fn start(&self, attempt: Attempt<'_>) -> Option<Span> {
        let prepared = self.0.as_ref()?;
        let trace = trace_id(prepared.seed, attempt.sequence);
        if !is_sampled(trace, prepared.sampler) {
            return None;
        }
        let started = Instant::now();
        Some(Span(Some(Record {
            prepared: prepared.clone(),
            trace,
            id: rand::random::<u64>().max(1),
            subscription: attempt.subscription,
            channel: attempt.channel.clone(),
            address: attempt.address.clone(),
            sequence: attempt.sequence,
            attempt: attempt.attempt,
            bytes: attempt.bytes,
            began: SystemTime::now(),
            waited: started.saturating_duration_since(attempt.received),
            started,
            took: Duration::ZERO,
            outcome: "abandoned",
            error: None,
        })))
    }
}

impl Span {
    /// Ends the span; never waits.
    pub fn end(mut self, end: AttemptEnd<'_>) {
        let Some(record) = &mut self.0 else { return };
        match end {
            AttemptEnd::Handled => record.outcome = "handled",
            AttemptEnd::Failed { reason, error, retrying } => {
                record.outcome = if retrying { "retrying" } else { "failed" };
                record.error = Some((reason, error[..error.floor_char_boundary(MAX_ERROR_BYTES)].to_owned()));
            }
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let Some(mut record) = self.0.take() else { return };
        record.took = record.started.elapsed();
        let prepared = record.prepared.clone();
        if prepared.finished.try_send(record).is_err() {
            prepared.dropped.fetch_add(1, Relaxed);
        }
    }
}

/// The trace of a message: the same for all its attempts, another one for every other message.
fn trace_id(seed: u64, sequence: u64) -> u128 {
    let low = mix(seed ^ mix(sequence));
    (u128::from(mix(low ^ seed)) << 64 | u128::from(low)).max(1)
}

/// Whether a trace is of the share that is sent: by its last 56 bits, which are random, as the W3C asks of trace ids.
fn is_sampled(trace: u128, share: f64) -> bool {
    const BITS: u32 = 56;
    #[allow(clippy::cast_precision_loss)] // 2^56 steps are finer than anyone asks for
    let place = (trace & ((1 << BITS) - 1)) as f64 / (1_u64 << BITS) as f64;
    place >= 1.0 - share
}

/// A bijection that spreads neighbouring numbers over all 64 bits (the finalizer of SplitMix64).
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_of_a_message_share_a_trace_and_other_messages_have_their_own() {
        let traces: std::collections::BTreeSet<u128> = (1..=10_000).map(|sequence| trace_id(7, sequence)).collect();
        assert_eq!(traces.len(), 10_000);
        assert_eq!(trace_id(7, 3), trace_id(7, 3));
        assert_ne!(trace_id(7, 3), trace_id(8, 3));
    }

    #[test]
    fn the_share_that_is_traced_is_the_one_asked_for() {
        let sampled = |share| (1..=100_000).filter(|sequence| is_sampled(trace_id(42, *sequence), share)).count();
        assert_eq!((sampled(0.0), sampled(1.0)), (0, 100_000));
        let tenth = sampled(0.1);
        assert!((9_500..10_500).contains(&tenth), "{tenth}");
    }
}
