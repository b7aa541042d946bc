//! One entry of `allowedOutboundHosts`: `scheme://host:port`.
//!
//! | part | forms |
//! |---|---|
//! | scheme | letters (`https`, `redis`, `tcp`), or `*` for any |
//! | host | `example.com`, `*.example.com` (subdomains, not the domain itself), an IP address, a network (`10.1.0.0/16`), `*`, `self` |
//! | port | a number, `8080..8090` (the last is not part of it), `*`, or none where the scheme has a default |
//!
//! The syntax is Spin's (`allowed_outbound_hosts` of spin.toml), so that entries can be copied over. An IPv6 address stands
//! in brackets, `*://[fd00::1]:6379`.

use std::ops::Range;

use super::address::Network;

/// A scheme that has a default port, with it.
const DEFAULT_PORTS: [(&str, u16); 7] =
    [("http", 80), ("https", 443), ("redis", 6379), ("rediss", 6379), ("postgres", 5432), ("mysql", 3306), ("mqtt", 1883)];

/// The port that a scheme means when none is given.
pub fn default_port(scheme: &str) -> Option<u16> {
    DEFAULT_PORTS.iter().find(|(name, _)| name.eq_ignore_ascii_case(scheme)).map(|(_, port)| *port)
}

/// An entry that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// In lower case; `None` for any.
    pub scheme: Option<String>,
    /// Which hosts.
    pub host: Host,
    /// Which ports.
    pub ports: Ports,
}

/// Which hosts an entry allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// `*`: all of them.
    Any,
    /// One DNS name, in lower case and without a final dot.
    Name(String),
    /// All names below this one, which is written as `*.example.com`.
    Subdomains(String),
    /// An IP address or a network.
    Network(Network),
    /// `self` (`self.alt` is another name of it): what that is, the caller knows.
    SelfHost,
}

/// Which ports an entry allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ports {
    /// `*`: all of them.
    Any,
    /// One.
    One(u16),
    /// From the first to the one before the last.
    Range(Range<u16>),
}

impl Ports {
    /// Whether the port is one of them.
    pub fn contains(&self, port: u16) -> bool {
        match self {
            Ports::Any => true,
            Ports::One(one) => *one == port,
            Ports::Range(range) => range.contains(&port),
        }
    }
}

/// Why an entry could not be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum OutboundError {
    /// `insecure:allow-all` of early versions of Spin.
    #[error("`insecure:allow-all` is no longer understood: write *://*:* if every host really is to be allowed")]
    AllowAll,
    /// A lone star or nothing at all.
    #[error("`{0}` is not of the form scheme://host:port: write for example https://api.example.com, or *://*:* for every host")]
    Form(String),
    /// No `://`.
    #[error("`{0}` has no scheme: write for example https://{0} or redis://{0}")]
    NoScheme(String),
    /// A scheme with other characters than letters.
    #[error("`{0}` has a scheme that is not of letters: write for example https://api.example.com, or *:// for every scheme")]
    Scheme(String),
    /// `{a,b}`.
    #[error("`{0}` has a list in braces: write one entry for each")]
    List(String),
    /// No host.
    #[error("`{0}` names no host: write for example https://api.example.com")]
    NoHost(String),
    /// User or password.
    #[error("`{0}` must not hold a user or password: only scheme, host and port decide what is allowed")]
    Credentials(String),
    /// A path, query or fragment.
    #[error("`{0}` must end with the host or port: paths cannot be allowed one by one")]
    Path(String),
    /// A star that is not a label of its own in front.
    #[error("`{0}` has a * where none may be: write * for every host, or *.example.com for the subdomains of one")]
    Wildcard(String),
    /// Not a DNS name and not an IP address.
    #[error(
        "`{0}` has a host that is neither a name nor an IP address: write for example https://api.example.com, *://10.1.0.0/16:443 or *://[fd00::1]:443"
    )]
    Host(String),
    /// No port and none that is known.
    #[error("`{0}` needs a port, since its scheme has no default: write for example {0}:443, or {0}:* for every port")]
    NoPort(String),
    /// Not a port.
    #[error("`{0}` has a port that is none: write a number up to 65535, a range such as 8080..8090 (without its end), or * for all")]
    Port(String),
}

