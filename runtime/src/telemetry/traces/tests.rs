//! The exporter against a small collector on loopback.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, http::StatusCode, routing::post};
use prost::Message;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{
    Attempt, AttemptEnd, ComponentTraces, MAX_WAITING, Traces,
    config::TraceConfig,
    otlp::{PartialSuccess, Request, Response, Span, Value},
};

#[derive(Clone, Default)]
struct Collector {
    requests: Arc<Mutex<Vec<(HeaderMap, Request)>>>,
    /// Answers before the good ones.
    first: Arc<Mutex<Vec<(StatusCode, Response)>>>,
}

impl Collector {
    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/v1/traces", post(take)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        endpoint
    }

    fn spans(&self) -> Vec<Span> {
        let requests = self.requests.lock().unwrap();
        requests.iter().flat_map(|(_, request)| &request.resource_spans[0].scope_spans[0].spans).cloned().collect()
    }
}

async fn take(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) -> (StatusCode, Vec<u8>) {
    let mut first = collector.first.lock().unwrap();
    if !first.is_empty() {
        let (status, answer) = first.remove(0);
        return (status, answer.encode_to_vec());
    }
    collector.requests.lock().unwrap().push((headers, Request::decode(body).unwrap()));
    (StatusCode::OK, Vec::new())
}

struct Sending {
    traces: Traces,
    component: ComponentTraces,
    stop: CancellationToken,
    exporter: JoinHandle<()>,
}

impl Sending {
    fn to(endpoint: &str) -> Self {
        let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint), ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=a%20b")];
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let (traces, exporter) = Traces::new(TraceConfig::read(find).unwrap().unwrap(), "shop/orders", Some("orders-1")).unwrap();
        let component = traces.component("shop/orders", "greeter", [("orders", false), ("o*", true)]);
        let stop = CancellationToken::new();
        let exporter = tokio::spawn(exporter.run(stop.clone()));
        Self { traces, component, stop, exporter }
    }

    fn message(&self, subscription: usize, sequence: u64, end: AttemptEnd<'_>) {
        begin(&self.component, subscription, sequence).unwrap().end(end);
    }

    /// Stops and gives how many spans were dropped.
    async fn stop(self) -> u64 {
        self.stop.cancel();
        self.exporter.await.unwrap();
        self.traces.dropped()
    }
}

fn begin(component: &ComponentTraces, subscription: usize, sequence: u64) -> Option<super::Span> {
    let (channel, address) = (Arc::from("orders"), Arc::from("redis://r.shop.svc:6379/0"));
    let received = Instant::now() - Duration::from_millis(250);
    component.start(Attempt { subscription, channel: &channel, address: &address, sequence, attempt: 2, bytes: 5, received })
}

fn value(span: &Span, key: &str) -> Option<Value> {
    span.attributes.iter().find(|attribute| attribute.key == key)?.value.clone()?.value
}

fn text(span: &Span, key: &str) -> String {
    match value(span, key) {
        Some(Value::Text(text)) => text,
        other => panic!("{key} is {other:?}"),
    }
}

const FAILED: AttemptEnd<'_> = AttemptEnd::Failed { reason: "trap", error: "unreachable", retrying: true };

#[tokio::test]
async fn an_attempt_is_a_consumer_span_with_the_messaging_attributes() {
    let collector = Collector::default();
    let sending = Sending::to(&collector.start().await);
    sending.message(0, 7, AttemptEnd::Handled);
    sending.message(1, 7, FAILED);
    assert_eq!(sending.stop().await, 0);
    let spans = collector.spans();
    let [exact, pattern] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!((exact.name.as_str(), exact.kind, exact.status.clone()), ("orders process", 5, None));
    for (key, wanted) in [
        ("messaging.system", "redis"),
        ("messaging.operation.type", "process"),
        ("messaging.operation.name", "process"),
        ("messaging.destination.name", "orders"),
        ("messaging.message.id", "7"),
        ("server.address", "r.shop.svc"),
        ("spinredis.app", "shop/orders"),
        ("spinredis.component", "greeter"),
        ("spinredis.channel", "orders"),
        ("spinredis.outcome", "handled"),
    ] {
        assert_eq!(text(exact, key), wanted, "{key}");
    }
    assert_eq!(value(exact, "messaging.message.body.size"), Some(Value::Number(5)));
    assert_eq!(value(exact, "spinredis.attempt"), Some(Value::Number(2)));
    assert!(matches!(value(exact, "spinredis.wait_seconds"), Some(Value::Float(0.25..5.0))));
    assert!(exact.end_time_unix_nano >= exact.start_time_unix_nano && exact.start_time_unix_nano > 1_700_000_000_000_000_000);

    assert_eq!((pattern.name.as_str(), text(pattern, "messaging.destination.template").as_str()), ("o* process", "o*"));
    assert_eq!((text(pattern, "error.type").as_str(), text(pattern, "spinredis.outcome").as_str()), ("trap", "retrying"));
    assert_eq!(pattern.status.as_ref().map(|status| (status.code, status.message.as_str())), Some((2, "unreachable")));
    assert_eq!(pattern.trace_id, exact.trace_id, "attempts of one message are one trace");
    assert_ne!(pattern.span_id, exact.span_id);

    let requests = collector.requests.lock().unwrap();
    let (headers, request) = &requests[0];
    assert_eq!((&headers["x-tenant"], &headers["content-type"]), (&"a b".parse().unwrap(), &"application/x-protobuf".parse().unwrap()));
    let resource = format!("{:?}", request.resource_spans[0].resource);
    assert!(["service.name", "orders", "service.namespace", "shop", "orders-1"].iter().all(|part| resource.contains(part)), "{resource}");
}

