//! Step two: what is wrong with an app that its API server took. The same rules ran there, so this finds what they cannot
//! say, and what changed when the CRD and the operator are of different versions.

use std::{
    collections::HashMap,
    ops::Deref,
    sync::{Mutex, PoisonError},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource;
use serde_json::json;
use spinredis_crds::{SpinRedisApp, SpinRedisAppSpec, check, check::Finding};

/// Everything that is wrong with an app.
#[derive(Debug, thiserror::Error)]
#[error("{}", sentences(.0))]
pub struct Error(pub Vec<Finding>);

fn sentences(findings: &[Finding]) -> String {
    findings.iter().map(Finding::to_string).collect::<Vec<_>>().join("; ")
}

/// An app that was checked; the only kind that children are built from.
#[derive(Clone, Debug)]
pub struct Validated(SpinRedisApp);

impl Deref for Validated {
    type Target = SpinRedisApp;

    fn deref(&self) -> &SpinRedisApp {
        &self.0
    }
}

impl Validated {
    /// Name of the app.
    pub fn name(&self) -> &str {
        self.0.metadata.name.as_deref().unwrap_or_default()
    }

    /// Namespace of the app.
    pub fn namespace(&self) -> &str {
        self.0.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// Identity of the app.
    pub fn uid(&self) -> &str {
        self.0.metadata.uid.as_deref().unwrap_or_default()
    }

    /// What the app asks for.
    pub fn spec(&self) -> &SpinRedisAppSpec {
        &self.0.spec
    }

    /// Makes the app the controller of a child: the child goes with it, and nobody else may take it over.
    pub fn owner(&self) -> OwnerReference {
        OwnerReference {
            api_version: SpinRedisApp::api_version(&()).into_owned(),
            kind: SpinRedisApp::kind(&()).into_owned(),
            name: self.name().to_owned(),
            uid: self.uid().to_owned(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }
    }
}

/// The newest generation of each app that was found to be right, with the app's identity: the rules take most of the time of a
/// reconcile that changes nothing.
#[derive(Default)]
pub struct Checked(Mutex<HashMap<String, (String, i64)>>);

impl Checked {
    /// Checks an app unless this generation of it was checked already.
    pub fn validate(&self, app: &SpinRedisApp) -> Result<Validated, Error> {
        let (Some(uid), Some(generation)) = (app.metadata.uid.clone(), app.metadata.generation) else { return validate(app) };
        let found = Validated(app.clone());
        let (name, version) = (format!("{}/{}", found.namespace(), found.name()), (uid, generation));
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&name) == Some(&version) {
            return Ok(found);
        }
        let validated = validate(app)?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name, version);
        Ok(validated)
    }

    /// Forgets an app that is gone, by `namespace/name`.
    pub fn forget(&self, app: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(app);
    }
}

/// Checks an app.
pub fn validate(app: &SpinRedisApp) -> Result<Validated, Error> {
    let document = json!({
        "apiVersion": SpinRedisApp::api_version(&()),
        "kind": SpinRedisApp::kind(&()),
        "metadata": {"name": app.metadata.name, "namespace": app.metadata.namespace},
        "spec": app.spec,
    });
    let findings = check::app(&document);
    if findings.is_empty() { Ok(Validated(app.clone())) } else { Err(Error(findings)) }
}
