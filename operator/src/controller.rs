//! When to reconcile what: watches apps, their children and pods, and the ConfigMaps their components come from. Of all but
//! the apps only metadata is watched, and nothing of it is kept; a reconcile reads what it needs.

use std::{fmt::Debug, future::Future, sync::Arc, time::Instant};

use futures::{Stream, StreamExt};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Pod},
    },
};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::{
        Config, Controller, WatchStreamExt,
        controller::{self, Action},
        reflector::{self, ObjectRef, Store},
        watcher,
    },
};
use serde::de::DeserializeOwned;
use spinredis_crds::SpinRedisApp;

use crate::{context::Context, metrics::Metrics, names::APP_LABEL, reconcile, server::Readiness};

/// An app that may lack the shape of one: such an app must not end the watch of all others.
type App = DeserializeGuard<SpinRedisApp>;

/// How many apps are reconciled at once.
const CONCURRENCY: u16 = 8;

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

    fn api<K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>>(&self, client: &Client) -> Api<K> {
        match self {
            Scope::Cluster => Api::all(client.clone()),
            Scope::Namespace(namespace) => Api::namespaced(client.clone(), namespace),
        }
    }
}

/// Reconciles the apps of a scope until `shutdown` resolves and the last reconcile has ended.
pub async fn run(scope: Scope, context: Arc<Context>, readiness: Readiness, shutdown: impl Future<Output = ()> + Send + Sync + 'static) {
    let (apps, writer) = reflector::store::<App>();
    let client = context.client.clone();
    let watched = watcher(scope.api::<App>(&client), watcher::Config::default())
        .default_backoff()
        .modify(|app| {
            app.managed_fields_mut().clear();
            if let Ok(app) = &mut app.0 {
                app.status = None;
            }
        })
        .reflect(writer)
        .applied_objects();
    let announce = announce_when_ready(apps.clone(), scope.clone(), readiness);
    let (by_name, by_source) = (apps.clone(), apps.clone());
    let metrics = &context.metrics;
    let controller = Controller::for_stream(surviving(watched, "SpinRedisApp", metrics.clone()), apps)
        .with_config(Config::default().concurrency(CONCURRENCY))
        .watches_stream(
            surviving(metadata_of::<Deployment>(&scope, &client, watcher::Config::default()), "Deployment", metrics.clone()),
            // By name and not by owner: a stranger's Deployment that goes away is what its app waits for.
            move |deployment| app_named(&by_name, &deployment.name_any(), deployment.namespace()),
        )
        .watches_stream(
            surviving(metadata_of::<Pod>(&scope, &client, watcher::Config::default().labels(APP_LABEL)), "Pod", metrics.clone()),
            |pod| app_of_label(&pod),
        )
        .watches_stream(
            surviving(metadata_of::<ConfigMap>(&scope, &client, watcher::Config::default()), "ConfigMap", metrics.clone()),
            move |config_map| {
                let of_label = app_of_label(&config_map);
                if of_label.is_some() { of_label.into_iter().collect() } else { apps_from(&by_source, &config_map) }
            },
        )
        .graceful_shutdown_on(shutdown)
        .run(reconcile_app, after_error, context.clone())
        .for_each(|result| {
            log(result, &context);
            std::future::ready(())
        });
    tokio::join!(controller, announce);
}

async fn announce_when_ready(apps: Store<App>, scope: Scope, readiness: Readiness) {
    if apps.wait_until_ready().await.is_ok() {
        tracing::info!(?scope, apps = apps.len(), "watching");
        readiness.one_is_ready();
    }
}

/// Watches the metadata of a kind; status changes show in it as well, by the resource version.
fn metadata_of<K>(
    scope: &Scope,
    client: &Client,
    config: watcher::Config,
) -> impl Stream<Item = watcher::Result<PartialObjectMeta<K>>> + Send + use<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    watcher(scope.api::<PartialObjectMeta<K>>(client), config).default_backoff().touched_objects()
}

/// Keeps the errors of one watch, which starts itself again, from holding up the others.
fn surviving<K: Send + 'static>(
    watch: impl Stream<Item = watcher::Result<K>> + Send + 'static,
    kind: &'static str,
    metrics: Arc<Metrics>,
) -> impl Stream<Item = watcher::Result<K>> + Send + 'static {
    watch.filter_map(move |event| {
        let kept = event.inspect_err(|error| {
            metrics.watch_broke(kind);
            tracing::warn!("the watch of {kind}s broke and is started again: {error}");
        });
        std::future::ready(kept.ok().map(Ok))
    })
}

/// The app of that name, if there is one.
fn app_named(apps: &Store<App>, name: &str, namespace: Option<String>) -> Option<ObjectRef<App>> {
    let reference = ObjectRef::<App>::new(name).within(&namespace?);
    apps.get(&reference).map(|_| reference)
}

/// The app whose label an object carries.
fn app_of_label(object: &impl ResourceExt) -> Option<ObjectRef<App>> {
    Some(ObjectRef::new(object.labels().get(APP_LABEL)?).within(&object.namespace()?))
}

/// The apps with a component that comes from a ConfigMap.
fn apps_from(apps: &Store<App>, config_map: &PartialObjectMeta<ConfigMap>) -> Vec<ObjectRef<App>> {
    let (name, namespace) = (config_map.name_any(), config_map.namespace());
    let is_source = |app: &App| {
        let components = app.0.iter().flat_map(|app| &app.spec.components);
        app.namespace() == namespace && components.filter_map(|component| component.config_map()).any(|source| source.name == name)
    };
    apps.state_filter(|app| is_source(app)).iter().map(|app| ObjectRef::from_obj(&**app)).collect()
}

async fn reconcile_app(app: Arc<App>, context: Arc<Context>) -> Result<Action, reconcile::Error> {
    let (namespace, name) = (app.namespace().unwrap_or_default(), app.name_any());
    if let Err(invalid) = &app.0 {
        context.metrics.met_unreadable_app();
        tracing::warn!(app = %format!("{namespace}/{name}"), "the app cannot be read: {invalid}");
    }
    let start = Instant::now();
    let result = reconcile::reconcile(&namespace, &name, &context).await;
    context.metrics.reconciled(result.is_ok(), start.elapsed());
    if result.is_ok() {
        context.succeeded(&format!("{namespace}/{name}"));
    }
    result
}

fn after_error(app: Arc<App>, _: &reconcile::Error, context: Arc<Context>) -> Action {
    Action::requeue(context.failed(format!("{}/{}", app.namespace().unwrap_or_default(), app.name_any())))
}

type Reconciled = Result<(ObjectRef<App>, Action), controller::Error<reconcile::Error, watcher::Error>>;

fn log(result: Reconciled, context: &Context) {
    match result {
        Ok((app, _)) => tracing::debug!(%app, "reconciled"),
        // The app went between the event and now.
        Err(controller::Error::ObjectNotFound(app)) => {
            context.succeeded(&format!("{}/{}", app.namespace.as_deref().unwrap_or_default(), app.name))
        }
        Err(controller::Error::ReconcilerFailed(error, app)) => tracing::warn!(%app, "{error}"),
        Err(error) => tracing::error!("{error}"),
    }
}
