//! Opens a connection to Redis: TCP, and TLS on top for `rediss://`.

use std::{io, sync::Arc, time::Duration};

use rustls::{
    CertificateError, ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use socket2::{SockRef, TcpKeepalive};
use spinredis_crds::{
    Connection, Tls,
    address::{AddressError, RedisAddress},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsConnector;

use crate::references::{ReferenceError, References};

/// How long name lookup, TCP and TLS may take together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A silent connection is probed after this long, and this often.
const KEEPALIVE: Duration = Duration::from_secs(5);
/// What was sent and not acknowledged for this long ends the connection (TCP_USER_TIMEOUT); the system's own patience is a
/// quarter of an hour.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(10);

/// A connection, encrypted or not.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Where to connect and as whom, with every reference read.
pub struct Endpoint {
    /// Server and database.
    pub address: RedisAddress,
    /// ACL user, if any.
    pub username: Option<String>,
    /// Password, if any.
    pub password: Option<String>,
    /// Where the password comes from, to name it when Redis refuses it.
    pub password_origin: String,
    tls: Option<Arc<ClientConfig>>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A referenced value is missing or unreadable.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The address is malformed.
    #[error("{field}: {error}")]
    Address {
        /// Field of the manifest.
        field: String,
        /// What is wrong.
        error: AddressError,
    },
    /// The certificates cannot be used.
    #[error("{field}: {error}")]
    Certificate {
        /// Field of the manifest.
        field: String,
        /// What is wrong.
        error: String,
    },
    /// Nobody answers.
    #[error("{address} cannot be reached: {error}")]
    Tcp {
        /// Server.
        address: String,
        /// What the operating system says.
        error: io::Error,
    },
    /// TLS failed.
    #[error("{address} cannot be trusted or does not speak TLS: {error}; {}", advice(error))]
    Tls {
        /// Server.
        address: String,
        /// What the TLS library says.
        error: io::Error,
    },
    /// Too slow.
    #[error("{0} did not accept the connection within 5 s")]
    Timeout(String),
}

impl Endpoint {
    /// Reads everything a connection of the manifest needs; `field` is what errors call it, such as `trigger`. Called for
    /// each connect, so that rotated credentials are used.
    pub fn resolve(connection: &Connection, field: &str, references: &References) -> Result<Self, ConnectError> {
        let (origin, address) = Self::address(connection, field, references)?;
        if connection.tls.is_some() && !address.tls {
            return Err(ConnectError::Certificate {
                field: format!("{field}.tls"),
                error: format!("{origin} must start with rediss:// (with two s)"),
            });
        }
        let (password, password_origin) = match &connection.password_from {
            Some(from) => (Some(references.line(&from.reference())?), from.reference().to_string()),
            None => (address.password.clone(), origin),
        };
        let tls = if address.tls { Some(Arc::new(tls_config(connection.tls.as_ref(), field, references)?)) } else { None };
        Ok(Self { username: connection.username.clone().or_else(|| address.username.clone()), password, password_origin, tls, address })
    }

    /// The address of a connection, and where it is written.
    pub fn address(connection: &Connection, field: &str, references: &References) -> Result<(String, RedisAddress), ConnectError> {
        let (origin, text) = match connection.address_from.as_ref().and_then(|from| from.reference()) {
            Some(reference) => (format!("{field}.addressFrom ({reference})"), references.line(&reference)?),
            None => (format!("{field}.address"), connection.address.clone().unwrap_or_default()),
        };
        let address = RedisAddress::parse(&text).map_err(|error| ConnectError::Address { field: origin.clone(), error })?;
        Ok((origin, address))
    }

    /// An address with what it holds of credentials, and certificates for it if it needs others than the public ones.
    pub fn of_address(address: RedisAddress, tls: Option<&Tls>, references: &References) -> Result<Self, ConnectError> {
        let tls = if address.tls { Some(Arc::new(tls_config(tls, "trigger", references)?)) } else { None };
        let (username, password) = (address.username.clone(), address.password.clone());
        Ok(Self { username, password, password_origin: "the address".to_owned(), tls, address })
    }

    /// Opens the connection.
    pub async fn connect(&self) -> Result<Box<dyn Stream>, ConnectError> {
        self.connect_with(reach(&self.address.host, self.address.port)).await
    }

    /// Opens the connection over TCP that somebody else makes.
    pub async fn connect_with(&self, tcp: impl Future<Output = io::Result<TcpStream>>) -> Result<Box<dyn Stream>, ConnectError> {
        let address = self.address.to_string();
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        let tcp = timeout_at(deadline, open(&address, tcp)).await.unwrap_or_else(|_| Err(ConnectError::Timeout(address.clone())))?;
        let Some(config) = &self.tls else { return Ok(Box::new(tcp)) };
        let untrusted = |error| ConnectError::Tls { address: address.clone(), error };
        let name = ServerName::try_from(self.address.host.clone()).map_err(|error| untrusted(io::Error::other(error)))?;
        let handshake = timeout_at(deadline, TlsConnector::from(config.clone()).connect(name, tcp)).await;
        Ok(Box::new(handshake.unwrap_or_else(|_| Err(io::Error::other("no answer to a TLS handshake"))).map_err(untrusted)?))
    }
}

/// Looks a name up and tries all its addresses, in their order. One that does not answer gets no more than its share of the
/// time, so that those behind it have their turn: behind the name of a primary, the dead one may be listed first.
async fn reach(host: &str, port: u16) -> io::Result<TcpStream> {
    let deadline = Instant::now() + CONNECT_TIMEOUT;
    let addresses: Vec<_> = lookup_host((host, port)).await?.collect();
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (place, address) in addresses.iter().enumerate() {
        let left = u32::try_from(addresses.len() - place).unwrap_or(u32::MAX);
        let share = Instant::now() + deadline.saturating_duration_since(Instant::now()) / left;
        match timeout_at(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failed = error,
            Err(_) => failed = io::Error::new(io::ErrorKind::TimedOut, format!("{address} does not answer")),
        }
    }
    Err(failed)
}

/// What to do about a TLS error.
fn advice(error: &io::Error) -> &'static str {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidCertificate(certificate)) => match certificate {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "renew the server's certificate, which has expired",
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "check the clocks of server and node",
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "name a host in the address that is in the server's certificate"
            }
            CertificateError::UnknownIssuer => "name the authority that signed the server's certificate in trigger.tls.caFrom",
            _ => "check trigger.tls.caFrom and the host name in the address",
        },
        _ => "check trigger.tls.caFrom and the host name in the address",
    }
}

