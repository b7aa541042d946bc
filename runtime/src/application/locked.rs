//! The locked app, Spin's JSON of an app with everything resolved, in versions 0 and 1: only the fields that are used.
//!
//! Version 1 differs from 0 by `must_understand` and host requirements. Fields that are not known here are skipped: what a
//! host may not skip is named in `must_understand`. Source: crates/locked-app/src/locked.rs of spinframework/spin.

use std::{borrow::Cow, collections::BTreeMap};

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny},
};
use serde_json::Value;

/// What is read before the rest, since it tells whether the rest can be read.
#[derive(Deserialize, Debug)]
pub struct Header {
    /// Version of the schema: 0 or 1.
    pub spin_lock_version: u64,
    /// Fields that the host must know when they are there.
    #[serde(default)]
    pub must_understand: Vec<String>,
}

/// A locked app.
#[derive(Deserialize, Debug)]
pub struct LockedApp {
    /// Name and triggers' settings.
    #[serde(default)]
    pub metadata: Metadata,
    /// Features that the host must have: name and `optional` or `required`.
    #[serde(default)]
    pub host_requirements: BTreeMap<String, Value>,
    /// Variables of the app.
    #[serde(default)]
    pub variables: BTreeMap<String, LockedVariable>,
    /// What the components are called for.
    pub triggers: Vec<LockedTrigger>,
    /// The components.
    pub components: Vec<LockedComponent>,
}

/// What is told of the app as a whole.
#[derive(Deserialize, Debug, Default)]
pub struct Metadata {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Settings for all triggers of a type, by type; since Spin 2.
    pub triggers: Option<BTreeMap<String, Value>>,
    /// Settings for all triggers of the one type that the app has, with that `type` among them.
    pub trigger: Option<Value>,
}

/// A variable of the app.
#[derive(Deserialize, Debug)]
pub struct LockedVariable {
    /// Its value unless another is given; without one, a value is required.
    pub default: Option<String>,
    /// Whether it must not be shown.
    #[serde(default)]
    pub secret: bool,
}

/// What components are called for.
#[derive(Deserialize, Debug)]
pub struct LockedTrigger {
    /// Its name, unique in the app.
    pub id: String,
    /// `redis`, `http`, …
    pub trigger_type: String,
    /// Settings by type: see [`RedisTrigger`].
    pub trigger_config: Value,
    /// Components that stand before the trigger's own, as middleware.
    #[serde(default)]
    pub trigger_dependencies: BTreeMap<String, Value>,
}

/// Settings of a Redis trigger. Others change what it means, so there may be no others; Spin refuses them too.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct RedisTrigger {
    /// Id of the component.
    pub component: Option<String>,
    /// Ids of components by the part that they play.
    #[serde(default)]
    pub components: BTreeMap<String, OneOrMany>,
    /// The channel's name, a template.
    pub channel: String,
    /// Address of the Redis server, a template.
    pub address: Option<String>,
    /// What Spin 1 and 2 took and never used.
    #[serde(default, rename = "executor")]
    pub _executor: IgnoredAny,
}

/// An id, or a list of them.
#[derive(Deserialize, Debug)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One.
    One(String),
    /// A list.
    Many(Vec<String>),
}

/// A component.
#[derive(Deserialize, Debug)]
pub struct LockedComponent {
    /// Its id, unique in the app.
    pub id: String,
    /// What it is granted.
    #[serde(default)]
    pub metadata: ComponentMetadata,
    /// Its WebAssembly.
    pub source: LockedContent,
    /// Its environment variables.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Its files.
    #[serde(default)]
    pub files: Vec<LockedFile>,
    /// Its variables, each a template.
    #[serde(default)]
    pub config: BTreeMap<String, String>,
    /// Components that it imports and that are not yet composed into it.
    #[serde(default)]
    pub dependencies: BTreeMap<String, Value>,
    /// Components to be composed around it by its trigger.
    #[serde(default)]
    pub trigger_dependencies: BTreeMap<String, Value>,
    /// Features that the host must have for it.
    #[serde(default)]
    pub host_requirements: BTreeMap<String, Value>,
}

/// What a component is granted.
#[derive(Deserialize, Debug, Default)]
#[serde(default)]
pub struct ComponentMetadata {
    /// Hosts that it may reach.
    pub allowed_outbound_hosts: Vec<String>,
    /// The same for HTTP only, as it was before Spin 2.
    pub allowed_http_hosts: Vec<String>,
    /// Key-value stores that it may open.
    pub key_value_stores: Vec<String>,
    /// SQLite databases that it may open.
    pub databases: Vec<String>,
    /// Models that it may use.
    pub ai_models: Vec<String>,
}

/// A file of a component.
#[derive(Deserialize, Debug)]
pub struct LockedFile {
    /// What is in it.
    #[serde(flatten)]
    pub content: LockedContent,
    /// Path below the guest's `/`.
    pub path: String,
}

/// Where bytes are: at least one of the three.
#[derive(Deserialize, Debug)]
pub struct LockedContent {
    /// A URI; never in an image.
    pub source: Option<String>,
    /// The bytes themselves, as base64.
    #[serde(default, deserialize_with = "base64")]
    pub inline: Option<Vec<u8>>,
    /// SHA-256 of the bytes.
    pub digest: Option<String>,
}

/// Spin leaves out the padding; others may not.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

fn base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
    let text = Option::<Cow<'de, str>>::deserialize(deserializer)?;
    text.map(|text| BASE64.decode(text.as_ref()).map_err(|error| D::Error::custom(format!("inline is not base64: {error}")))).transpose()
}
