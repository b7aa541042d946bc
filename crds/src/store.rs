//! Key-value stores: databases of Redis servers, under a prefix that keeps apps apart.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{connection::Connection, defaults};

/// The store that needs no entry: the trigger's Redis server.
pub const DEFAULT_STORE: &str = "default";

/// A key-value store that components may open by its name.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.connection) || has(self.connection.address) || has(self.connection.addressFrom)")
    .message("set exactly one of address and addressFrom").field_path(".connection"))]
pub struct KeyValueStore {
    /// Name by which components open the store.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// The Redis server that keeps the store; without it the trigger's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<Connection>,
    /// What each key begins with in Redis. Default NAMESPACE/APP/STORE/; "" gives the keys that Spin would use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub prefix: Option<String>,
}

impl KeyValueStore {
    /// What each key begins with, for the store of this app.
    pub fn prefix(&self, namespace: &str, app: &str) -> String {
        self.prefix.clone().unwrap_or_else(|| defaults::prefix(namespace, app, &self.name))
    }
}
