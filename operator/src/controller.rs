//! When to reconcile what: watches apps, their children and pods, the ConfigMaps their components come from and the Services
//! their network policies name. What it sees is kept in [`watched`](crate::watched), from which a reconcile reads; of what is
//! not the operator's only metadata is watched.

use std::{fmt::Debug, future::Future, marker::PhantomData, sync::Arc, time::Instant};

use futures::{Stream, StreamExt, stream};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Pod, Service},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::PartialObjectMeta,
    runtime::{
        Config, Controller,
        controller::{self, Action},
        reflector::{self, ObjectRef, Store},
        watcher,
    },
};
use serde::de::DeserializeOwned;
use spinredis_crds::SpinRedisApp;

use crate::{
    context::Context,
    names::{self, APP_LABEL},
    reconcile::{self, dereference::ServiceName},
    watched::{
        Kept, News, Stored,
        relisting::{relisting, touched},
    },
};

/// What the queue of reconciles knows of an app: its name.
type App = PartialObjectMeta<SpinRedisApp>;

/// What one controller watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every namespace.
    Cluster,
    /// One namespace.
    Namespace(String),
}

impl Scope {
    /// One scope for each namespace; the whole cluster when none is named.
    pub fn all_of(namespaces: &[String]) -> Vec<Self> {
        match namespaces {
            [] => vec![Scope::Cluster],
            names => names.iter().cloned().map(Scope::Namespace).collect(),
        }
    }

    /// The only namespace, if it is one.
    fn namespace(&self) -> Option<&str> {
        match self {
            Scope::Cluster => None,
            Scope::Namespace(namespace) => Some(namespace),
        }
    }

    fn api<K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>>(&self, client: &Client) -> Api<K> {
        match self {
            Scope::Cluster => Api::all(client.clone()),
            Scope::Namespace(namespace) => Api::namespaced(client.clone(), namespace),
        }
    }
}

/// How many watches of a scope have to list before the first reconcile.
pub const WATCHES: usize = 7;
/// How many objects are listed at once: a page is in memory whole until it is taken in.
const PAGE: u32 = 250;
/// Selects what carries an app's label; what does not is watched for its metadata only.
const OURS: &str = APP_LABEL;

/// Reconciles the apps of a scope, so many at once, until `shutdown` resolves and the last reconcile has ended; at once when that is
/// before everything was listed, since no reconcile has begun.
pub async fn run(scope: Scope, context: Arc<Context>, at_once: u16, shutdown: impl Future<Output = ()> + Clone + Send + Sync + 'static) {
    let (apps, mut writer) = reflector::store::<App>();
    let watches = Watches { scope: scope.clone(), context: context.clone() };
    let strangers = format!("!{APP_LABEL}");
    let (by_name, by_pins, in_scope) = (apps.clone(), apps.clone(), scope);
    let (by_budget, by_policy) = (apps.clone(), apps.clone());
    let (known, users) = (context.clone(), context.clone());
    let asked_to_stop = shutdown.clone();
    let controller = Controller::for_stream(applied(watches.apps(), move |event| writer.apply_watcher_event(event)), apps)
        .with_config(Config::default().concurrency(at_once))
        .watches_stream(watches.of::<Deployment>(Some(OURS), "Deployment"), |deployment| app_of_label(&deployment))
        .watches_stream(
            watches.metadata_of::<Deployment>(Some(&strangers), "Deployment"),
            // A stranger's Deployment that goes away is what its app waits for.
            move |deployment| app_named(&by_name, &deployment.name_any(), deployment.namespace()),
        )
        .watches_stream(watches.of::<Pod>(Some(OURS), "Pod"), |pod| app_of_label(&pod))
        .watches_stream(watches.of::<ConfigMap>(Some(OURS), "ConfigMap"), |config_map| app_of_label(&config_map))
        .watches_stream(watches.of::<PartialObjectMeta<ConfigMap>>(Some(&strangers), "ConfigMap"), move |config_map| {
            let (namespace, name) = config_map.key();
            let from_it = known.watched.apps.that_ask_for(&namespace, &name).into_iter();
            let from_it = from_it.map(|app| ObjectRef::new(&app).within(&namespace));
            // One that has the name of an app's pins is what that app waits for.
            let taken = names::app_of_pins(&name).and_then(|app| app_named(&by_pins, app, Some(namespace.clone())));
            from_it.chain(taken).collect::<Vec<_>>()
        })
        .watches_stream(watches.of::<PodDisruptionBudget>(Some(OURS), "PodDisruptionBudget"), |budget| app_of_label(&budget))
        .watches_stream(watches.metadata_of::<PodDisruptionBudget>(Some(&strangers), "PodDisruptionBudget"), move |budget| {
            app_named(&by_budget, &budget.name_any(), budget.namespace())
        })
        .watches_stream(watches.of::<NetworkPolicy>(Some(OURS), "NetworkPolicy"), |policy| app_of_label(&policy))
        .watches_stream(watches.metadata_of::<NetworkPolicy>(Some(&strangers), "NetworkPolicy"), move |policy| {
            app_named(&by_policy, &policy.name_any(), policy.namespace())
        })
        .watches_stream(watches.metadata_of::<Service>(None, "Service"), move |service| {
            let service = ServiceName { namespace: service.namespace().unwrap_or_default(), name: service.name_any() };
            let apps = users.services.users_of(&service).into_iter();
            apps.map(|(namespace, name)| ObjectRef::new(&name).within(&namespace)).collect::<Vec<_>>()
        })
        .graceful_shutdown_on(shutdown.clone())
        .run(move |app, context| reconcile_app(app, context, shutdown.clone()), after_error, context.clone())
        .for_each(|result| {
            log(result, &context);
            std::future::ready(())
        });
    let announce = async {
        context.watched.listed().await;
        tracing::info!(scope = ?in_scope, apps = context.watched.apps.len(), "watching");
        std::future::pending::<()>().await;
    };
    // One that is asked to stop watches no longer, but goes on waiting for its list of apps.
    let stopped_in_vain = async {
        asked_to_stop.await;
        if context.watched.unlisted() > 0 {
            return;
        }
        std::future::pending().await
    };
    tokio::select! {
        () = controller => {}
        () = stopped_in_vain => {}
        () = announce => {}
    }
}

