//! Makes an [`App`] of a manifest and what `prepare` left: maps the code, links it, and lays the ways from channels to
//! components.

use std::{env, path::Path, sync::Arc};

use spinredis_crds::{Connection, address::RedisAddress, manifest::Manifest, sharing::GROUP_KEY_VARIABLE};
use spinredis_sharing::script::Place;
use tokio_util::sync::CancellationToken;

use super::{App, Threads, metrics, report::Reporter};
use crate::{
    call::{Clock, Handler},
    compile::{
        artifact::{self, ArtifactError, Entry, Index},
        engine::Engines,
        pool::PoolError,
    },
    connect::Endpoint,
    dead_letters::{
        link::Link,
        place::{self, PlaceError},
        redrive::Redrive,
        writer::DeadLetters,
    },
    dispatch::{Dispatcher, RecentFailures},
    host::{Host, assemble::Hosts, settings::SettingsError},
    queue::Queue,
    redis::{
        receiver::Receiver,
        routes::{self, Routes},
        servers::Servers,
        state::SubscriptionState,
        subscription::Subscription,
    },
    references::References,
    sharing::{Settings, Sharing},
    telemetry::traces::Traces,
};

/// Why an app cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Compiled components cannot be loaded.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// The app has a component that was not prepared.
    #[error("component {0} was not prepared: run `spinredis prepare` with this manifest first")]
    NotPrepared(String),
    /// A component's settings cannot be had.
    #[error("component {component}: {error}")]
    Settings {
        /// Id of the component.
        component: String,
        /// Why.
        error: SettingsError,
    },
    /// More instances than a process can have.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// Dead letters have no server.
    #[error(transparent)]
    DeadLetters(#[from] PlaceError),
    /// Replicas share messages and have no key to sign with.
    #[error(
        "delivery is Shared and the environment variable {GROUP_KEY_VARIABLE} is not set: give every replica of the app the same value, one that \
         nobody can guess ({GROUP_KEY_VARIABLE}=$(openssl rand -hex 16)); the operator does so"
    )]
    NoGroupKey,
    /// Something of wasmtime that nobody expects.
    #[error("{what}: {error}")]
    Wasmtime {
        /// What was tried.
        what: &'static str,
        /// What happened.
        error: String,
    },
}

