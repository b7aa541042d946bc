//! An app at work: its components, its connections, and the order in which they start and end.

mod drain;
mod load;
mod metrics;
mod report;
mod signals;
mod threads;

use std::{io, sync::Arc};

use tokio::{net::TcpListener, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    call::Clock,
    compile::engine::Engines,
    dead_letters::{link::Link, redrive::Redrive},
    dispatch::Dispatcher,
    health::Health,
    redis::{receiver::Receiver, servers::Servers},
    sharing::{self, Sharing},
    telemetry::{metrics::Metrics, traces::Exporter},
};
pub use load::LoadError;
pub use report::Reporter;
pub use signals::StopSignals;
pub use threads::Threads;

/// An app that is loaded and not yet subscribed.
pub struct App {
    /// `namespace/name`.
    name: Arc<str>,
    dispatchers: Vec<Arc<Dispatcher>>,
    receivers: Vec<Receiver>,
    /// The groups of replicas that share messages, each with a connection of its own to the server.
    beating: Vec<(Arc<Sharing>, Link)>,
    redrives: Vec<(Redrive, Arc<Dispatcher>)>,
    servers: Servers,
    metrics: Arc<Metrics>,
    reporter: Arc<Reporter>,
    exporter: Option<Exporter>,
    drain: std::time::Duration,
    clock: Clock,
    engines: Engines,
    /// Cancelled when a worker of a component panics.
    broken: CancellationToken,
}

/// Why an app that was serving ended early.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The clock cannot be started.
    #[error("starting a thread: {0}")]
    Thread(io::Error),
    /// A task that should never end did. A pod that goes on without it would look healthy and do nothing, so the process ends
    /// and Kubernetes starts it again.
    #[error("{0}: its task ended unexpectedly; this is a bug in spinredis")]
    Ended(&'static str),
}

impl App {
    /// Serves until a signal asks to stop, and then drains. To be run on the control threads.
    pub async fn serve(self, threads: &Threads, listener: Option<TcpListener>, mut signals: StopSignals) -> Result<(), ServeError> {
        let Self { name, dispatchers, receivers, beating, redrives, servers, metrics, reporter, exporter, drain, clock, engines, broken } =
            self;
        clock.start(engines.made()).map_err(ServeError::Thread)?;
        if let Some(listener) = listener {
            tokio::spawn(Health { subscriptions: servers.clone(), metrics, reporter }.serve(listener));
        }
        let stop_exporting = CancellationToken::new();
        let exporting = exporter.map(|exporter| tokio::spawn(exporter.run(stop_exporting.clone())));
        for dispatcher in &dispatchers {
            start_helpers(dispatcher, threads);
        }
        let shutdown = CancellationToken::new();
        let mut receiving = JoinSet::new();
        for receiver in receivers {
            receiving.spawn_on(receiver.run(shutdown.clone()), threads.receive.handle());
        }
        let groups: Vec<Arc<Sharing>> = beating.iter().map(|(sharing, _)| sharing.clone()).collect();
        for (sharing, link) in beating {
            tokio::spawn(watched(sharing::run(sharing, link), broken.clone()));
        }
        let mut redriving = JoinSet::new();
        for (redrive, dispatcher) in redrives {
            redriving.spawn(redrive.run(move |redriven| dispatcher.redrive(redriven), shutdown.clone()));
        }
        tracing::info!(app = %name, components = dispatchers.len(), "serving");

        let ended = tokio::select! {
            () = signals.next() => None,
            _ = receiving.join_next() => Some("receiving messages"),
            Some(_) = redriving.join_next() => Some("reading the stream of messages to handle again"),
            () = broken.cancelled() => Some("calling a component"),
        };
        if let Some(what) = ended {
            drain::give_up(&dispatchers, &groups, "the process ends early");
            drain::flush(&dispatchers, Instant::now()).await;
            drain::depart(&groups).await;
            return Err(ServeError::Ended(what));
        }
        tracing::info!(app = %name, "stopping: unsubscribing and finishing what is queued; a second signal gives up what is left");
        servers.stop();
        shutdown.cancel();
        let mut deadline = Instant::now() + drain;
        let why = tokio::select! {
            () = drain::finish(receiving, &dispatchers, &groups) => "",
            () = tokio::time::sleep_until(deadline) => "the time to drain was up",
            () = signals.next() => {
                deadline = Instant::now();
                "a second signal ended the process"
            }
        };
        // Also when nothing is queued: a group that did not answer still counts on this replica for what was published after it had
        // unsubscribed, and is left that too.
        let left = drain::give_up(&dispatchers, &groups, why);
        if left == 0 {
            tracing::info!(app = %name, "drained: nothing is left");
        }
        let last = async {
            drain::flush(&dispatchers, deadline).await;
            drain::depart(&groups).await;
            // Entries whose messages were handled are acknowledged; the others are read again by another pod.
            let _ = tokio::time::timeout_at(deadline, async { while redriving.join_next().await.is_some() {} }).await;
            stop_exporting.cancel();
            if let Some(exporting) = exporting {
                let _ = exporting.await;
            }
        };
        tokio::select! {
            () = last => {}
            () = signals.next() => drain::tell_unwritten(&dispatchers),
        }
        Ok(())
    }
}

/// Starts what goes on beside the workers of a component.
fn start_helpers(dispatcher: &Arc<Dispatcher>, threads: &Threads) {
    let broken = dispatcher.broken.clone();
    let handler = dispatcher.handler.clone();
    threads.guests.spawn(watched(async move { handler.keep_warm().await }, broken.clone()));
    tokio::spawn(watched(dispatcher.clone().time_retries(), broken.clone()));
    if let Some(dead_letters) = dispatcher.dead_letters.clone() {
        tokio::spawn(watched(async move { dead_letters.run().await }, broken));
    }
}

/// Runs something that must not end by a panic unnoticed.
async fn watched(task: impl Future<Output = ()>, broken: CancellationToken) {
    struct Alarm(CancellationToken);
    impl Drop for Alarm {
        fn drop(&mut self) {
            if std::thread::panicking() {
                self.0.cancel();
            }
        }
    }
    let _alarm = Alarm(broken);
    task.await;
}
