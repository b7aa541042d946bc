//! Step five: say in the app's status how it fares, and in an event when that changes. Read from the Deployment, its pods,
//! their termination messages and, while a pod runs unready, its `/status`; written only when it differs.

mod ask;
mod compute;
mod conditions;
mod diagnose;

use std::collections::BTreeMap;

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api, Resource, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;
use spinredis_crds::{SpinRedisApp, SpinRedisAppStatus, report::ServeStatus, status::condition};

use super::{
    StepError,
    apply::is_controlled_by,
    subject::{Subject, untyped},
};
use crate::{
    context::Context,
    names::{self, words},
};

pub use compute::{Observation, compute};

/// Why the status could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The children could not be read.
    #[error("{kind} of the app cannot be read: {}", words(source))]
    Read {
        /// What was asked for.
        kind: &'static str,
        /// What went wrong.
        source: kube::Error,
    },
    /// The status could not be written.
    #[error("the status of the app cannot be written: {}", words(source))]
    Write {
        /// What went wrong.
        source: kube::Error,
    },
}

/// What the next reconcile depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Whether a pod runs without being ready, and should be asked again.
    pub has_unready_runtime: bool,
}

/// Writes the status of an app after its first four steps.
pub async fn report(subject: &Subject, outcome: &Result<Deployment, StepError>, context: &Context) -> Result<Observed, Error> {
    let deployment = match outcome {
        Ok(deployment) => Some(deployment.clone()),
        Err(_) => deployment_of(subject, context).await?,
    };
    let pods = pods_of(subject, context).await?;
    let asked = ask::unready(&pods, deployment.as_ref()).await;
    // An API server that could not be asked once says nothing of pods that were fine; the reconcile is tried again.
    let is_settled = subject.status.observed_generation == subject.generation && deployment.is_some();
    let problem = outcome.as_ref().err().map(StepError::problem);
    let problem = problem.filter(|problem| problem.reason != spinredis_crds::Reason::Progressing || !is_settled);
    let status = compute(&Observation {
        subject,
        problem: problem.as_ref(),
        deployment: deployment.as_ref(),
        pods: &pods,
        serve: &asked.answers,
        now: (context.clock)(),
    });
    if status != subject.status {
        write(subject, &status, context).await?;
        tell(subject, &status, context).await;
    }
    Ok(Observed { has_unready_runtime: asked.has_unready_runtime })
}

/// What running, unready pods answered, by the name of the pod.
pub type Answers = BTreeMap<String, ServeStatus>;

/// The app's own Deployment, when the steps before did not get as far as giving it.
async fn deployment_of(subject: &Subject, context: &Context) -> Result<Option<Deployment>, Error> {
    let deployments: Api<Deployment> = Api::namespaced(context.client.clone(), &subject.namespace);
    let found = deployments.get_opt(&subject.name).await.map_err(|source| Error::Read { kind: "The Deployment", source })?;
    Ok(found.filter(|deployment| is_controlled_by(deployment, &subject.uid)))
}

async fn pods_of(subject: &Subject, context: &Context) -> Result<Vec<Pod>, Error> {
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &subject.namespace);
    let selected = ListParams::default().labels(&names::selector(&subject.name));
    let mut found = pods.list(&selected).await.map_err(|source| Error::Read { kind: "The pods", source })?.items;
    // The newest first: what they meet is what the newest template meets.
    found.sort_by_key(|pod| std::cmp::Reverse((pod.creation_timestamp(), pod.name_any())));
    Ok(found)
}

async fn write(subject: &Subject, status: &SpinRedisAppStatus, context: &Context) -> Result<(), Error> {
    let patch = json!({
        "apiVersion": SpinRedisApp::api_version(&()),
        "kind": SpinRedisApp::kind(&()),
        "metadata": {"name": subject.name, "uid": subject.uid},
        "status": status,
    });
    let parameters = PatchParams::apply(names::OPERATOR).force();
    match untyped(&context.client, &subject.namespace).patch_status(&subject.name, &parameters, &Patch::Apply(&patch)).await {
        // The app went while this ran.
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(source) => Err(Error::Write { source }),
        Ok(_) => {
            context.metrics.wrote("SpinRedisApp");
            Ok(())
        }
    }
}

/// An event for each new reason, but for the ordinary steps between two.
async fn tell(subject: &Subject, status: &SpinRedisAppStatus, context: &Context) {
    let reason_in = |status: &SpinRedisAppStatus| conditions::find(status, condition::READY).map(|ready| ready.reason.clone());
    let Some(ready) = conditions::find(status, condition::READY) else { return };
    let Some(reason) = conditions::reason(ready) else { return };
    if reason == spinredis_crds::Reason::Progressing || reason_in(&subject.status).as_ref() == Some(&ready.reason) {
        return;
    }
    tracing::info!(app = %subject.full_name(), %reason, "{}", ready.message);
    context.events.transition(&subject.reference, reason, &ready.message).await;
}