#[tokio::test]
async fn a_collector_that_is_busy_gets_the_spans_later() {
    let collector = Collector::default();
    collector
        .first
        .lock()
        .unwrap()
        .extend([(StatusCode::SERVICE_UNAVAILABLE, Response::default()), (StatusCode::TOO_MANY_REQUESTS, Response::default())]);
    let sending = Sending::to(&collector.start().await);
    sending.message(0, 1, AttemptEnd::Handled);
    while collector.spans().is_empty() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(sending.stop().await, 0);
}

#[tokio::test]
async fn what_a_collector_refuses_is_counted() {
    let collector = Collector::default();
    let partly = Response { partial_success: Some(PartialSuccess { rejected_spans: 1, error_message: "too old".into() }) };
    collector.first.lock().unwrap().extend([(StatusCode::UNAUTHORIZED, Response::default()), (StatusCode::OK, partly)]);
    let sending = Sending::to(&collector.start().await);
    for (refused, dropped) in [(2, 2), (2, 3)] {
        (0..refused).for_each(|sequence| sending.message(0, sequence, AttemptEnd::Handled));
        while sending.traces.dropped() < dropped {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    assert_eq!(sending.stop().await, 3);
}

#[tokio::test]
async fn a_collector_that_is_away_makes_no_message_wait_and_every_span_is_counted() {
    // Nothing listens there any more.
    let endpoint = format!("http://{}", TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap());
    let sending = Sending::to(&endpoint);
    let many = 10 * MAX_WAITING as u64;
    let started = Instant::now();
    for sequence in 0..many {
        sending.message(0, sequence, AttemptEnd::Handled);
    }
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(sending.traces.dropped() >= many - MAX_WAITING as u64);
    assert_eq!(sending.stop().await, many);
}

#[tokio::test]
async fn an_attempt_that_is_given_up_is_told_too() {
    let collector = Collector::default();
    let sending = Sending::to(&collector.start().await);
    drop(begin(&sending.component, 0, 1));
    sending.stop().await;
    assert_eq!(text(&collector.spans()[0], "spinredis.outcome"), "abandoned");
}

#[test]
fn without_a_collector_there_is_no_span() {
    let component = Traces::default().component("shop/orders", "greeter", [("orders", false)]);
    assert!(begin(&component, 0, 1).is_none());
}

/// `cargo test --release -- --ignored --nocapture what_a_span_costs`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn what_a_span_costs() {
    let (channel, address): (Arc<str>, Arc<str>) = (Arc::from("orders"), Arc::from("redis://r.shop.svc:6379/0"));
    let received = Instant::now();
    let measure = |what: &str, component: &ComponentTraces| {
        let started = Instant::now();
        for sequence in 0..1_000_000 {
            let attempt = Attempt { subscription: 0, channel: &channel, address: &address, sequence, attempt: 1, bytes: 5, received };
            if let Some(span) = std::hint::black_box(component).start(attempt) {
                span.end(AttemptEnd::Handled);
            }
        }
        println!("{what}: {:?} each", started.elapsed() / 1_000_000);
    };
    measure("no traces", &ComponentTraces::default());
    let collector = Collector::default();
    let sending = Sending::to(&collector.start().await);
    measure("every message", &sending.component);
    println!("of which {} were dropped", sending.traces.dropped());
}