async fn open(address: &str, tcp: impl Future<Output = io::Result<TcpStream>>) -> Result<TcpStream, ConnectError> {
    let unreachable = |error| ConnectError::Tcp { address: address.to_owned(), error };
    let tcp = tcp.await.map_err(unreachable)?;
    tcp.set_nodelay(true).map_err(unreachable)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE).with_retries(3);
    let socket = SockRef::from(&tcp);
    socket.set_tcp_keepalive(&keepalive).map_err(unreachable)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX)).map_err(unreachable)?;
    Ok(tcp)
}

/// The authorities that this system trusts.
pub fn public_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

fn tls_config(tls: Option<&Tls>, field: &str, references: &References) -> Result<ClientConfig, ConnectError> {
    const CA: &str = "caFrom";
    const CLIENT: &str = "clientCertificateFrom";
    let wrong = |part, error: String| ConnectError::Certificate { field: format!("{field}.tls.{part}"), error };
    let roots = match tls.and_then(|tls| tls.ca_from.as_ref()?.reference()) {
        Some(reference) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(&references.bytes(&reference)?).map_err(|error| wrong(CA, format!("{reference} {error}")))? {
                roots
                    .add(certificate)
                    .map_err(|error| wrong(CA, format!("{reference} holds a certificate that cannot be used: {error}")))?;
            }
            roots
        }
        None => public_roots(),
    };
    let builder = ClientConfig::builder().with_root_certificates(roots);
    let Some(secret) = tls.and_then(|tls| tls.client_certificate_from.as_ref()) else { return Ok(builder.with_no_client_auth()) };
    let [certificate, key] = secret.references();
    let chain = certificates(&references.bytes(&certificate)?).map_err(|error| wrong(CLIENT, format!("{certificate} {error}")))?;
    let key_pem = references.bytes(&key)?;
    let private_key = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|_| wrong(CLIENT, format!("{key} holds no PEM private key")))?;
    builder
        .with_client_auth_cert(chain, private_key)
        .map_err(|error| wrong(CLIENT, format!("Secret {} cannot be used: {error}", secret.secret_name)))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    found.ok().filter(|certificates| !certificates.is_empty()).ok_or("holds no PEM certificate")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_address_of_a_name_is_tried() {
        // `localhost` is ::1 as well on most systems, and nobody listens there.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        reach("localhost", port).await.unwrap();
        drop(listener);
        assert_eq!(reach("localhost", port).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_certificate_that_expired_is_to_be_renewed() {
        let tls = |error| ConnectError::Tls {
            address: "rediss://r:6379".into(),
            error: io::Error::other(rustls::Error::InvalidCertificate(error)),
        };
        let expired = tls(CertificateError::Expired).to_string();
        assert!(expired.ends_with("renew the server's certificate, which has expired"), "{expired}");
        assert!(tls(CertificateError::UnknownIssuer).to_string().contains("trigger.tls.caFrom"));
        assert!(tls(CertificateError::NotValidForName).to_string().ends_with("in the server's certificate"));
    }
}
