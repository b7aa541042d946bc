//! One app, once, in five steps: dereference, validate, build, apply, status. Each has a file of its own; only the first and
//! the last two touch the API server, and they read what [`watched`](crate::watched) knows already. Killed at any point, the next reconcile finishes, and one more writes nothing.

pub mod apply;
pub mod build;
pub mod dereference;
pub mod pins;
pub mod status;
pub mod subject;
pub mod validate;

use std::time::Duration;

use kube::runtime::controller::Action;
use spinredis_crds::report::{Problem, Reason};

use crate::{context::Context, policy, rolls};
use pins::Pinning;
use subject::Subject;

/// How often an unready pod is asked why, and how often it is tried to remove what could not be removed.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// When to try again what only an edit should help: the cluster's policy may have changed.
const LOOK_AGAIN: Duration = Duration::from_secs(300);
/// A reconcile that takes longer is given up and tried again.
pub const TIMEOUT: Duration = Duration::from_secs(15);

/// Why a reconcile could not finish.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A step before status could not finish, for a cause that may pass.
    #[error(transparent)]
    Step(#[from] StepError),
    /// The status could not be written.
    #[error(transparent)]
    Status(#[from] status::Error),
    /// It took too long.
    #[error("the reconcile took longer than {} seconds", TIMEOUT.as_secs())]
    Timeout,
}

/// Why one of the first four steps could not finish.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The app has been stored in a form that this operator does not know.
    #[error("the app cannot be read by this version of the operator: {0}; correct it, or update the operator")]
    Unreadable(String),
    /// A ConfigMap or Service could not be read.
    #[error(transparent)]
    Dereference(#[from] dereference::Error),
    /// The app cannot work as it is.
    #[error(transparent)]
    Validate(#[from] validate::Error),
    /// An image of the app is not permitted.
    #[error(transparent)]
    Policy(#[from] policy::Error),
    /// A child could not be applied.
    #[error(transparent)]
    Apply(#[from] apply::Error),
}

impl StepError {
    /// The same for the app's status.
    pub fn problem(&self) -> Problem {
        let reason = match self {
            StepError::Unreadable(_) | StepError::Validate(_) => Reason::Invalid,
            StepError::Policy(_) => Reason::SourceNotAllowed,
            StepError::Dereference(_) => Reason::Progressing,
            StepError::Apply(error) => error.reason(),
        };
        Problem { reason, message: self.to_string() }
    }
}

/// Brings one app's children and status to what they should be.
pub async fn reconcile(namespace: &str, name: &str, context: &Context) -> Result<Action, Error> {
    let steps = async {
        let Some(subject) = Subject::read(&context.watched, namespace, name) else { return Ok(Action::await_change()) };
        if subject.is_being_deleted {
            context.gone(&subject.full_name());
            // Nothing is made for an app that goes, and the garbage collector takes what was made.
            return Ok(Action::await_change());
        }
        let outcome = children(&subject, context).await;
        if matches!(outcome, Err(StepError::Apply(apply::Error::AppGone))) {
            return Ok(Action::await_change());
        }
        let observed = status::report(&subject, &outcome, context).await?;
        // A step that failed for a moment says nothing of the roll.
        if outcome.is_ok() || observed.is_stalled {
            let deployment = outcome.as_ref().ok().map(|applied| &applied.deployment);
            context.rolls.observe(&subject.full_name(), deployment, observed.is_stalled);
        }
        match outcome {
            Err(error) if error.problem().reason.is_stalled() => {
                tracing::debug!(app = %subject.full_name(), "{error}");
                Ok(Action::requeue(LOOK_AGAIN))
            }
            Err(error) => Err(error.into()),
            Ok(applied) => {
                // Until a roll has ended, its events tell of each step.
                let remains = applied.has_remains && rolls::is_finished(&applied.deployment);
                let ask_again = observed.has_unready_runtime.then_some(ASK_AGAIN);
                let turn = context.rolls.waits(&subject.full_name());
                let soonest = [ask_again, observed.write_after, turn, remains.then_some(ASK_AGAIN)].into_iter().flatten().min();
                Ok(soonest.map_or_else(Action::await_change, Action::requeue))
            }
        }
    };
    tokio::time::timeout(TIMEOUT, steps).await.unwrap_or(Err(Error::Timeout))
}

/// The first four steps.
async fn children(subject: &Subject, context: &Context) -> Result<apply::Applied, StepError> {
    let app = subject.app.as_ref().map_err(|error| {
        context.metrics.met_unreadable_app();
        StepError::Unreadable(error.clone())
    })?;
    let sources = dereference::sources(app, &context.sources, &context.watched, &context.client).await?;
    let services = build::network::services(app, &context.settings);
    context.services.note(&subject.namespace, &subject.name, &services);
    let services = dereference::services(services, &context.client).await?;
    let app = context.checked.validate(app)?;
    context.settings.image_policy.check(app.spec())?;
    let circumstances = apply::Circumstances {
        is_edit: subject.status.observed_generation != subject.generation,
        is_new: subject.status.conditions.is_empty(),
    };
    let children = build::children(&app, sources.as_deref(), &services, &context.settings);
    let pinning = Pinning::look(&app, context).await?;
    apply::wait_for_pods(&app, &subject.status, context).await?;
    let applied = apply::apply(&app, children, circumstances, context).await?;
    if let Some(pinning) = pinning {
        pinning.settle(subject, &app, &applied, context).await?;
    }
    Ok(applied)
}
