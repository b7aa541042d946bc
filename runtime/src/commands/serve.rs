//! `spinredis serve`: subscribe, call, and drain when asked to stop.
//!
//! Two sets of threads: one receives and answers health checks, the other runs guests, so that no guest can hold up the
//! first.

use std::{path::Path, sync::Arc, time::Instant};

use spinredis_crds::{Component, defaults, manifest::Manifest};
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{Signal, SignalKind, signal},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{CommandError, read_manifest};
use crate::{
    cli::ServeArgs,
    compile::{
        artifact::{self, Index},
        engine::Engines,
    },
    dispatch,
    guest::Handler,
    health::{self, Health},
    queue::Queue,
    redis::{
        receiver::Receiver,
        routes::{self, Routes},
        state::SubscriptionState,
    },
    references::References,
    telemetry::metrics::Metrics,
};

pub(super) fn run(args: &ServeArgs) -> Result<(), CommandError> {
    let manifest =
        read_manifest(&args.app)?.manifest().map_err(|error| CommandError::Manifest { path: args.app.display().to_string(), error })?;
    let engines = Engines::new().map_err(|error| system("starting wasmtime", format!("{error:#}")))?;
    serve(&manifest, References::directory(&args.refs), &engines, &args.components, args.listen.as_deref())
}

/// Serves prepared components until SIGTERM or SIGINT, and then drains.
pub(super) fn serve(
    manifest: &Manifest,
    references: References,
    engines: &Engines,
    components: &Path,
    listen: Option<&str>,
) -> Result<(), CommandError> {
    let threads = |name: &str, builder: &mut Builder| -> Result<Runtime, CommandError> {
        builder.thread_name(name).enable_all().build().map_err(|error| system("starting threads", error.to_string()))
    };
    let receiving = threads("receive", Builder::new_multi_thread().worker_threads(1))?;
    let guests = threads("guest", &mut Builder::new_multi_thread())?;
    // From the very beginning: the first process of a container does not get a signal's ordinary effect.
    let signals = {
        let _entered = receiving.enter();
        StopSignals::listen()?
    };
    let app = App::load(manifest, Arc::new(references), engines, components)?;
    let result = receiving.block_on(app.serve(engines.clone(), &guests, listen, signals));
    // Neither a guest that ignores its deadline nor a name lookup, which cannot be cancelled, keeps the process from ending.
    guests.shutdown_background();
    receiving.shutdown_background();
    result
}

/// An app that is loaded and not yet subscribed.
struct App {
    name: String,
    components: Vec<(Arc<Queue>, Handler)>,
    receiver: Receiver,
}

impl App {
    fn load(manifest: &Manifest, references: Arc<References>, engines: &Engines, folder: &Path) -> Result<Self, CommandError> {
        let index = Index::read(folder)?;
        let mut routes = Routes::default();
        let mut components = Vec::new();
        for spec in &manifest.spec.components {
            let handler = load_handler(spec, &index, engines, folder, &references)?;
            let names = routes::subscriptions(spec).iter().map(|subscription| subscription.name().to_owned()).collect();
            let queue = Arc::new(Queue::new(&spec.id, names, defaults::QUEUE_BYTES));
            routes.add(spec, &queue);
            components.push((queue, handler));
        }
        let name = manifest.full_name();
        let state = Arc::new(SubscriptionState::new(name.clone(), routes.subscriptions().cloned()));
        let client_name = client_name(&name, std::env::var("POD_NAME").ok().as_deref());
        let receiver = Receiver { trigger: manifest.spec.trigger.clone(), references, routes, state, client_name };
        Ok(Self { name, components, receiver })
    }

