//! Reads an image's manifest within a bound: the client library takes a manifest of whatever length it is sent.
//!
//! Protocol: OCI distribution specification, "Pulling manifests".

use std::io;

use oci_client::{
    Client, Reference, RegistryOperation,
    client::current_platform_resolver,
    errors::{DigestError, OciDistributionError},
    manifest::{
        IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE, OciImageIndex,
        OciImageManifest, OciManifest,
    },
    secrets::RegistryAuth,
};
use reqwest::{StatusCode, header};
use sha2::{Digest, Sha512};
use spinredis_crds::manifest::sha256_digest;

/// Largest manifest, in bytes: what the distribution specification has every registry take.
const MAX_MANIFEST_BYTES: usize = 4 << 20;
/// What a registry may answer with.
const ACCEPT: [&str; 4] = [IMAGE_MANIFEST_MEDIA_TYPE, IMAGE_MANIFEST_LIST_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE];
/// Header with the digest of the answer.
const DIGEST_HEADER: &str = "docker-content-digest";

/// A registry and what to present to it.
pub(super) struct Registry<'a> {
    /// Logs in, and keeps the token for the blobs that follow.
    pub(super) client: &'a Client,
    /// Sends the request.
    pub(super) http: &'a reqwest::Client,
    /// `http` or `https`.
    pub(super) scheme: &'a str,
    /// Credentials.
    pub(super) auth: &'a RegistryAuth,
}

impl Registry<'_> {
    /// The manifest and its digest; of several platforms' images, that of this machine's platform.
    pub(super) async fn manifest(&self, image: &Reference) -> Result<(OciImageManifest, String), OciDistributionError> {
        let token = self.client.auth(image, self.auth, RegistryOperation::Pull).await?;
        match self.get(image, token.as_deref()).await? {
            (OciManifest::Image(manifest), digest) => Ok((manifest, digest)),
            (OciManifest::ImageIndex(index), _) => {
                match self.get(&image.clone_with_digest(of_this_platform(&index)?), token.as_deref()).await? {
                    (OciManifest::Image(manifest), digest) => Ok((manifest, digest)),
                    (OciManifest::ImageIndex(_), _) => Err(none_of_this_platform()),
                }
            }
        }
    }

    async fn get(&self, image: &Reference, token: Option<&str>) -> Result<(OciManifest, String), OciDistributionError> {
        let (scheme, registry, repository) = (self.scheme, image.resolve_registry(), image.repository());
        let version = image.digest().or_else(|| image.tag()).unwrap_or("latest");
        let url = format!("{scheme}://{registry}/v2/{repository}/manifests/{version}");
        let request = self.http.get(&url).header(header::ACCEPT, ACCEPT.join(", "));
        let request = match (token, self.auth) {
            (Some(token), _) => request.bearer_auth(token),
            (None, RegistryAuth::Basic(user, password)) => request.basic_auth(user, Some(password)),
            (None, _) => request,
        };
        let mut response = request.send().await?;
        let (status, announced) = (response.status(), response.headers().get(DIGEST_HEADER).cloned());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > MAX_MANIFEST_BYTES {
                return Err(OciDistributionError::IoError(io::Error::other("its manifest is larger than 4 MiB")));
            }
            body.extend_from_slice(&chunk);
        }
        succeeded(status, &body, url)?;
        let announced = announced.as_ref().map(|header| header.to_str()).transpose()?;
        let digest = verified(&body, [image.digest(), announced])?;
        Ok((parse(&body)?, digest))
    }
}

/// Reads a manifest.
pub(super) fn parse(body: &[u8]) -> Result<OciManifest, OciDistributionError> {
    serde_json::from_slice(body).map_err(|error| OciDistributionError::ManifestParsingError(error.to_string()))
}

/// The digest of this machine's image among several platforms'.
pub(super) fn of_this_platform(index: &OciImageIndex) -> Result<String, OciDistributionError> {
    current_platform_resolver(&index.manifests).ok_or_else(none_of_this_platform)
}

fn none_of_this_platform() -> OciDistributionError {
    OciDistributionError::ImageManifestNotFoundError("the index has no image of this platform".to_owned())
}

/// What an answer other than 200 means, in the words that the client library uses for those it reads itself.
fn succeeded(status: StatusCode, body: &[u8], url: String) -> Result<(), OciDistributionError> {
    match status {
        StatusCode::OK => Ok(()),
        StatusCode::UNAUTHORIZED => Err(OciDistributionError::UnauthorizedError { url }),
        _ => match serde_json::from_slice(body) {
            Ok(envelope) if status.is_client_error() => Err(OciDistributionError::RegistryError { envelope, url }),
            _ => Err(OciDistributionError::ServerError { code: status.as_u16(), url, message: String::new() }),
        },
    }
}

/// The digest of a manifest that has all of the wanted ones: the reference's first, SHA-256 when none is wanted.
fn verified(body: &[u8], wanted: [Option<&str>; 2]) -> Result<String, DigestError> {
    let mut digest = None;
    for expected in wanted.into_iter().flatten() {
        let actual = match expected.split_once(':') {
            Some(("sha256", _)) => sha256_digest(body),
            Some(("sha512", _)) => {
                let hex: String = Sha512::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
                format!("sha512:{hex}")
            }
            _ => return Err(DigestError::UnsupportedAlgorithm(expected.to_owned())),
        };
        if actual != expected {
            return Err(DigestError::VerificationError { expected: expected.to_owned(), actual });
        }
        digest.get_or_insert(actual);
    }
    Ok(digest.unwrap_or_else(|| sha256_digest(body)))
}
