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
pub mod crd;
pub mod defaults;
pub mod duration;
pub mod manifest;
pub mod quantity;
pub mod reference;
pub mod report;
pub mod status;
pub mod trigger;

mod schema;

pub use app::{Delivery, Pod, Resources, SpinRedisApp, SpinRedisAppSpec};
pub use component::{Component, ConfigMapSource, EnvVar, OciSource, Source};
pub use reference::{KeyRef, RefKind, Reference, SecretValueFrom, ValueFrom};
pub use report::Reason;
pub use status::{ComponentStatus, SpinRedisAppStatus};
pub use trigger::{SecretName, Tls, Trigger};
