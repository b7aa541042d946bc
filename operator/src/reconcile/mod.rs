//! One app, once, in five steps: dereference, validate, build, apply, status. Each has a file of its own; only the first and
//! the last two touch the API server. Killed at any point, the next reconcile finishes, and one more writes nothing.

pub mod apply;
pub mod build;
pub mod dereference;
pub mod status;
pub mod subject;
pub mod validate;

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::runtime::controller::Action;
use spinredis_crds::report::{Problem, Reason};

use crate::context::Context;
use subject::Subject;

/// How often an unready pod is asked why.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// When to try again what only an edit should help: the cluster's policy may have changed.
const LOOK_AGAIN: Duration = Duration::from_secs(300);
/// A reconcile that takes longer is given up and tried again.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Why a reconcile could not finish.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The app itself could not be read.
    #[error(transparent)]
    Subject(#[from] subject::Error),
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
    /// A ConfigMap could not be read.
    #[error(transparent)]
    Dereference(#[from] dereference::Error),
    /// The app cannot work as it is.
    #[error(transparent)]
    Validate(#[from] validate::Error),
    /// A child could not be applied.
    #[error(transparent)]
    Apply(#[from] apply::Error),
}

impl StepError {
    /// The same for the app's status.
    pub fn problem(&self) -> Problem {
        let reason = match self {
            StepError::Unreadable(_) | StepError::Validate(_) => Reason::Invalid,
            StepError::Dereference(_) => Reason::Progressing,
            StepError::Apply(error) => error.reason(),
        };
        Problem { reason, message: self.to_string() }
    }
}

/// Brings one app's children and status to what they should be.
pub async fn reconcile(namespace: &str, name: &str, context: &Context) -> Result<Action, Error> {
    let steps = async {
        let Some(subject) = Subject::read(&context.client, namespace, name).await? else { return Ok(Action::await_change()) };
        if subject.is_being_deleted {
            // Nothing is made for an app that goes, and the garbage collector takes what was made.
            return Ok(Action::await_change());
        }
        let outcome = children(&subject, context).await;
        let observed = status::report(&subject, &outcome, context).await?;
        match outcome {
            Err(error) if error.problem().reason.is_stalled() => {
                tracing::debug!(app = %subject.full_name(), "{error}");
                Ok(Action::requeue(LOOK_AGAIN))
            }
            Err(error) => Err(error.into()),
            Ok(_) if observed.has_unready_runtime => Ok(Action::requeue(ASK_AGAIN)),
            Ok(_) => Ok(Action::await_change()),
        }
    };
    tokio::time::timeout(TIMEOUT, steps).await.unwrap_or(Err(Error::Timeout))
}

/// The first four steps.
async fn children(subject: &Subject, context: &Context) -> Result<Deployment, StepError> {
    let app = subject.app.as_ref().map_err(|error| StepError::Unreadable(error.clone()))?;
    let sources = dereference::sources(app, &context.sources, &context.client).await?;
    let app = validate::validate(app)?;
    let children = build::children(&app, sources.as_deref(), &context.settings);
    let deployment = apply::apply(&app, children, context).await?;
    Ok(deployment)
}
