//! Step four: bring the children to what was built, by server-side apply, and only where something differs.
//!
//! Server-side apply would take over an object of somebody else without a word, so every child is looked at first: one that
//! exists without this app as its controller is left as it is, and nothing else is written either. A child that is known is
//! not asked for again; before one is made, the API server is asked whether the name is free and the app still there. Only of an
//! app that is [`new`] nothing is asked: its children are written in a way that makes them or changes nothing.

mod drift;
mod new;
mod old_pods;
mod optional;
mod predecessor;
mod prune;

use std::time::Instant;

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Pod},
};
use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams},
    core::PartialObjectMeta,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use spinredis_crds::{Reason, SpinRedisApp};

use super::{build::Children, validate::Validated};
use crate::{
    context::Context,
    names::{APPLIED_ANNOTATION, OPERATOR, short_digest, words},
    watched::Kept,
};

pub use drift::amount;
use optional::Optional;
pub use predecessor::wait_for_pods;

/// Why a child could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name is taken.
    #[error("{kind} {name} exists already and {owner}; it was left as it is: rename this app, or delete that {kind}")]
    NameConflict {
        /// Kind of the child.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Whose it is, as a part of the sentence.
        owner: String,
    },
    /// An earlier child of that name is still going.
    #[error("{kind} {name} of an earlier app of this name is being deleted; a new one is made as soon as it is gone")]
    BeingDeleted {
        /// Kind of the child.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The pods of a Deployment that is gone still run.
    #[error(
        "the pods of an earlier Deployment of this app still run, since ReplicaSet {name} has yet to be deleted with it; a new Deployment is \
         made as soon as they stop"
    )]
    OldPods {
        /// The ReplicaSet they belong to.
        name: String,
    },
    /// The app went, or goes, or another of its name took its place.
    #[error("the app is being deleted, so nothing is made for it")]
    AppGone,
    /// The API server says that the child is invalid.
    #[error("the API server finds the {kind} of this app invalid: {message}")]
    Invalid {
        /// Kind of the child.
        kind: &'static str,
        /// The API server's own words.
        message: String,
    },
    /// The API server, or a policy of the cluster, refuses the child.
    #[error("the cluster refuses the {kind} of this app: {message}")]
    Refused {
        /// Kind of the child.
        kind: &'static str,
        /// The API server's own words.
        message: String,
    },
    /// The API server could not be asked; this is tried again.
    #[error("{kind} {name} could not be brought up to date, and is tried again: {}", words(source))]
    Api {
        /// Kind of the child.
        kind: &'static str,
        /// Its name.
        name: String,
        /// What went wrong.
        source: kube::Error,
    },
}

impl Error {
    /// The reason in the app's status.
    pub fn reason(&self) -> Reason {
        match self {
            Error::NameConflict { .. } => Reason::NameConflict,
            Error::Invalid { .. } => Reason::Invalid,
            Error::Refused { .. } => Reason::PodRejected,
            Error::BeingDeleted { .. } | Error::OldPods { .. } | Error::AppGone | Error::Api { .. } => Reason::Progressing,
        }
    }

    /// An error of reading or removing a child: a refusal is about the operator's own rights and not about the app.
    pub(super) fn of(kind: &'static str, name: &str, source: kube::Error) -> Self {
        Error::Api { kind, name: name.to_owned(), source }
    }

    /// An error of writing a child.
    fn of_write(kind: &'static str, name: &str, source: kube::Error) -> Self {
        match source {
            kube::Error::Api(status) if matches!(status.code, 400 | 422) => Error::Invalid { kind, message: status.message },
            kube::Error::Api(status) if status.code == 403 => Error::Refused { kind, message: status.message },
            source => Error::of(kind, name, source),
        }
    }
}

/// What was applied, as far as the status tells of it.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The Deployment as the API server has it now.
    pub deployment: Deployment,
    /// Where the NetworkPolicy allows more than the app names; `None` for an app without one.
    pub widened: Option<Vec<String>>,
    /// Whether the Deployment waits for its turn to roll.
    pub waits: bool,
    /// Whether something is left that is to be removed later, of which no watch tells.
    pub has_remains: bool,
}

/// What is known of the app beside its spec.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    /// It was edited since it was reconciled last.
    pub is_edit: bool,
    /// Nothing was ever said of it.
    pub is_new: bool,
}

