//! Step three: from a checked app to its children. Pure: no client, no clock, no environment; the same app and settings
//! always give the same bytes.
//!
//! What must roll pods out is in the pod template, and nothing else is: the manifest's ConfigMap is named after its content,
//! and replicas, labels of the app or a restart of the operator change no template. Replicas do where the app leaves `delivery`
//! open, between one and several.

mod budget;
pub mod network;
mod pod;
mod resources;
mod scheduling;
mod volumes;

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{ConfigMap, PodTemplateSpec},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use serde_json::json;
use spinredis_crds::{
    Delivery,
    manifest::{FILE_NAME, Manifest},
    pins::open_references,
    registries,
};

use super::{dereference::Services, validate::Validated};
use crate::{
    names::{self, APP_LABEL, OPERATOR, ORIGIN_ANNOTATION, REFRESH_ANNOTATION, TEMPLATE_LABEL, short_digest},
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
    /// How many of them may be away at once, if the app asks for that.
    pub pod_disruption_budget: Option<PodDisruptionBudget>,
    /// What they may connect to, if the app asks for that.
    pub network_policy: Option<NetworkPolicy>,
    /// Where the network policy allows more than the hosts that the app names, in sentences.
    pub widened: Vec<String>,
}

/// Under which key the pins of an app are kept: one for each manifest, and another for each time its author wants the tags
/// resolved anew. None when every image is named by digest. Whether replicas share messages is left out of it: an app that is
/// scaled goes on with the bytes it has.
pub fn pins_key(app: &Validated) -> Option<String> {
    let mut manifest = Manifest::of(app);
    (manifest.spec.delivery, manifest.spec.sharing) = (Delivery::default(), None);
    if open_references(&manifest.spec).is_empty() {
        return None;
    }
    let hash = manifest.hash();
    Some(match refresh(app) {
        Some(refresh) => short_digest(format!("{hash}/{refresh}").as_bytes()),
        None => hash,
    })
}

fn refresh(app: &Validated) -> Option<&String> {
    app.metadata.annotations.as_ref()?.get(REFRESH_ANNOTATION)
}

/// The ConfigMap of an app's pins.
pub fn pins(app: &Validated, data: BTreeMap<String, String>) -> ConfigMap {
    ConfigMap { metadata: metadata(app, names::pins(app.name())), data: Some(data), ..ConfigMap::default() }
}

/// Stands for everything that the app's author decides about its pods: the same digest whichever version of the operator
/// builds them, with whichever settings, and however many there are.
fn origin(app: &Validated, sources: Option<&str>) -> String {
    let mut spec = json!(app.spec());
    if let Some(spec) = spec.as_object_mut() {
        for not_of_the_pods in ["replicas", "podDisruptionBudget", "networkPolicy"] {
            spec.remove(not_of_the_pods);
        }
        // Replicas decide it where the app does not, and who scales such an app rolls its pods.
        if app.spec().effective_delivery().is_shared() {
            spec.insert("delivery".to_owned(), json!(Delivery::Shared));
        }
    }
    short_digest(json!({"spec": spec, "sources": sources, "refresh": refresh(app)}).to_string().as_bytes())
}

/// Builds the children of an app. `sources` is the digest of the ConfigMap keys its components come from, `services` are
/// those that its hosts name.
pub fn children(app: &Validated, sources: Option<&str>, services: &Services, settings: &Settings) -> Children {
    let manifest = Manifest::of(app);
    let mut data = BTreeMap::from([(FILE_NAME.to_owned(), manifest.to_canonical_text())]);
    let mut hash = manifest.hash();
    let registries = settings.registries.for_app(&manifest.spec);
    if !registries.0.is_empty() {
        let text = registries.to_text();
        hash = short_digest(format!("{}{text}", manifest.to_canonical_text()).as_bytes());
        data.insert(registries::FILE_NAME.to_owned(), text);
    }
    let config_map =
        ConfigMap { metadata: metadata(app, format!("{}-{hash}", app.name())), immutable: Some(true), data: Some(data), binary_data: None };
    let template = pod::template(app, config_map.metadata.name.as_deref().unwrap_or_default(), sources, settings);
    let (network_policy, widened) = network::policy(app, services, settings).unzip();
    let mut deployment = deployment(app, with_digest(template));
    deployment.metadata.annotations = Some([(ORIGIN_ANNOTATION.to_owned(), origin(app, sources))].into());
    Children { deployment, config_map, pod_disruption_budget: budget::budget(app), network_policy, widened: widened.unwrap_or_default() }
}

fn deployment(app: &Validated, template: PodTemplateSpec) -> Deployment {
    Deployment {
        metadata: metadata(app, app.name().to_owned()),
        spec: Some(DeploymentSpec {
            replicas: Some(app.spec().replicas),
            selector: selector(app),
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

/// Selects the pods of an app.
fn selector(app: &Validated) -> LabelSelector {
    LabelSelector { match_labels: Some([(APP_LABEL.to_owned(), app.name().to_owned())].into()), match_expressions: None }
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