/// The watches of a scope, each of which tells what it sees to what is kept.
struct Watches {
    scope: Scope,
    context: Arc<Context>,
}

impl Watches {
    /// The apps, kept whole; only their names go on, each with whether there is anything new of it.
    fn apps(&self) -> impl Stream<Item = (watcher::Event<App>, bool)> + Send + use<> {
        let name_of = |app: Stored<SpinRedisApp>| App { types: None, metadata: without_labels(app.meta().clone()), _phantom: PhantomData };
        self.kept::<SpinRedisApp>(None, "SpinRedisApp").map(move |(event, news)| {
            let event = match event {
                watcher::Event::Apply(app) => watcher::Event::Apply(name_of(app)),
                watcher::Event::Delete(app) => watcher::Event::Delete(name_of(app)),
                watcher::Event::Init => watcher::Event::Init,
                watcher::Event::InitApply(app) => watcher::Event::InitApply(name_of(app)),
                watcher::Event::InitDone => watcher::Event::InitDone,
            };
            (event, news.is_new)
        })
    }

    /// Objects of a kind of which there is anything new, also those that went while nobody watched. They are kept.
    fn of<K: Kept>(&self, labels: Option<&str>, kind: &'static str) -> impl Stream<Item = watcher::Result<Stored<K>>> + Send + use<K> {
        self.kept::<K>(labels, kind).flat_map(|(event, news)| {
            let touched = match event {
                watcher::Event::Apply(object) | watcher::Event::Delete(object) | watcher::Event::InitApply(object) => Some(object),
                watcher::Event::Init | watcher::Event::InitDone => None,
            };
            stream::iter(touched.filter(|_| news.is_new).into_iter().chain(news.gone).map(Ok))
        })
    }

    /// Metadata of a kind that were touched, also those that went while nobody watched. Only names are kept.
    fn metadata_of<K>(
        &self,
        labels: Option<&str>,
        kind: &'static str,
    ) -> impl Stream<Item = watcher::Result<PartialObjectMeta<K>>> + Send + use<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let (api, config) = (self.scope.api::<PartialObjectMeta<K>>(&self.context.client), selecting(labels));
        let watch = relisting(move || watcher(api.clone(), config.clone()));
        touched(surviving(watch, kind, self.context.clone())).map(Ok)
    }

    /// The events of a watch after they were taken in, each with what it told.
    fn kept<K: Kept>(
        &self,
        labels: Option<&str>,
        kind: &'static str,
    ) -> impl Stream<Item = (watcher::Event<Stored<K>>, News<K>)> + Send + use<K> {
        let (api, config) = (self.scope.api::<Stored<K>>(&self.context.client), selecting(labels));
        let watch = relisting(move || watcher(api.clone(), config.clone()));
        let (context, scope) = (self.context.clone(), self.scope.clone());
        let mut has_listed = false;
        surviving(watch, kind, context.clone()).map(move |event| {
            let news = K::store(&context.watched).take_in(&event, scope.namespace());
            if matches!(event, watcher::Event::InitDone) && !has_listed {
                has_listed = true;
                context.watched.one_has_listed();
            }
            (event, news)
        })
    }
}

