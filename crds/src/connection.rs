//! A connection to one Redis server: where it is, how to sign in to it, and how to trust it. The trigger is one with more
//! to it; a key-value store and a dead-letter stream may have one of their own.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::reference::{Reference, SecretValueFrom, ValueFrom};

/// A Redis server.
///
/// Whether an address is needed depends on where the connection stands, so that rule is with its owners.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.address) && has(self.addressFrom))")
    .message("set exactly one of address and addressFrom"))]
#[x_kube(validation = Rule::new("!has(self.tls) || !has(self.address) || !self.address.startsWith('redis://')")
    .message("tls needs an address that starts with rediss:// (with two s)"))]
pub struct Connection {
    /// Address of the Redis server: redis://HOST:PORT, or rediss://HOST:PORT for TLS; a database number may follow as /N.
    /// One host, without user or password: those go to username and passwordFrom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = Rule::new("self.startsWith('redis://') || self.startsWith('rediss://')")
        .message("address must start with redis:// or rediss://, for example redis://redis.default.svc:6379"))]
    #[x_kube(validation = Rule::new("!self.contains('@')")
        .message("address must not hold a user or password: put the user in username and the password in a Secret named by passwordFrom, or the whole URL in a Secret named by addressFrom"))]
    #[x_kube(validation = Rule::new("!self.contains(',') && !self.contains(' ')")
        .message("address must name one host; for several servers make one app for each"))]
    #[x_kube(validation = Rule::new(
        r"!(self.startsWith('redis://') || self.startsWith('rediss://')) || self.contains('@') || self.contains(',') || self.contains(' ') || self.matches('^rediss?://([^/:?#\\[\\]]+|\\[[0-9a-fA-F:.]+\\])(:[0-9]{1,5})?(/[0-9]{0,5})?$')")
        .message("address must be redis://HOST:PORT or redis://HOST:PORT/DATABASE, without anything after it"))]
    pub address: Option<String>,
    /// The whole address, user and password included if it has any, from a Secret or ConfigMap key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address_from: Option<ValueFrom>,
    /// Redis ACL user to sign in as; without it the user `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub username: Option<String>,
    /// Password, from a Secret. It is read at every connect, so a rotated Secret needs no restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_from: Option<SecretValueFrom>,
    /// How to trust the server and how to present ourselves, for rediss:// addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// The Redis server whose channels the components subscribe to, and what is taken from it.
///
/// It has no rules as a whole: those of [`Connection`] are taken over into its schema, and one of its own would hide them.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Trigger {
    /// The server.
    #[serde(flatten)]
    pub connection: Connection,
    /// Largest payload that is handed to a component, as a quantity: 1Mi, 64Mi. A larger one is skipped and counted. Default
    /// 8Mi; between 1Ki and 512Mi, which is the most that Redis itself takes unless told otherwise.
    // proto-max-bulk-len in Redis's own redis.conf: 512mb.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = r"^[0-9]+([.][0-9]+)?(Ki|Mi|Gi|k|M|G)?$"))]
    #[x_kube(validation = Rule::new(
        "isQuantity(self) && quantity(self).compareTo(quantity('1Ki')) >= 0 && quantity(self).compareTo(quantity('512Mi')) <= 0")
        .message("maxMessageBytes must be between 1Ki and 512Mi, for example 8Mi"))]
    pub max_message_bytes: Option<String>,
}

/// TLS settings of a connection.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// PEM certificates of the authority that signed the server's certificate. Without it the public authorities that the
    /// runtime image ships are trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_from: Option<ValueFrom>,
    /// A Secret of type kubernetes.io/tls whose certificate the runtime presents to the server (mutual TLS).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_from: Option<SecretName>,
}

/// The name of a Secret.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SecretName {
    /// Name of the Secret, in the namespace of the app.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub secret_name: String,
}

impl SecretName {
    /// The two keys of a Secret of type kubernetes.io/tls: certificate and private key.
    pub fn references(&self) -> [Reference; 2] {
        ["tls.crt", "tls.key"].map(|key| Reference::secret(&self.secret_name, key))
    }
}

impl Connection {
    /// Every Secret and ConfigMap key that it names.
    pub fn references(&self) -> Vec<Reference> {
        let mut found: Vec<Reference> = Vec::new();
        found.extend(self.address_from.as_ref().and_then(|from| from.reference()));
        found.extend(self.password_from.as_ref().map(|from| from.reference()));
        if let Some(tls) = &self.tls {
            found.extend(tls.ca_from.as_ref().and_then(|from| from.reference()));
            found.extend(tls.client_certificate_from.iter().flat_map(|certificate| certificate.references()));
        }
        found
    }
}