/// Applies the children and removes what is no longer used.
pub async fn apply(app: &Validated, children: Children, circumstances: Circumstances, context: &Context) -> Result<Applied, Error> {
    let mut widened = children.network_policy.is_some().then_some(children.widened);
    let config_maps = Child::<ConfigMap>::new(app, "ConfigMap", children.config_map, context);
    let mut deployments = Child::<Deployment>::new(app, "Deployment", children.deployment, context);
    let budgets = Optional::new(app, "PodDisruptionBudget", children.pod_disruption_budget, context);
    let mut policies = Optional::new(app, "NetworkPolicy", children.network_policy, context);
    if circumstances.is_new && !budgets.is_wanted() && !policies.is_wanted() {
        let admitted = deployments.admit(None, circumstances, context);
        debug_assert!(admitted, "a Deployment that is not there yet rolls nothing");
        if let Some(deployment) = new::make(&config_maps, &deployments).await? {
            context.pace.made(Instant::now());
            return Ok(Applied { deployment, widened, waits: false, has_remains: false });
        }
    }
    // All before any is written: an app whose name is taken leaves nothing behind.
    let (config_map, deployment, budget, policy) =
        futures::try_join!(config_maps.look(), deployments.look(), budgets.look(), policies.look())?;
    if let Some(wanted) = policies.wanted_mut()
        && old_pods::may_run(&deployments.wanted, deployment.as_ref(), &context.watched.of_app::<Pod>(app.namespace(), app.name()))
    {
        match &policy {
            Some(live) => old_pods::keep_rules(wanted, Some(live)),
            // What the old pods need nobody knows any more.
            None => {
                policies.postpone();
                widened = Some(vec!["it is made as soon as the pods of before the last edit are gone".to_owned()]);
            }
        }
    }
    let may_roll = deployments.admit(deployment.as_ref(), circumstances, context);
    if let Some(live) = deployment.as_ref().filter(|_| !may_roll) {
        policies.apply(policy).await?;
        let deployment = deployments.scale(live, app.spec().replicas).await?;
        budgets.apply(budget).await?;
        return Ok(Applied { deployment, widened, waits: true, has_remains: false });
    }
    let config_map = config_maps.apply(config_map).await?;
    // Before the pods that it is for.
    policies.apply(policy).await?;
    let deployment = deployments.apply(deployment).await?;
    budgets.apply(budget).await?;
    let has_remains = prune::config_maps(app, &config_map.name_any(), context).await?;
    Ok(Applied { deployment, widened, waits: false, has_remains })
}

/// Whether a child says all that is wanted of it, and, if it is of such a kind, nothing else.
fn is_as_wanted<K: Kept + Serialize>(live: &K, wanted: &Value) -> bool {
    let live = serde_json::to_value(live).unwrap_or_default();
    drift::covers(&live, wanted) && (!K::IS_EXACT || drift::covers(&wanted["spec"], &live["spec"]))
}

/// Whether an object is a child of this very app.
pub fn is_controlled_by(object: &impl Resource, uid: &str) -> bool {
    object.meta().owner_references.iter().flatten().any(|owner| owner.controller == Some(true) && owner.uid == uid)
}

impl Child<'_, Deployment> {
    /// Whether the Deployment may be written now, which is noted in it.
    fn admit(&mut self, live: Option<&Deployment>, circumstances: Circumstances, context: &Context) -> bool {
        let full_name = format!("{}/{}", self.app.namespace(), self.app.name());
        context.rolls.admit(&full_name, live, &mut self.wanted, circumstances.is_edit, Instant::now())
    }

    /// Changes the number of pods and nothing else, for an app that waits for its turn to roll.
    async fn scale(&self, live: &Deployment, replicas: i32) -> Result<Deployment, Error> {
        if live.spec.as_ref().and_then(|spec| spec.replicas) == Some(replicas) {
            return Ok(live.clone());
        }
        let patch = json!({"metadata": {"uid": live.uid()}, "spec": {"replicas": replicas}});
        let parameters = PatchParams { field_manager: Some(OPERATOR.to_owned()), ..PatchParams::default() };
        let written = self.api.patch(&self.name, &parameters, &Patch::Merge(&patch)).await;
        let written = written.map_err(|error| Error::of_write(self.kind, &self.name, error))?;
        self.context.watched.wrote::<Deployment>(&written);
        self.context.metrics.wrote(self.kind);
        Ok(written)
    }
}

/// One child: what it should be, and where it is kept.
pub(super) struct Child<'a, K> {
    app: &'a Validated,
    kind: &'static str,
    name: String,
    pub(super) wanted: K,
    api: Api<K>,
    context: &'a Context,
}

