//! Opens the connections of a component's HTTP client: allowed addresses only, TLS with the public authorities.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll},
    time::Duration,
};

use hyper::{Uri, rt};
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use wasmtime_wasi_http::Error;

use crate::{
    connect::{Stream, public_roots},
    host::network::Network,
};

/// How long name lookup, TCP and TLS may take together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

tokio::task_local! {
    /// The network of the component that asks.
    pub static NETWORK: Arc<Network>;
}

/// TLS as it is for everybody: the authorities of the system, HTTP/1.1.
static TLS: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
    let mut config = ClientConfig::builder().with_root_certificates(public_roots()).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
});

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// An address that is not allowed.
    #[error("{0}")]
    Denied(io::Error),
    /// The name has no address.
    #[error("{0}")]
    Name(io::Error),
    /// Nobody answers.
    #[error("{0}")]
    Tcp(io::Error),
    /// The server cannot be trusted, or does not speak TLS.
    #[error("{0}")]
    Tls(io::Error),
    /// Too slow.
    #[error("no connection within {} s", CONNECT_TIMEOUT.as_secs())]
    Timeout,
}

impl From<&ConnectError> for Error {
    fn from(error: &ConnectError) -> Self {
        match error {
            ConnectError::Denied(_) => Error::DestinationIpProhibited,
            ConnectError::Name(error) => Error::DnsError { rcode: Some(error.to_string()), info_code: None },
            ConnectError::Tcp(_) => Error::ConnectionRefused,
            ConnectError::Tls(error) if error.kind() == io::ErrorKind::InvalidData => Error::TlsCertificateError,
            ConnectError::Tls(_) => Error::TlsProtocolError,
            ConnectError::Timeout => Error::ConnectionTimeout,
        }
    }
}

/// Connects on behalf of the component in [`NETWORK`].
#[derive(Clone)]
pub struct Connector;

/// A connection, encrypted or not.
pub struct Conn(TokioIo<Box<dyn Stream>>);

impl tower_service::Service<Uri> for Connector {
    type Response = Conn;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Conn, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let network = NETWORK.try_with(Arc::clone).unwrap_or_default();
        Box::pin(async move { timeout(CONNECT_TIMEOUT, connect(&network, &uri)).await.unwrap_or(Err(ConnectError::Timeout)) })
    }
}

async fn connect(network: &Network, uri: &Uri) -> Result<Conn, ConnectError> {
    let scheme = uri.scheme_str().unwrap_or_default();
    let encrypted = scheme == "https";
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
    let tcp = network.connect(scheme, &host, port).await.map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => ConnectError::Denied(error),
        io::ErrorKind::NotFound => ConnectError::Name(error),
        _ => ConnectError::Tcp(error),
    })?;
    let _ = tcp.set_nodelay(true);
    if !encrypted {
        return Ok(Conn(TokioIo::new(Box::new(tcp))));
    }
    let name = ServerName::try_from(host).map_err(|error| ConnectError::Tls(io::Error::other(error)))?;
    let stream = TlsConnector::from(TLS.clone()).connect(name, tcp).await.map_err(ConnectError::Tls)?;
    Ok(Conn(TokioIo::new(Box::new(stream))))
}

impl Connection for Conn {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl rt::Read for Conn {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: rt::ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl rt::Write for Conn {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
