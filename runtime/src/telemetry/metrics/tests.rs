//! What a scrape shows, compared with docs/metrics.md and with the queues.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use spinredis_crds::{Component as Spec, defaults::Limits};

use super::{Component, Connections, DeadLetters, Metrics, Process, Sources, Times};
use crate::{
    call::{FailureKind, InstanceCounts, Retired},
    queue::{Message, Outcome, Queue},
    sharing::report::Numbers,
};

const DOCUMENT: &str = include_str!("../../../../docs/metrics.md");

fn limits() -> Limits {
    Spec::default().limits()
}

fn component(id: &str, subscriptions: Vec<String>) -> Component {
    Component {
        queue: Arc::new(Queue::new(id, subscriptions, &limits())),
        limits: limits(),
        times: Arc::new(Times::default()),
        instances: Arc::default(),
        dead_letters: None,
    }
}

fn with_dead_letters(component: Component, letters: DeadLetters) -> Component {
    Component { dead_letters: Some(Box::new(move || letters)), ..component }
}

fn metrics(components: Vec<Component>) -> Metrics {
    let connections = || Connections { subscribed: true, reconnects: 2, outage: Duration::from_millis(1500), failures: vec![("auth", 3)] };
    Metrics::new(Sources {
        components,
        connections: Box::new(connections),
        groups: Box::new(|| vec![Numbers::default()]),
        process: Box::new(|| Process { log_lines_dropped: 4, spans_dropped: 5 }),
    })
}

fn push(queue: &Queue, subscription: usize) {
    let message = Message::new("c".into(), Bytes::from_static(b"x"), subscription, "redis://r".into(), Instant::now(), SystemTime::now());
    let _ = queue.push(message);
}

/// Each metric that a text has samples of: its type and the names of its labels.
fn described(text: &str) -> BTreeMap<String, (String, BTreeSet<String>)> {
    let mut types = BTreeMap::new();
    let mut found: BTreeMap<String, (String, BTreeSet<String>)> = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            types.insert(name.to_owned(), kind.to_owned());
        } else if !line.starts_with('#') {
            let series = line.rsplit_once(' ').unwrap().0;
            let (sample, labels) = series.split_once('{').unwrap_or((series, "}"));
            let (base, kind) =
                types.iter().filter(|(base, _)| sample.starts_with(base.as_str())).max_by_key(|(base, _)| base.len()).unwrap();
            let name = if kind == "histogram" { base.as_str() } else { sample };
            let labels = labels.trim_end_matches('}').split(',').filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
            let labels = labels.filter(|label| label != "le");
            found.entry(name.to_owned()).or_insert((kind.clone(), BTreeSet::new())).1.extend(labels);
        }
    }
    found
}

/// The same of the tables in the document.
fn documented() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let rows = DOCUMENT.lines().filter_map(|line| line.strip_prefix("| `spinredis_"));
    rows.map(|row| {
        let mut cells = row.split('|').map(str::trim);
        let name = format!("spinredis_{}", cells.next().unwrap().trim_end_matches('`'));
        let kind = cells.next().unwrap().to_owned();
        let labels = cells.next().unwrap().split(',').map(|label| label.trim().to_owned()).filter(|label| !label.is_empty());
        (name, (kind, labels.collect()))
    })
    .collect()
}

fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("there is no {series} in\n{text}")).parse().unwrap()
}

#[test]
fn the_document_lists_every_metric_with_its_type_and_labels_and_no_other() {
    let letters = DeadLetters { stream_length: Some(1), ..DeadLetters::default() };
    let text = metrics(vec![with_dead_letters(component("a", vec!["c".into()]), letters)]).text().unwrap();
    assert_eq!(documented(), described(&text));
}