impl<'a, K> Child<'a, K>
where
    K: Kept + Clone + Serialize + DeserializeOwned + std::fmt::Debug,
{
    pub(super) fn new(app: &'a Validated, kind: &'static str, wanted: K, context: &'a Context) -> Self {
        Self { app, kind, name: wanted.name_any(), wanted, api: Api::namespaced(context.client.clone(), app.namespace()), context }
    }

    /// The child as it is; an error when it is not this app's.
    pub(super) async fn look(&self) -> Result<Option<K>, Error> {
        let known = self.context.watched.find::<K>(self.app.namespace(), &self.name);
        if let Some(known) = known.filter(|known| is_controlled_by(known, self.app.uid()) && known.meta().deletion_timestamp.is_none()) {
            return Ok(Some(known));
        }
        let live = async { self.api.get_opt(&self.name).await.map_err(|error| Error::of(self.kind, &self.name, error)) };
        let (live, ()) = futures::try_join!(live, self.app_is_there())?;
        match live {
            Some(live) if !is_controlled_by(&live, self.app.uid()) && !self.is_left_behind(&live) => Err(self.taken(&live)),
            Some(live) if live.meta().deletion_timestamp.is_some() => Err(Error::BeingDeleted { kind: self.kind, name: self.name.clone() }),
            live => Ok(live),
        }
    }

    /// A child of an app that goes would be made in vain, and may be made again and again while the app goes.
    async fn app_is_there(&self) -> Result<(), Error> {
        let apps: Api<PartialObjectMeta<SpinRedisApp>> = Api::namespaced(self.context.client.clone(), self.app.namespace());
        let app = apps.get_opt(self.app.name()).await.map_err(|error| Error::of("SpinRedisApp", self.app.name(), error))?;
        let is_there = app.is_some_and(|app| app.uid().as_deref() == Some(self.app.uid()) && app.metadata.deletion_timestamp.is_none());
        if is_there { Ok(()) } else { Err(Error::AppGone) }
    }

    /// Whether this app takes over a child of an earlier app of its name.
    fn is_left_behind(&self, live: &K) -> bool {
        predecessor::is_of_earlier_app(live, self.app) && predecessor::is_left_behind(self.app, (self.context.clock)())
    }

    fn taken(&self, live: &K) -> Error {
        let (kind, name) = (self.kind, self.name.clone());
        // A child of an app that was deleted and made again: the garbage collector is about to take it.
        if predecessor::is_of_earlier_app(live, self.app) {
            return Error::BeingDeleted { kind, name };
        }
        match live.owner_references().iter().find(|owner| owner.controller == Some(true)) {
            Some(owner) => Error::NameConflict { kind, name, owner: format!("belongs to {} {}", owner.kind, owner.name) },
            None => Error::NameConflict { kind, name, owner: "was not made by this app".to_owned() },
        }
    }

    /// Writes the child unless it is as wanted already.
    pub(super) async fn apply(&self, live: Option<K>) -> Result<K, Error> {
        let wanted = self.patch(live.as_ref());
        if let Some(live) = &live
            && is_as_wanted(live, &wanted)
        {
            return Ok(live.clone());
        }
        // Force takes fields back from whoever changed them in a child of ours. A child that was not there a moment ago may
        // be somebody else's by now: without force their fields stand.
        let parameters = PatchParams { force: live.is_some(), ..PatchParams::apply(OPERATOR) };
        let written = self.api.patch(&self.name, &parameters, &Patch::Apply(&wanted)).await;
        self.took_effect(written)
    }

    /// Takes in the answer to a write of the whole child.
    fn took_effect(&self, written: Result<K, kube::Error>) -> Result<K, Error> {
        let written = written.map_err(|error| {
            // What is known of it is out of date; the next try asks.
            if matches!(&error, kube::Error::Api(status) if matches!(status.code, 404 | 409)) {
                self.context.watched.forget::<K>(self.app.namespace(), &self.name);
            }
            Error::of_write(self.kind, &self.name, error)
        })?;
        self.context.watched.wrote::<K>(&written);
        self.context.metrics.wrote(self.kind);
        tracing::info!(app = %format!("{}/{}", self.app.namespace(), self.app.name()), "applied {} {}", self.kind, self.name);
        Ok(written)
    }

    /// What is applied: the child as built, a digest of that (which tells when a field is no longer wanted), and the identity
    /// of the object it is meant for.
    fn patch(&self, live: Option<&K>) -> Value {
        let mut wanted = serde_json::to_value(&self.wanted).unwrap_or_default();
        let digest = short_digest(wanted.to_string().as_bytes());
        if !wanted["metadata"]["annotations"].is_object() {
            wanted["metadata"]["annotations"] = json!({});
        }
        wanted["metadata"]["annotations"][APPLIED_ANNOTATION] = json!(digest);
        if let Some(uid) = live.and_then(|live| live.uid()) {
            wanted["metadata"]["uid"] = json!(uid);
        }
        wanted
    }
}
