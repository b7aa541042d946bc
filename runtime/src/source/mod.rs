//! Fetches a component's bytes: from an OCI registry, a mounted ConfigMap key, or a local file.

pub mod credentials;
pub mod decode;
pub mod oci;

use std::{collections::BTreeMap, path::PathBuf};

use spinredis_crds::{Component, manifest::sha256_digest, report::Reason};

use crate::references::{ReferenceError, References};
use decode::DecodeError;
use oci::{OciError, Registries};

/// Largest component that is fetched, in bytes. A Python guest is 18 to 24 MB.
pub const MAX_COMPONENT_BYTES: u64 = 256 << 20;

/// A component as it was fetched: binary WebAssembly.
#[derive(Debug)]
pub struct Fetched {
    /// The component or module.
    pub wasm: Vec<u8>,
    /// Digest of the image manifest, or of the bytes that a ConfigMap key or file holds.
    pub digest: String,
}

/// Why a component could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The ConfigMap key cannot be read.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The registry did not give it.
    #[error(transparent)]
    Oci(#[from] OciError),
    /// The bytes are not WebAssembly.
    #[error("{what} {error}")]
    Decode {
        /// Where the bytes come from.
        what: String,
        /// What they are instead.
        error: DecodeError,
    },
    /// A local file cannot be read.
    #[error("{path} cannot be read: {error}")]
    File {
        /// Which file.
        path: String,
        /// What the operating system says.
        error: std::io::Error,
    },
    /// The manifest names neither of the sources this version knows.
    #[error("the source names neither oci nor configMap")]
    None,
}

impl SourceError {
    /// How the app's status calls it.
    pub fn reason(&self) -> Reason {
        match self {
            SourceError::Reference(_) => Reason::MissingReference,
            SourceError::Oci(error) => error.reason(),
            SourceError::Decode { .. } | SourceError::File { .. } => Reason::PrepareFailed,
            SourceError::None => Reason::Invalid,
        }
    }
}

/// Everything a fetch may use.
pub struct Sources {
    /// Mounted ConfigMap keys.
    pub references: References,
    /// Registries and their credentials.
    pub registries: Registries,
    /// Local files that replace the sources of components, by id.
    pub files: BTreeMap<String, PathBuf>,
}

impl Sources {
    /// Fetches a component.
    pub async fn fetch(&self, component: &Component) -> Result<Fetched, SourceError> {
        if let Some(path) = self.files.get(&component.id) {
            let bytes = std::fs::read(path).map_err(|error| SourceError::File { path: path.display().to_string(), error })?;
            return decoded(bytes, || format!("file {}", path.display()));
        }
        if let Some(source) = component.config_map() {
            let reference = source.reference();
            return decoded(self.references.bytes(&reference)?, || reference.to_string());
        }
        let source = component.oci().ok_or(SourceError::None)?;
        let image = self.registries.pull(source).await?;
        let wasm = decode::wasm(image.layer)
            .map_err(|error| SourceError::Decode { what: format!("the layer of image {}", source.reference), error })?;
        Ok(Fetched { wasm, digest: image.digest })
    }
}

fn decoded(bytes: Vec<u8>, what: impl Fn() -> String) -> Result<Fetched, SourceError> {
    let digest = sha256_digest(&bytes);
    let wasm = decode::wasm(bytes).map_err(|error| SourceError::Decode { what: what(), error })?;
    Ok(Fetched { wasm, digest })
}
