//! Messages as the runtime handles them: its own receiver, queue, workers and instances, and the same with a Rust closure in the
//! place of a guest.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use spinredis::{
    call::{self, Clock, Failure, Handler},
    compile::{
        artifact::{self, Index},
        bounded::Bounds,
        engine::Engines,
    },
    dead_letters::link::Link,
    dispatch::{Dispatcher, Handle},
    host::assemble::Hosts,
    prepare,
    queue::Queue,
    redis::{receiver::Receiver, routes::Routes, state::SubscriptionState, subscription::Subscription},
    references::References,
    sharing::{self, Settings, Sharing},
    source::{Sources, oci::Registries},
    telemetry::traces::ComponentTraces,
};
use spinredis_crds::{Component, Connection, Instances, Ordering, QueueSpec, manifest::Manifest, sharing::SharingLimits};
use spinredis_sharing::script::Place;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use super::{Arm, Kind, Label, Running};
use crate::probe::Probe;

/// How long Redis may take to confirm the subscription, and ready instances to be made.
const PATIENCE: Duration = Duration::from_secs(20);
/// Ready instances of the warm arm: more than the workers take before more are made.
const WARM: i32 = 16;

/// A guest called by the runtime, or a closure in its place.
pub struct Spinredis {
    label: Label,
    component: Component,
    /// The prepared guest; none for a closure.
    prepared: Option<tempfile::TempDir>,
    manifest: Manifest,
}

impl Spinredis {
    /// Prepares the guest with the settings of a kind.
    pub fn new(label: Label, wasm: &[u8]) -> anyhow::Result<Self> {
        let instances =
            Instances { warm: (label.kind == Kind::Warm).then_some(WARM), max_reuse: label.kind.reuses().then_some(1_000_000_000) };
        // The largest window fits, so that nothing is dropped and every message is waited for.
        let queue = QueueSpec { max_bytes: Some("64Mi".to_owned()), when_full: None };
        let component = Component {
            ordering: Some(Ordering::None),
            instances: Some(instances),
            queue: Some(queue),
            ..serde_json::from_str(
                r#"{"id": "guest", "channels": ["c"], "source": {"configMap": {"name": "guests", "key": "guest.wasm"}}}"#,
            )?
        };
        let manifest: Manifest = serde_json::from_value(serde_json::json!({
            "apiVersion": "spinredis.dev/v1alpha1",
            "kind": "SpinRedisApp",
            "metadata": {"name": "bench"},
            "spec": {"trigger": {"address": "redis://127.0.0.1"}, "components": [component.clone()]},
        }))?;
        let prepared = if label.kind == Kind::Native { None } else { Some(prepare(&manifest, wasm)?) };
        Ok(Self { label, component, prepared, manifest })
    }

    fn start_with<H: Handle>(
        &self,
        address: &str,
        channel: &str,
        probe: &Arc<Probe>,
        handler: H,
        ready: impl AsyncFnOnce(Arc<H>, tokio::runtime::Handle) + Send + 'static,
    ) -> anyhow::Result<Box<dyn Running>> {
        let receive = Builder::new_multi_thread().worker_threads(1).thread_name("receive").enable_all().build()?;
        let guests = Builder::new_multi_thread().worker_threads(self.label.workers).thread_name("guest").enable_all().build()?;
        let limits = self.component.limits();
        let subscription = Subscription::Channel(channel.to_owned());
        let inner = Arc::new(handler);
        let dispatcher = Arc::new(Dispatcher {
            app: "default/bench".into(),
            queue: Arc::new(Queue::new("guest", vec![channel.to_owned()], &limits)),
            handler: Arc::new(Probed { inner: inner.clone(), probe: probe.clone() }),
            subscriptions: vec![subscription.clone()],
            guests: guests.handle().clone(),
            failures: Default::default(),
            times: Arc::default(),
            traces: ComponentTraces::default(),
            dead_letters: None,
            workers: Default::default(),
            broken: CancellationToken::new(),
        });
        let mut routes = Routes::default();
        routes.add(subscription.clone(), 0, &dispatcher.inbox());
        let app = "default/bench".to_owned();
        let state = Arc::new(match self.label.kind.shares() {
            true => SubscriptionState::shared(app, [subscription]),
            false => SubscriptionState::new(app, [subscription]),
        });
        let server = Connection { address: Some(address.to_owned()), ..Connection::default() };
        let routes = Arc::new(routes);
        let sharing = self.label.kind.shares().then(|| sharing(&server, &state, &routes));
        if let Some(sharing) = &sharing {
            receive.spawn(sharing::run(sharing.clone(), Link::new(server.clone(), "trigger".to_owned(), Arc::default())));
        }
        let receiver = Receiver {
            server,
            references: Arc::default(),
            routes,
            state: state.clone(),
            client_name: "bench".to_owned(),
            max_message_bytes: 8 << 20,
            sharing,
        };
        let shutdown = CancellationToken::new();
        receive.spawn(receiver.run(shutdown.clone()));
        let started = Instant::now();
        receive.block_on(ready(inner, guests.handle().clone()));
        while !state.is_ready() {
            ensure!(started.elapsed() < PATIENCE, "no subscription within {} s", PATIENCE.as_secs());
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(Box::new(Started { receive, guests, shutdown }))
    }
}

/// A group of replicas of its own for each start: one that was ended in the middle of a round is a member for a while yet.
fn sharing(server: &Connection, state: &Arc<SubscriptionState>, routes: &Arc<Routes>) -> Arc<Sharing> {
    let place = Place::of("default", &format!("bench-{:x}", rand::random::<u64>()), "a key".to_owned(), 0);
    let settings = Settings { place, limits: SharingLimits::of(None), replica: "bench".to_owned() };
    let (routes, from): (_, Arc<str>) = (routes.clone(), server.address.as_deref().unwrap_or_default().into());
    Arc::new(Sharing::new(settings, state.clone(), move |messages| routes.deliver(&from, messages)))
}

impl Arm for Spinredis {
    fn label(&self) -> Label {
        self.label
    }

