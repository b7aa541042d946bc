//! Step three: from a checked app to its children. Pure: no client, no clock, no environment; the same app and settings
//! always give the same bytes.
//!
//! What must roll pods out is in the pod template, and nothing else is: the manifest's ConfigMap is named after its content,
//! and replicas, labels of the app or a restart of the operator change no template.

mod pod;
mod resources;
mod volumes;

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{ConfigMap, PodTemplateSpec},
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use spinredis_crds::manifest::{FILE_NAME, Manifest};

use super::validate::Validated;
use crate::{
    names::{APP_LABEL, OPERATOR, TEMPLATE_LABEL, short_digest},
    settings::Settings,
};

/// After so many seconds without a step forward a rollout counts as stuck.
const PROGRESS_DEADLINE_SECONDS: i32 = 600;

/// The children of an app, in the order in which they are applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Children {
    /// The manifest that the pods read.
    pub config_map: ConfigMap,
    /// The pods.
    pub deployment: Deployment,
}

/// Builds the children of an app. `sources` is the digest of the ConfigMap keys its components come from.
pub fn children(app: &Validated, sources: Option<&str>, settings: &Settings) -> Children {
    let manifest = Manifest::of(app);
    let config_map = ConfigMap {
        metadata: metadata(app, format!("{}-{}", app.name(), manifest.hash())),
        immutable: Some(true),
        data: Some([(FILE_NAME.to_owned(), manifest.to_canonical_text())].into()),
        binary_data: None,
    };
    let template = pod::template(app, config_map.metadata.name.as_deref().unwrap_or_default(), sources, settings);
    Children { deployment: deployment(app, with_digest(template)), config_map }
}

fn deployment(app: &Validated, template: PodTemplateSpec) -> Deployment {
    Deployment {
        metadata: metadata(app, app.name().to_owned()),
        spec: Some(DeploymentSpec {
            replicas: Some(app.spec().replicas),
            selector: LabelSelector { match_labels: Some([(APP_LABEL.to_owned(), app.name().to_owned())].into()), match_expressions: None },
            template,
            // The old pods serve until the new ones are subscribed.
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(1)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            progress_deadline_seconds: Some(PROGRESS_DEADLINE_SECONDS),
            revision_history_limit: Some(3),
            min_ready_seconds: None,
            paused: None,
        }),
        status: None,
    }
}

fn metadata(app: &Validated, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(app.namespace().to_owned()),
        labels: Some(labels(app)),
        owner_references: Some(vec![app.owner()]),
        ..ObjectMeta::default()
    }
}

/// The labels of everything that belongs to an app.
fn labels(app: &Validated) -> BTreeMap<String, String> {
    [
        ("app.kubernetes.io/name", app.name()),
        ("app.kubernetes.io/instance", app.name()),
        ("app.kubernetes.io/component", "runtime"),
        ("app.kubernetes.io/managed-by", OPERATOR),
        (APP_LABEL, app.name()),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

/// Labels a template with its own digest, so that status can tell its pods from those of earlier ones.
fn with_digest(mut template: PodTemplateSpec) -> PodTemplateSpec {
    let digest = short_digest(&serde_json::to_vec(&template).unwrap_or_default());
    let metadata = template.metadata.get_or_insert_default();
    metadata.labels.get_or_insert_default().insert(TEMPLATE_LABEL.to_owned(), digest);
    template
}
