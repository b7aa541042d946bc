//! Takes entries of `<stream>:redrive` and hands them to the component that they belong to. Nothing is published: that would
//! run every subscriber again.
//!
//! Each component is a consumer group, so that an entry goes to one pod of it, and each pod a consumer. An entry of another
//! app or component is passed over and stays. An entry is deleted when its message was handled, or when it failed again and is
//! back in the dead-letter stream; one whose message was dropped (a full queue, the end of the process) stays pending and comes
//! again. A pod says every [`REFRESH_EVERY`] which entries it still works at; one that has not been spoken of for
//! [`TAKE_OVER_AFTER`] is taken over by whoever asks first. So nothing is lost, and a message may be handled twice when its pod
//! ends between handling and acknowledging it, or is cut off from Redis for so long.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    select,
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

pub use super::receipt::{Receipt, Redriven};
use super::{
    entry::Entry,
    group::{Group, GroupError},
    jittered,
    link::LinkError,
    place::Place,
    receipt::End,
    reply::Record,
    stride::Stride,
    trouble::{News, Trouble},
};

/// An entry that nobody has spoken of for so long is taken over.
pub const TAKE_OVER_AFTER: Duration = Duration::from_secs(60);
/// How often a pod says which entries it works at.
pub const REFRESH_EVERY: Duration = Duration::from_secs(15);
/// How often entries to take over are looked for.
const CLAIM_EVERY: Duration = Duration::from_secs(15);
/// How often new entries are looked for. Asking costs Redis less than a connection that waits would.
const POLL_EVERY: Duration = Duration::from_secs(1);
/// Wait after the first failure; it doubles up to [`MAX_BACKOFF`].
const INITIAL_BACKOFF: Duration = Duration::from_millis(500);
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// Entries asked for at once.
const MOST_AT_ONCE: usize = 64;

/// The reader of one component's entries.
pub struct Redrive {
    place: Place,
    group: Group,
    /// Messages that may be outstanding at once, and the bytes of their payloads beyond which no more are taken.
    most: usize,
    most_bytes: usize,
    /// Entries handed out and not settled, with the bytes of each.
    outstanding: HashMap<String, usize>,
    /// Entries to acknowledge and delete.
    settled: Vec<String>,
    /// Entries to acknowledge for this group alone.
    passed_over: Vec<String>,
    has_group: bool,
    /// Up to where this consumer's own pending entries were read again; none when that is done.
    own: Option<String>,
    /// From where entries of others are looked for.
    claim_from: String,
    next_claim: Instant,
    next_refresh: Instant,
    stride: Stride,
    can_claim: bool,
    news: News,
}

impl Redrive {
    /// For a component of which this many messages, of this many bytes, may be outstanding at once. `consumer` tells the pods of
    /// an app apart: the pod's name.
    pub fn new(place: Place, consumer: &str, most: usize, most_bytes: u64) -> Self {
        let now = Instant::now();
        Self {
            group: Group::new(&place, consumer),
            most: most.max(1),
            most_bytes: usize::try_from(most_bytes).unwrap_or(usize::MAX),
            outstanding: HashMap::new(),
            settled: Vec::new(),
            passed_over: Vec::new(),
            has_group: false,
            own: Some("0".to_owned()),
            claim_from: "0-0".to_owned(),
            next_claim: now,
            next_refresh: now + REFRESH_EVERY,
            stride: Stride::new(MOST_AT_ONCE),
            can_claim: true,
            news: News::default(),
            place,
        }
    }

    /// Hands entries to `deliver`, which must not wait, until it is asked to stop; then acknowledges what is still outstanding
    /// as it ends, and returns when nothing is.
    pub async fn run(mut self, deliver: impl Fn(Redriven) + Send + Sync, stop: CancellationToken) {
        let (ends, mut ended) = mpsc::unbounded_channel();
        let mut ends = Some(ends);
        let mut backoff = INITIAL_BACKOFF;
        loop {
            if stop.is_cancelled() {
                ends = None;
            }
            let found = match self.turn(ends.as_ref(), &deliver).await {
                Ok(found) => {
                    backoff = INITIAL_BACKOFF;
                    if self.news.is_over() {
                        tracing::info!(app = %self.place.app, component = %self.place.component, "stream `{}` is read again", self.group.stream);
                    }
                    found
                }
                Err(error) => {
                    self.tell(&error);
                    backoff = (backoff * 2).min(MAX_BACKOFF);
                    0
                }
            };
            let failed = backoff > INITIAL_BACKOFF;
            if failed && ends.is_none() && self.outstanding.is_empty() && self.settled.is_empty() {
                return;
            }
            let pause = jittered(if failed { backoff } else { POLL_EVERY });
            let may_read_on = found > 0 && self.has_room() && ends.is_some();
            if may_read_on && !failed {
                self.note_all(&mut ended);
                continue;
            }
            select! {
                () = stop.cancelled(), if ends.is_some() => {}
                () = sleep(pause) => {}
                end = ended.recv(), if !failed => match end {
                    Some(end) => self.note(end),
                    // All receipts are back and no more will be handed out.
                    None => return self.leave().await,
                },
            }
            self.note_all(&mut ended);
        }
    }

    fn note_all(&mut self, ended: &mut UnboundedReceiver<End>) {
        while let Ok(end) = ended.try_recv() {
            self.note(end);
        }
    }

    fn note(&mut self, end: End) {
        self.outstanding.remove(&end.id);
        if end.settled {
            self.settled.push(end.id);
        }
    }

    fn has_room(&self) -> bool {
        self.outstanding.len() < self.most && self.outstanding.values().sum::<usize>() < self.most_bytes
    }

