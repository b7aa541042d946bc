//! Dead letters and a real Redis: written, written late, lost and counted; taken back once, and never lost on the way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod redis;

use std::{borrow::Cow, collections::BTreeMap, sync::Arc, time::Duration};

use ::redis::Value;
use redis::{Redis, eventually};
use spinredis::{
    dead_letters::{
        archive::Archive,
        entry::Entry,
        place::{Place, places},
        redrive::{Redrive, Redriven},
        writer::DeadLetters,
    },
    references::References,
};
use spinredis_crds::{Connection, Reference, manifest::Manifest};
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

const BOUND: u64 = 1 << 20;

fn place_with(redis: &Redis, max_length: u64, references: References) -> Place {
    let text = format!(
        "apiVersion: spinredis.dev/v1alpha1\nkind: SpinRedisApp\nmetadata: {{name: shop}}\nspec:\n  components:\n  \
         - {{id: book, deadLetter: {{stream: failed, maxLength: {max_length}}}}}\n"
    );
    let mut trigger = Connection { address: Some(redis.address()), ..Connection::default() };
    if !references.missing(&[Reference::secret("redis", "password")]).is_empty() {
        trigger.password_from = None;
    } else {
        trigger.password_from =
            Some(serde_json::from_value(serde_json::json!({"secretKeyRef": {"name": "redis", "key": "password"}})).unwrap());
    }
    let manifest = Manifest::parse(&text).unwrap();
    places(&manifest.full_name(), &manifest.spec.components, Some(&trigger), &Arc::new(references)).unwrap().remove(0)
}

fn place(redis: &Redis) -> Place {
    place_with(redis, 100, References::default())
}

fn entry(payload: &str) -> Entry {
    Entry {
        payload: payload.to_owned().into(),
        channel: "orders.eu".into(),
        pattern: Some("orders.*".into()),
        address: "redis://127.0.0.1:6379".into(),
        app: "default/shop".into(),
        component: "book".into(),
        error: "no".into(),
        reason: Cow::Borrowed("trap"),
        attempts: 1,
        first_ms: 1,
        last_ms: 2,
    }
}

fn writing(place: Place, bound: u64) -> (Arc<DeadLetters>, JoinHandle<()>) {
    let letters = Arc::new(DeadLetters::new(place, bound));
    let writer = letters.clone();
    (letters, tokio::spawn(async move { writer.run().await }))
}

async fn flushed(letters: &DeadLetters) {
    assert_eq!(letters.flush(Instant::now() + Duration::from_secs(30)).await, 0);
}

type Entries = Vec<(String, BTreeMap<String, String>)>;

async fn stream(redis: &Redis, key: &str) -> Entries {
    redis.command(&["XRANGE", key, "-", "+"]).await
}

async fn payloads(redis: &Redis, key: &str) -> Vec<String> {
    stream(redis, key).await.into_iter().map(|(_, mut fields)| fields.remove("payload").unwrap()).collect()
}

// ---- Writing --------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_letter_is_written_with_all_its_fields_and_the_stream_keeps_its_length() {
    let redis = Redis::start().await;
    let (letters, _writer) = writing(place_with(&redis, 3, References::default()), BOUND);
    for payload in ["one", "two", "three", "four", "five"] {
        letters.push(entry(payload), None, None);
    }
    flushed(&letters).await;
    let entries = stream(&redis, "failed").await;
    let fields: Vec<(&str, &str)> = entries[0].1.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        fields,
        [
            ("address", "redis://127.0.0.1:6379"),
            ("app", "default/shop"),
            ("attempts", "1"),
            ("channel", "orders.eu"),
            ("component", "book"),
            ("error", "no"),
            ("first-ms", "1"),
            ("last-ms", "2"),
            ("pattern", "orders.*"),
            ("payload", "three"),
            ("reason", "trap"),
        ]
    );
    assert_eq!(payloads(&redis, "failed").await, ["three", "four", "five"]);
    let counts = letters.counts();
    assert_eq!((counts.written, counts.write_failures, counts.lost, counts.pending, counts.pending_bytes), (5, 0, 0, 0, 0));
}

