//! What whoever runs the operator decides for the pods of every app. A change of it rolls all apps.

use std::{collections::BTreeMap, str::FromStr};

use clap::ValueEnum;
use spinredis_crds::registries::RegistrySettings;

use crate::policy::ImagePolicy;

/// Settings that go into pods, and what holds for all apps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Image of the runtime, with tag or digest.
    pub runtime_image: String,
    /// When nodes pull it; `None` leaves it to Kubernetes.
    pub runtime_image_pull_policy: Option<PullPolicy>,
    /// Registries that `prepare` may use without TLS.
    pub plain_http_registries: Vec<String>,
    /// Environment variables of what serves, such as those that turn traces on. Guests never see them.
    pub runtime_environment: BTreeMap<String, String>,
    /// How `prepare` reaches registries: authorities, mirrors, plain HTTP.
    pub registries: RegistrySettings,
    /// Which images apps may come from.
    pub image_policy: ImagePolicy,
    /// How many apps roll at once when none of their authors changed anything; 0 for any number.
    pub max_unfinished_apps: usize,
}

/// An environment variable: NAME=VALUE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl FromStr for Variable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok(Self { name: name.to_owned(), value: value.to_owned() }),
            _ => Err("write NAME=VALUE, for example OTEL_EXPORTER_OTLP_ENDPOINT=http://otel-collector.observability:4318".to_owned()),
        }
    }
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
