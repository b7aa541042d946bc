//! `spinredis serve`: subscribe, call, and drain when asked to stop.
//!
//! Two sets of threads: one receives and answers health checks, the other runs guests, so that no guest can hold up the
//! first.

use std::{path::Path, sync::Arc, time::Instant};

use spinredis_crds::{Connection, defaults, manifest::Manifest};
use tokio::{
    net::TcpListener,
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
    host::assemble::Hosts,
    queue::Queue,
    redis::{
        receiver::Receiver,
        routes::{self, Routes},
        servers::Servers,
        session::Subscription,
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
    let listener = listen.map(|address| receiving.block_on(health::listen(address))).transpose()?;
    let health_port = listener.as_ref().and_then(|listener| listener.local_addr().ok()).map(|address| address.port());
    let app = App::load(manifest, Arc::new(references), engines, components, health_port)?;
    let result = receiving.block_on(app.serve(engines.clone(), &guests, listener, signals));
    // Neither a guest that ignores its deadline nor a name lookup, which cannot be cancelled, keeps the process from ending.
    guests.shutdown_background();
    receiving.shutdown_background();
    result
}

/// An app that is loaded and not yet subscribed.
struct App {
    name: String,
    components: Vec<Loaded>,
    receivers: Vec<Receiver>,
}

/// A component that can be called.
struct Loaded {
    queue: Arc<Queue>,
    handler: Handler,
    subscriptions: Vec<Subscription>,
}

impl App {
    fn load(
        manifest: &Manifest,
        references: Arc<References>,
        engines: &Engines,
        folder: &Path,
        health_port: Option<u16>,
    ) -> Result<Self, CommandError> {
        let index = Index::read(folder)?;
        let prepared = |id: &str| index.components.iter().any(|entry| entry.component.id == id);
        // An entry without a source changes a component of the application, which prepares only those that a trigger names.
        let mut own = manifest.spec.components.iter().filter(|component| component.source.is_some());
        if let Some(missing) = own.find(|component| !prepared(&component.id)) {
            return Err(CommandError::NotPrepared(missing.id.clone()));
        }
        let name = manifest.full_name();
        let hosts = Hosts::new(manifest, &index, references.clone(), health_port);
        let mut components = Vec::new();
        let mut servers = Routing::default();
        for entry in &index.components {
            let host = hosts.host(entry);
            let engine = engines.engine(entry.concurrent);
            let code = artifact::load(folder, entry, engine)?;
            let handler = Handler::new(engine, &code, entry, folder, host.clone())
                .map_err(|error| system("linking a component", format!("{error:#}")))?;
            let subscriptions = routes::subscriptions(&entry.component);
            let names = subscriptions.iter().map(|subscription| subscription.name().to_owned()).collect();
            let queue = Arc::new(Queue::new(&entry.component.id, names, defaults::QUEUE_BYTES));
            for (place, subscription) in subscriptions.iter().enumerate() {
                // A pattern is never in an application, whatever channel has its name.
                let own = entry.addresses.get(subscription.name()).filter(|_| matches!(subscription, Subscription::Channel(_)));
                for address in own.map_or(&[None][..], Vec::as_slice) {
                    let server = match address {
                        Some(address) => {
                            let address = host
                                .settings
                                .resolve(address)
                                .map_err(|error| CommandError::Settings { component: entry.component.id.clone(), error })?;
                            Connection { address: Some(address), ..Connection::default() }
                        }
                        None => index.trigger.clone().unwrap_or_default(),
                    };
                    servers.of(server).add(subscription.clone(), place, &queue);
                }
            }
            components.push(Loaded { queue, handler, subscriptions });
        }
        let client_name = client_name(&name, std::env::var("POD_NAME").ok().as_deref());
        let receivers = servers.0.into_iter().map(|(server, routes)| {
            let state = Arc::new(SubscriptionState::new(name.clone(), routes.subscriptions().cloned()));
            Receiver { server, references: references.clone(), routes, state, client_name: client_name.clone() }
        });
        let receivers = receivers.collect();
        Ok(Self { name, components, receivers })
    }

    async fn serve(
        self,
        engines: Engines,
        guests: &Runtime,
        listener: Option<TcpListener>,
        mut signals: StopSignals,
    ) -> Result<(), CommandError> {
        let queues: Vec<Arc<Queue>> = self.components.iter().map(|component| component.queue.clone()).collect();
        let servers = Servers::new(self.receivers.iter().map(|receiver| receiver.state.clone()).collect());
        let metrics = Arc::new(Metrics::new(queues.clone(), servers.clone()));
        if let Some(listener) = listener {
            tokio::spawn(Health { subscriptions: servers.clone(), metrics: metrics.clone() }.serve(listener));
        }
        let ticking = tokio::spawn(dispatch::tick(engines));
        let mut dispatchers = JoinSet::new();
        for Loaded { queue, handler, subscriptions } in self.components {
            let durations = metrics.durations(queue.component());
            dispatchers.spawn_on(dispatch::run(queue, handler, subscriptions, durations), guests.handle());
        }
        let shutdown = CancellationToken::new();
        let mut receiving: JoinSet<()> = self.receivers.into_iter().map(|receiver| receiver.run(shutdown.clone())).collect();
        tracing::info!(app = %self.name, components = queues.len(), "serving");

        // A task only ends before it is asked to when it panicked. A pod that goes on without it would look healthy and do
        // nothing, so the process ends and Kubernetes starts it again.
        let ended = tokio::select! {
            () = signals.next() => None,
            _ = receiving.join_next() => Some("receiving messages"),
            _ = dispatchers.join_next() => Some("calling a component"),
        };
        if let Some(what) = ended {
            report(&queues, "the process ends early");
            return Err(system(what, "its task ended unexpectedly; this is a bug in spinredis".to_owned()));
        }
        tracing::info!("stopping: unsubscribing and finishing what is queued; a second signal ends at once");
        servers.stop();
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

/// The servers of an app with what is subscribed on each.
#[derive(Default)]
struct Routing(Vec<(Connection, Routes)>);

impl Routing {
    /// What is subscribed on a server.
    fn of(&mut self, server: Connection) -> &mut Routes {
        let place = self.0.iter().position(|(known, _)| *known == server).unwrap_or_else(|| {
            self.0.push((server, Routes::default()));
            self.0.len() - 1
        });
        &mut self.0[place].1
    }
}

/// Waits for the receiver's last messages and then for the handlers, within the time to drain.
async fn drain(mut receiving: JoinSet<()>, queues: &[Arc<Queue>], mut dispatchers: JoinSet<()>) {
    let started = Instant::now();
    let finished = async {
        while receiving.join_next().await.is_some() {}
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
