//! The `SpinRedisApp` API: what a person writes, what the API server refuses, and what operator and runtime tell each other.
//!
//! Three programs share these types. The API server gets the generated CRD (`crds/spinredisapps.yaml`), the operator reads
//! apps through the typed client and writes [`manifest`]s, and the runtime parses that same manifest. Nothing here touches
//! a network, a clock or the environment.
#![forbid(unsafe_code)]

pub mod address;
pub mod app;
pub mod check;
pub mod component;
pub mod connection;
pub mod crd;
pub mod defaults;
pub mod dispatch;
pub mod duration;
pub mod image;
pub mod manifest;
pub mod outbound;
pub mod pins;
pub mod pod;
pub mod policies;
pub mod quantity;
pub mod reference;
pub mod registries;
pub mod report;
pub mod sharing;
pub mod status;
pub mod store;
pub mod template;
pub mod variable;

mod documents;
mod form;
mod glob;
mod kubernetes;
mod schema;

pub use app::{Application, Resources, SpinRedisApp, SpinRedisAppSpec};
pub use component::{Component, ConfigMapSource, EnvVar, OciSource, Source};
pub use connection::{Connection, SecretName, Tls, Trigger};
pub use dispatch::{DeadLetter, Instances, Ordering, QueueSpec, Retry, WhenFull};
pub use pod::{Pod, PodSecurity, SeLinux};
pub use policies::{DisruptionBudget, NetworkPolicySettings, Prepare};
pub use reference::{KeyRef, RefKind, Reference, SecretValueFrom, ValueFrom};
pub use report::Reason;
pub use sharing::{Delivery, GROUP_KEY_VARIABLE, Sharing, SharingLimits};
pub use status::{ComponentStatus, SpinRedisAppStatus};
pub use store::KeyValueStore;
pub use variable::Variable;
