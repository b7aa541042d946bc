//! The children of an app that nobody said anything of yet. To ask first whether their names are free and the app still there would
//! take longer than to make them, and the answers could be out of date by then. So each is applied in a way that the API server
//! refuses when an object of that name exists; and what was made for an app that went meanwhile names an owner that is gone, so
//! that the garbage collector takes it.

use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kube::{
    ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
    core::PartialObjectMeta,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use super::{Child, Error};
use crate::{names::OPERATOR, watched::Kept};

/// A version that no object has: etcd counts from 2 on. An object that exists is not changed by a write that expects it, and one that
/// does not exist has no version to compare.
const OF_NO_OBJECT: &str = "1";

/// Makes both children at once; `None` when that cannot be done without looking first. When the name of one is taken, the other is
/// taken back: pods must not start with somebody else's manifest (the operator may not delete Deployments, but one without replicas
/// has no pods), and an app whose name is taken leaves nothing behind.
pub(super) async fn make(config_map: &Child<'_, ConfigMap>, deployment: &Child<'_, Deployment>) -> Result<Option<Deployment>, Error> {
    if config_map.is_known() || deployment.is_known() || config_map.is_known_as::<PartialObjectMeta<ConfigMap>>() {
        return Ok(None);
    }
    match futures::join!(config_map.make(), deployment.make()) {
        (Ok(Some(_)), Ok(Some(deployment))) => Ok(Some(deployment)),
        (Ok(Some(made)), Ok(None)) => config_map.unmake(&made).await.map(|()| None),
        (Ok(None), Ok(Some(made))) => deployment.scale(&made, 0).await.map(|_| None),
        (first, second) => first.and(second).map(|_| None),
    }
}

impl<K> Child<'_, K>
where
    K: Kept + Clone + Serialize + DeserializeOwned + std::fmt::Debug,
{
    fn is_known(&self) -> bool {
        self.is_known_as::<K>()
    }

    fn is_known_as<T: Kept>(&self) -> bool {
        T::store(&self.context.watched).find(self.app.namespace(), &self.name).is_some()
    }

    /// Makes the child; `None` when there is one of that name.
    async fn make(&self) -> Result<Option<K>, Error> {
        let mut wanted = self.patch(None);
        wanted["metadata"]["resourceVersion"] = json!(OF_NO_OBJECT);
        match self.api.patch(&self.name, &PatchParams::apply(OPERATOR), &Patch::Apply(&wanted)).await {
            Err(kube::Error::Api(status)) if status.is_conflict() => Ok(None),
            written => self.took_effect(written).map(Some),
        }
    }

    /// Removes what was made a moment ago.
    async fn unmake(&self, made: &K) -> Result<(), Error> {
        let this_very_one = Preconditions { uid: made.uid(), resource_version: None };
        let parameters = DeleteParams::background().preconditions(this_very_one);
        match self.api.delete(&self.name, &parameters).await {
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {}
            result => drop(result.map_err(|error| Error::of(self.kind, &self.name, error))?),
        }
        self.context.watched.forget::<K>(self.app.namespace(), &self.name);
        self.context.metrics.wrote(self.kind);
        Ok(())
    }
}
