//! Pulls images from OCI registries: of one component, and of whole Spin apps.
//!
//! Two kinds of component image are understood: the CNCF's wasm OCI artifact (config `application/vnd.wasm.config.v0+json`,
//! layer `application/wasm`; tag-runtime.cncf.io/wgs/wasm/deliverables/wasm-oci-artifact) and a bare layer of a wasm media
//! type. Whole apps are described in [`application`]. Registries speak HTTPS, except those named as plain HTTP in the
//! configuration; they may have mirrors, which are asked first. A tag that is pinned is never asked for. Nothing here reads
//! more than a manifest announces, and no more than its own bounds.

mod application;
mod endpoint;
mod error;
mod manifest;
mod session;

use oci_client::manifest::{OciDescriptor, OciImageManifest, OciManifest};
use spinredis_crds::{OciSource, pins::Pins, registries::RegistrySettings};

use super::{MAX_COMPONENT_BYTES, credentials::Credentials};
use application::is_application;
pub use application::{ApplicationImage, MAX_IMAGE_BYTES, MAX_LAYERS};
use endpoint::Endpoints;
pub use error::OciError;
use session::Session;

/// Media types of a layer that is a component.
const LAYER_TYPES: [&str; 2] = ["application/wasm", "application/vnd.wasm.content.layer.v1+wasm"];

/// The registries' settings and credentials.
#[derive(Default)]
pub struct Registries {
    /// What to present to them.
    pub credentials: Credentials,
    /// Hosts (`HOST` or `HOST:PORT`) that speak plain HTTP.
    pub plain_http: Vec<String>,
    /// How to reach them, whom to trust, and their mirrors.
    pub settings: RegistrySettings,
    /// Digests to fetch in the place of tags.
    pub pins: Pins,
}

/// A pulled image.
#[derive(Debug)]
pub struct Image {
    /// The component's layer.
    pub layer: Vec<u8>,
    /// Digest of the image manifest.
    pub digest: String,
}

impl Registries {
    /// Pulls the image of a component.
    pub async fn pull(&self, source: &OciSource) -> Result<Image, OciError> {
        let pulled = self.mirror_or_registry(source, async |session| {
            let (manifest, digest) = session.manifest(source.digest.as_deref()).await?;
            let layer = component_layer(&manifest, &source.reference)?;
            Ok(Image { layer: session.blob(layer).await?, digest })
        });
        pulled.await
    }

    /// Pulls the manifest and the locked app of a whole Spin app. Its layers are had one by one from what this gives.
    pub async fn pull_application(&self, source: &OciSource) -> Result<ApplicationImage, OciError> {
        let pulled = self.mirror_or_registry(source, async |session| {
            let (manifest, digest) = session.manifest(source.digest.as_deref()).await?;
            ApplicationImage::read(session, manifest, digest).await
        });
        pulled.await
    }

    /// Whatever a mirror does wrong, the registry itself is asked; when both fail, both are named.
    async fn mirror_or_registry<T>(&self, source: &OciSource, pull: impl AsyncFn(Session) -> Result<T, OciError>) -> Result<T, OciError> {
        let Endpoints { mirror, own } = Endpoints::of(self, source)?;
        let Some(mirror) = mirror else { return pull(Session::open(own, source)?).await };
        let asked = async { pull(Session::open(mirror, source)?).await };
        let of_mirror = match asked.await {
            Ok(pulled) => return Ok(pulled),
            Err(error) => Box::new(error),
        };
        tracing::warn!(registry = own.image.registry(), "the mirror did not help, and the registry itself is asked: {of_mirror}");
        let asked = async { pull(Session::open(own, source)?).await };
        asked.await.map_err(|error| OciError::AfterMirror { error: Box::new(error), of_mirror })
    }
}

/// What an image is, by its manifest alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Announced {
    /// A component, in the layer of this digest.
    Component(String),
    /// A whole Spin app, whose locked app is the blob of this digest.
    Application(String),
    /// Images of several platforms, of which this machine's has this digest.
    Platform(String),
}

/// What an image is by its manifest, before anything that the manifest announces is pulled.
pub fn announced(manifest: &[u8], reference: &str) -> Result<Announced, OciError> {
    let failed = |error| error::explain("of the image", reference, error);
    Ok(match manifest::parse(manifest).map_err(failed)? {
        OciManifest::ImageIndex(index) => Announced::Platform(manifest::of_this_platform(&index).map_err(failed)?),
        OciManifest::Image(image) if is_application(&image) => {
            Announced::Application(application::judged(&image, reference)?.digest.clone())
        }
        OciManifest::Image(image) => Announced::Component(component_layer(&image, reference)?.digest.clone()),
    })
}

/// The one layer that is the component.
fn component_layer<'a>(manifest: &'a OciImageManifest, reference: &str) -> Result<&'a OciDescriptor, OciError> {
    if is_application(manifest) {
        return Err(OciError::SpinApp(reference.to_owned()));
    }
    let mut components = manifest.layers.iter().filter(|layer| LAYER_TYPES.contains(&layer.media_type.as_str()));
    let (Some(layer), None) = (components.next(), components.next()) else {
        return Err(OciError::Layers { reference: reference.to_owned(), layers: media_types(manifest) });
    };
    if !(0..=MAX_COMPONENT_BYTES as i64).contains(&layer.size) {
        return Err(OciError::TooLarge(reference.to_owned()));
    }
    Ok(layer)
}

/// The media types of an image's first layers, as a message lists them.
fn media_types(manifest: &OciImageManifest) -> String {
    let types: Vec<String> = manifest.layers.iter().map(|layer| error::foreign(&layer.media_type)).take(8).collect();
    format!("[{}]", types.join(", "))
}
