//! What goes wrong with a registry or an image, as sentences for the person who wrote the reference.

use oci_client::errors::{OciDistributionError, OciErrorCode};
use spinredis_crds::report::{Reason, shorten};

/// How much of a registry's own words is repeated, in bytes.
const MAX_FOREIGN_BYTES: usize = 300;

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
    /// The registry no longer has what a tag was pinned to.
    #[error(
        "registry {registry} has no image {digest}, which {reference} meant when this manifest was first prepared: push that image again, name another tag, or set the annotation spinredis.dev/refresh of the app to a new value, so that the tag is asked for again"
    )]
    PinGone {
        /// Host of the registry.
        registry: String,
        /// As in the manifest.
        reference: String,
        /// What the tag meant.
        digest: String,
    },
    /// Neither the mirror nor the registry gave it.
    #[error("{error}; before it, its mirror was asked: {of_mirror}")]
    AfterMirror {
        /// What the registry did.
        error: Box<OciError>,
        /// What the mirror did.
        of_mirror: Box<OciError>,
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
        "image {0} is a whole Spin app, and source.oci takes the image of one component: name it in application.oci, or push the component itself, for example with `wkg oci push`"
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
    /// Not a Spin app.
    #[error(
        "image {reference} is not a whole Spin app: it has the layers {layers}, and none of them is the locked app; push the app with `spin registry push`, or name the image of one component in that component's source.oci"
    )]
    NotSpinApp {
        /// As in the manifest.
        reference: String,
        /// Media types found.
        layers: String,
    },
    /// An image whose manifest announces more layers than any Spin app has.
    #[error(
        "image {reference} has {found} layers, and at most {} are read: push the app with SPIN_OCI_ARCHIVE_LAYERS=true, which packs its files",
        super::MAX_LAYERS
    )]
    TooManyLayers {
        /// As in the manifest.
        reference: String,
        /// How many it has.
        found: usize,
    },
    /// An image whose layers, or one of them, are too large.
    #[error("{part} of image {reference} is {found} bytes large, and at most {limit} are read: make it smaller")]
    PartTooLarge {
        /// As in the manifest.
        reference: String,
        /// Which part: the locked app, a layer, all layers together.
        part: String,
        /// Its size in bytes, as the manifest announces it; a negative one is taken from no image.
        found: i64,
        /// The bound, in bytes.
        limit: u64,
    },
    /// A digest that the app names and the image does not hold.
    #[error("image {reference} has no layer {digest}, which its locked app names: push the app again")]
    NoLayer {
        /// As in the manifest.
        reference: String,
        /// The digest.
        digest: String,
    },
}

impl OciError {
    /// How the app's status calls it.
    pub fn reason(&self) -> Reason {
        match self {
            OciError::Reference { .. } => Reason::Invalid,
            OciError::DigestMismatch { .. } => Reason::DigestMismatch,
            OciError::AfterMirror { error, .. } => error.reason(),
            OciError::PinGone { .. } | OciError::NotFound { .. } | OciError::Denied { .. } | OciError::Unavailable { .. } => {
                Reason::RegistryError
            }
            OciError::SpinApp(_)
            | OciError::Layers { .. }
            | OciError::TooLarge(_)
            | OciError::NotSpinApp { .. }
            | OciError::TooManyLayers { .. }
            | OciError::PartTooLarge { .. }
            | OciError::NoLayer { .. } => Reason::PrepareFailed,
        }
    }
}

/// Makes a sentence of what the client says.
pub(super) fn explain(registry: &str, reference: &str, error: OciDistributionError) -> OciError {
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
            cause if cause.contains("UnknownIssuer") => format!(
                "its certificate is of an authority that is not trusted here ({cause}); if it is a private one, give {registry} a caFile among the registries of the operator's settings"
            ),
            cause => cause,
        }),
        // Its text holds the whole body, an HTML page perhaps.
        OciDistributionError::ServerError { code, .. } => unavailable(format!("it answers with status {code}")),
        OciDistributionError::IoError(error) => unavailable(error.to_string()),
        _ => unavailable(shorten(&error.to_string().split_whitespace().collect::<Vec<_>>().join(" "), MAX_FOREIGN_BYTES)),
    }
}

/// Words that come from an image or a registry, on one line and not longer than a message may be.
pub(super) fn foreign(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    shorten(plain.trim(), MAX_FOREIGN_BYTES)
}

/// The innermost cause of an error: "connection refused" says more than "error sending request for url".
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
