//! References to keys of Secrets and ConfigMaps, and the files they become in a pod.
//!
//! A reference is never resolved by the operator: it mounts the named key as `<kind>/<name>/<key>` below the references
//! folder, and the runtime reads the file there. `spinredis run --ref KIND/NAME/KEY=…` makes the same files on a laptop.

use std::{fmt, path::PathBuf, str::FromStr};

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// One key of a Secret or ConfigMap in the app's namespace.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(rename_all = "camelCase")]
pub struct KeyRef {
    /// Name of the Secret or ConfigMap, in the namespace of the app.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// Key in its data.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^([-_a-zA-Z0-9]|[.][-_a-zA-Z0-9])[-._a-zA-Z0-9]*$"))]
    pub key: String,
}

/// A value kept in a Secret or a ConfigMap; exactly one of the two.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.secretKeyRef) != has(self.configMapKeyRef)")
    .message("name exactly one of secretKeyRef and configMapKeyRef"))]
pub struct ValueFrom {
    /// A key of a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<KeyRef>,
    /// A key of a ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<KeyRef>,
}

/// A value that may only be kept in a Secret.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SecretValueFrom {
    /// A key of a Secret.
    pub secret_key_ref: KeyRef,
}

/// Which object a [`Reference`] points into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefKind {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret.
    Secret,
}

impl RefKind {
    /// The name used in paths and on the command line: `configmap` or `secret`.
    pub fn as_str(self) -> &'static str {
        match self {
            RefKind::ConfigMap => "configmap",
            RefKind::Secret => "secret",
        }
    }

    /// The Kubernetes kind, for messages to people.
    pub fn kind(self) -> &'static str {
        match self {
            RefKind::ConfigMap => "ConfigMap",
            RefKind::Secret => "Secret",
        }
    }
}

/// A resolved pointer to one key, whichever field it came from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// Secret or ConfigMap.
    pub kind: RefKind,
    /// Name of the object.
    pub name: String,
    /// Key in its data.
    pub key: String,
}

impl Reference {
    /// A reference to a key of a Secret.
    pub fn secret(name: impl Into<String>, key: impl Into<String>) -> Self {
        Self { kind: RefKind::Secret, name: name.into(), key: key.into() }
    }

    /// A reference to a key of a ConfigMap.
    pub fn config_map(name: impl Into<String>, key: impl Into<String>) -> Self {
        Self { kind: RefKind::ConfigMap, name: name.into(), key: key.into() }
    }

    /// The file that holds the value, relative to the references folder: `<kind>/<name>/<key>`.
    pub fn path(&self) -> PathBuf {
        [self.kind.as_str(), &self.name, &self.key].iter().collect()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {} of {} {}", self.key, self.kind.kind(), self.name)
    }
}

impl ValueFrom {
    /// The key this value is kept in; `None` for a value that names none (the API server refuses those).
    pub fn reference(&self) -> Option<Reference> {
        match (&self.secret_key_ref, &self.config_map_key_ref) {
            (Some(key), _) => Some(Reference::secret(&key.name, &key.key)),
            (None, Some(key)) => Some(Reference::config_map(&key.name, &key.key)),
            (None, None) => None,
        }
    }
}

impl SecretValueFrom {
    /// The key this value is kept in.
    pub fn reference(&self) -> Reference {
        Reference::secret(&self.secret_key_ref.name, &self.secret_key_ref.key)
    }
}

/// Why `KIND/NAME/KEY` on the command line could not be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a reference: write KIND/NAME/KEY with KIND secret or configmap, for example secret/redis/password")]
pub struct ParseReferenceError(String);

impl FromStr for Reference {
    type Err = ParseReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseReferenceError(text.to_owned());
        let mut parts = text.split('/');
        let (Some(kind), Some(name), Some(key), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(wrong());
        };
        let plain = |part: &str| {
            !part.is_empty() && part != "." && part != ".." && part.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
        };
        if !plain(name) || !plain(key) {
            return Err(wrong());
        }
        match kind {
            "secret" => Ok(Reference::secret(name, key)),
            "configmap" => Ok(Reference::config_map(name, key)),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_read_from_kind_name_and_key() {
        assert_eq!("secret/redis/password".parse(), Ok(Reference::secret("redis", "password")));
        assert_eq!(Reference::config_map("guests", "hello.wat").path(), PathBuf::from("configmap/guests/hello.wat"));
    }

    #[test]
    fn anything_that_could_leave_the_references_folder_is_refused() {
        for text in ["secret/../etc", "secret/a/..", "pod/a/b", "secret/a", "secret/a/b/c", "secret//b"] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }
}