impl Entry {
    /// Reads an entry.
    pub fn parse(text: &str) -> Result<Self, OutboundError> {
        let text = text.trim();
        let entry = || text.to_owned();
        if text.eq_ignore_ascii_case("insecure:allow-all") {
            return Err(OutboundError::AllowAll);
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            let has_host = text.starts_with(|c: char| c.is_ascii_alphanumeric());
            return Err(if has_host { OutboundError::NoScheme(entry()) } else { OutboundError::Form(entry()) });
        };
        let scheme = match scheme {
            "*" => None,
            _ if scheme.starts_with('{') => return Err(OutboundError::List(entry())),
            _ if scheme.is_empty() || !scheme.bytes().all(|byte| byte.is_ascii_alphabetic()) => return Err(OutboundError::Scheme(entry())),
            _ => Some(scheme.to_ascii_lowercase()),
        };
        let rest = rest.trim_end_matches('/');
        if rest.contains('@') {
            return Err(OutboundError::Credentials(entry()));
        }
        if rest.contains(['?', '#']) {
            return Err(OutboundError::Path(entry()));
        }
        let (host, port) = split(rest).ok_or_else(|| OutboundError::Host(entry()))?;
        let host = host_of(host.trim(), text)?;
        let ports = match port.trim() {
            "" => {
                let known = scheme.as_deref().and_then(default_port).map(Ports::One);
                known.ok_or_else(|| OutboundError::NoPort(text.trim_end_matches([':', '/']).to_owned()))?
            }
            port => ports_of(port, text)?,
        };
        Ok(Self { scheme, host, ports })
    }

    /// Whether the entry is for one of these schemes.
    pub fn is_for(&self, schemes: &[&str]) -> bool {
        self.scheme.as_deref().is_none_or(|own| schemes.iter().any(|scheme| own.eq_ignore_ascii_case(scheme)))
    }
}

/// Host, perhaps with the length of a network, and port, which may be empty; `None` when a bracket is not closed.
fn split(rest: &str) -> Option<(String, &str)> {
    let Some(inner) = rest.strip_prefix('[') else {
        let (host, port) = rest.rsplit_once(':').unwrap_or((rest, ""));
        return Some((host.to_owned(), port));
    };
    let (address, behind) = inner.split_once(']')?;
    let (length, port) = behind.split_once(':').unwrap_or((behind, ""));
    Some((format!("{address}{length}"), port))
}

fn host_of(host: &str, entry: &str) -> Result<Host, OutboundError> {
    let wrong = |error: fn(String) -> OutboundError| Err(error(entry.to_owned()));
    match host {
        "" => return wrong(OutboundError::NoHost),
        "*" => return Ok(Host::Any),
        "self" | "self.alt" => return Ok(Host::SelfHost),
        _ if host.starts_with('{') => return wrong(OutboundError::List),
        _ => {}
    }
    if let Some(network) = Network::parse(host) {
        return Ok(Host::Network(network));
    }
    if let Some((before, _)) = host.split_once('/') {
        // A network that is none, or a path.
        return wrong(if before.parse::<std::net::IpAddr>().is_ok() { OutboundError::Host } else { OutboundError::Path });
    }
    let host = normal(host);
    match host.strip_prefix("*.") {
        Some(domain) if is_name(domain) => Ok(Host::Subdomains(domain.to_owned())),
        _ if host.contains('*') => wrong(OutboundError::Wildcard),
        _ if is_name(&host) => Ok(Host::Name(host)),
        _ => wrong(OutboundError::Host),
    }
}