impl App {
    /// Loads the app that `prepare` left in `folder`. `health_port` is the port that no component may reach.
    pub fn load(
        manifest: &Manifest,
        references: Arc<References>,
        folder: &Path,
        health_port: Option<u16>,
        threads: &Threads,
    ) -> Result<Self, LoadError> {
        let index = Index::read(folder)?;
        check_prepared(manifest, &index)?;
        let name: Arc<str> = manifest.full_name().into();
        let pod = env::var("POD_NAME").ok();
        let engines = Engines::to_run(&index.demands())?;
        let (traces, exporter) = Traces::from_environment(|name| env::var(name).ok(), &name, pod.as_deref());
        let loader = Loader {
            name: &name,
            folder,
            hosts: Hosts::new(manifest, &index, references.clone(), health_port),
            places: places(&name, &index, &references)?,
            engines: &engines,
            clock: Clock::default(),
            traces: &traces,
            threads,
            broken: CancellationToken::new(),
        };
        let mut servers = Routing::default();
        let (mut dispatchers, mut redrives) = (Vec::new(), Vec::new());
        for entry in &index.components {
            let host = loader.hosts.host(entry);
            let dispatcher = Arc::new(loader.dispatcher(entry, host.clone())?);
            servers.add(&dispatcher, entry, &host, index.trigger.as_ref())?;
            if let Some(dead_letters) = &dispatcher.dead_letters {
                let limits = entry.component.limits();
                let consumer = pod.as_deref().unwrap_or("spinredis");
                let redrive = Redrive::new(dead_letters.place().clone(), consumer, limits.concurrency, limits.queue_bytes);
                redrives.push((redrive, dispatcher.clone()));
            }
            dispatchers.push(dispatcher);
        }
        let client_name = client_name(&name, pod.as_deref());
        let mut receivers: Vec<Receiver> = Vec::new();
        let mut beating = Vec::new();
        let connections: Vec<Connection> = servers.0.iter().map(|(server, _)| server.clone()).collect();
        for (server, routes) in servers.0 {
            let wanted = routes.subscriptions().cloned();
            let settings = sharing(manifest, pod.as_deref(), || database(&server, &connections, &references))?;
            let state = Arc::new(match settings {
                Some(_) => SubscriptionState::shared(name.to_string(), wanted),
                None => SubscriptionState::new(name.to_string(), wanted),
            });
            let routes = Arc::new(routes);
            let sharing = settings.map(|settings| {
                // What messages say of the server they came from has no part in the address, which may be in a Secret.
                let (routes, from) = (routes.clone(), from(&server, &references));
                Arc::new(Sharing::new(settings, state.clone(), move |messages| routes.deliver(&from, messages)))
            });
            if let Some(sharing) = &sharing {
                beating.push((sharing.clone(), Link::of_channels(server.clone(), "trigger".to_owned(), references.clone())));
            }
            receivers.push(Receiver {
                server,
                references: references.clone(),
                state,
                routes,
                client_name: client_name.clone(),
                max_message_bytes: manifest.spec.max_message_bytes(),
                sharing,
            });
        }
        let limits = index.components.iter().map(|entry| entry.component.limits());
        let reporter = Reporter::new(
            name.clone(),
            receivers.iter().map(|receiver| (receiver.server.clone(), receiver.state.clone(), receiver.sharing.clone())),
            dispatchers.iter().cloned().zip(limits).collect(),
        );
        let servers = Servers::new(receivers.iter().map(|receiver| receiver.state.clone()).collect());
        let groups = receivers.iter().filter_map(|receiver| receiver.sharing.clone()).collect();
        let metrics = Arc::new(metrics::metrics(&dispatchers, &index, servers.clone(), groups, traces.clone()));
        let Loader { clock, broken, .. } = loader;
        let drain = manifest.spec.drain();
        Ok(Self {
            name,
            dispatchers,
            receivers,
            beating,
            redrives,
            servers,
            metrics,
            reporter: Arc::new(reporter),
            exporter,
            drain,
            clock,
            engines,
            broken,
        })
    }
}

/// What the components of an app are made of.
struct Loader<'a> {
    name: &'a Arc<str>,
    folder: &'a Path,
    hosts: Hosts,
    places: Vec<place::Place>,
    engines: &'a Engines,
    clock: Clock,
    traces: &'a Traces,
    threads: &'a Threads,
    broken: CancellationToken,
}

impl Loader<'_> {
    fn dispatcher(&self, entry: &Entry, host: Arc<Host>) -> Result<Dispatcher, LoadError> {
        let limits = entry.component.limits();
        let id = entry.component.id.as_str();
        let wrong = |what| move |error: wasmtime::Error| LoadError::Wasmtime { what, error: format!("{error:#}") };
        let engine = self.engines.engine(entry.engine).map_err(wrong("starting wasmtime"))?;
        let code = artifact::load(self.folder, entry, engine)?;
        let handler = Handler::new(engine, &self.clock, &code, entry, self.folder, host).map_err(wrong("linking a component"))?;
        let subscriptions = routes::subscriptions(&entry.component);
        let names = subscriptions.iter().map(|subscription| subscription.name().to_owned()).collect();
        let labels = subscriptions.iter().map(|subscription| (subscription.name(), matches!(subscription, Subscription::Pattern(_))));
        let traces = self.traces.component(self.name, id, labels);
        let place = self.places.iter().find(|place| &*place.component == id);
        Ok(Dispatcher {
            app: self.name.clone(),
            queue: Arc::new(Queue::new(id, names, &limits)),
            handler: Arc::new(handler),
            subscriptions,
            guests: self.threads.guests.handle().clone(),
            times: Arc::default(),
            failures: RecentFailures::default(),
            traces,
            dead_letters: place.map(|place| Arc::new(DeadLetters::new(place.clone(), limits.queue_bytes))),
            workers: Default::default(),
            broken: self.broken.clone(),
        })
    }
}

