//! The status of an app as a pure function of what was observed.

use std::collections::BTreeSet;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentCondition},
        core::v1::Pod,
    },
    jiff::Timestamp,
};
use kube::ResourceExt;
use spinredis_crds::{
    ComponentStatus, Delivery, SpinRedisAppSpec, SpinRedisAppStatus,
    report::{Problem, Reason},
    status::condition,
};

use super::{
    Answers,
    conditions::{self, Finding, Phase},
    diagnose::{diagnose, is_ready, is_stopping, prepare_report},
};
use crate::{
    names::{self, TEMPLATE_LABEL},
    reconcile::subject::Subject,
};

/// Everything the status depends on.
#[derive(Debug)]
pub struct Observation<'a> {
    /// The app and its status so far.
    pub subject: &'a Subject,
    /// Why the steps before could not finish.
    pub problem: Option<&'a Problem>,
    /// The app's own Deployment.
    pub deployment: Option<&'a Deployment>,
    /// The pods of the app, the newest first.
    pub pods: &'a [Pod],
    /// What running, unready pods answered.
    pub serve: &'a Answers,
    /// The app's NetworkPolicy.
    pub network: Network,
    /// Now.
    pub now: Timestamp,
}

/// What is known of an app's NetworkPolicy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// There is none.
    #[default]
    None,
    /// It is as it was: the steps before did not get as far as applying it.
    Unchanged,
    /// It was applied, and allows more than the app names in these respects.
    Applied(Vec<String>),
}

/// Whether a pod was made from the newest template.
pub fn is_of_template(pod: &Pod, deployment: Option<&Deployment>) -> bool {
    let template =
        deployment.and_then(|deployment| deployment.spec.as_ref()?.template.metadata.as_ref()?.labels.as_ref()?.get(TEMPLATE_LABEL));
    template.is_some() && pod.labels().get(TEMPLATE_LABEL) == template
}

/// The status of an app.
pub fn compute(seen: &Observation<'_>) -> SpinRedisAppStatus {
    let pods: Vec<&Pod> = seen.pods.iter().filter(|pod| !is_stopping(pod)).collect();
    let (newest, older): (Vec<&Pod>, Vec<&Pod>) = pods.iter().partition(|pod| is_of_template(pod, seen.deployment));
    let ready = newest.iter().filter(|pod| is_ready(pod)).count();
    let old_ready = older.iter().filter(|pod| is_ready(pod)).count();
    let (phase, why) = phase(seen, &newest, ready, Older { pods: older.len(), ready: old_ready });
    let components = components(seen, &newest);
    let conditions = conditions::conditions(
        phase,
        (why.reason, &why.message),
        available(&why, ready, old_ready),
        components_ready(seen, phase, &why, &newest),
        network_policy_exact(seen),
        &seen.subject.status,
        seen.subject.generation,
        seen.now,
    );
    SpinRedisAppStatus {
        observed_generation: seen.subject.generation,
        replicas: counts(seen.deployment).replicas,
        ready_replicas: i32::try_from(ready).unwrap_or(i32::MAX),
        selector: names::selector(&seen.subject.name),
        delivery: delivery(seen),
        components,
        conditions,
    }
}

/// What several replicas do with one message, of an app that says so or that has several.
fn delivery(seen: &Observation<'_>) -> Option<Delivery> {
    match &seen.subject.app {
        Err(_) => seen.subject.status.delivery,
        Ok(app) => Some(app.spec.effective_delivery()).filter(|_| app.spec.delivery.is_some() || app.spec.replicas > 1),
    }
}

/// Pods of earlier templates.
#[derive(Clone, Copy)]
struct Older {
    pods: usize,
    /// Those of them that are subscribed.
    ready: usize,
}

/// How many pods the Deployment counts.
#[derive(Default)]
struct Counts {
    replicas: i32,
    is_current: bool,
    is_complete: bool,
}

fn counts(deployment: Option<&Deployment>) -> Counts {
    let Some(deployment) = deployment else { return Counts::default() };
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let Some(status) = &deployment.status else { return Counts::default() };
    let count = |number: Option<i32>| number.unwrap_or(0);
    let is_current = status.observed_generation >= deployment.metadata.generation;
    let each = [status.replicas, status.updated_replicas, status.ready_replicas, status.available_replicas];
    let is_complete = is_current && each.iter().all(|number| count(*number) == wanted) && count(status.unavailable_replicas) == 0;
    Counts { replicas: count(status.replicas), is_current, is_complete }
}

