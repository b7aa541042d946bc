//! Why a whole Spin app cannot be had or run, as sentences that name the image.

use spinredis_crds::report::Reason;

use super::{files::FilesError, resolve::Refusal};
use crate::source::{decode::DecodeError, oci::OciError};

/// Why a whole Spin app cannot be had or run.
#[derive(Debug, thiserror::Error)]
pub enum ApplicationError {
    /// The registry did not give it, or the image is something else.
    #[error(transparent)]
    Oci(#[from] OciError),
    /// The app asks for what is not here.
    #[error("image {reference} cannot run here: {refusal}")]
    Refused {
        /// The image as the manifest writes it.
        reference: String,
        /// What it asks for.
        refusal: Refusal,
    },
    /// What should be WebAssembly is something else.
    #[error("the layer of component {component} in image {reference} {error}")]
    Decode {
        /// The image as the manifest writes it.
        reference: String,
        /// Id of the component.
        component: String,
        /// What the bytes are instead.
        error: DecodeError,
    },
    /// The files cannot be written.
    #[error("the files of image {reference}: {error}")]
    Files {
        /// The image as the manifest writes it.
        reference: String,
        /// Why.
        error: FilesError,
    },
}

impl ApplicationError {
    /// How the app's status calls it.
    pub fn reason(&self) -> Reason {
        match self {
            ApplicationError::Oci(error) => error.reason(),
            // A push under the same tag may mend it, so it is tried again.
            ApplicationError::Refused { .. } | ApplicationError::Decode { .. } | ApplicationError::Files { .. } => Reason::PrepareFailed,
        }
    }
}
