//! A child that an app may have or not: applied like every other when it is wanted, deleted when it no longer is, and never
//! touched when it is somebody else's.

use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Preconditions},
};
use serde::Serialize;

use super::{Child, Error, is_controlled_by, predecessor};
use crate::{context::Context, reconcile::validate::Validated, watched::Kept};

/// A child that an app may have; its name is the app's.
pub struct Optional<'a, K> {
    app: &'a Validated,
    kind: &'static str,
    wanted: Option<Child<'a, K>>,
    api: Api<K>,
    context: &'a Context,
}

impl<'a, K> Optional<'a, K>
where
    K: Kept + Clone + Serialize + std::fmt::Debug,
{
    pub fn new(app: &'a Validated, kind: &'static str, wanted: Option<K>, context: &'a Context) -> Self {
        let api = Api::namespaced(context.client.clone(), app.namespace());
        Self { app, kind, wanted: wanted.map(|wanted| Child::new(app, kind, wanted, context)), api, context }
    }

    /// The child as it is; an error when it is wanted and not this app's.
    pub async fn look(&self) -> Result<Option<K>, Error> {
        match &self.wanted {
            Some(child) => child.look().await,
            None => Ok(self.left_over()),
        }
    }

    /// Whether the app asks for it.
    pub fn is_wanted(&self) -> bool {
        self.wanted.is_some()
    }

    /// What is to be applied, so that it can still be changed for what was looked at.
    pub fn wanted_mut(&mut self) -> Option<&mut K> {
        self.wanted.as_mut().map(|child| &mut child.wanted)
    }

    /// Leaves it as it is this time.
    pub fn postpone(&mut self) {
        self.wanted = None;
    }

    /// What this app, or an earlier one of its name, had and it does not want.
    fn left_over(&self) -> Option<K> {
        let live = self.context.watched.find::<K>(self.app.namespace(), self.app.name());
        let is_left_behind =
            |live: &K| predecessor::is_of_earlier_app(live, self.app) && predecessor::is_left_behind(self.app, (self.context.clock)());
        let live = live.filter(|live| is_controlled_by(live, self.app.uid()) || is_left_behind(live));
        live.filter(|live| live.meta().deletion_timestamp.is_none())
    }

    /// Brings the child to what is wanted.
    pub async fn apply(&self, live: Option<K>) -> Result<(), Error> {
        match (&self.wanted, live) {
            (Some(child), live) => child.apply(live).await.map(drop),
            (None, Some(live)) => self.delete(&live).await,
            (None, None) => Ok(()),
        }
    }

    async fn delete(&self, live: &K) -> Result<(), Error> {
        let this_very_one = Preconditions { uid: live.uid(), resource_version: None };
        match self.api.delete(self.app.name(), &DeleteParams::default().preconditions(this_very_one)).await {
            // Gone already, or another one by now.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
                self.context.watched.forget::<K>(self.app.namespace(), self.app.name());
                Ok(())
            }
            Err(error) => Err(Error::of(self.kind, self.app.name(), error)),
            Ok(_) => {
                self.context.watched.forget::<K>(self.app.namespace(), self.app.name());
                self.context.metrics.wrote(self.kind);
                tracing::info!(app = %format!("{}/{}", self.app.namespace(), self.app.name()), "deleted {} {}", self.kind, self.app.name());
                Ok(())
            }
        }
    }
}
