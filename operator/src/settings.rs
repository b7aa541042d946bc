//! What whoever runs the operator decides for the pods of every app. A change of it rolls all apps.

use clap::ValueEnum;

/// Settings that go into pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Image of the runtime, with tag or digest.
    pub runtime_image: String,
    /// When nodes pull it; `None` leaves it to Kubernetes.
    pub runtime_image_pull_policy: Option<PullPolicy>,
    /// Registries that `prepare` may use without TLS.
    pub plain_http_registries: Vec<String>,
}

/// When nodes pull an image, as Kubernetes names it.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
#[value(rename_all = "PascalCase")]
pub enum PullPolicy {
    /// At each start of a container.
    Always,
    /// When the node does not have it.
    IfNotPresent,
    /// Never; it must be on the node.
    Never,
}

impl PullPolicy {
    /// The value of `imagePullPolicy`.
    pub fn as_str(self) -> &'static str {
        match self {
            PullPolicy::Always => "Always",
            PullPolicy::IfNotPresent => "IfNotPresent",
            PullPolicy::Never => "Never",
        }
    }
}
