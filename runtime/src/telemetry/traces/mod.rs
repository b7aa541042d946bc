//! Traces: one span for each attempt of a handler, sent to an OpenTelemetry collector with OTLP over HTTP.
//!
//! Without the standard environment variables ([`config`]) there is none of it, and an attempt costs one branch. With them a
//! worker puts a finished span into a bounded buffer and goes on; what does not fit, or cannot be delivered, is counted. Spans
//! follow the messaging conventions of OpenTelemetry. Redis pub/sub carries no context, so every message begins a trace; its
//! attempts are all in that one trace.

pub mod config;
mod export;
mod otlp;
mod span;
#[cfg(test)]
mod tests;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use tokio::sync::mpsc::{self, Sender};

use config::TraceConfig;
pub use export::{Exporter, TraceError};
use span::Record;
pub use span::{Attempt, AttemptEnd, ComponentTraces, Span};

/// Spans that may wait to be sent; as many as OpenTelemetry's own libraries keep.
const MAX_WAITING: usize = 2_048;

/// Traces of the process. Cheap to clone; the default is to make none.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<Collecting>>);

struct Collecting {
    config: TraceConfig,
    finished: Sender<Record>,
    dropped: Arc<AtomicU64>,
}

impl Traces {
    /// Traces of an app, `namespace/name`, and what sends them, which must be run. `pod` is the name of the pod, if it has one.
    pub fn new(config: TraceConfig, app: &str, pod: Option<&str>) -> Result<(Self, Exporter), TraceError> {
        let (finished, waiting) = mpsc::channel(MAX_WAITING);
        let dropped = Arc::new(AtomicU64::new(0));
        let exporter = Exporter::new(&config, app, pod, waiting, dropped.clone())?;
        Ok((Self(Some(Arc::new(Collecting { config, finished, dropped }))), exporter))
    }

    /// The same as the environment asks for, read through `variable`. What is wrong with it is logged, and then there are no
    /// traces: no app stays down for them.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>, app: &str, pod: Option<&str>) -> (Self, Option<Exporter>) {
        let made = match TraceConfig::read(variable) {
            Ok(None) => return Self::none(),
            Ok(Some(config)) => Self::new(config, app, pod).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match made {
            Ok((traces, exporter)) => (traces, Some(exporter)),
            Err(error) => {
                tracing::warn!("there are no traces: {error}");
                Self::none()
            }
        }
    }

    fn none() -> (Self, Option<Exporter>) {
        (Self::default(), None)
    }

    /// What makes the spans of one component. `subscriptions` are its channels and patterns in their order, each with whether
    /// it is a pattern.
    pub fn component<'a>(&self, app: &str, id: &str, subscriptions: impl IntoIterator<Item = (&'a str, bool)>) -> ComponentTraces {
        let collecting = self.0.as_ref();
        ComponentTraces(collecting.map(|collecting| {
            Arc::new(span::Prepared::new(
                app,
                id,
                subscriptions,
                collecting.config.sampler,
                collecting.finished.clone(),
                &collecting.dropped,
            ))
        }))
    }

    /// Spans that were not delivered.
    pub fn dropped(&self) -> u64 {
        self.0.as_ref().map_or(0, |collecting| collecting.dropped.load(Relaxed))
    }
}