/// A name as it is compared: in lower case, without the dot that may end it.
pub(super) fn normal(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// A DNS name; one whose last label is a number would be taken for an IPv4 address (RFC 3986, WHATWG URL).
fn is_name(host: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let last_is_number = host.rsplit('.').next().is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
    host.len() <= 253 && host.split('.').all(is_label) && !last_is_number
}

fn ports_of(port: &str, entry: &str) -> Result<Ports, OutboundError> {
    let wrong = || OutboundError::Port(entry.to_owned());
    let number = |text: &str| {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
        is_plain.then(|| text.parse::<u16>().ok()).flatten().ok_or_else(wrong)
    };
    if port == "*" {
        return Ok(Ports::Any);
    }
    if port.starts_with('{') {
        return Err(OutboundError::List(entry.to_owned()));
    }
    if port.contains('/') && port.split('/').next().is_some_and(|port| number(port).is_ok() || port == "*") {
        return Err(OutboundError::Path(entry.to_owned()));
    }
    match port.split_once("..") {
        Some((first, end)) => {
            let range = number(first)?..number(end)?;
            if range.is_empty() { Err(wrong()) } else { Ok(Ports::Range(range)) }
        }
        None => Ok(Ports::One(number(port)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(scheme: Option<&str>, host: Host, ports: Ports) -> Entry {
        Entry { scheme: scheme.map(str::to_owned), host, ports }
    }

    fn named(name: &str) -> Host {
        Host::Name(name.to_owned())
    }

    #[test]
    fn every_form_of_spin_is_read() {
        let network = |text: &str| Host::Network(Network::parse(text).unwrap());
        for (text, expected) in [
            ("https://api.example.com", entry(Some("https"), named("api.example.com"), Ports::One(443))),
            ("HTTP://Example.COM./", entry(Some("http"), named("example.com"), Ports::One(80))),
            ("http://example.com:8080/", entry(Some("http"), named("example.com"), Ports::One(8080))),
            ("redis://cache.default.svc", entry(Some("redis"), named("cache.default.svc"), Ports::One(6379))),
            ("tcp://localhost:8000..8010", entry(Some("tcp"), named("localhost"), Ports::Range(8000..8010))),
            ("*://*.example.com:*", entry(None, Host::Subdomains("example.com".to_owned()), Ports::Any)),
            ("*://*:*", entry(None, Host::Any, Ports::Any)),
            ("https://*", entry(Some("https"), Host::Any, Ports::One(443))),
            ("http://self", entry(Some("http"), Host::SelfHost, Ports::One(80))),
            ("redis://self:*", entry(Some("redis"), Host::SelfHost, Ports::Any)),
            ("*://127.0.0.1/24:63", entry(None, network("127.0.0.1/24"), Ports::One(63))),
            ("http://10.1.2.3", entry(Some("http"), network("10.1.2.3"), Ports::One(80))),
            ("*://[fd00::1]:6379", entry(None, network("fd00::1"), Ports::One(6379))),
            ("https://[::1]", entry(Some("https"), network("::1"), Ports::One(443))),
            ("*://[fd00::]/8:443", entry(None, network("fd00::/8"), Ports::One(443))),
            ("*://fd00::/8:443", entry(None, network("fd00::/8"), Ports::One(443))),
        ] {
            assert_eq!(Entry::parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused_with_its_own_sentence() {
        type Error = fn(String) -> OutboundError;
        let cases: [(&str, Error); 29] = [
            ("*", OutboundError::Form),
            ("", OutboundError::Form),
            (":", OutboundError::Form),
            ("?", OutboundError::Form),
            ("example.com", OutboundError::NoScheme),
            ("example.com:443", OutboundError::NoScheme),
            ("://example.com", OutboundError::Scheme),
            ("http2://example.com", OutboundError::Scheme),
            ("{http,https}://example.com", OutboundError::List),
            ("http://{a.com,b.com}", OutboundError::List),
            ("http://a.com:{80,81}", OutboundError::List),
            ("http://a.com:{80..90}", OutboundError::List),
            ("http://", OutboundError::NoHost),
            ("http://:80", OutboundError::NoHost),
            ("redis://user:password@redis", OutboundError::Credentials),
            ("https://example.com/path", OutboundError::Path),
            ("https://example.com:443/path", OutboundError::Path),
            ("https://example.com?x=1", OutboundError::Path),
            ("https://*example.com", OutboundError::Wildcard),
            ("https://a.*.com", OutboundError::Wildcard),
            ("https://*.*.com", OutboundError::Wildcard),
            ("https://two words", OutboundError::Host),
            ("https://größe.example", OutboundError::Host),
            ("https://10.0.0.256", OutboundError::Host),
            ("https://10.0.0.0/40", OutboundError::Host),
            ("https://[::1", OutboundError::Host),
            ("http://example.com:http", OutboundError::Port),
            ("http://example.com:70000", OutboundError::Port),
            ("http://example.com:90..80", OutboundError::Port),
        ];
        for (text, error) in cases {
            assert_eq!(Entry::parse(text), Err(error(text.to_owned())), "{text}");
        }
        assert_eq!(Entry::parse("insecure:allow-all"), Err(OutboundError::AllowAll));
        for text in ["*://example.com", "tcp://example.com:"] {
            assert!(matches!(Entry::parse(text), Err(OutboundError::NoPort(_))), "{text}");
        }
    }
}