#[tokio::test]
async fn letters_wait_while_redis_is_away_and_the_oldest_are_lost_when_too_many_wait() {
    let mut redis = Redis::start().await;
    redis.kill();
    let bound = entry("0").cost() * 5;
    let (letters, _writer) = writing(place(&redis), bound);
    letters.push(entry("first"), None, None);
    eventually("a try has failed", async || letters.counts().write_failures > 0).await;
    for number in 0..9 {
        letters.push(entry(&number.to_string()), None, None);
    }
    let counts = letters.counts();
    assert!(counts.pending_bytes <= bound && counts.lost + counts.pending as u64 == 10 && counts.lost >= 5, "{counts:?}");
    redis.start_again().await;
    flushed(&letters).await;
    let counts = letters.counts();
    assert_eq!((counts.written + counts.lost, counts.pending), (10, 0), "{counts:?}");
    let kept = payloads(&redis, "failed").await;
    assert_eq!(kept.len() as u64, counts.written);
    assert_eq!(kept.last().map(String::as_str), Some("8"));
}

#[tokio::test]
async fn a_key_of_another_type_keeps_letters_waiting_until_it_is_gone() {
    let redis = Redis::start().await;
    let () = redis.command(&["SET", "failed", "something"]).await;
    let (letters, _writer) = writing(place(&redis), BOUND);
    letters.push(entry("one"), None, None);
    eventually("a try has failed", async || letters.counts().write_failures > 0).await;
    assert_eq!((letters.counts().pending, letters.counts().stream_length), (1, None));
    let () = redis.command(&["DEL", "failed"]).await;
    flushed(&letters).await;
    assert_eq!(payloads(&redis, "failed").await, ["one"]);
}

#[tokio::test]
async fn what_cannot_be_written_before_the_end_is_counted_as_lost() {
    let mut redis = Redis::start().await;
    redis.kill();
    let (letters, _writer) = writing(place(&redis), BOUND);
    letters.push(entry("one"), None, None);
    letters.push(entry("two"), None, None);
    assert_eq!(letters.flush(Instant::now() + Duration::from_millis(100)).await, 2);
    assert_eq!(letters.counts().lost, 2);
}

#[tokio::test]
async fn a_corrected_password_is_used_without_a_restart() {
    let redis = Redis::start_with(Some("sesame")).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret/redis/password");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "hunter2").unwrap();
    let (letters, _writer) = writing(place_with(&redis, 100, References::directory(folder.path())), BOUND);
    letters.push(entry("one"), None, None);
    eventually("a try has failed", async || letters.counts().write_failures > 0).await;
    std::fs::write(&file, "sesame\n").unwrap();
    flushed(&letters).await;
    assert_eq!(payloads(&redis, "failed").await, ["one"]);
}

// ---- Redrive --------------------------------------------------------------------------------------------------------

