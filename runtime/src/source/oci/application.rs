//! The image of a whole Spin app, as `spin registry push` writes it.
//!
//! | part | media type |
//! |---|---|
//! | locked app | `application/vnd.fermyon.spin.application.v1+config`: a layer since Spin 2, the image's config before |
//! | WebAssembly of a component | `application/vnd.wasm.content.layer.v1+wasm` |
//! | a file | `application/vnd.wasm.content.layer.v1+data` |
//! | many files, with SPIN_OCI_ARCHIVE_LAYERS | `application/vnd.wasm.content.bundle.v1.tar+gzip` |
//!
//! Source: crates/oci/src/client.rs of spinframework/spin.

use std::{collections::BTreeSet, fmt};

use oci_client::manifest::{OciDescriptor, OciImageManifest};

use super::{
    error::{OciError, foreign},
    media_types,
    session::Session,
};
use crate::application::MAX_LOCK_BYTES;

/// Media type of the locked app.
const LOCKED_APP: &str = "application/vnd.fermyon.spin.application.v1+config";
/// Media type of an archive of files.
const ARCHIVE: &str = "application/vnd.wasm.content.bundle.v1.tar+gzip";

/// Layers that an image may have. Spin itself writes at most 500.
pub const MAX_LAYERS: usize = 1_024;
/// What all layers of an app's image may have together, in bytes as they are sent.
pub const MAX_IMAGE_BYTES: u64 = 256 << 20;

/// A Spin app's image: its locked app is read, its layers are had one by one.
pub struct ApplicationImage {
    session: Session,
    layers: Vec<OciDescriptor>,
    /// The locked app: JSON of at most [`MAX_LOCK_BYTES`].
    pub lock: Vec<u8>,
    /// Digest of the image manifest.
    pub digest: String,
}

impl fmt::Debug for ApplicationImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApplicationImage")
            .field("reference", &self.session.reference())
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

/// Whether an image is a whole Spin app.
pub(super) fn is_application(manifest: &OciImageManifest) -> bool {
    locked_app(manifest).is_some()
}

/// Where the locked app is. When there is a layer of it, the config is only a dummy.
fn locked_app(manifest: &OciImageManifest) -> Option<&OciDescriptor> {
    let layer = manifest.layers.iter().find(|layer| layer.media_type == LOCKED_APP);
    layer.or_else(|| Some(&manifest.config).filter(|config| config.media_type == LOCKED_APP))
}

impl ApplicationImage {
    /// Judges what the manifest announces and reads the locked app.
    pub(super) async fn read(session: Session, manifest: OciImageManifest, digest: String) -> Result<Self, OciError> {
        let lock = session.blob(judged(&manifest, session.reference())?).await?;
        Ok(Self { session, layers: manifest.layers, lock, digest })
    }

    /// The image as the manifest writes it.
    pub fn reference(&self) -> &str {
        self.session.reference()
    }

    /// Whether there is a layer of that digest.
    pub fn holds(&self, digest: &str) -> bool {
        self.layers.iter().any(|layer| layer.digest == digest)
    }

    /// The digests of the layers that are archives of files, each once.
    pub fn archives(&self) -> Vec<&str> {
        let archives: BTreeSet<&str> =
            self.layers.iter().filter(|layer| layer.media_type == ARCHIVE).map(|layer| layer.digest.as_str()).collect();
        archives.into_iter().collect()
    }

    /// The bytes of a layer; they have that digest.
    pub async fn layer(&self, digest: &str) -> Result<Vec<u8>, OciError> {
        let Some(layer) = self.layers.iter().find(|layer| layer.digest == digest) else {
            return Err(OciError::NoLayer { reference: self.reference().to_owned(), digest: foreign(digest) });
        };
        self.session.blob(layer).await
    }
}

/// Where the locked app is, in an image that announces no more than is read.
pub(super) fn judged<'a>(manifest: &'a OciImageManifest, reference: &str) -> Result<&'a OciDescriptor, OciError> {
    let image = || reference.to_owned();
    if manifest.layers.len() > MAX_LAYERS {
        return Err(OciError::TooManyLayers { reference: image(), found: manifest.layers.len() });
    }
    let Some(locked) = locked_app(manifest) else {
        return Err(OciError::NotSpinApp { reference: image(), layers: media_types(manifest) });
    };
    within(locked.size, MAX_LOCK_BYTES, || (image(), "the locked app".to_owned()))?;
    let mut seen = BTreeSet::new();
    let mut total: i64 = 0;
    for layer in manifest.layers.iter().filter(|layer| seen.insert(&layer.digest)) {
        within(layer.size, MAX_IMAGE_BYTES, || (image(), format!("layer {}", foreign(&layer.digest))))?;
        total = total.saturating_add(layer.size);
    }
    within(total, MAX_IMAGE_BYTES, || (image(), "all layers together".to_owned()))?;
    Ok(locked)
}

/// Refuses a size that is negative or above its bound.
fn within(size: i64, limit: u64, what: impl Fn() -> (String, String)) -> Result<(), OciError> {
    if u64::try_from(size).is_ok_and(|size| size <= limit) {
        return Ok(());
    }
    let (reference, part) = what();
    Err(OciError::PartTooLarge { reference, part, found: size, limit })
}

#[cfg(test)]
#[path = "application_tests.rs"]
mod tests;
