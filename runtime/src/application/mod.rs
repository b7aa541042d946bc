//! A whole Spin app from an OCI registry: what `spin registry push` writes, made into components that this runtime calls.
//!
//! | step | module |
//! |---|---|
//! | pull manifest and locked app, judge their sizes | [`crate::source::oci`] |
//! | read the locked app's JSON | [`locked`] |
//! | refuse what has no equivalent here, name the rest in our terms | [`resolve`] |
//! | write the components' files | [`files`], [`archive`] |
//!
//! [`fetch`] does the first three; [`FetchedApplication`] then gives the WebAssembly of one component after the other and
//! writes the files, so that no more than one layer is held at a time. Nothing here knows the `SpinRedisApp` that names the
//! image: what its entries override is the caller's.
//!
//! What the caller has to know of Spin's rules:
//!
//! - `{{ name }}` stands for an app variable in component variables, allowed outbound hosts, trigger addresses and trigger
//!   channels. Environment variables, store names, ids and files are taken as they are.
//! - A guest sees the variables of its own component ([`AppComponent::variables`]) and never the app's; an app variable is
//!   only what their templates refer to. One without a default must be given a value before the app can run.
//! - Environment variables are the component's alone; nothing of the app or the host is added.
//! - A trigger's own address wins over the app's default one. An app may have neither; then the address must come from the
//!   manifest.
//! - A component without a trigger is legal and never called; it is in [`Application::components`] with no subscriptions.

pub mod archive;
mod error;
mod fetch;
pub mod files;
pub mod locked;
pub mod resolve;

use std::collections::BTreeMap;

pub use error::ApplicationError;
pub use fetch::{FetchedApplication, fetch};

/// Largest locked app, in bytes of JSON.
pub const MAX_LOCK_BYTES: u64 = 4 << 20;
/// Components that an app may have, as in a `SpinRedisApp`.
pub const MAX_COMPONENTS: usize = 64;
/// Triggers that an app may have; each is a channel of a component.
pub const MAX_TRIGGERS: usize = 1_024;
/// Variables that an app may have, and each of its components.
pub const MAX_VARIABLES: usize = 1_024;
/// Files that all components of an app may have together; also the files in one archive layer.
pub const MAX_FILES: usize = 10_000;
/// What the files of all components may be together, in bytes once unpacked; also one archive layer, unpacked.
pub const MAX_UNPACKED_BYTES: u64 = 256 << 20;

/// A Spin app in this runtime's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Application {
    /// Name that its author gave it; empty when there is none.
    pub name: String,
    /// Redis address of the triggers that name none, a template.
    pub address: Option<String>,
    /// The app's variables.
    pub variables: Vec<AppVariable>,
    /// Its components, in the order of the locked app.
    pub components: Vec<AppComponent>,
    /// Sentences about what components are granted and this runtime does not have. They run all the same: calling it fails.
    pub unsupported: Vec<String>,
}

/// A variable of the app, which templates refer to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppVariable {
    /// Its name.
    pub name: String,
    /// Its value unless another is given. Without one, a value is required.
    pub default: Option<String>,
    /// Whether its value must not be shown.
    pub secret: bool,
}

/// A component of the app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppComponent {
    /// Its id, a DNS label.
    pub id: String,
    /// Its WebAssembly: a component or a core module.
    pub wasm: Content,
    /// Files that it finds below `/`, read-only.
    pub files: Vec<AppFile>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// Its variables: the name that the guest asks for, and a template of app variables.
    pub variables: BTreeMap<String, String>,
    /// Hosts that it may reach, in Spin's syntax, each a template.
    pub allowed_outbound_hosts: Vec<String>,
    /// Names of the key-value stores that it may open.
    pub key_value_stores: Vec<String>,
    /// What it is called for: those of all its triggers, each once.
    pub subscriptions: Vec<AppSubscription>,
}

/// A channel whose messages a component gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppSubscription {
    /// The channel's name, a template; never a glob pattern.
    pub channel: String,
    /// Redis address of the trigger, a template; none when it is the app's [default](Application::address).
    pub address: Option<String>,
}

/// A file of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppFile {
    /// Path below the guest's `/`: relative, with `/` between its parts, none of which is `.` or `..`.
    pub path: String,
    /// What is in it.
    pub content: Content,
}

/// Bytes of the app.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// In the locked app itself. Their digest was checked.
    Inline(Vec<u8>),
    /// A layer of the image, or a file in one of its archives.
    Blob {
        /// `sha256:…` of the bytes.
        digest: String,
    },
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Content::Inline(bytes) => write!(f, "Inline({} bytes)", bytes.len()),
            Content::Blob { digest } => write!(f, "Blob({digest})"),
        }
    }
}
