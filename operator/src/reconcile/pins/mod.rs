//! Keeps all replicas of an app on the same bytes: what its tags turned out to be in the first pod that was prepared is kept
//! in the ConfigMap `<app>-pins`, which every later pod is prepared with; and a pod that was prepared before that was known,
//! from another image under the same tag, is replaced.

mod decide;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Preconditions},
};
use spinredis_crds::manifest::ManifestSpec;

pub use decide::{Decision, Seen, decide};

use super::{
    StepError,
    apply::{self, Applied, Child},
    build,
    status::pods_of,
    subject::Subject,
    validate::Validated,
};
use crate::{context::Context, names, rolls::is_finished};

/// The pins of an app that has any to keep.
pub struct Pinning<'a> {
    key: String,
    child: Child<'a, ConfigMap>,
    live: Option<ConfigMap>,
}

impl<'a> Pinning<'a> {
    /// Looks at what is kept, before anything of the app is written: a ConfigMap of somebody else must not tell its pods what
    /// to run. None for an app whose images are all named by digest, or that has none.
    pub async fn look(app: &'a Validated, context: &'a Context) -> Result<Option<Self>, apply::Error> {
        let Some(key) = build::pins_key(app) else { return Ok(None) };
        let child = Child::new(app, "ConfigMap", build::pins(app, BTreeMap::new()), context);
        let (namespace, name) = (app.namespace(), names::pins(app.name()));
        let is_known =
            context.watched.config_maps.find(namespace, &name).is_some() || context.watched.sources.find(namespace, &name).is_some();
        let live = if is_known { child.look().await? } else { None };
        Ok(Some(Self { key, child, live }))
    }

    /// Writes what is new, and then has a pod replaced that runs something else, one at a time.
    pub async fn settle(mut self, subject: &Subject, app: &Validated, applied: &Applied, context: &Context) -> Result<(), StepError> {
        let pods = pods_of(subject, context);
        let kept = self.live.as_ref().and_then(|live| live.data.clone()).unwrap_or_default();
        let spec = ManifestSpec::of(app.spec());
        let decision = decide(&Seen {
            key: &self.key,
            spec: &spec,
            kept: &kept,
            pods: &pods,
            replicas: app.spec().replicas,
            // While it waits for its turn to roll its pods still name the pins of before.
            is_finished: is_finished(&applied.deployment) && !applied.waits,
        });
        // Pins that an earlier app of this name left behind become this app's.
        let is_own = self.live.as_ref().is_none_or(|live| apply::is_controlled_by(live, app.uid()));
        if decision.kept != kept || !is_own {
            self.child.wanted = build::pins(app, decision.kept);
            // What no watch knows is asked for before it is made.
            let live = if self.live.is_some() { self.live } else { self.child.look().await? };
            self.child.apply(live).await?;
        }
        match decision.replace {
            Some(pod) => Ok(replace(pod, app, context).await?),
            None => Ok(()),
        }
    }
}

async fn replace(pod: &Pod, app: &Validated, context: &Context) -> Result<(), apply::Error> {
    let name = pod.name_any();
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), app.namespace());
    let this_very_one = Preconditions { uid: pod.uid(), resource_version: None };
    match pods.delete(&name, &DeleteParams::default().preconditions(this_very_one)).await {
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        Err(error) => Err(apply::Error::of("Pod", &name, error)),
        Ok(_) => {
            context.metrics.wrote("Pod");
            let app = format!("{}/{}", app.namespace(), app.name());
            tracing::info!(%app, "replaces pod {name}: a tag had moved when it was prepared, and it runs another image than the others");
            Ok(())
        }
    }
}
