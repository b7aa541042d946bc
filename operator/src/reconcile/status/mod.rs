//! Step five: say in the app's status how it fares, and in an event when that changes. Read from the Deployment, its pods,
//! their termination messages and, while a pod runs unready, its `/status`; written only when it differs.

mod ask;
mod compute;
mod conditions;
mod diagnose;
mod pace;
mod transition;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Resource, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;
use spinredis_crds::{SpinRedisApp, SpinRedisAppStatus, report::ServeStatus, status::condition};

use super::{
    StepError,
    apply::{Applied, is_controlled_by},
    subject::{Subject, untyped},
};
use crate::{
    context::Context,
    names::{self, words},
};

pub use compute::{Network, Observation, compute};
pub(super) use diagnose::{is_ready, is_stopping, prepare_ended, prepare_report};
pub use pace::Pace;

/// Why the status could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum Error {
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
    /// Whether only an edit of the app helps.
    pub is_stalled: bool,
    /// When to look again since a step of ordinary progress is not worth a write yet.
    pub write_after: Option<Duration>,
}

/// Writes the status of an app after its first four steps.
pub async fn report(subject: &Subject, outcome: &Result<Applied, StepError>, context: &Context) -> Result<Observed, Error> {
    let deployment = match outcome {
        Ok(applied) => Some(applied.deployment.clone()),
        Err(_) => deployment_of(subject, context),
    };
    let pods = pods_of(subject, context);
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
        network: network(subject, outcome),
        now: (context.clock)(),
    });
    let is_stalled = conditions::find(&status, condition::STALLED).is_some_and(|stalled| stalled.status == "True");
    if let Some(wait) = context.pace.wait(subject, &status, Instant::now()) {
        return Ok(Observed { has_unready_runtime: asked.has_unready_runtime, is_stalled, write_after: Some(wait) });
    }
    if status != subject.status {
        write(subject, &status, context).await?;
        tell(subject, &status, context).await;
    }
    Ok(Observed { has_unready_runtime: asked.has_unready_runtime, is_stalled, write_after: None })
}

/// What is known of the app's NetworkPolicy.
fn network(subject: &Subject, outcome: &Result<Applied, StepError>) -> Network {
    let wants_one = subject.app.as_ref().is_ok_and(|app| app.spec.network_policy.as_ref().is_some_and(|policy| policy.is_enabled()));
    match outcome {
        Ok(Applied { widened: Some(widened), .. }) => Network::Applied(widened.clone()),
        Err(_) if wants_one => Network::Unchanged,
        _ => Network::None,
    }
}

/// What running, unready pods answered, by the name of the pod.
pub type Answers = BTreeMap<String, ServeStatus>;

/// The app's own Deployment, when the steps before did not get as far as giving it.
fn deployment_of(subject: &Subject, context: &Context) -> Option<Deployment> {
    let found: Option<Deployment> = context.watched.find(&subject.namespace, &subject.name);
    found.filter(|deployment| is_controlled_by(deployment, &subject.uid))
}

/// The pods of an app, the newest first.
pub(super) fn pods_of(subject: &Subject, context: &Context) -> Vec<Pod> {
    let mut found = context.watched.of_app::<Pod>(&subject.namespace, &subject.name);
    // Anybody may put the label on a pod; what belongs to the Deployment's ReplicaSets is the app's.
    let of_app = format!("{}-", subject.name);
    found.retain(|pod| {
        pod.owner_references()
            .iter()
            .any(|owner| owner.controller == Some(true) && owner.kind == "ReplicaSet" && owner.name.starts_with(&of_app))
    });
    // The newest first: what they meet is what the newest template meets.
    found.sort_by_key(|pod| std::cmp::Reverse((pod.creation_timestamp(), pod.name_any())));
    found
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
        Ok(written) => {
            context.watched.wrote::<SpinRedisApp>(&written);
            context.metrics.wrote("SpinRedisApp");
            Ok(())
        }
    }
}

/// Events and log lines for what is worth them.
async fn tell(subject: &Subject, status: &SpinRedisAppStatus, context: &Context) {
    for notice in transition::notices(&subject.status, status) {
        tracing::info!(app = %subject.full_name(), reason = notice.reason, "{}", notice.note);
        context.events.tell(&subject.reference, &notice).await;
    }
}
