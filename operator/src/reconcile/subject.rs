//! The app a reconcile is about, as its watch and the operator's own last write show it. An app that cannot be parsed still
//! has a name and a status.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Api, Client, Resource, ResourceExt,
    core::{ApiResource, DynamicObject},
};
use serde::Deserialize;
use serde_json::Value;
use spinredis_crds::{SpinRedisApp, SpinRedisAppStatus};

use crate::watched::Watched;

/// An app as it is now.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Namespace of the app.
    pub namespace: String,
    /// Name of the app.
    pub name: String,
    /// Identity of the app: another app of the same name has another.
    pub uid: String,
    /// Generation of its spec.
    pub generation: i64,
    /// Whether it is on its way out.
    pub is_being_deleted: bool,
    /// The app, or why it could not be parsed.
    pub app: Result<SpinRedisApp, String>,
    /// Its status as it is stored.
    pub status: SpinRedisAppStatus,
    /// Points to the app, for events.
    pub reference: ObjectReference,
}

/// The API of apps without their shape.
pub fn untyped(client: &Client, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &ApiResource::erase::<SpinRedisApp>(&()))
}

impl Subject {
    /// Reads an app; `None` when there is no such.
    pub fn read(watched: &Watched, namespace: &str, name: &str) -> Option<Self> {
        let stored = watched.apps.find(namespace, name)?;
        let mut subject = match stored.read::<SpinRedisApp>() {
            Ok(app) => Self::of_app(app),
            // Whatever is wrong with it, its name and what can be read of its status are needed.
            Err(_) => Self::of(stored.read().ok()?),
        };
        subject.reference.resource_version = stored.resource_version();
        Some(subject)
    }

    fn of_app(mut app: SpinRedisApp) -> Self {
        let status = app.status.take().unwrap_or_default();
        let metadata = &app.metadata;
        Self {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
            generation: metadata.generation.unwrap_or_default(),
            is_being_deleted: metadata.deletion_timestamp.is_some(),
            reference: app.object_ref(&()),
            app: Ok(app),
            status,
        }
    }

    /// An app from the object that the API server stores.
    pub fn of(object: DynamicObject) -> Self {
        let status = object.data.get("status").and_then(|status| SpinRedisAppStatus::deserialize(status).ok()).unwrap_or_default();
        Self {
            namespace: object.metadata.namespace.clone().unwrap_or_default(),
            name: object.metadata.name.clone().unwrap_or_default(),
            uid: object.metadata.uid.clone().unwrap_or_default(),
            generation: object.metadata.generation.unwrap_or_default(),
            is_being_deleted: object.metadata.deletion_timestamp.is_some(),
            reference: object.object_ref(&ApiResource::erase::<SpinRedisApp>(&())),
            app: parse(object),
            status,
        }
    }

    /// `namespace/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

fn parse(mut object: DynamicObject) -> Result<SpinRedisApp, String> {
    if let Value::Object(fields) = &mut object.data {
        fields.remove("status");
    }
    object.metadata.managed_fields = None;
    let document = serde_json::to_value(object).map_err(|error| error.to_string())?;
    serde_json::from_value(document).map_err(|error| error.to_string())
}