    async fn serve(self, engines: Engines, guests: &Runtime, listen: Option<&str>, mut signals: StopSignals) -> Result<(), CommandError> {
        let queues: Vec<Arc<Queue>> = self.components.iter().map(|(queue, _)| queue.clone()).collect();
        let state = self.receiver.state.clone();
        let metrics = Arc::new(Metrics::new(queues.clone(), state.clone()));
        if let Some(address) = listen {
            let listener = health::listen(address).await?;
            tokio::spawn(Health { subscriptions: state.clone(), metrics: metrics.clone() }.serve(listener));
        }
        let ticking = tokio::spawn(dispatch::tick(engines));
        let mut dispatchers = JoinSet::new();
        for (queue, handler) in self.components {
            let durations = metrics.durations(queue.component());
            dispatchers.spawn_on(dispatch::run(queue, handler, durations), guests.handle());
        }
        let shutdown = CancellationToken::new();
        let mut receiving = tokio::spawn(self.receiver.run(shutdown.clone()));
        tracing::info!(app = %self.name, components = queues.len(), "serving");

        // A task only ends before it is asked to when it panicked. A pod that goes on without it would look healthy and do
        // nothing, so the process ends and Kubernetes starts it again.
        let ended = tokio::select! {
            () = signals.next() => None,
            _ = &mut receiving => Some("receiving messages"),
            _ = dispatchers.join_next() => Some("calling a component"),
        };
        if let Some(what) = ended {
            report(&queues, "the process ends early");
            return Err(system(what, "its task ended unexpectedly; this is a bug in spinredis".to_owned()));
        }
        tracing::info!("stopping: unsubscribing and finishing what is queued; a second signal ends at once");
        state.stop();
        shutdown.cancel();
        let drained = drain(receiving, &queues, dispatchers);
        let why = tokio::select! {
            () = drained => "the time to drain was up",
            () = signals.next() => "a second signal ended the process",
        };
        ticking.abort();
        report(&queues, why);
        Ok(())
    }
}

/// The connection's name in CLIENT LIST: Redis takes no spaces or line breaks in it.
fn client_name(app: &str, pod: Option<&str>) -> String {
    match pod {
        Some(pod) => format!("{app}/{pod}"),
        None => app.to_owned(),
    }
}

fn load_handler(
    spec: &Component,
    index: &Index,
    engines: &Engines,
    folder: &Path,
    references: &Arc<References>,
) -> Result<Handler, CommandError> {
    let entry = index.components.iter().find(|entry| entry.id == spec.id).ok_or_else(|| CommandError::NotPrepared(spec.id.clone()))?;
    let engine = engines.for_handler(entry.handler);
    let component = artifact::load(folder, entry, engine)?;
    Handler::new(engine, &component, entry.handler, spec, references.clone())
        .map_err(|error| system("linking a component", format!("{error:#}")))
}

/// Waits for the receiver's last messages and then for the handlers, within the time to drain.
async fn drain(receiving: tokio::task::JoinHandle<()>, queues: &[Arc<Queue>], mut dispatchers: JoinSet<()>) {
    let started = Instant::now();
    let finished = async {
        let _ = receiving.await;
        queues.iter().for_each(|queue| queue.close());
        while dispatchers.join_next().await.is_some() {}
    };
    match tokio::time::timeout(defaults::DRAIN, finished).await {
        Ok(()) => tracing::info!(took = ?started.elapsed(), "drained: nothing is left"),
        Err(_) => dispatchers.abort_all(),
    }
}

/// Counts and names what was left, and why.
fn report(queues: &[Arc<Queue>], why: &str) {
    for queue in queues {
        let abandoned = queue.abandon();
        if abandoned > 0 {
            tracing::error!(component = queue.component(), abandoned, "messages were not handled: {why}");
        }
    }
}

/// SIGTERM and SIGINT, listened to from the beginning so that none is missed.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn listen() -> Result<Self, CommandError> {
        let failed = |error: std::io::Error| system("listening for signals", error.to_string());
        let listen = |kind| signal(kind).map_err(failed);
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn system(what: &'static str, error: String) -> CommandError {
    CommandError::System { what, error }
}
