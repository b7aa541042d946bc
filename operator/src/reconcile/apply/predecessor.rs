//! What the garbage collector of Kubernetes is to take, and what becomes of it when it does not.
//!
//! It learns from its own watches that an owner is gone. When an owner is deleted and made again under its name while those
//! watches are broken (the API server restarts), it sees one object that changed and not one that went, and leaves what the first
//! one owned for ever. So children of an earlier app that are still there after a while become this app's; and a
//! Deployment that somebody deleted is made again only once the garbage collector is at the pods of the deleted one.

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet},
        core::v1::Pod,
    },
    jiff::{SignedDuration, Timestamp},
};
use kube::{Api, Resource, ResourceExt, api::ListParams};
use spinredis_crds::{SpinRedisApp, SpinRedisAppStatus, status::condition};

use super::{Error, prune};
use crate::{context::Context, names, reconcile::validate::Validated};

/// How long the garbage collector is left to take the children of an earlier app. It takes them within a second or so.
const GRACE: SignedDuration = SignedDuration::from_secs(10);
/// How long an app may be without a Deployment for that.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_secs(30);

/// Whether an object is a child of an earlier app of this name. That one is gone for certain: two of one name cannot be.
pub fn is_of_earlier_app(object: &impl Resource, app: &Validated) -> bool {
    let mut owners = object.meta().owner_references.iter().flatten().filter(|owner| owner.controller == Some(true));
    owners.any(|owner| owner.kind == SpinRedisApp::kind(&()) && owner.name == app.name() && owner.uid != app.uid())
}

/// Whether the garbage collector had its time with the children of an earlier app. If it begins with one of them at that very
/// moment, it sees the new owner and stops, or the write finds the child gone.
pub fn is_left_behind(app: &Validated, now: Timestamp) -> bool {
    app.metadata.creation_timestamp.as_ref().is_some_and(|created| now.duration_since(created.0) >= GRACE)
}

/// An error while the pods of a Deployment that somebody deleted run as if nothing were. Those of one deleted without them belong
/// to nobody, and the next Deployment takes them over.
pub async fn wait_for_pods(app: &Validated, status: &SpinRedisAppStatus, context: &Context) -> Result<(), Error> {
    let is_there = context.watched.find::<Deployment>(app.namespace(), app.name()).is_some();
    if is_there || has_waited(status, (context.clock)()) {
        return Ok(());
    }
    let pods = context.watched.of_app::<Pod>(app.namespace(), app.name());
    if pods.iter().all(|pod| pod.metadata.deletion_timestamp.is_some()) {
        return Ok(());
    }
    let replica_sets: Api<ReplicaSet> = Api::namespaced(context.client.clone(), app.namespace());
    let found = replica_sets.list(&ListParams::default().labels(&names::selector(app.name()))).await;
    let found = found.map_err(|error| Error::of("ReplicaSet", app.name(), error))?;
    match found.iter().find(|set| is_of_deployment(set, app.name()) && prune::has_pods(set)) {
        Some(set) => Err(Error::OldPods { name: set.name_any() }),
        None => Ok(()),
    }
}

fn is_of_deployment(set: &ReplicaSet, name: &str) -> bool {
    let mut owners = set.metadata.owner_references.iter().flatten();
    owners.any(|owner| owner.controller == Some(true) && owner.kind == "Deployment" && owner.name == name)
}

/// Whether the app has not been ready for so long that it has to have a Deployment, whatever runs beside it.
fn has_waited(status: &SpinRedisAppStatus, now: Timestamp) -> bool {
    let ready = status.conditions.iter().find(|found| found.type_ == condition::READY && found.status != "True");
    ready.is_some_and(|ready| now.duration_since(ready.last_transition_time.0) >= LONGEST_WAIT)
}