#[test]
fn every_term_of_the_equation_is_shown_as_the_queue_counts_it() {
    let component = component("a", vec!["c".into()]);
    let (queue, times) = (component.queue.clone(), component.times.clone());
    let metrics = metrics(vec![component]);
    (0..4).for_each(|_| push(&queue, 0));
    let ends = [Outcome::Handled, Outcome::Failed { kind: FailureKind::Trap, retry: false }];
    for end in ends {
        let taken = queue.take().unwrap();
        let _ = queue.finish(taken, end);
    }
    let _held = queue.take().unwrap();
    queue.count_too_large(0);
    times.handler.observe(Duration::from_millis(3));
    let text = metrics.text().unwrap();
    let labels = r#"component="a",subscription="c""#;
    for (name, extra, wanted) in [
        ("messages_received_total", r#",source="channel""#, 5.0),
        ("messages_received_total", r#",source="redrive""#, 0.0),
        ("messages_handled_total", "", 1.0),
        ("messages_failed_total", r#",reason="trap""#, 1.0),
        ("messages_failed_total", r#",reason="timeout""#, 0.0),
        ("messages_dropped_total", r#",reason="too_large""#, 1.0),
        ("messages_queued", "", 1.0),
        ("messages_retrying", "", 0.0),
        ("messages_in_flight", "", 1.0),
    ] {
        assert_eq!(value(&text, &format!("spinredis_{name}{{{labels}{extra}}}")), wanted, "{name}{extra}");
    }
    assert_eq!(value(&text, r#"spinredis_lanes{component="a"}"#), 1.0);
    assert_eq!(value(&text, r#"spinredis_handler_duration_seconds_count{component="a"}"#), 1.0);
    assert_eq!(value(&text, r#"spinredis_handler_duration_seconds_bucket{le="0.0025",component="a"}"#), 0.0);
    assert_eq!(value(&text, r#"spinredis_handler_duration_seconds_bucket{le="0.005",component="a"}"#), 1.0);
    assert_eq!(value(&text, r#"spinredis_handler_duration_seconds_bucket{le="+Inf",component="a"}"#), 1.0);
    assert_eq!(value(&text, "spinredis_outage_seconds_total"), 1.5);
}

#[test]
fn a_channel_and_a_pattern_with_the_same_text_share_a_series() {
    let component = component("a", vec!["c".into(), "c".into()]);
    push(&component.queue, 0);
    push(&component.queue, 1);
    let text = metrics(vec![component]).text().unwrap();
    assert_eq!(value(&text, r#"spinredis_messages_queued{component="a",subscription="c"}"#), 2.0);
    assert_eq!(text.matches("spinredis_messages_queued{").count(), 1);
}

#[test]
fn names_with_quotes_and_line_breaks_stay_one_label() {
    let text = metrics(vec![component("a", vec!["q\"\\\n".into()])]).text().unwrap();
    assert_eq!(value(&text, r#"spinredis_messages_queued{component="a",subscription="q\"\\\n"}"#), 0.0);
}

#[test]
fn of_very_many_subscriptions_those_are_shown_that_received_something() {
    let component = component("a", (0..1_000).map(|number| format!("c{number}")).collect());
    push(&component.queue, 7);
    let text = metrics(vec![component]).text().unwrap();
    assert_eq!(text.matches("spinredis_messages_queued{").count(), 1);
    assert_eq!(value(&text, r#"spinredis_messages_queued{component="a",subscription="c7"}"#), 1.0);
}

#[test]
fn a_stream_whose_length_is_not_known_has_no_length() {
    let unknown = || with_dead_letters(component("a", vec!["c".into()]), DeadLetters { lost: 2, ..DeadLetters::default() });
    let text = metrics(vec![unknown(), component("b", vec!["c".into()])]).text().unwrap();
    assert!(!text.contains("stream_length{"), "{text}");
    assert_eq!(value(&text, r#"spinredis_dead_letters_total{component="a",result="lost"}"#), 2.0);
    assert!(!text.contains(r#"dead_letters_pending{component="b"}"#), "{text}");
}

#[test]
fn instances_are_shown_by_state_and_by_reason() {
    let instances = Arc::new(InstanceCounts::default());
    (0..3).for_each(|_| instances.create());
    instances.retire(Retired::Used);
    instances.set_warm(1);
    let text = metrics(vec![Component { instances, ..component("a", vec![]) }]).text().unwrap();
    assert_eq!(value(&text, r#"spinredis_instances{component="a",state="live"}"#), 2.0);
    assert_eq!(value(&text, r#"spinredis_instances{component="a",state="warm"}"#), 1.0);
    assert_eq!(value(&text, r#"spinredis_instances_retired_total{component="a",reason="used"}"#), 1.0);
}

/// Time that this thread had a processor, whatever else the machine does.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

/// `cargo test --release -- --ignored --nocapture what_a_scrape_costs`
#[test]
#[ignore = "measures"]
fn what_a_scrape_costs() {
    for (components, subscriptions, used) in [(1, 1, 1), (64, 8, 8), (64, 128, 128), (64, 1_024, 0), (64, 1_024, 16), (64, 1_024, 1_024)] {
        let names = || (0..subscriptions).map(|number| format!("orders.region-{number}")).collect();
        let components: Vec<Component> = (0..components).map(|number| component(&format!("component-{number}"), names())).collect();
        for component in &components {
            (0..used).for_each(|subscription| push(&component.queue, subscription));
        }
        let count = components.len();
        let metrics = metrics(components);
        let mut best = Duration::MAX;
        let mut bytes = 0;
        for _ in 0..5 {
            let started = processor_time();
            bytes = metrics.text().unwrap().len();
            best = best.min(processor_time() - started);
        }
        println!("{count} components with {subscriptions} subscriptions, {used} used: {best:?}, {} KiB", bytes >> 10);
    }
}
