//! How many apps roll at once because the operator, and not their authors, changed something: another version of it, another
//! image of the runtime, other settings. An author's own edit never waits.
//!
//! Each Deployment says from which edit its pods come and whether the operator itself rolled them last; so what is remembered
//! here is only a count, and after a restart the cluster tells it again.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, Once, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;

use crate::names::{ORIGIN_ANNOTATION, ROLLED_BY_ANNOTATION, TEMPLATE_LABEL};

/// How many apps roll at once unless told otherwise.
pub const DEFAULT_MOST: usize = 5;
/// An app that takes longer no longer keeps others waiting.
const PATIENCE: Duration = Duration::from_secs(600);
/// Until a waiting app asks again, and what is added for each other that waits: together they ask a few times a second.
const ASK_AGAIN: Duration = Duration::from_secs(3);
const ASK_AGAIN_FOR_EACH: Duration = Duration::from_millis(100);

/// Value of [`ROLLED_BY_ANNOTATION`]: the operator changed the pods and the author did not.
const BY_OPERATOR: &str = "operator";
/// Value of [`ROLLED_BY_ANNOTATION`]: the author of the app changed them.
const BY_AUTHOR: &str = "author";

/// The apps that roll and those that wait, by `namespace/name`.
#[derive(Debug)]
pub struct Rolls {
    most: usize,
    learned: Once,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// With the time since when.
    rolling: HashMap<String, Instant>,
    waiting: HashSet<String>,
}

impl Rolls {
    /// Lets so many roll at once; 0 for any number.
    pub fn new(most: usize) -> Self {
        Self { most, learned: Once::new(), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the wanted Deployment of an app may be written now; then it notes there who rolled it.
    ///
    /// `is_edit`: the author changed the app since it was reconciled last.
    pub fn admit(&self, app: &str, live: Option<&Deployment>, wanted: &mut Deployment, is_edit: bool, now: Instant) -> bool {
        let cause = live.map_or(Some(BY_AUTHOR), |live| cause(live, wanted, is_edit));
        if cause == Some(BY_OPERATOR) && !self.takes_slot(app, now) {
            return false;
        }
        self.state().waiting.remove(app);
        // What changes no pods leaves the note as it is.
        let before = || live.and_then(|live| live.annotations().get(ROLLED_BY_ANNOTATION).map(String::as_str));
        let note = cause.or_else(before).unwrap_or(BY_AUTHOR).to_owned();
        wanted.metadata.annotations.get_or_insert_default().insert(ROLLED_BY_ANNOTATION.to_owned(), note);
        true
    }

    fn takes_slot(&self, app: &str, now: Instant) -> bool {
        let mut state = self.state();
        let others = state.rolling.iter().filter(|(other, since)| *other != app && now.saturating_duration_since(**since) < PATIENCE);
        let is_free = self.most == 0 || others.count() < self.most;
        if is_free {
            state.rolling.insert(app.to_owned(), now);
        } else if state.waiting.insert(app.to_owned()) {
            tracing::info!(%app, "waits for a turn to roll, since {} apps roll already; its pods go on meanwhile", self.most);
        }
        is_free
    }

    /// Learns how an app fares: one that is through, or that only its author can help, makes room for another.
    pub fn observe(&self, app: &str, deployment: Option<&Deployment>, is_stalled: bool) {
        if is_stalled || !deployment.is_some_and(is_rolled_and_unfinished) {
            self.state().rolling.remove(app);
        }
    }

    /// Forgets an app that is gone.
    pub fn forget(&self, app: &str) {
        let mut state = self.state();
        state.rolling.remove(app);
        state.waiting.remove(app);
    }

    /// When an app that waits should ask again; none when it does not wait.
    pub fn waits(&self, app: &str) -> Option<Duration> {
        let state = self.state();
        let others = u32::try_from(state.waiting.len()).unwrap_or(u32::MAX);
        state.waiting.contains(app).then(|| ASK_AGAIN + ASK_AGAIN_FOR_EACH.saturating_mul(others))
    }

    /// Learns from the Deployments there are what rolls already: once, before the first reconcile.
    pub fn learn(&self, deployments: impl FnOnce() -> Vec<Deployment>) {
        if self.most == 0 {
            return;
        }
        self.learned.call_once(|| {
            for deployment in deployments() {
                let app = format!("{}/{}", deployment.namespace().unwrap_or_default(), deployment.name_any());
                if is_rolled_and_unfinished(&deployment) {
                    self.state().rolling.insert(app, Instant::now());
                }
            }
        });
    }
}

/// Who is behind the difference of the pods that are wanted to those there are; none when there is no difference.
fn cause(live: &Deployment, wanted: &Deployment, is_edit: bool) -> Option<&'static str> {
    if template(live) == template(wanted) {
        return None;
    }
    let origin = |deployment: &Deployment| deployment.annotations().get(ORIGIN_ANNOTATION).cloned();
    // One from before this was noted was brought to its author's last edit then, unless there is a new one.
    let is_same_edit = origin(live).map_or(!is_edit, |live| Some(live) == origin(wanted));
    Some(if is_same_edit { BY_OPERATOR } else { BY_AUTHOR })
}

fn template(deployment: &Deployment) -> Option<&String> {
    deployment.spec.as_ref()?.template.metadata.as_ref()?.labels.as_ref()?.get(TEMPLATE_LABEL)
}

fn is_rolled_and_unfinished(deployment: &Deployment) -> bool {
    let by_operator = deployment.annotations().get(ROLLED_BY_ANNOTATION).is_some_and(|by| by == BY_OPERATOR);
    by_operator && is_rolling(deployment) && !is_stuck(deployment)
}

/// Whether pods of an earlier template are left. Until a new pod is available the one it replaces is; so this is over when the roll
/// is, and pods that come and go later, or fail, are no roll.
fn is_rolling(deployment: &Deployment) -> bool {
    let Some(status) = &deployment.status else { return true };
    status.observed_generation < deployment.metadata.generation || status.updated_replicas.unwrap_or(0) != status.replicas.unwrap_or(0)
}

/// Whether all pods of a Deployment are of its newest template and available.
pub fn is_finished(deployment: &Deployment) -> bool {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let Some(status) = &deployment.status else { return false };
    let counts = [status.replicas, status.updated_replicas, status.available_replicas];
    status.observed_generation >= deployment.metadata.generation && counts.iter().all(|count| count.unwrap_or(0) == wanted)
}

fn is_stuck(deployment: &Deployment) -> bool {
    let Some(status) = &deployment.status else { return false };
    let is_current = status.observed_generation >= deployment.metadata.generation;
    let mut conditions = status.conditions.iter().flatten().filter(|condition| condition.type_ == "Progressing");
    let is_given_up = conditions.any(|one| one.status == "False" && one.reason.as_deref() == Some("ProgressDeadlineExceeded"));
    is_current && is_given_up
}

#[cfg(test)]
#[path = "rolls_tests.rs"]
mod tests;
