//! Pulls component images from OCI registries.
//!
//! Two kinds of image are understood: the CNCF's wasm OCI artifact (config `application/vnd.wasm.config.v0+json`, layer
//! `application/wasm`; tag-runtime.cncf.io/wgs/wasm/deliverables/wasm-oci-artifact) and a bare layer of a wasm media type.
//! Registries speak HTTPS, except those named as plain HTTP in the configuration.

use std::{
    future::Future,
    io,
    pin::Pin,
    str::FromStr,
    task::{Context, Poll},
    time::Duration,
};

use oci_client::{
    Client, Reference,
    client::{ClientConfig, ClientProtocol},
    errors::{OciDistributionError, OciErrorCode},
    manifest::{OciDescriptor, OciImageManifest},
};
use spinredis_crds::{
    OciSource,
    report::{Reason, shorten},
};
use tokio::io::AsyncWrite;

use super::{MAX_COMPONENT_BYTES, credentials::Credentials};

/// Media types of a layer that is a component.
const LAYER_TYPES: [&str; 2] = ["application/wasm", "application/vnd.wasm.content.layer.v1+wasm"];
/// Config media type of a whole Spin app, as `spin registry push` writes it.
const SPIN_APP_CONFIG: &str = "application/vnd.fermyon.spin.application.v1+config";
/// How long a registry may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a registry may be silent in the middle of an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// How long one image may take in all.
const PULL_TIMEOUT: Duration = Duration::from_secs(300);

/// How much of a registry's own words is repeated, in bytes.
const MAX_FOREIGN_BYTES: usize = 300;

/// The registries' settings and credentials.
#[derive(Default)]
pub struct Registries {
    /// What to present to them.
    pub credentials: Credentials,
    /// Hosts (`HOST` or `HOST:PORT`) that speak plain HTTP.
    pub plain_http: Vec<String>,
}

/// A pulled image.
#[derive(Debug)]
pub struct Image {
    /// The component's layer.
    pub layer: Vec<u8>,
    /// Digest of the image manifest.
    pub digest: String,
}

/// Why an image could not be had.
#[derive(Debug, thiserror::Error)]
pub enum OciError {
    /// The reference is malformed.
    #[error("image reference {reference} is malformed ({error}): write REGISTRY/REPOSITORY:TAG")]
    Reference {
        /// As in the manifest.
        reference: String,
        /// What the parser says.
        error: String,
    },
    /// The registry has no such image.
    #[error("registry {registry} has no image {reference}: push it, or correct the reference")]
    NotFound {
        /// Host of the registry.
        registry: String,
        /// As in the manifest.
        reference: String,
    },
    /// The registry wants other credentials.
    #[error(
        "registry {registry} refuses to give {reference} ({error}): name a Secret with its user and password in imagePullSecrets, or correct the one that is named"
    )]
    Denied {
        /// Host of the registry.
        registry: String,
        /// As in the manifest.
        reference: String,
        /// What the registry says.
        error: String,
    },
    /// The registry cannot be reached or gave an answer nobody expects.
    #[error("registry {registry} cannot give {reference}: {error}")]
    Unavailable {
        /// Host of the registry.
        registry: String,
        /// As in the manifest.
        reference: String,
        /// What happened.
        error: String,
    },
    /// The digest is not the wanted one.
    #[error("image {reference} has digest {found}, and the manifest asks for {wanted}: change the digest, or push the image it names")]
    DigestMismatch {
        /// As in the manifest.
        reference: String,
        /// What the registry has.
        found: String,
        /// What the manifest wants.
        wanted: String,
    },
    /// A whole Spin app.
    #[error(
        "image {0} is a whole Spin app, and source.oci takes the image of one component: push the component itself, for example with `wkg oci push`"
    )]
    SpinApp(String),
    /// No layer, or several, that could be the component.
    #[error("image {reference} is not a component image: it has the layers {layers}, and exactly one of type application/wasm is wanted")]
    Layers {
        /// As in the manifest.
        reference: String,
        /// Media types found.
        layers: String,
    },
    /// The component is too large.
    #[error("the component in image {0} is larger than 256 MiB")]
    TooLarge(String),
}

impl OciError {
    /// How the app's status calls it.
    pub fn reason(&self) -> Reason {
        match self {
            OciError::Reference { .. } => Reason::Invalid,
            OciError::DigestMismatch { .. } => Reason::DigestMismatch,
            OciError::NotFound { .. } | OciError::Denied { .. } | OciError::Unavailable { .. } => Reason::RegistryError,
            OciError::SpinApp(_) | OciError::Layers { .. } | OciError::TooLarge(_) => Reason::PrepareFailed,
        }
    }
}

