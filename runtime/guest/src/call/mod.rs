//! Runs a handler: linking, limits, instances, output and outcome.
//!
//! Unless the app asks for more, nothing of one call is left for the next: store, memory, environment and output are made for
//! the call and dropped with it.

mod clock;
mod counts;
mod forms;
mod instances;
mod limits;
mod message;
mod output;
mod state;

use std::{path::Path, sync::Arc};

use wasmtime::Engine;

use crate::{
    compile::{
        artifact::{Code, Entry},
        handler::HandlerKind,
    },
    host::Host,
};
pub use clock::Clock;
pub use counts::{InstanceCounts, Retired};
use forms::{Guest, Legacy, Linked};
use instances::{Instances, Recipe};
pub use message::Message;
use output::Labels;

/// Why a message was not handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What kind of failure it was.
    pub kind: FailureKind,
    /// In words.
    pub message: String,
}

/// Kinds of failure, as metrics count them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The handler returned an error.
    GuestError,
    /// The guest trapped, or could not be instantiated.
    Trap,
    /// The deadline passed.
    Timeout,
    /// The memory limit was reached.
    OutOfMemory,
    /// An environment value could not be read.
    Environment,
    /// The handler said that another attempt does not help.
    Rejected,
    /// The process ended each time it was handled.
    Crash,
}

impl FailureKind {
    /// All kinds, in the order of [`FailureKind::index`].
    pub const ALL: [FailureKind; 7] = [
        FailureKind::GuestError,
        FailureKind::Trap,
        FailureKind::Timeout,
        FailureKind::OutOfMemory,
        FailureKind::Environment,
        FailureKind::Rejected,
        FailureKind::Crash,
    ];

    /// Label value in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            FailureKind::GuestError => "guest_error",
            FailureKind::Trap => "trap",
            FailureKind::Timeout => "timeout",
            FailureKind::OutOfMemory => "out_of_memory",
            FailureKind::Environment => "environment",
            FailureKind::Rejected => "rejected",
            FailureKind::Crash => "crash",
        }
    }

    /// Whether another attempt may end better.
    pub fn may_pass(self) -> bool {
        !matches!(self, FailureKind::Rejected | FailureKind::Crash)
    }

    /// Place in [`FailureKind::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }
}

/// A component that can be called.
pub struct Handler(OfForm);

enum OfForm {
    Component(Instances<Linked>),
    Legacy(Instances<Legacy>),
}

/// Resolves a guest's imports, without running any of it.
pub fn link(engine: &Engine, code: &Code, kind: HandlerKind, concurrent: bool) -> wasmtime::Result<()> {
    forms::link(engine, code, kind, concurrent).map(drop)
}

impl Handler {
    /// A handler with its limits and what it may use. `folder` is where `prepare` left the entry; `clock` ticks `engine`.
    pub fn new(engine: &Engine, clock: &Clock, code: &Code, entry: &Entry, folder: &Path, host: Arc<Host>) -> wasmtime::Result<Self> {
        let limits = entry.component.limits();
        let guest = forms::link(engine, code, entry.handler, entry.engine.is_concurrent())?;
        let recipe = Recipe {
            engine: engine.clone(),
            clock: clock.clone(),
            labels: Arc::new(Labels { app: host.app.clone(), component: host.component.clone() }),
            host,
            args: entry.component.args.clone(),
            files: entry.files.as_ref().map(|files| folder.join(files)),
            is_program: matches!(entry.handler, HandlerKind::Command | HandlerKind::AsyncCommand),
            timeout: limits.timeout,
            memory: limits.memory,
            warm: limits.warm,
            max_reuse: limits.max_reuse,
            allowance: Arc::default(),
        };
        Ok(Self(match guest {
            Guest::Component(form) => OfForm::Component(Instances::new(form, recipe)),
            Guest::Legacy(form) => OfForm::Legacy(Instances::new(form, recipe)),
        }))
    }

    /// Handles one message within the deadline.
    pub async fn call(&self, message: &Message<'_>) -> Result<(), Failure> {
        match &self.0 {
            OfForm::Component(instances) => instances.call(message).await,
            OfForm::Legacy(instances) => instances.call(message).await,
        }
    }

    /// Drops the instance of a call that has ended. To be called once after each [`call`](Self::call), when its outcome is known
    /// to all who wait for it and before the caller calls again.
    pub fn tidy(&self) {
        match &self.0 {
            OfForm::Component(instances) => instances.tidy(),
            OfForm::Legacy(instances) => instances.tidy(),
        }
    }

    /// Keeps as many instances ready as the app asks for, for as long as it is polled. Ends at once when it asks for none.
    pub async fn keep_warm(&self) {
        match &self.0 {
            OfForm::Component(instances) => instances.keep_warm().await,
            OfForm::Legacy(instances) => instances.keep_warm().await,
        }
    }

    /// How many instances there were and are.
    pub fn instances(&self) -> Arc<InstanceCounts> {
        match &self.0 {
            OfForm::Component(instances) => instances.counts(),
            OfForm::Legacy(instances) => instances.counts(),
        }
    }
}
