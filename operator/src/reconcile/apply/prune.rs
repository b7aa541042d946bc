//! Removes the manifests of earlier generations once no pod can need them: as long as a ReplicaSet has pods, one of them may
//! restart and must find its own manifest.

use std::collections::BTreeSet;

use k8s_openapi::api::{apps::v1::ReplicaSet, core::v1::ConfigMap};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Preconditions},
};

use super::{Error, is_controlled_by, predecessor};
use crate::{
    context::Context,
    names,
    reconcile::{build, validate::Validated},
};

const KIND: &str = "ConfigMap";

/// Deletes the ConfigMaps of the app that neither its current template nor a ReplicaSet with pods names, and those that an earlier
/// app of its name left behind. Gives whether any had to stay.
pub async fn config_maps(app: &Validated, current: &str, context: &Context) -> Result<bool, Error> {
    let failed = |name: &str| {
        let name = name.to_owned();
        move |error: kube::Error| Error::of(KIND, &name, error)
    };
    // Pins outlive manifests; they go with the last one that names an image by tag.
    let pins = build::pins_key(app).map(|_| names::pins(app.name()));
    let mut old = context.watched.of_app::<ConfigMap>(app.namespace(), app.name());
    let is_own = |found: &ConfigMap| is_controlled_by(found, app.uid());
    old.retain(|found| (is_own(found) || predecessor::is_of_earlier_app(found, app)) && found.metadata.deletion_timestamp.is_none());
    old.retain(|found| found.name_any() != current && pins.as_deref() != Some(&*found.name_any()));
    if old.is_empty() {
        return Ok(false);
    }
    let selected = ListParams::default().labels(&names::selector(app.name()));
    // Asked for only while an old manifest is there, which is during a rollout.
    let replica_sets: Api<ReplicaSet> = Api::namespaced(context.client.clone(), app.namespace());
    let named: BTreeSet<String> =
        replica_sets.list(&selected).await.map_err(failed(current))?.iter().filter(|set| has_pods(set)).flat_map(manifests).collect();
    let config_maps: Api<ConfigMap> = Api::namespaced(context.client.clone(), app.namespace());
    let may_take_all = predecessor::is_left_behind(app, (context.clock)());
    let (to_delete, to_stay): (Vec<_>, Vec<_>) =
        old.into_iter().partition(|found| (is_own(found) || may_take_all) && !named.contains(&found.name_any()));
    for found in to_delete {
        let this_very_one = Preconditions { uid: found.uid(), resource_version: None };
        match config_maps.delete(&found.name_any(), &DeleteParams::default().preconditions(this_very_one)).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            result => drop(result.map_err(failed(&found.name_any()))?),
        }
        context.watched.forget::<ConfigMap>(app.namespace(), &found.name_any());
        context.metrics.wrote(KIND);
    }
    Ok(!to_stay.is_empty())
}

/// Whether a ReplicaSet has pods, or is about to.
pub fn has_pods(set: &ReplicaSet) -> bool {
    let wanted = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let there = set.status.as_ref().map_or(0, |status| status.replicas);
    wanted > 0 || there > 0
}

fn manifests(set: &ReplicaSet) -> impl Iterator<Item = String> {
    let pod = set.spec.as_ref().and_then(|spec| spec.template.as_ref()).and_then(|template| template.spec.as_ref());
    let volumes = pod.and_then(|pod| pod.volumes.as_ref()).into_iter().flatten();
    volumes.filter_map(|volume| Some(volume.config_map.as_ref()?.name.clone()))
}
