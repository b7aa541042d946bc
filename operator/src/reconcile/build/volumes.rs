//! The volumes of the pods and who mounts them. Exactly the keys that an app names are in them, all optional: a pod that
//! waits for a missing one could not say which, `prepare` can.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ConfigMapProjection, ConfigMapVolumeSource, EmptyDirVolumeSource, KeyToPath, ProjectedVolumeSource, SecretProjection, Volume,
    VolumeMount, VolumeProjection,
};
use spinredis_crds::reference::{RefKind, Reference};

use crate::{names, reconcile::validate::Validated};

/// Folder of the manifest.
pub const APP: &str = "/etc/spinredis";
/// Folder of the references.
pub const REFS: &str = "/var/run/spinredis/refs";
/// Folder of the pull secrets.
pub const PULL_SECRETS: &str = "/var/run/spinredis/pull-secrets";
/// Folder of the pins: a file for each manifest.
pub const PINS: &str = "/var/run/spinredis/pins";
/// Folder of the compiled components.
pub const COMPONENTS: &str = "/var/lib/spinredis/components";

const DOCKER_CONFIG: &str = ".dockerconfigjson";

/// All volumes of a pod.
pub fn volumes(app: &Validated, config_map: &str) -> Vec<Volume> {
    let named = |name: &str| Volume { name: name.to_owned(), ..Volume::default() };
    let mut volumes = vec![Volume {
        config_map: Some(ConfigMapVolumeSource { name: config_map.to_owned(), ..ConfigMapVolumeSource::default() }),
        ..named("app")
    }];
    volumes.push(Volume { projected: Some(projected(references(app))), ..named("refs") });
    if !app.spec().image_pull_secrets.is_empty() {
        volumes.push(Volume { projected: Some(projected(pull_secrets(app))), ..named("pull-secrets") });
    }
    if super::pins_key(app).is_some() {
        let source = ConfigMapVolumeSource { name: names::pins(app.name()), optional: Some(true), ..ConfigMapVolumeSource::default() };
        volumes.push(Volume { config_map: Some(source), ..named("pins") });
    }
    // Writable by any user, so that no fsGroup is needed.
    volumes.push(Volume { empty_dir: Some(EmptyDirVolumeSource::default()), ..named("components") });
    volumes.push(Volume { empty_dir: Some(EmptyDirVolumeSource::default()), ..named("tmp") });
    volumes
}

/// What `prepare` sees.
pub fn mounts_of_prepare(app: &Validated) -> Vec<VolumeMount> {
    let mut mounts = vec![read_only("app", APP), read_only("refs", REFS)];
    if !app.spec().image_pull_secrets.is_empty() {
        mounts.push(read_only("pull-secrets", PULL_SECRETS));
    }
    if super::pins_key(app).is_some() {
        mounts.push(read_only("pins", PINS));
    }
    mounts.push(VolumeMount { read_only: None, ..read_only("components", COMPONENTS) });
    mounts.push(VolumeMount { read_only: None, ..read_only("tmp", "/tmp") });
    mounts
}

/// What `serve` sees: no pull secrets, and nothing it could write to.
pub fn mounts_of_serve() -> Vec<VolumeMount> {
    vec![read_only("app", APP), read_only("refs", REFS), read_only("components", COMPONENTS)]
}

fn read_only(name: &str, path: &str) -> VolumeMount {
    VolumeMount { name: name.to_owned(), mount_path: path.to_owned(), read_only: Some(true), ..VolumeMount::default() }
}

fn projected(sources: Vec<VolumeProjection>) -> ProjectedVolumeSource {
    ProjectedVolumeSource { sources: Some(sources), default_mode: None }
}

/// One projection for each object, with the keys that are named of it.
fn references(app: &Validated) -> Vec<VolumeProjection> {
    let mut objects: BTreeMap<(RefKind, String), Vec<KeyToPath>> = BTreeMap::new();
    for reference in app.spec().references() {
        let path = reference.path().display().to_string();
        let Reference { kind, name, key } = reference;
        objects.entry((kind, name)).or_default().push(KeyToPath { key, path, mode: None });
    }
    objects.into_iter().map(|((kind, name), items)| projection(kind, name, items)).collect()
}

fn pull_secrets(app: &Validated) -> Vec<VolumeProjection> {
    let item = |name: &str| KeyToPath { key: DOCKER_CONFIG.to_owned(), path: format!("{name}/{DOCKER_CONFIG}"), mode: None };
    let names = app.spec().image_pull_secrets.iter().map(|secret| secret.name.clone());
    names.map(|name| projection(RefKind::Secret, name.clone(), vec![item(&name)])).collect()
}

fn projection(kind: RefKind, name: String, items: Vec<KeyToPath>) -> VolumeProjection {
    let (items, optional) = (Some(items), Some(true));
    match kind {
        RefKind::Secret => VolumeProjection { secret: Some(SecretProjection { name, items, optional }), ..VolumeProjection::default() },
        RefKind::ConfigMap => {
            VolumeProjection { config_map: Some(ConfigMapProjection { name, items, optional }), ..VolumeProjection::default() }
        }
    }
}