/// Every component with a source was prepared. An entry without one changes a component of the application, which prepares
/// only those that a trigger names.
fn check_prepared(manifest: &Manifest, index: &Index) -> Result<(), LoadError> {
    let is_prepared = |id: &str| index.components.iter().any(|entry| entry.component.id == id);
    let mut own = manifest.spec.components.iter().filter(|component| component.source.is_some());
    match own.find(|component| !is_prepared(&component.id)) {
        Some(missing) => Err(LoadError::NotPrepared(missing.id.clone())),
        None => Ok(()),
    }
}

fn places(name: &str, index: &Index, references: &Arc<References>) -> Result<Vec<place::Place>, PlaceError> {
    let components: Vec<_> = index.components.iter().map(|entry| entry.component.clone()).collect();
    place::places(name, &components, index.trigger.as_ref(), references)
}

/// What tells a server from others of its app that are the same: the database that its address names; 0 where there is none. So the number
/// may change as long as it tells nothing apart.
fn database(server: &Connection, all: &[Connection], references: &References) -> u32 {
    let address = |server| Endpoint::address(server, "trigger", references).ok().map(|(_, address)| address);
    // Nothing is read for the one server that most apps have.
    let others = all.iter().filter(|other| *other != server);
    let others: Vec<RedisAddress> = others.filter_map(address).collect();
    let own = if others.is_empty() { None } else { address(server) };
    let is_another = |own: &RedisAddress| others.iter().any(|other| (&other.host, other.port) == (&own.host, own.port));
    own.filter(is_another).map_or(0, |own| own.database)
}

/// How the replicas share the messages of a server, if they do.
fn sharing(manifest: &Manifest, pod: Option<&str>, database: impl FnOnce() -> u32) -> Result<Option<Settings>, LoadError> {
    if !manifest.spec.delivery.is_shared() {
        return Ok(None);
    }
    let signing_key = env::var(GROUP_KEY_VARIABLE).ok().filter(|key| !key.is_empty()).ok_or(LoadError::NoGroupKey)?;
    let place = Place::of(&manifest.metadata.namespace, &manifest.metadata.name, signing_key, database().into());
    Ok(Some(Settings { place, limits: manifest.spec.sharing(), replica: pod.unwrap_or("spinredis").to_owned() }))
}

/// What messages say of the server they came from.
fn from(server: &Connection, references: &References) -> Arc<str> {
    Endpoint::address(server, "trigger", references).map_or_else(|_| Arc::from(""), |(_, address)| address.to_string().into())
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
    /// Subscribes a component on the server of each of its subscriptions.
    fn add(&mut self, dispatcher: &Arc<Dispatcher>, entry: &Entry, host: &Host, trigger: Option<&Connection>) -> Result<(), LoadError> {
        let inbox = dispatcher.inbox();
        for (place, subscription) in dispatcher.subscriptions.iter().enumerate() {
            // A pattern is never in an application, whatever channel has its name.
            let own = entry.addresses.get(subscription.name()).filter(|_| matches!(subscription, Subscription::Channel(_)));
            for address in own.map_or(&[None][..], Vec::as_slice) {
                let server = match address {
                    Some(address) => {
                        let address = host
                            .settings
                            .resolve(address)
                            .map_err(|error| LoadError::Settings { component: entry.component.id.clone(), error })?;
                        Connection { address: Some(address), ..Connection::default() }
                    }
                    None => trigger.cloned().unwrap_or_default(),
                };
                self.of(server).add(subscription.clone(), place, &inbox);
            }
        }
        Ok(())
    }

    /// What is subscribed on a server.
    fn of(&mut self, server: Connection) -> &mut Routes {
        let place = self.0.iter().position(|(known, _)| *known == server).unwrap_or_else(|| {
            self.0.push((server, Routes::default()));
            self.0.len() - 1
        });
        &mut self.0[place].1
    }
}