fn phase(seen: &Observation<'_>, newest: &[&Pod], ready: usize, older: Older) -> (Phase, Problem) {
    if let Some(problem) = seen.problem {
        return (unready(problem), problem.clone());
    }
    let spec = seen.subject.app.as_ref().ok().map(|app| &app.spec);
    let wanted = spec.map_or(1, |spec| spec.replicas);
    let counts = counts(seen.deployment);
    if counts.is_complete {
        let (reason, message) = match wanted {
            0 => (Reason::ScaledToZero, "the app is scaled to zero and handles no messages".to_owned()),
            _ => (Reason::Subscribed, subscribed(ready, wanted, spec)),
        };
        return (Phase::Ready, Problem { reason, message });
    }
    let problem = match why_not(seen, newest, &counts) {
        Some(mut problem) if problem.reason == Reason::Progressing && older.ready > 0 => {
            problem.message = format!("{}; {} until then", problem.message, serving(older.ready));
            problem
        }
        Some(problem) => problem,
        None => Problem { reason: Reason::Progressing, message: under_way(ready, older, wanted, counts.replicas) },
    };
    (unready(&problem), problem)
}

fn unready(problem: &Problem) -> Phase {
    if problem.reason.is_stalled() { Phase::Stalled } else { Phase::Reconciling }
}

/// What happens while the newest pods have nothing to complain of, and the Deployment does not count all it wants.
fn under_way(ready: usize, older: Older, wanted: i32, there: i32) -> String {
    let enough = usize::try_from(wanted).unwrap_or_default();
    match wanted {
        0 if there == 1 => "1 pod is finishing its queue before it stops".to_owned(),
        0 => format!("{there} pods are finishing their queues before they stop"),
        _ if ready > enough => format!("{ready} replicas are subscribed and {wanted} wanted: {} will finish and stop", ready - enough),
        _ if ready == enough && older.pods > 0 => format!("{} subscribed; older pods finish and stop", of_replicas(ready, wanted)),
        _ if ready == enough && there > wanted => format!("{} subscribed; the others finish and stop", of_replicas(ready, wanted)),
        _ if ready == enough => format!("{} subscribed; Kubernetes has yet to count them", of_replicas(ready, wanted)),
        _ if older.ready == 0 => format!("{} subscribed; new ones start", of_replicas(ready, wanted)),
        _ => format!("{} subscribed; new ones start, and {} until then", of_replicas(ready, wanted), serving(older.ready)),
    }
}

/// Who handles messages while the newest pods do not.
fn serving(pods: usize) -> String {
    match pods {
        1 => "1 pod of an earlier generation serves".to_owned(),
        _ => format!("{pods} pods of an earlier generation serve"),
    }
}

/// How many replicas are subscribed, to what, and which of several handles a message.
fn subscribed(ready: usize, wanted: i32, spec: Option<&SpinRedisAppSpec>) -> String {
    let to = spec.map(subscriptions).unwrap_or_default();
    match spec.map(SpinRedisAppSpec::effective_delivery) {
        Some(Delivery::Shared) => format!("Shared {ready}/{wanted}: each message is handled by one replica; subscribed{to}"),
        Some(Delivery::EachReplica) if wanted > 1 => {
            format!("EachReplica {ready}/{wanted}: each message is handled by every replica; subscribed{to}")
        }
        _ => format!("{} subscribed{to}", of_replicas(ready, wanted)),
    }
}

fn of_replicas(ready: usize, wanted: i32) -> String {
    format!("{ready} of {wanted} replicas {}", if wanted == 1 { "is" } else { "are" })
}

/// ` to 2 channels and 1 pattern`, each counted once however many components have it. Those of a whole Spin app are known to
/// its pods only.
fn subscriptions(spec: &SpinRedisAppSpec) -> String {
    if let Some(application) = &spec.application {
        return format!(" to the channels of {}", application.oci.reference);
    }
    let distinct = |lists: Vec<&Vec<String>>| lists.into_iter().flatten().collect::<BTreeSet<_>>().len();
    let counted = |count: usize, noun: &str| (count > 0).then(|| format!("{count} {noun}{}", if count == 1 { "" } else { "s" }));
    let channels = counted(distinct(spec.components.iter().map(|component| &component.channels).collect()), "channel");
    let patterns = counted(distinct(spec.components.iter().map(|component| &component.patterns).collect()), "pattern");
    format!(" to {}", [channels, patterns].into_iter().flatten().collect::<Vec<_>>().join(" and "))
}

/// The most telling of what keeps the newest pods from being ready.
fn why_not(seen: &Observation<'_>, newest: &[&Pod], counts: &Counts) -> Option<Problem> {
    let mut found = most_telling(newest.iter().filter_map(|pod| diagnose(pod, seen.serve.get(&pod.name_any()))));
    // What the Deployment says of an earlier generation is no longer true.
    if !counts.is_current {
        return found;
    }
    if found.as_ref().is_none_or(|found| found.reason == Reason::Progressing)
        && let Some(refused) = deployment_condition(seen.deployment, "ReplicaFailure", "True")
    {
        let why = refused.message.as_deref().unwrap_or("it gave no reason");
        found = Some(Problem {
            reason: Reason::PodRejected,
            message: format!("the cluster refuses the pods of this app (mend the app, the quota or the policy that is named): {why}"),
        });
    }
    let is_stuck = deployment_condition(seen.deployment, "Progressing", "False")
        .is_some_and(|stuck| stuck.reason.as_deref() == Some("ProgressDeadlineExceeded"));
    match found {
        Some(found) if is_stuck && !found.reason.is_stalled() => {
            let message = format!("nothing has moved for ten minutes; last: {}: {}", found.reason, found.message);
            Some(Problem { reason: Reason::NoProgress, message })
        }
        None if is_stuck => Some(Problem { reason: Reason::NoProgress, message: "nothing has moved for ten minutes".to_owned() }),
        found => found,
    }
}

