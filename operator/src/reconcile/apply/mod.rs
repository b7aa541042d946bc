//! Step four: bring the children to what was built, by server-side apply, and only where something differs.
//!
//! Server-side apply would take over an object of somebody else without a word, so every child is looked at first: one that
//! exists without this app as its controller is left as it is, and nothing else is written either.

mod drift;
mod prune;

use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use spinredis_crds::Reason;

use super::{build::Children, validate::Validated};
use crate::{
    context::Context,
    names::{APPLIED_ANNOTATION, OPERATOR, short_digest, words},
};

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
            Error::BeingDeleted { .. } | Error::Api { .. } => Reason::Progressing,
        }
    }

    /// An error of reading or removing a child: a refusal is about the operator's own rights and not about the app.
    fn of(kind: &'static str, name: &str, source: kube::Error) -> Self {
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

/// Applies the children and removes what is no longer used. Gives the Deployment as the API server has it now.
pub async fn apply(app: &Validated, children: Children, context: &Context) -> Result<Deployment, Error> {
    let config_maps = Child::<ConfigMap>::new(app, "ConfigMap", children.config_map, context);
    let deployments = Child::<Deployment>::new(app, "Deployment", children.deployment, context);
    // Both before either is written: an app whose name is taken leaves nothing behind.
    let (config_map, deployment) = futures::try_join!(config_maps.look(), deployments.look())?;
    let config_map = config_maps.apply(config_map).await?;
    let deployment = deployments.apply(deployment).await?;
    prune::config_maps(app, &config_map.name_any(), context).await?;
    Ok(deployment)
}

/// Whether an object is a child of this very app.
pub fn is_controlled_by(object: &impl Resource, uid: &str) -> bool {
    object.meta().owner_references.iter().flatten().any(|owner| owner.controller == Some(true) && owner.uid == uid)
}

/// One child: what it should be, and where it is kept.
struct Child<'a, K> {
    app: &'a Validated,
    kind: &'static str,
    name: String,
    wanted: K,
    api: Api<K>,
    context: &'a Context,
}

impl<'a, K> Child<'a, K>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope> + Clone + Serialize + DeserializeOwned + std::fmt::Debug,
{
    fn new(app: &'a Validated, kind: &'static str, wanted: K, context: &'a Context) -> Self {
        Self { app, kind, name: wanted.name_any(), wanted, api: Api::namespaced(context.client.clone(), app.namespace()), context }
    }

    /// The child as it is; an error when it is not this app's.
    async fn look(&self) -> Result<Option<K>, Error> {
        let live = self.api.get_opt(&self.name).await.map_err(|error| Error::of(self.kind, &self.name, error))?;
        match live {
            Some(live) if !is_controlled_by(&live, self.app.uid()) => Err(self.taken(&live)),
            Some(live) if live.meta().deletion_timestamp.is_some() => Err(Error::BeingDeleted { kind: self.kind, name: self.name.clone() }),
            live => Ok(live),
        }
    }

    fn taken(&self, live: &K) -> Error {
        let (kind, name) = (self.kind, self.name.clone());
        let owner = live.owner_references().iter().find(|owner| owner.controller == Some(true));
        match owner {
            // A child of an app that was deleted and made again: the garbage collector is about to take it.
            Some(owner) if owner.kind == self.app.owner().kind && owner.name == self.app.name() => Error::BeingDeleted { kind, name },
            Some(owner) => Error::NameConflict { kind, name, owner: format!("belongs to {} {}", owner.kind, owner.name) },
            None => Error::NameConflict { kind, name, owner: "was not made by this app".to_owned() },
        }
    }

    /// Writes the child unless it is as wanted already.
    async fn apply(&self, live: Option<K>) -> Result<K, Error> {
        let wanted = self.patch(live.as_ref());
        if let Some(live) = &live
            && drift::covers(&serde_json::to_value(live).unwrap_or_default(), &wanted)
        {
            return Ok(live.clone());
        }
        // Force takes fields back from whoever changed them in a child of ours. A child that was not there a moment ago may
        // be somebody else's by now: without force their fields stand.
        let parameters = PatchParams { force: live.is_some(), ..PatchParams::apply(OPERATOR) };
        let written = self.api.patch(&self.name, &parameters, &Patch::Apply(&wanted)).await;
        let written = written.map_err(|error| Error::of_write(self.kind, &self.name, error))?;
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