impl Registries {
    /// Pulls the image of a component.
    pub async fn pull(&self, source: &OciSource) -> Result<Image, OciError> {
        let reference = Reference::from_str(&source.reference)
            .map_err(|error| OciError::Reference { reference: source.reference.clone(), error: error.to_string() })?;
        let registry = reference.registry().to_owned();
        let client = Client::new(ClientConfig {
            protocol: ClientProtocol::HttpsExcept(self.plain_http.clone()),
            connect_timeout: Some(CONNECT_TIMEOUT),
            read_timeout: Some(READ_TIMEOUT),
            user_agent: concat!("spinredis/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        });
        let failed = |error| explain(&registry, &source.reference, error);
        let auth = self.credentials.for_repository(&registry, reference.repository());
        let (manifest, digest) =
            self.timed(&registry, &source.reference, client.pull_image_manifest(&reference, &auth)).await?.map_err(failed)?;
        if let Some(wanted) = source.digest.as_ref().filter(|wanted| **wanted != digest) {
            return Err(OciError::DigestMismatch { reference: source.reference.clone(), found: digest, wanted: wanted.clone() });
        }
        let layer = component_layer(&manifest, &source.reference)?;
        let mut bounded = Bounded { bytes: Vec::new(), room: usize::try_from(layer.size).unwrap_or_default() };
        self.timed(&registry, &source.reference, client.pull_blob(&reference, layer, &mut bounded)).await?.map_err(failed)?;
        Ok(Image { layer: bounded.bytes, digest })
    }

    async fn timed<T>(&self, registry: &str, reference: &str, work: impl Future<Output = T>) -> Result<T, OciError> {
        tokio::time::timeout(PULL_TIMEOUT, work).await.map_err(|_| OciError::Unavailable {
            registry: registry.to_owned(),
            reference: reference.to_owned(),
            error: format!("no complete answer within {} s", PULL_TIMEOUT.as_secs()),
        })
    }
}

/// Takes as many bytes as the manifest announced and no more: what a registry sends is only verified at its end.
struct Bounded {
    bytes: Vec<u8>,
    room: usize,
}

impl AsyncWrite for Bounded {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.len() > self.room {
            return Poll::Ready(Err(io::Error::other("it sends more bytes than the image's manifest announces")));
        }
        self.room -= bytes.len();
        self.bytes.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The one layer that is the component.
fn component_layer<'a>(manifest: &'a OciImageManifest, reference: &str) -> Result<&'a OciDescriptor, OciError> {
    if manifest.config.media_type == SPIN_APP_CONFIG {
        return Err(OciError::SpinApp(reference.to_owned()));
    }
    let mut components = manifest.layers.iter().filter(|layer| LAYER_TYPES.contains(&layer.media_type.as_str()));
    let (Some(layer), None) = (components.next(), components.next()) else {
        let layers: Vec<&str> = manifest.layers.iter().map(|layer| layer.media_type.as_str()).take(8).collect();
        return Err(OciError::Layers { reference: reference.to_owned(), layers: format!("[{}]", layers.join(", ")) });
    };
    if !(0..=MAX_COMPONENT_BYTES as i64).contains(&layer.size) {
        return Err(OciError::TooLarge(reference.to_owned()));
    }
    Ok(layer)
}

/// Makes a sentence of what the client says.
fn explain(registry: &str, reference: &str, error: OciDistributionError) -> OciError {
    let (registry, reference) = (registry.to_owned(), reference.to_owned());
    let unavailable = |error: String| OciError::Unavailable { registry: registry.clone(), reference: reference.clone(), error };
    match &error {
        OciDistributionError::ImageManifestNotFoundError(_) => OciError::NotFound { registry, reference },
        OciDistributionError::UnauthorizedError { .. } => OciError::Denied { registry, reference, error: "401 Unauthorized".to_owned() },
        // The client calls every answer of a token server but 200 so.
        OciDistributionError::AuthenticationFailure(text) => {
            let text = shorten(&text.split_whitespace().collect::<Vec<_>>().join(" "), MAX_FOREIGN_BYTES);
            let upper = text.to_uppercase();
            if upper.contains("UNAUTHORIZED") || upper.contains("DENIED") || text.is_empty() {
                OciError::Denied { registry, reference, error: "it wants other credentials".to_owned() }
            } else {
                unavailable(format!("its token server says: {text}"))
            }
        }
        OciDistributionError::ServerError { code, .. } if [401, 403].contains(code) => {
            OciError::Denied { registry, reference, error: format!("status {code}") }
        }
        OciDistributionError::ServerError { code: 404, .. } => OciError::NotFound { registry, reference },
        OciDistributionError::RegistryError { envelope, .. } => {
            let has = |codes: &[OciErrorCode]| envelope.errors.iter().any(|error| codes.contains(&error.code));
            if has(&[OciErrorCode::ManifestUnknown, OciErrorCode::NameUnknown, OciErrorCode::NotFound]) {
                OciError::NotFound { registry, reference }
            } else if has(&[OciErrorCode::Unauthorized, OciErrorCode::Denied]) {
                OciError::Denied { registry, reference, error: "it wants other credentials".to_owned() }
            } else {
                unavailable(error.to_string())
            }
        }
        OciDistributionError::DigestError(_) => unavailable(format!("what it sent is damaged ({error})")),
        OciDistributionError::RequestError(request) => unavailable(match root_cause(request) {
            // What rustls says of an answer that is not TLS.
            cause if cause.contains("InvalidContentType") => format!(
                "it does not speak TLS ({cause}); if it speaks plain HTTP and that is good enough, add {registry} to the registries of the operator's settings with plainHTTP: true, or give --plain-http {registry}"
            ),
            cause => cause,
        }),
        // Its text holds the whole body, an HTML page perhaps.
        OciDistributionError::ServerError { code, .. } => unavailable(format!("it answers with status {code}")),
        OciDistributionError::IoError(error) => unavailable(error.to_string()),
        _ => unavailable(shorten(&error.to_string().split_whitespace().collect::<Vec<_>>().join(" "), MAX_FOREIGN_BYTES)),
    }
}

/// The innermost cause of an error: "connection refused" says more than "error sending request for url".
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
