//! What the operator knows of the cluster without asking: the apps, their children and their pods, as the watches tell, and
//! what it wrote itself a moment ago. A reconcile reads from here; it asks the API server only before it makes something that
//! it does not know of, since a stranger's object of that name is not kept here.
//!
//! [`controller`](crate::controller) feeds it. Nothing here asks or writes anything.

pub mod relisting;
mod store;
mod stored;

use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Pod},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    },
};
use kube::{Resource, core::PartialObjectMeta};
use serde::Serialize;
use serde_json::{Map, Value};
use spinredis_crds::SpinRedisApp;
use tokio::sync::watch;

pub use store::{News, Store};
pub use stored::Stored;

/// Everything that is known without asking.
pub struct Watched {
    /// The apps, with their status.
    pub apps: Store<SpinRedisApp>,
    /// The Deployments that carry an app's label.
    pub deployments: Store<Deployment>,
    /// The ConfigMaps that carry an app's label.
    pub config_maps: Store<ConfigMap>,
    /// The pods that carry an app's label.
    pub pods: Store<Pod>,
    /// The PodDisruptionBudgets that carry an app's label.
    pub budgets: Store<PodDisruptionBudget>,
    /// The NetworkPolicies that carry an app's label.
    pub policies: Store<NetworkPolicy>,
    /// The versions of all other ConfigMaps, so that one that did not change is not read again.
    pub sources: Store<PartialObjectMeta<ConfigMap>>,
    unlisted: watch::Sender<usize>,
}

impl Watched {
    /// Nothing is known yet, and so many watches have to list what there is.
    pub fn waiting_for(watches: usize) -> Self {
        Self {
            apps: Store::default(),
            deployments: Store::default(),
            config_maps: Store::default(),
            pods: Store::default(),
            budgets: Store::default(),
            policies: Store::default(),
            sources: Store::default(),
            unlisted: watch::Sender::new(watches),
        }
    }

    /// One more watch has listed everything there is.
    pub fn one_has_listed(&self) {
        self.unlisted.send_modify(|left| *left = left.saturating_sub(1));
    }

    /// How many watches have yet to list.
    pub fn unlisted(&self) -> usize {
        *self.unlisted.borrow()
    }

    /// Waits until every watch has listed: what is not known then does not exist, or not under the operator's label.
    pub async fn listed(&self) {
        // The sender is in `self`, so this cannot fail.
        let _ = self.unlisted.subscribe().wait_for(|left| *left == 0).await;
    }

    /// The object of that name, if it is of a kind that is kept and known.
    pub fn find<K: Kept>(&self, namespace: &str, name: &str) -> Option<K> {
        K::store(self).find(namespace, name)?.read().ok()
    }

    /// What of an app is known, of one kind.
    pub fn of_app<K: Kept>(&self, namespace: &str, app: &str) -> Vec<K> {
        K::store(self).of_app(namespace, app).iter().filter_map(|object| object.read().ok()).collect()
    }

    /// Takes in the answer to a write.
    pub fn wrote<K: Kept>(&self, object: &impl Serialize) {
        if let Some(object) = Stored::of(object) {
            K::store(self).wrote(object);
        }
    }

    /// Forgets what the API server contradicts.
    pub fn forget<K: Kept>(&self, namespace: &str, name: &str) {
        K::store(self).forget(namespace, name);
    }
}

/// A kind of object that a reconcile looks at, and how much of it is kept.
pub trait Kept: Resource<DynamicType = (), Scope = NamespaceResourceScope> + serde::de::DeserializeOwned + Send + Sync + 'static {
    /// Whether a child of this kind may say nothing beside what is wanted: one more rule would open it to somebody else.
    const IS_EXACT: bool = false;

    /// Whether nothing but the version tells of a change of an object of this kind, since its content is not kept.
    const ONLY_VERSION: bool = false;

    /// Where objects of this kind are kept.
    fn store(watched: &Watched) -> &Store<Self>;

    /// Removes what no step of a reconcile reads.
    fn trim(_: &mut Map<String, Value>) {}

    /// The names of the ConfigMaps that the object asks for.
    fn sources(_: &Map<String, Value>) -> Vec<String> {
        Vec::new()
    }
}

impl Kept for SpinRedisApp {
    fn store(watched: &Watched) -> &Store<Self> {
        &watched.apps
    }

    fn trim(app: &mut Map<String, Value>) {
        remove_annotation(app, "kubectl.kubernetes.io/last-applied-configuration");
    }

    fn sources(app: &Map<String, Value>) -> Vec<String> {
        let components = app.get("spec").and_then(|spec| spec.get("components")).and_then(Value::as_array).into_iter().flatten();
        components.filter_map(|component| component.pointer("/source/configMap/name")?.as_str().map(str::to_owned)).collect()
    }
}

impl Kept for Deployment {
    fn store(watched: &Watched) -> &Store<Self> {
        &watched.deployments
    }
}

impl Kept for ConfigMap {
    fn store(watched: &Watched) -> &Store<Self> {
        &watched.config_maps
    }
}

impl Kept for PartialObjectMeta<ConfigMap> {
    const ONLY_VERSION: bool = true;

    fn store(watched: &Watched) -> &Store<Self> {
        &watched.sources
    }

    /// What the compact form has beside the text is enough.
    fn trim(config_map: &mut Map<String, Value>) {
        config_map.clear();
    }
}

impl Kept for Pod {
    fn store(watched: &Watched) -> &Store<Self> {
        &watched.pods
    }

    /// Of what the pod should be only its node, and names, images, arguments and resources of its containers.
    fn trim(pod: &mut Map<String, Value>) {
        let Some(Value::Object(spec)) = pod.get_mut("spec") else { return };
        stored::only(spec, &["nodeName", "containers", "initContainers"]);
        for name in ["containers", "initContainers"] {
            for container in spec.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut) {
                stored::only(container, &["name", "image", "args", "resources"]);
            }
        }
    }
}

impl Kept for PodDisruptionBudget {
    const IS_EXACT: bool = true;

    fn store(watched: &Watched) -> &Store<Self> {
        &watched.budgets
    }
}

impl Kept for NetworkPolicy {
    const IS_EXACT: bool = true;

    fn store(watched: &Watched) -> &Store<Self> {
        &watched.policies
    }
}

fn remove_annotation(object: &mut Map<String, Value>, name: &str) {
    let annotations = object.get_mut("metadata").and_then(|metadata| metadata.get_mut("annotations"));
    if let Some(Value::Object(annotations)) = annotations {
        annotations.remove(name);
    }
}
