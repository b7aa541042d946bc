//! Sends finished spans to the collector, many at once, on the threads that run no guests.
//!
//! A collector that is away is tried a few times; then the batch is dropped and counted, and the log has one line when it goes
//! and one when it is back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use prost::Message;
use reqwest::{
    Client, StatusCode,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
};
use tokio::{
    sync::mpsc::Receiver,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    config::TraceConfig,
    otlp::{self, Resource, Response, attribute},
    span::Record,
};

/// Spans in a request at most.
const BATCH: usize = 512;
/// How long a span waits for others.
const DELAY: Duration = Duration::from_secs(5);
/// Waits after failed attempts to send a batch; half of each is random.
const BACKOFF: [Duration; 4] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(10)];
/// How long the end of the process may take for what is left.
const LAST: Duration = Duration::from_secs(3);

/// Why spans cannot be sent at all.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// A header cannot be sent.
    #[error("OTEL_EXPORTER_OTLP_HEADERS: {0} is not the name of a header, or its value has characters that headers cannot have")]
    Header(String),
    /// The HTTP client cannot be made.
    #[error("spans cannot be sent: {0}")]
    Client(String),
}

/// Sends spans for as long as it is run.
pub struct Exporter {
    client: Client,
    endpoint: String,
    resource: Resource,
    waiting: Receiver<Record>,
    dropped: Arc<AtomicU64>,
    /// Whether the last batch could not be sent.
    is_away: bool,
}

/// What the collector made of a batch.
enum Sent {
    /// It has all but so many.
    Taken { rejected: u64, why: String },
    /// It may take it later.
    Later { why: String, after: Option<Duration> },
    /// It never will.
    Never(String),
}