/// The most telling of several pods' problems, the first of equals, with the first one of another reason beside it: two replicas
/// may fail for two causes, and whoever mends one should know of the other.
fn most_telling(problems: impl Iterator<Item = Problem>) -> Option<Problem> {
    let mut problems: Vec<Problem> = problems.collect();
    // Stable: among equals the newest pod's stays first.
    problems.sort_by_key(|problem| std::cmp::Reverse(weight(problem)));
    let mut problems = problems.into_iter();
    let mut first = problems.next()?;
    let other = problems.find(|other| other.reason != first.reason && other.reason != Reason::Progressing);
    if let Some(other) = other {
        first.message = format!("{}; another pod: {}: {}", first.message, other.reason, other.message);
    }
    Some(first)
}

fn weight(problem: &Problem) -> u8 {
    match problem.reason {
        reason if reason.is_stalled() => 2,
        Reason::Progressing => 0,
        _ => 1,
    }
}

fn deployment_condition<'a>(deployment: Option<&'a Deployment>, type_: &str, status: &str) -> Option<&'a DeploymentCondition> {
    let conditions = deployment?.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == type_ && condition.status == status)
}

fn available(why: &Problem, ready: usize, old_ready: usize) -> Finding {
    let pods = |count: usize| format!("{count} {}", if count == 1 { "pod is" } else { "pods are" });
    match (ready, old_ready) {
        (0, 0) => Finding::new("False", why.reason, "no pod is subscribed"),
        (0, old) => Finding::new("True", Reason::Subscribed, format!("{} subscribed, of an earlier generation of the app", pods(old))),
        (new, _) => Finding::new("True", Reason::Subscribed, format!("{} subscribed", pods(new))),
    }
}

fn network_policy_exact(seen: &Observation<'_>) -> Option<Finding> {
    match &seen.network {
        Network::None => None,
        Network::Unchanged => {
            let before = conditions::find(&seen.subject.status, condition::NETWORK_POLICY_EXACT)?;
            let status = ["True", "False"].into_iter().find(|status| *status == before.status).unwrap_or("Unknown");
            Some(Finding::new(status, &before.reason, before.message.clone()))
        }
        Network::Applied(widened) if widened.is_empty() => {
            Some(Finding::new("True", "Exact", "the NetworkPolicy allows what the app names and nothing else"))
        }
        Network::Applied(widened) => {
            let message = format!("the NetworkPolicy allows more than the app names, the runtime does not: {}", widened.join("; "));
            Some(Finding::new("False", "Widened", message))
        }
    }
}

/// What `prepare` reported of the newest pods; until it has, what was known before of components that are still asked for.
fn components(seen: &Observation<'_>, newest: &[&Pod]) -> Vec<ComponentStatus> {
    let reported = newest.iter().filter_map(|pod| prepare_report(pod)).map(|report| report.components).find(|found| !found.is_empty());
    if let Some(reported) = reported {
        return reported
            .into_iter()
            .map(|component| ComponentStatus { id: component.id, digest: component.digest, handler: component.handler })
            .collect();
    }
    let before = seen.subject.status.components.iter();
    match &seen.subject.app {
        Err(_) => before.cloned().collect(),
        // Which components a whole Spin app has, its pods report.
        Ok(app) if app.spec.application.is_some() => before.cloned().collect(),
        Ok(app) => before.filter(|known| app.spec.components.iter().any(|component| component.id == known.id)).cloned().collect(),
    }
}

fn components_ready(seen: &Observation<'_>, phase: Phase, why: &Problem, newest: &[&Pod]) -> Finding {
    let reports: Vec<_> = newest.iter().filter_map(|pod| prepare_report(pod)).collect();
    if let Some(problem) = reports.iter().find_map(|report| report.problem.as_ref()) {
        return Finding::new("False", problem.reason, problem.message.clone());
    }
    if why.reason == Reason::PrepareFailed {
        return Finding::new("False", why.reason, why.message.clone());
    }
    if phase == Phase::Ready && why.reason == Reason::Subscribed || !reports.is_empty() {
        return Finding::new("True", "Prepared", "every component was fetched, inspected and compiled");
    }
    // Without a pod nobody knows better than before.
    let before = conditions::find(&seen.subject.status, condition::COMPONENTS_READY).filter(|_| newest.is_empty());
    match before {
        Some(before) if before.status == "True" => Finding::new("True", &before.reason, before.message.clone()),
        _ => Finding::new("Unknown", Reason::Progressing, "no pod has prepared the components yet"),
    }
}