struct Reading {
    found: UnboundedReceiver<Redriven>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Reading {
    fn start(redis: &Redis, consumer: &str, most: usize) -> Self {
        let (sender, found) = unbounded_channel();
        let stop = CancellationToken::new();
        let redrive = Redrive::new(place(redis), consumer, most, BOUND);
        let task = tokio::spawn(redrive.run(move |redriven| drop(sender.send(redriven)), stop.clone()));
        Self { found, stop, task }
    }

    async fn next(&mut self) -> Redriven {
        tokio::time::timeout(Duration::from_secs(30), self.found.recv()).await.expect("an entry comes").unwrap()
    }

    async fn end(self) {
        self.stop.cancel();
        drop(self.found);
        tokio::time::timeout(Duration::from_secs(30), self.task).await.expect("the reader ends").unwrap();
    }
}

/// Puts a letter into the stream from which it is handled again.
async fn put(redis: &Redis, entry: &Entry) -> String {
    let fields = entry.fields();
    let words = fields.iter().flat_map(|(name, value)| [*name, std::str::from_utf8(value).unwrap()]);
    let words: Vec<&str> = ["XADD", "failed:redrive", "*"].into_iter().chain(words).collect();
    redis.command(&words).await
}

async fn pending(redis: &Redis) -> usize {
    let entries: Vec<Value> = redis.command(&["XPENDING", "failed:redrive", "default/shop/book", "-", "+", "10"]).await;
    entries.len()
}

async fn consumers(redis: &Redis) -> usize {
    let consumers: Vec<Value> = redis.command(&["XINFO", "CONSUMERS", "failed:redrive", "default/shop/book"]).await;
    consumers.len()
}

#[tokio::test]
async fn an_entry_is_handed_to_its_component_and_gone_once_it_is_handled() {
    let redis = Redis::start().await;
    let mut reading = Reading::start(&redis, "pod-a", 8);
    let other = Entry { component: "other".into(), ..entry("theirs") };
    put(&redis, &other).await;
    put(&redis, &entry("ours")).await;
    let () = redis.command(&["XADD", "failed:redrive", "*", "colour", "green"]).await;
    let redriven = reading.next().await;
    assert_eq!((&redriven.entry, redriven.deliveries), (&entry("ours"), 1));
    redriven.receipt.settle();
    drop(redriven);
    eventually("our entry is gone, theirs and a stranger's stay", async || stream(&redis, "failed:redrive").await.len() == 2).await;
    eventually("nothing is pending", async || pending(&redis).await == 0).await;
    assert_eq!(stream(&redis, "failed:redrive").await[0].1["payload"], "theirs");
    reading.end().await;
    assert_eq!(consumers(&redis).await, 0);
}

#[tokio::test]
async fn a_message_that_was_dropped_comes_again_in_the_next_life() {
    let redis = Redis::start().await;
    put(&redis, &entry("one")).await;
    let mut reading = Reading::start(&redis, "pod-a", 8);
    drop(reading.next().await);
    reading.end().await;
    assert_eq!((pending(&redis).await, consumers(&redis).await), (1, 1));
    let mut reading = Reading::start(&redis, "pod-a", 8);
    let redriven = reading.next().await;
    redriven.receipt.settle();
    drop(redriven);
    reading.end().await;
    assert_eq!(stream(&redis, "failed:redrive").await, Entries::new());
}

#[tokio::test]
async fn a_message_that_fails_again_is_a_dead_letter_again_before_its_entry_goes() {
    let redis = Redis::start().await;
    put(&redis, &entry("one")).await;
    let mut reading = Reading::start(&redis, "pod-a", 8);
    let Redriven { entry, receipt, .. } = reading.next().await;
    let (letters, _writer) = writing(place(&redis), BOUND);
    letters.push(Entry { attempts: entry.attempts + 1, ..entry }, Some(receipt), None);
    flushed(&letters).await;
    reading.end().await;
    assert_eq!(stream(&redis, "failed").await[0].1["attempts"], "2");
    assert_eq!(stream(&redis, "failed:redrive").await, Entries::new());
}

#[tokio::test]
async fn an_entry_of_a_pod_that_is_gone_is_taken_over() {
    let redis = Redis::start().await;
    let id = put(&redis, &entry("one")).await;
    let group = "default/shop/book";
    let () = redis.command(&["XGROUP", "CREATE", "failed:redrive", group, "0"]).await;
    let _: Value = redis.command(&["XREADGROUP", "GROUP", group, "pod-gone", "STREAMS", "failed:redrive", ">"]).await;
    let _: Value = redis.command(&["XCLAIM", "failed:redrive", group, "pod-gone", "0", &id, "IDLE", "59000", "JUSTID"]).await;
    let mut reading = Reading::start(&redis, "pod-a", 8);
    let redriven = reading.next().await;
    assert_eq!((redriven.receipt.id(), redriven.deliveries), (id.as_str(), 2));
    redriven.receipt.settle();
    drop(redriven);
    reading.end().await;
    assert_eq!(pending(&redis).await, 0);
}

#[tokio::test]
async fn no_more_are_outstanding_than_may_be() {
    let redis = Redis::start().await;
    let mut reading = Reading::start(&redis, "pod-a", 1);
    put(&redis, &entry("one")).await;
    put(&redis, &entry("two")).await;
    let first = reading.next().await;
    assert_eq!(pending(&redis).await, 1);
    first.receipt.settle();
    drop(first);
    assert_eq!(reading.next().await.entry.payload, "two");
}

#[tokio::test]
async fn a_stream_that_was_removed_is_read_again_when_it_is_back() {
    let redis = Redis::start().await;
    let mut reading = Reading::start(&redis, "pod-a", 8);
    put(&redis, &entry("one")).await;
    reading.next().await.receipt.settle();
    let () = redis.command(&["FLUSHALL"]).await;
    put(&redis, &entry("two")).await;
    assert_eq!(reading.next().await.entry.payload, "two");
}

#[tokio::test]
async fn of_two_who_move_the_same_entries_each_entry_is_moved_by_one() {
    let redis = Redis::start().await;
    let (letters, _writer) = writing(place(&redis), BOUND);
    (0..90).for_each(|number| letters.push(entry(&number.to_string()), None, None));
    flushed(&letters).await;
    let ids: Vec<String> = stream(&redis, "failed").await.into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), 90);
    let (one, two) = (place(&redis), place(&redis));
    let (one, two) = (Archive::new(&one), Archive::new(&two));
    let (one, two) = tokio::join!(one.redrive(&ids), two.redrive(&ids));
    assert_eq!(one.unwrap() + two.unwrap(), 90);
    assert_eq!(stream(&redis, "failed").await, Entries::new());
    assert_eq!(payloads(&redis, "failed:redrive").await, (0..90).map(|number| number.to_string()).collect::<Vec<_>>());
}
