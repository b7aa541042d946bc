//! One image's conversation with its registry: the manifest, then blobs, within one time and each within its size.

use std::{
    future::Future,
    io,
    pin::{Pin, pin},
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use oci_client::{
    Client, Reference,
    client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol},
    errors::OciDistributionError,
    manifest::{OciDescriptor, OciImageManifest},
    secrets::RegistryAuth,
};
use spinredis_crds::OciSource;
use tokio::io::AsyncWrite;

use super::{
    endpoint::Endpoint,
    error::{OciError, explain},
    manifest::Registry,
};
use crate::compile::bounded::resident;

/// How long a registry may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a registry may be silent in the middle of an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// How long one image may take in all, without the time that its reader takes between two blobs.
const PULL_TIMEOUT: Duration = Duration::from_secs(300);
/// How much the process may grow, beyond what a manifest announces, while a registry answers, in bytes. The client library
/// takes tokens and error messages of whatever length they are sent.
const ROOM: u64 = 256 << 20;
/// Between two looks at the memory.
const INTERVAL: Duration = Duration::from_millis(20);
/// How registries see who asks.
const USER_AGENT: &str = concat!("spinredis/", env!("CARGO_PKG_VERSION"));

/// What it takes to read one image.
pub(super) struct Session {
    client: Client,
    http: reqwest::Client,
    scheme: &'static str,
    image: Reference,
    pinned: Option<String>,
    auth: RegistryAuth,
    /// The image as the manifest writes it, for messages.
    reference: String,
    /// What is left of [`PULL_TIMEOUT`], in milliseconds.
    left: AtomicU64,
}

impl Session {
    /// Nothing is sent yet.
    pub(super) fn open(endpoint: Endpoint, source: &OciSource) -> Result<Self, OciError> {
        let reference = source.reference.clone();
        let Endpoint { image, pinned, plain_http, ca, auth } = endpoint;
        let failed = |error: OciDistributionError| explain(image.registry(), &reference, error);
        let extra_root_certificates =
            ca.iter().map(|pem| Certificate { encoding: CertificateEncoding::Pem, data: pem.clone().into_bytes() }).collect();
        let client = Client::try_from(ClientConfig {
            protocol: if plain_http { ClientProtocol::Http } else { ClientProtocol::Https },
            connect_timeout: Some(CONNECT_TIMEOUT),
            read_timeout: Some(READ_TIMEOUT),
            user_agent: USER_AGENT,
            extra_root_certificates,
            ..ClientConfig::default()
        });
        let client = client.map_err(failed)?;
        let http = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(READ_TIMEOUT).user_agent(USER_AGENT);
        let trusted = ca.as_deref().map(|pem| reqwest::Certificate::from_pem_bundle(pem.as_bytes())).transpose();
        let http = trusted.and_then(|trusted| http.tls_certs_merge(trusted.unwrap_or_default()).build());
        let http = http.map_err(|error| failed(error.into()))?;
        let scheme = if plain_http { "http" } else { "https" };
        let left = AtomicU64::new(u64::try_from(PULL_TIMEOUT.as_millis()).unwrap_or(u64::MAX));
        Ok(Self { client, http, scheme, image, pinned, auth, reference, left })
    }

    /// The image as the manifest writes it.
    pub(super) fn reference(&self) -> &str {
        &self.reference
    }

    /// The image's manifest and its digest, which must be the wanted one when there is one.
    pub(super) async fn manifest(&self, wanted: Option<&str>) -> Result<(OciImageManifest, String), OciError> {
        let registry = Registry { client: &self.client, http: &self.http, scheme: self.scheme, auth: &self.auth };
        let (manifest, found) = self.timed(0, registry.manifest(&self.image)).await.map_err(|error| self.about_pin(error))?;
        if let Some(wanted) = wanted.filter(|wanted| **wanted != found) {
            return Err(OciError::DigestMismatch { reference: self.reference.clone(), found, wanted: wanted.to_owned() });
        }
        Ok((manifest, found))
    }

    /// A tag that was not found is wrong in the manifest; a pin that was not found is gone from the registry.
    fn about_pin(&self, error: OciError) -> OciError {
        match (error, &self.pinned) {
            (OciError::NotFound { registry, reference }, Some(digest)) => OciError::PinGone { registry, reference, digest: digest.clone() },
            (error, _) => error,
        }
    }

    /// A blob of the image. It has the digest and at most the size that its descriptor announces; the size itself is the
    /// caller's to judge.
    pub(super) async fn blob(&self, descriptor: &OciDescriptor) -> Result<Vec<u8>, OciError> {
        // A descriptor may name other addresses for its content; what an image says must not make us ask them.
        let descriptor = OciDescriptor { urls: None, ..descriptor.clone() };
        let mut bounded = Bounded { bytes: Vec::new(), room: usize::try_from(descriptor.size).unwrap_or_default() };
        self.timed(bounded.room as u64, self.client.pull_blob(&self.image, &descriptor, &mut bounded)).await?;
        Ok(bounded.bytes)
    }

    async fn timed<T>(&self, announced: u64, work: impl Future<Output = Result<T, OciDistributionError>>) -> Result<T, OciError> {
        let started = Instant::now();
        // What is announced is held twice for a moment when its place grows.
        let work = watched(resident().saturating_add(announced.saturating_mul(2)).saturating_add(ROOM), work);
        let outcome = tokio::time::timeout(Duration::from_millis(self.left.load(Ordering::Relaxed)), work).await;
        let spent = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let left = self.left.load(Ordering::Relaxed).saturating_sub(spent);
        self.left.store(left, Ordering::Relaxed);
        match outcome {
            Ok(done) => done.map_err(|error| explain(self.image.registry(), &self.reference, error)),
            Err(_) => Err(OciError::Unavailable {
                registry: self.image.registry().to_owned(),
                reference: self.reference.clone(),
                error: format!("no complete answer within {} s", PULL_TIMEOUT.as_secs()),
            }),
        }
    }
}

/// Ends work with an error when the process holds more memory than `most`, in bytes.
async fn watched<T>(most: u64, work: impl Future<Output = Result<T, OciDistributionError>>) -> Result<T, OciDistributionError> {
    let mut work = pin!(work);
    loop {
        match tokio::time::timeout(INTERVAL, &mut work).await {
            Ok(done) => return done,
            Err(_) if resident() > most => return Err(OciDistributionError::IoError(io::Error::other("its answer has no end"))),
            Err(_) => {}
        }
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
