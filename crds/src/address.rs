//! The address of a Redis server, as a person writes it: `redis://HOST:PORT/DB` or `rediss://…` for TLS.
//!
//! The API server checks `trigger.address` with rules of its own; this parser is for what it cannot see (addresses kept
//! in Secrets) and for `spinredis check`.

use url::Url;

/// Port of Redis when an address names none (IANA, redis.io).
pub const DEFAULT_PORT: u16 = 6379;

/// A parsed address. Its `Debug` and `Display` never show the password.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisAddress {
    /// Whether the connection uses TLS (`rediss://`).
    pub tls: bool,
    /// Host name or IP address, IPv6 without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Database number, 0 unless given. Pub/sub ignores databases; the number is selected as any client would.
    pub database: u32,
    /// ACL user in the address.
    pub username: Option<String>,
    /// Password in the address.
    pub password: Option<String>,
}

/// Why an address could not be used. The address itself is not repeated: it may hold a password.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AddressError {
    /// Neither `redis://` nor `rediss://`.
    #[error("the address must start with redis:// or rediss://, for example redis://redis.default.svc:6379")]
    Scheme,
    /// Redis Sentinel or Cluster schemes.
    #[error("Redis Sentinel and Cluster addresses are not supported: name one server as redis://HOST:PORT")]
    SentinelOrCluster,
    /// More than one host.
    #[error("the address must name one host; for several servers make one app for each")]
    SeveralHosts,
    /// Not a URL.
    #[error("the address is not a URL ({0}): write redis://HOST:PORT")]
    Url(String),
    /// No host.
    #[error("the address names no host: write redis://HOST:PORT")]
    NoHost,
    /// A path that is not a database number.
    #[error("the address must end with the port or a database number, as in redis://HOST:6379/0")]
    Database,
    /// A query or fragment.
    #[error("the address must not have anything after `?` or `#`")]
    Parameters,
}

impl RedisAddress {
    /// Parses an address.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        let Some((scheme, rest)) = text.split_once("://") else { return Err(AddressError::Scheme) };
        let tls = match scheme {
            "redis" => false,
            "rediss" => true,
            other if other.contains("sentinel") || other.contains("cluster") => return Err(AddressError::SentinelOrCluster),
            _ => return Err(AddressError::Scheme),
        };
        let hosts = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        if hosts.contains(',') {
            return Err(AddressError::SeveralHosts);
        }
        let url = Url::parse(text).map_err(|error| AddressError::Url(error.to_string()))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(AddressError::Parameters);
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(AddressError::NoHost)?;
        let database = match url.path().trim_start_matches('/') {
            "" => 0,
            number => number.parse().map_err(|_| AddressError::Database)?,
        };
        let decoded = |part: &str| {
            percent_encoding::percent_decode_str(part).decode_utf8().map(|s| s.into_owned()).map_err(|e| AddressError::Url(e.to_string()))
        };
        Ok(Self {
            tls,
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: url.port().unwrap_or(DEFAULT_PORT),
            database,
            username: Some(decoded(url.username())?).filter(|user| !user.is_empty()),
            password: url.password().map(decoded).transpose()?,
        })
    }
}

impl std::fmt::Display for RedisAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "rediss" } else { "redis" };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        write!(f, "{scheme}://{host}:{}", self.port)?;
        if self.database > 0 { write!(f, "/{}", self.database) } else { Ok(()) }
    }
}

impl std::fmt::Debug for RedisAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RedisAddress({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_port_database_and_credentials_are_read() {
        let address = RedisAddress::parse("rediss://anna:p%40ss@redis.example:7000/3").unwrap();
        assert!(address.tls);
        assert_eq!((address.host.as_str(), address.port, address.database), ("redis.example", 7000, 3));
        assert_eq!((address.username.as_deref(), address.password.as_deref()), (Some("anna"), Some("p@ss")));
        assert_eq!(RedisAddress::parse("redis://[::1]").unwrap().to_string(), "redis://[::1]:6379");
    }

    #[test]
    fn a_password_is_never_shown() {
        let address = RedisAddress::parse("redis://:hunter2@redis").unwrap();
        assert!(!format!("{address} {address:?}").contains("hunter2"));
    }

    #[test]
    fn every_malformed_address_gets_its_own_sentence() {
        for (text, error) in [
            ("redis.default:6379", AddressError::Scheme),
            ("http://redis", AddressError::Scheme),
            ("redis-sentinel://a,b", AddressError::SentinelOrCluster),
            ("redis://a:1,b:2", AddressError::SeveralHosts),
            ("redis://", AddressError::NoHost),
            ("redis://host/prod", AddressError::Database),
            ("redis://host/0?x=1", AddressError::Parameters),
        ] {
            assert_eq!(RedisAddress::parse(text).unwrap_err(), error, "{text}");
        }
        assert!(matches!(RedisAddress::parse("redis://host:99999"), Err(AddressError::Url(_))));
    }
}
