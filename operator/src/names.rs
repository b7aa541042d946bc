//! The names that children and pods carry. They are the operator's contract with what it made earlier: the selector of a
//! Deployment cannot change, so none of those that say so may either.

/// Field manager of server-side apply, reporter of events, value of `app.kubernetes.io/managed-by`.
pub const OPERATOR: &str = "spin-redis-operator";
/// Label of everything that belongs to an app, with the app's name; the selector of its Deployment. Must never change.
pub const APP_LABEL: &str = "spinredis.dev/app";
/// Label of pods: digest of their template. Tells the pods of the newest template from older ones.
pub const TEMPLATE_LABEL: &str = "spinredis.dev/template";
/// Annotation of pods: digest of the ConfigMap keys that components come from.
pub const SOURCES_ANNOTATION: &str = "spinredis.dev/sources";
/// Annotation of Deployments: digest of what the app's author wrote that its pods come from.
pub const ORIGIN_ANNOTATION: &str = "spinredis.dev/origin";
/// Annotation of Deployments: who changed the pods last, `author` or `operator`.
pub const ROLLED_BY_ANNOTATION: &str = "spinredis.dev/rolled-by";
/// Annotation of apps that their authors set: with each new value the tags of the app are resolved anew.
pub const REFRESH_ANNOTATION: &str = "spinredis.dev/refresh";
/// Annotation of children: digest of what was applied last.
pub const APPLIED_ANNOTATION: &str = "spinredis.dev/applied";

/// Label of everything that this operator made, with [`OPERATOR`].
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// Argument of `prepare`: the file of its pins, whose name is their key.
pub const PINS_ARGUMENT: &str = "--pins";

/// The init container that fetches and compiles components.
pub const PREPARE: &str = "prepare";
/// The container that subscribes and calls components.
pub const SERVE: &str = "serve";
/// Port of `/healthz`, `/readyz`, `/status` and `/metrics` in the pods of apps.
pub const HEALTH_PORT: u16 = 8080;

/// Selects everything that belongs to an app.
pub fn selector(app: &str) -> String {
    format!("{APP_LABEL}={app}")
}

/// Name of the ConfigMap with the digests that an app's tags were resolved to.
pub fn pins(app: &str) -> String {
    format!("{app}-pins")
}

/// The app whose pins have this name, if they have.
pub fn app_of_pins(name: &str) -> Option<&str> {
    name.strip_suffix("-pins")
}

/// Ten hexadecimal digits that stand for some bytes.
pub fn short_digest(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    spinredis_crds::manifest::hex(&Sha256::digest(bytes)[..5])
}

/// What the API server said, in its own words; the client's error repeats it with all its fields.
pub fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}