impl Exporter {
    pub(super) fn new(
        config: &TraceConfig,
        app: &str,
        pod: Option<&str>,
        waiting: Receiver<Record>,
        dropped: Arc<AtomicU64>,
    ) -> Result<Self, TraceError> {
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"))]);
        for (name, value) in &config.headers {
            let header = || Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?));
            let (key, mut value) = header().ok_or_else(|| TraceError::Header(name.clone()))?;
            value.set_sensitive(true);
            headers.insert(key, value);
        }
        let client =
            Client::builder().default_headers(headers).timeout(config.timeout).user_agent(concat!("spinredis/", env!("CARGO_PKG_VERSION")));
        let client = client.build().map_err(|error| TraceError::Client(sentence(&error)))?;
        let resource = resource(config, app, pod);
        Ok(Self { client, endpoint: config.endpoint.clone(), resource, waiting, dropped, is_away: false })
    }

    /// Sends until it is asked to stop, and then what is left, within a few seconds.
    pub async fn run(mut self, stop: CancellationToken) {
        tracing::info!(endpoint = %self.endpoint, "sending traces");
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let sending = async {
                self.fill(&mut batch).await;
                self.send_patiently(&batch).await;
            };
            if stop.run_until_cancelled(sending).await.is_none() || batch.is_empty() {
                break; // asked to stop, or nobody is left who makes spans
            }
            batch.clear();
        }
        // A batch on whose way the stop came is sent again: twice, with the same ids, is better than not at all.
        let rest = async {
            loop {
                while batch.len() < BATCH
                    && let Ok(record) = self.waiting.try_recv()
                {
                    batch.push(record);
                }
                if batch.is_empty() {
                    return;
                }
                let sent = self.send(&batch).await;
                self.account(sent, batch.len() as u64);
                batch.clear();
            }
        };
        let finished = timeout(LAST, rest).await;
        if finished.is_err() {
            self.dropped.fetch_add((batch.len() + self.waiting.len()) as u64, Relaxed);
        }
    }

    /// Waits for a batch: full, or as old as a span may get. Losing this future half-way loses no span.
    async fn fill(&mut self, batch: &mut Vec<Record>) {
        if batch.is_empty() {
            self.waiting.recv_many(batch, BATCH).await;
        }
        let end = Instant::now() + DELAY;
        while batch.len() < BATCH {
            let room = BATCH - batch.len();
            // Nothing more within the time; or nobody is left to send anything.
            let Ok(1..) = timeout_at(end, self.waiting.recv_many(batch, room)).await else { return };
        }
    }

    /// Sends a batch, again and again while the collector is away, and gives up in the end.
    async fn send_patiently(&mut self, batch: &[Record]) {
        let mut sent = self.send(batch).await;
        for wait in BACKOFF {
            let Sent::Later { why, after } = &sent else { break };
            self.say_away(why);
            let wait = after.unwrap_or_else(|| wait.mul_f64(0.5 + rand::random::<f64>() / 2.0));
            tokio::time::sleep(wait).await;
            sent = self.send(batch).await;
        }
        self.account(sent, batch.len() as u64);
    }

    async fn send(&self, batch: &[Record]) -> Sent {
        let body = otlp::request(&self.resource, batch).encode_to_vec();
        let answer = match self.client.post(&self.endpoint).body(body).send().await {
            Ok(answer) => answer,
            Err(error) => return Sent::Later { why: sentence(&error), after: None },
        };
        let status = answer.status();
        // Those that the protocol names as worth another attempt.
        let is_temporary = matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
        );
        if is_temporary {
            let after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            return Sent::Later {
                why: format!("it answers {status}"),
                after: after.map(|seconds: u64| Duration::from_secs(seconds.min(60))),
            };
        }
        if !status.is_success() {
            return Sent::Never(format!("it answers {status}"));
        }
        let partial = answer.bytes().await.ok().and_then(|body| Response::decode(body).ok()?.partial_success).unwrap_or_default();
        Sent::Taken { rejected: u64::try_from(partial.rejected_spans).unwrap_or(0), why: partial.error_message }
    }

    fn account(&mut self, sent: Sent, count: u64) {
        match sent {
            Sent::Taken { rejected: 0, .. } => {
                if std::mem::take(&mut self.is_away) {
                    tracing::info!(endpoint = %self.endpoint, "the collector takes traces again");
                }
            }
            Sent::Taken { rejected, why } => {
                self.say_away(&format!("it refuses some spans: {why}"));
                self.dropped.fetch_add(rejected.min(count), Relaxed);
            }
            Sent::Later { why, .. } | Sent::Never(why) => {
                self.say_away(&why);
                self.dropped.fetch_add(count, Relaxed);
            }
        }
    }

    /// One line when it begins, not one for each batch.
    fn say_away(&mut self, why: &str) {
        if !std::mem::replace(&mut self.is_away, true) {
            tracing::warn!(endpoint = %self.endpoint, "the collector does not take traces: {why}; spans that cannot be sent are dropped and counted");
        }
    }
}

/// Who sends: what the environment says, else the app itself.
fn resource(config: &TraceConfig, app: &str, pod: Option<&str>) -> Resource {
    let (namespace, name) = app.split_once('/').unwrap_or(("", app));
    let own = [
        ("service.name", config.service_name.as_deref().unwrap_or(name)),
        ("service.namespace", namespace),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("service.instance.id", pod.unwrap_or_default()),
        ("k8s.pod.name", pod.unwrap_or_default()),
        ("k8s.namespace.name", pod.map_or("", |_| namespace)),
    ];
    let is_given = |key: &str| {
        // OTEL_SERVICE_NAME wins over OTEL_RESOURCE_ATTRIBUTES.
        config.resource.iter().any(|(given, _)| given == key) && !(key == "service.name" && config.service_name.is_some())
    };
    let own = own.into_iter().filter(|(key, value)| !value.is_empty() && !is_given(key));
    let given = config.resource.iter().filter(|(key, _)| !(key == "service.name" && config.service_name.is_some()));
    Resource {
        attributes: own.map(|(key, value)| attribute(key, value)).chain(given.map(|(key, value)| attribute(key, value.as_str()))).collect(),
    }
}

/// The innermost cause, which says most; without the URL, which the log line has.
fn sentence(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
