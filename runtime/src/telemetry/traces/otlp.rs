//! Spans in the form that collectors read: OTLP in protobuf, with the attributes of OpenTelemetry's messaging conventions.
//!
//! Only the fields that are written are declared; their numbers are those of opentelemetry-proto 1, where they never change.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost::{Message, Oneof};

use super::span::Record;

/// Body of a request.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Request {
    #[prost(message, repeated, tag = "1")]
    pub resource_spans: Vec<ResourceSpans>,
}

/// Body of an answer.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Response {
    #[prost(message, optional, tag = "1")]
    pub partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PartialSuccess {
    #[prost(int64, tag = "1")]
    pub rejected_spans: i64,
    #[prost(string, tag = "2")]
    pub error_message: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    pub scope_spans: Vec<ScopeSpans>,
}

/// Who sends the spans.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Resource {
    #[prost(message, repeated, tag = "1")]
    pub attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    pub scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    pub spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Scope {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub version: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Span {
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    pub name: String,
    #[prost(int32, tag = "6")]
    pub kind: i32,
    #[prost(fixed64, tag = "7")]
    pub start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    pub end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    pub attributes: Vec<KeyValue>,
    #[prost(message, optional, tag = "15")]
    pub status: Option<Status>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Status {
    #[prost(string, tag = "2")]
    pub message: String,
    #[prost(int32, tag = "3")]
    pub code: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct KeyValue {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(message, optional, tag = "2")]
    pub value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AnyValue {
    #[prost(oneof = "Value", tags = "1, 3, 4")]
    pub value: Option<Value>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Value {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(int64, tag = "3")]
    Number(i64),
    #[prost(double, tag = "4")]
    Float(f64),
}

/// A message is consumed.
const KIND_CONSUMER: i32 = 5;
const STATUS_ERROR: i32 = 2;

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_owned())
    }
}

/// An attribute.
pub(super) fn attribute(key: &str, value: impl Into<Value>) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value.into()) }) }
}

/// A request with these spans.
pub(super) fn request(resource: &Resource, records: &[Record]) -> Request {
    let scope = Scope { name: "spinredis".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans: records.iter().map(span).collect() }];
    Request { resource_spans: vec![ResourceSpans { resource: Some(resource.clone()), scope_spans }] }
}

fn span(record: &Record) -> Span {
    let destination = record.prepared.subscriptions.get(record.subscription);
    let (subscription, is_pattern) = destination.map_or(("", false), |destination| (destination.name.as_str(), destination.is_pattern));
    let number = |number: u64| Value::Number(i64::try_from(number).unwrap_or(i64::MAX));
    let mut attributes = vec![
        attribute("messaging.system", "redis"),
        attribute("messaging.operation.name", "process"),
        attribute("messaging.operation.type", "process"),
        attribute("messaging.destination.name", subscription),
        attribute("messaging.message.id", record.sequence.to_string().as_str()),
        attribute("messaging.message.body.size", number(record.bytes as u64)),
        attribute("spinredis.app", record.prepared.app.as_str()),
        attribute("spinredis.component", record.prepared.component.as_str()),
        attribute("spinredis.channel", &*record.channel),
        attribute("spinredis.attempt", number(u64::from(record.attempt))),
        attribute("spinredis.outcome", record.outcome),
        attribute("spinredis.wait_seconds", Value::Float(record.waited.as_secs_f64())),
    ];
    if is_pattern {
        attributes.push(attribute("messaging.destination.template", subscription));
    }
    if let Some((host, port)) = host_and_port(&record.address) {
        attributes.push(attribute("server.address", host));
        attributes.extend(port.map(|port| attribute("server.port", number(u64::from(port)))));
    }
    attributes.extend(record.error.as_ref().map(|(reason, _)| attribute("error.type", *reason)));
    Span {
        trace_id: record.trace.to_be_bytes().to_vec(),
        span_id: record.id.to_be_bytes().to_vec(),
        name: format!("{subscription} process"),
        kind: KIND_CONSUMER,
        start_time_unix_nano: nanos(record.began),
        end_time_unix_nano: nanos(record.began + record.took),
        attributes,
        status: record.error.as_ref().map(|(_, error)| Status { message: error.clone(), code: STATUS_ERROR }),
    }
}

fn nanos(time: SystemTime) -> u64 {
    let since: Duration = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Host and port of `redis://host:port/0`; an IPv6 address without its brackets.
fn host_and_port(address: &str) -> Option<(&str, Option<u16>)> {
    let (_, rest) = address.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, rest.strip_prefix(':'))
        }
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    (!host.is_empty()).then(|| (host, port.and_then(|port| port.parse().ok())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_of_an_address_is_found() {
        assert_eq!(host_and_port("redis://r.default.svc:6380/0"), Some(("r.default.svc", Some(6380))));
        assert_eq!(host_and_port("rediss://[::1]:6379"), Some(("::1", Some(6379))));
        assert_eq!(host_and_port("redis://r"), Some(("r", None)));
        assert_eq!((host_and_port("r:1"), host_and_port("redis://")), (None, None));
    }
}