/// The apps of which a watch shows anything new, after `note` was told. Those of a list only once it is complete: before that the
/// reflector does not know them, and a reconcile of one would find none.
fn applied(
    watch: impl Stream<Item = (watcher::Event<App>, bool)> + Send,
    mut note: impl FnMut(&watcher::Event<App>) + Send,
) -> impl Stream<Item = watcher::Result<App>> + Send {
    let mut listed = Vec::new();
    watch.flat_map(move |(event, is_new)| {
        note(&event);
        stream::iter(match event {
            watcher::Event::Init => {
                listed.clear();
                Vec::new()
            }
            watcher::Event::InitApply(app) => {
                listed.extend(is_new.then_some(Ok(app)));
                Vec::new()
            }
            watcher::Event::InitDone => std::mem::take(&mut listed),
            watcher::Event::Apply(app) if is_new => vec![Ok(app)],
            watcher::Event::Apply(_) | watcher::Event::Delete(_) => Vec::new(),
        })
    })
}

/// Everything, or what these labels select.
fn selecting(labels: Option<&str>) -> watcher::Config {
    let config = watcher::Config::default().page_size(PAGE);
    labels.map_or(config.clone(), |labels| config.labels(labels))
}

fn without_labels(metadata: ObjectMeta) -> ObjectMeta {
    ObjectMeta { labels: None, ..metadata }
}

/// Keeps the errors of one watch, which starts itself again, from holding up the others.
fn surviving<T: Send + 'static>(
    watch: impl Stream<Item = watcher::Result<T>> + Send + 'static,
    kind: &'static str,
    context: Arc<Context>,
) -> impl Stream<Item = T> + Send + 'static {
    watch.filter_map(move |event| {
        let kept = event.inspect_err(|error| {
            context.metrics.watch_broke(kind);
            tracing::warn!("the watch of {kind}s broke and is started again: {error}");
        });
        std::future::ready(kept.ok())
    })
}

/// The app of that name, if there is one.
fn app_named(apps: &Store<App>, name: &str, namespace: Option<String>) -> Option<ObjectRef<App>> {
    let reference = ObjectRef::<App>::new(name).within(&namespace?);
    apps.get(&reference).map(|_| reference)
}

/// The app whose label an object carries.
fn app_of_label(object: &Stored<impl Kept>) -> Option<ObjectRef<App>> {
    Some(ObjectRef::new(object.app()?).within(&object.namespace()?))
}

async fn reconcile_app(app: Arc<App>, context: Arc<Context>, shutdown: impl Future<Output = ()>) -> Result<Action, reconcile::Error> {
    // A follower keeps what is due until it leads; one that is asked to stop meanwhile has nothing to finish.
    let may_begin = async {
        context.leadership.acquired().await;
        context.watched.listed().await;
        // Before the first reconcile may roll an app it is known how many roll already.
        context.rolls.learn(|| context.watched.deployments.all());
    };
    tokio::select! {
        biased;
        () = may_begin => {}
        () = shutdown => return Ok(Action::await_change()),
    }
    let (namespace, name) = (app.namespace().unwrap_or_default(), app.name_any());
    let start = Instant::now();
    if let Some(wait) = context.turns.wait(&format!("{namespace}/{name}"), app.meta().uid.as_deref(), app.meta().generation, start) {
        return Ok(Action::requeue(wait));
    }
    let result = reconcile::reconcile(&namespace, &name, &context).await;
    context.metrics.reconciled(result.is_ok(), start.elapsed());
    if result.is_ok() {
        context.failures.forget(&format!("{namespace}/{name}"));
    }
    result
}

fn after_error(app: Arc<App>, error: &reconcile::Error, context: Arc<Context>) -> Action {
    let name = format!("{}/{}", app.namespace().unwrap_or_default(), app.name_any());
    let is_slow = matches!(error, reconcile::Error::Timeout);
    Action::requeue(context.failures.failed(name, is_slow, Instant::now()))
}

type Reconciled = Result<(ObjectRef<App>, Action), controller::Error<reconcile::Error, watcher::Error>>;

fn log(result: Reconciled, context: &Context) {
    match result {
        Ok((app, _)) => tracing::debug!(%app, "reconciled"),
        // The app went between the event and now.
        Err(controller::Error::ObjectNotFound(app)) => {
            context.gone(&format!("{}/{}", app.namespace.as_deref().unwrap_or_default(), app.name))
        }
        Err(controller::Error::ReconcilerFailed(error, app)) => tracing::warn!(%app, "{error}"),
        Err(error) => tracing::error!("{error}"),
    }
}