    fn start(&self, address: &str, channel: &str, probe: &Arc<Probe>) -> anyhow::Result<Box<dyn Running>> {
        let Some(prepared) = &self.prepared else { return self.start_with(address, channel, probe, Nothing, async |_, _| {}) };
        let (handler, clock_needs) = load(&self.manifest, prepared.path())?;
        clock_needs.0.start(clock_needs.1)?;
        let warm = self.component.limits().warm;
        self.start_with(address, channel, probe, handler, async move |handler: Arc<Handler>, guests| {
            if warm > 0 {
                let keeper = handler.clone();
                // Where the program does it too.
                guests.spawn(async move { keeper.keep_warm().await });
                while handler.instances().warm() < warm as u64 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        })
    }
}

fn prepare(manifest: &Manifest, wasm: &[u8]) -> anyhow::Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("guest.wasm");
    std::fs::write(&file, wasm)?;
    let sources =
        Sources { references: References::default(), registries: Registries::default(), files: [("guest".to_owned(), file)].into() };
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let bounds = Bounds::default();
    runtime
        .block_on(prepare::prepare(manifest, &sources, &Engines::to_compile(), bounds, folder.path()))
        .1
        .context("preparing the guest")?;
    Ok(folder)
}

/// The handler of the one component, and the clock to start with its engines.
fn load(manifest: &Manifest, folder: &Path) -> anyhow::Result<(Handler, (Clock, Vec<wasmtime::Engine>))> {
    let index = Index::read(folder)?;
    let engines = Engines::to_run(&index.demands())?;
    let entry = index.components.first().context("nothing was prepared")?;
    let engine = engines.engine(entry.engine)?;
    let clock = Clock::default();
    let host = Hosts::new(manifest, &index, Arc::default(), None).host(entry);
    let handler = Handler::new(engine, &clock, &artifact::load(folder, entry, engine)?, entry, folder, host)?;
    Ok((handler, (clock, engines.made())))
}

/// A handler that does nothing: what everything around a guest costs.
struct Nothing;

impl Handle for Nothing {
    async fn call(&self, _: &call::Message<'_>) -> Result<(), Failure> {
        Ok(())
    }
}

/// Tells the probe of every message that is handled.
struct Probed<H> {
    inner: Arc<H>,
    probe: Arc<Probe>,
}

impl<H: Handle> Handle for Probed<H> {
    async fn call(&self, message: &call::Message<'_>) -> Result<(), Failure> {
        self.inner.call(message).await?;
        self.probe.handle(message.payload);
        Ok(())
    }

    fn tidy(&self) {
        self.inner.tidy();
    }
}

struct Started {
    receive: Runtime,
    guests: Runtime,
    shutdown: CancellationToken,
}

impl Running for Started {
    fn stop(self: Box<Self>) -> anyhow::Result<()> {
        self.shutdown.cancel();
        self.guests.shutdown_timeout(Duration::from_secs(1));
        self.receive.shutdown_timeout(Duration::from_secs(1));
        Ok(())
    }
}