    /// Acknowledges, refreshes, and reads if it may; gives how many entries there were.
    async fn turn(&mut self, ends: Option<&UnboundedSender<End>>, deliver: &impl Fn(Redriven)) -> Result<usize, GroupError> {
        if !self.has_group {
            self.group.create().await?;
            self.has_group = true;
        }
        let result = self.turn_in_group(ends, deliver).await;
        if let Err(GroupError::Link(LinkError::Redis(error))) = &result
            && error.code() == Some("NOGROUP")
        {
            // Somebody removed the stream; with it went the entries, and the next turn begins with a new group.
            self.has_group = false;
        }
        result
    }

    async fn turn_in_group(&mut self, ends: Option<&UnboundedSender<End>>, deliver: &impl Fn(Redriven)) -> Result<usize, GroupError> {
        self.acknowledge().await?;
        self.refresh().await?;
        let (Some(ends), true) = (ends, self.has_room()) else { return Ok(0) };
        let (records, deliveries) = self.read().await?;
        self.stride.answered(records.iter().map(Record::bytes).sum());
        let found = records.len();
        for record in records {
            let times = deliveries.get(&record.id).copied().unwrap_or(1);
            self.take(record, times, ends, deliver);
        }
        Ok(found)
    }

    /// Acknowledges what is done.
    async fn acknowledge(&mut self) -> Result<(), LinkError> {
        self.group.acknowledge(&self.settled, &self.passed_over).await?;
        self.settled.clear();
        self.passed_over.clear();
        Ok(())
    }

    /// Says now and then which entries are still worked at, so that nobody takes them over.
    async fn refresh(&mut self) -> Result<(), LinkError> {
        if self.next_refresh <= Instant::now() {
            self.group.refresh(self.outstanding.keys()).await?;
            self.next_refresh = Instant::now() + REFRESH_EVERY;
        }
        Ok(())
    }

    /// The next entries: first those this pod's last life left, then now and then those of pods that are gone, then new ones.
    /// With them how often those were handed out that have been before.
    async fn read(&mut self) -> Result<(Vec<Record>, HashMap<String, u64>), GroupError> {
        let count = self.stride.count().min(self.most - self.outstanding.len());
        if let Some(from) = self.own.clone() {
            let records = self.group.read(&from, count).await?;
            self.own = records.last().map(|record| record.id.clone());
            if !records.is_empty() {
                return self.again(records).await;
            }
        }
        if self.can_claim && self.next_claim <= Instant::now() {
            let records = self.claim(count).await?;
            if !records.is_empty() {
                return self.again(records).await;
            }
        }
        Ok((self.group.read(">", count).await?, HashMap::new()))
    }

    /// Entries that were handed out before, with how often.
    async fn again(&self, records: Vec<Record>) -> Result<(Vec<Record>, HashMap<String, u64>), GroupError> {
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return Ok((records, HashMap::new())) };
        // Between them may be some that are being handled.
        let count = records.len() + self.outstanding.len() + self.settled.len();
        let deliveries = self.group.deliveries(&first.id, &last.id, count).await?;
        Ok((records, deliveries))
    }

    async fn claim(&mut self, count: usize) -> Result<Vec<Record>, GroupError> {
        let Some((next, records)) = self.group.claim(TAKE_OVER_AFTER, &self.claim_from, count).await? else {
            tracing::warn!(
                app = %self.place.app, component = %self.place.component,
                "entries of stream `{}` that a pod took before it ended are not taken over: that needs Redis 6.2 or newer", self.group.stream
            );
            self.can_claim = false;
            return Ok(Vec::new());
        };
        if next == "0-0" {
            self.next_claim = Instant::now() + CLAIM_EVERY;
        }
        self.claim_from = next;
        Ok(records)
    }

    fn take(&mut self, record: Record, deliveries: u64, ends: &UnboundedSender<End>, deliver: &impl Fn(Redriven)) {
        let (bytes, Record { id, fields }) = (record.bytes(), record);
        if self.outstanding.contains_key(&id) || self.settled.contains(&id) {
            return;
        }
        // Deleted while it was pending.
        let Some(fields) = fields else { return self.passed_over.push(id) };
        let own = (self.place.app.as_bytes(), self.place.component.as_bytes());
        if Entry::owner(&fields).is_some_and(|owner| owner != own) {
            return self.passed_over.push(id);
        }
        match Entry::parse(&fields) {
            Ok(entry) => {
                self.outstanding.insert(id.clone(), bytes);
                let receipt = Arc::new(Receipt::new(id, ends.clone()));
                deliver(Redriven { entry, receipt, deliveries });
            }
            Err(error) => {
                tracing::warn!(
                    app = %self.place.app, component = %self.place.component, entry = id,
                    "an entry of stream `{}` is passed over and stays there: {error}", self.group.stream
                );
                self.passed_over.push(id);
            }
        }
    }

    /// Acknowledges the last ones, and leaves the group.
    async fn leave(mut self) {
        if let Err(error) = self.acknowledge().await {
            tracing::warn!(
                app = %self.place.app, component = %self.place.component, entries = self.settled.len(),
                "the last entries of stream `{}` could not be acknowledged and will be handled again: {error}", self.group.stream
            );
            return;
        }
        self.group.leave().await;
    }

    fn tell(&self, error: &GroupError) {
        let trouble = match error {
            GroupError::Link(error) => Trouble::of(error, &self.place.stream),
            GroupError::NotEntries(error) => Trouble { name: "answer".to_owned(), sentence: error.to_string() },
        };
        // A stream that was just removed has a new group a moment later.
        if trouble.name != "NOGROUP" && self.news.is_new(&trouble) {
            tracing::warn!(
                app = %self.place.app, component = %self.place.component, reason = trouble.name,
                "stream `{}` cannot be read, so no dead letter is handled again: {}", self.group.stream, trouble.sentence
            );
        }
    }
}
