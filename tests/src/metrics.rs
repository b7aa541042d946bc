//! Reads one answer of `/metrics`, in the Prometheus and OpenMetrics text format.

use std::collections::BTreeMap;

/// Deliveries that came from Redis.
pub const RECEIVED: &str = "spinredis_messages_received_total";
/// Deliveries whose handler was content.
pub const HANDLED: &str = "spinredis_messages_handled_total";
/// Deliveries that failed for good, by `reason`.
pub const FAILED: &str = "spinredis_messages_failed_total";
/// Deliveries that no handler saw, by `reason`.
pub const DROPPED: &str = "spinredis_messages_dropped_total";
/// Deliveries that wait.
pub const QUEUED: &str = "spinredis_messages_queued";
/// Deliveries that failed and wait for their next attempt.
pub const RETRYING: &str = "spinredis_messages_retrying";
/// Deliveries that a handler has.
pub const IN_FLIGHT: &str = "spinredis_messages_in_flight";

/// What becomes of a delivery: at any moment exactly one of these for each that was received.
const ACCOUNTS: [&str; 6] = [HANDLED, FAILED, DROPPED, QUEUED, RETRYING, IN_FLIGHT];

/// All samples of one scrape.
#[derive(Debug)]
pub struct Metrics(pub Vec<Sample>);

/// One line: a name, labels and a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Name with its suffix, such as `spinredis_messages_handled_total`.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Value.
    pub value: f64,
}

impl Metrics {
    /// Parses the text.
    pub fn parse(text: &str) -> Self {
        Self(text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(sample).collect())
    }

    /// The sum over all series of a metric that have these labels. A metric that does not exist at all is an error in
    /// the test, not a zero.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let named: Vec<&Sample> = self.0.iter().filter(|sample| sample.name == name).collect();
        assert!(!named.is_empty(), "there is no metric {name}; there are {:?}", self.names());
        named
            .iter()
            .filter(|sample| labels.iter().all(|(name, value)| sample.labels.get(*name).is_some_and(|found| found == value)))
            .map(|sample| sample.value)
            .sum()
    }

    /// The names of all metrics, each once.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.0.iter().map(|sample| sample.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Checks that what was received is accounted for, for each component and subscription.
    pub fn assert_balanced(&self) {
        if let Some(wrong) = self.imbalance() {
            panic!("{wrong}: {self:?}");
        }
    }

    /// The first component and subscription of which not all that was received is accounted for, and the numbers.
    pub fn imbalance(&self) -> Option<String> {
        for name in ACCOUNTS.iter().chain([&RECEIVED]) {
            self.sum(name, &[]); // each must be there
        }
        let mut series: BTreeMap<(&str, &str), BTreeMap<&str, f64>> = BTreeMap::new();
        for sample in &self.0 {
            if sample.name == RECEIVED || ACCOUNTS.contains(&sample.name.as_str()) {
                let label = |name: &str| sample.labels.get(name).map(String::as_str).unwrap_or_default();
                let sums = series.entry((label("component"), label("subscription"))).or_default();
                *sums.entry(&sample.name).or_default() += sample.value;
            }
        }
        series.into_iter().find_map(|((component, subscription), sums)| {
            let received = sums.get(RECEIVED).copied().unwrap_or_default();
            let accounted: f64 = ACCOUNTS.iter().filter_map(|name| sums.get(name)).sum();
            (received != accounted).then(|| {
                format!("component {component}, subscription {subscription}: {received} received, {accounted} accounted for: {sums:?}")
            })
        })
    }

    /// The values of a label, each once.
    pub fn label_values(&self, label: &str) -> Vec<&str> {
        let mut values: Vec<&str> = self.0.iter().filter_map(|sample| sample.labels.get(label)).map(String::as_str).collect();
        values.sort_unstable();
        values.dedup();
        values
    }
}

fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("not a sample: {line}"));
    let value = value.parse().unwrap_or_else(|_| panic!("not a number: {line}"));
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    Sample { name: name.to_owned(), labels: parse_labels(labels), value }
}

/// `a="1",b="x\"y"}`
fn parse_labels(text: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let mut rest = text;
    while let Some((name, tail)) = rest.split_once("=\"") {
        let mut value = String::new();
        let mut characters = tail.char_indices();
        let end = loop {
            match characters.next().unwrap_or_else(|| panic!("a label does not end: {text}")) {
                (at, '"') => break at,
                (_, '\\') => match characters.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, other)) => value.push(other),
                    None => panic!("a label does not end: {text}"),
                },
                (_, character) => value.push(character),
            }
        };
        labels.insert(name.trim_start_matches(',').to_owned(), value);
        rest = &tail[end + 1..];
    }
    labels
}

#[test]
fn samples_with_and_without_labels_are_read() {
    let metrics = Metrics::parse("# HELP a b\na_total{x=\"1\",y=\"q\\\"},{\"} 2\na_total{x=\"2\",y=\"\"} 3.5\nb 1\n# EOF\n");
    assert_eq!(metrics.sum("a_total", &[]), 5.5);
    assert_eq!(metrics.sum("a_total", &[("y", "q\"},{")]), 2.0);
    assert_eq!(metrics.sum("b", &[]), 1.0);
    assert_eq!(metrics.names(), ["a_total", "b"]);
}

#[test]
fn a_delivery_that_is_nowhere_is_noticed() {
    let text = |retrying: u32| {
        format!(
            "{RECEIVED}{{component=\"a\",subscription=\"s\",source=\"channel\"}} 5\n{RECEIVED}{{component=\"a\",subscription=\"s\",source=\"redrive\"}} 1\n\
             {HANDLED}{{component=\"a\",subscription=\"s\"}} 1\n{FAILED}{{component=\"a\",subscription=\"s\",reason=\"trap\"}} 1\n\
             {DROPPED}{{component=\"a\",subscription=\"s\",reason=\"drain\"}} 1\n{QUEUED}{{component=\"a\",subscription=\"s\"}} 1\n\
             {RETRYING}{{component=\"a\",subscription=\"s\"}} {retrying}\n{IN_FLIGHT}{{component=\"a\",subscription=\"s\"}} 1\n"
        )
    };
    assert_eq!(Metrics::parse(&text(1)).imbalance(), None);
    let wrong = Metrics::parse(&text(0)).imbalance().unwrap();
    assert!(wrong.starts_with("component a, subscription s: 6 received"), "{wrong}");
}
