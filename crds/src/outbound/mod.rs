//! Where a component may connect to: `allowedOutboundHosts`, in Spin's syntax. Nothing is allowed that is not listed.
//!
//! ```
//! use spinredis_crds::outbound::AllowedHosts;
//!
//! let allowed = AllowedHosts::parse(&["https://*.example.com", "redis://cache:6379", "*://10.1.0.0/16:8000..8010"])?;
//! assert!(allowed.allows("https", "api.example.com", 443));
//! assert!(!allowed.allows("https", "example.com", 443));
//! assert!(allowed.allows("http", "10.1.2.3", 8009));
//! # Ok::<(), spinredis_crds::outbound::OutboundError>(())
//! ```
//!
//! Entries may hold [templates](crate::template); those are resolved before they are read here. This module knows neither
//! networks nor names of this machine: it reads and compares.

mod address;
mod entry;

use std::net::IpAddr;

pub use address::{Network, is_link_local};
pub use entry::{Entry, Host, OutboundError, Ports, default_port};

/// The hosts that a component may connect to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedHosts {
    entries: Vec<Entry>,
}

/// An entry that names a host by its DNS name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedHost<'a> {
    /// Scheme of the entry; `None` for any.
    pub scheme: Option<&'a str>,
    /// The name, in lower case.
    pub name: &'a str,
    /// Its ports.
    pub ports: &'a Ports,
}

impl AllowedHosts {
    /// No host at all.
    pub fn none() -> Self {
        Self::default()
    }

    /// Reads the entries; the first that is wrong is told.
    pub fn parse(entries: &[impl AsRef<str>]) -> Result<Self, OutboundError> {
        Ok(Self { entries: entries.iter().map(|entry| Entry::parse(entry.as_ref())).collect::<Result<_, _>>()? })
    }

    /// The entries, in their order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether a connection to this host, a name or an IP address as a URL has it, is allowed. Case does not matter.
    pub fn allows(&self, scheme: &str, host: &str, port: u16) -> bool {
        let host = entry::normal(host.trim_start_matches('[').trim_end_matches(']'));
        let address: Option<IpAddr> = host.parse().ok();
        self.entries.iter().any(|entry| {
            entry.is_for(&[scheme])
                && entry.ports.contains(port)
                && match (&entry.host, address) {
                    (Host::Any, _) => true,
                    (Host::Network(network), Some(address)) => network.contains(address),
                    (named, None) => is_named(named, &host),
                    _ => false,
                }
        })
    }

    /// Whether an entry says `self` for this scheme. Its port does not matter, as in Spin: the caller knows which host and
    /// port `self` is.
    pub fn allows_self(&self, scheme: &str) -> bool {
        self.entries.iter().any(|entry| entry.host == Host::SelfHost && entry.is_for(&[scheme]))
    }

    /// Whether a socket, which knows no names, may be connected to this address: only entries with an IP address, a network
    /// or `*` say so. Those of any of the schemes count.
    pub fn allows_ip(&self, schemes: &[&str], address: IpAddr, port: u16) -> bool {
        self.entries.iter().any(|entry| {
            let is_host = match &entry.host {
                Host::Any => true,
                Host::Network(network) => network.contains(address),
                _ => false,
            };
            is_host && entry.is_for(schemes) && entry.ports.contains(port)
        })
    }

    /// Whether exactly this address is written in an entry; addresses that [`is_link_local`] need that.
    pub fn lists_literally(&self, address: IpAddr) -> bool {
        self.entries.iter().any(|entry| matches!(&entry.host, Host::Network(network) if network.is_address(address)))
    }

    /// The entries that name one host by its DNS name, so that a caller may allow what those names resolve to.
    pub fn names(&self) -> impl Iterator<Item = NamedHost<'_>> {
        self.entries.iter().filter_map(|entry| match &entry.host {
            Host::Name(name) => Some(NamedHost { scheme: entry.scheme.as_deref(), name, ports: &entry.ports }),
            _ => None,
        })
    }

    /// The ports at which a host of this name may be reached by its name or as a subdomain; for what a guest's own name
    /// lookup found. Those of any of the schemes count. Empty: the name is not allowed.
    pub fn ports_of_name<'a>(&'a self, schemes: &[&str], name: &str) -> Vec<&'a Ports> {
        let name = entry::normal(name);
        self.entries.iter().filter(|entry| entry.is_for(schemes) && is_named(&entry.host, &name)).map(|entry| &entry.ports).collect()
    }
}

/// Whether a DNS name, already in its normal form, is one that the entry names.
fn is_named(host: &Host, name: &str) -> bool {
    match host {
        Host::Any => true,
        Host::Name(one) => one == name,
        Host::Subdomains(domain) => name.strip_suffix(domain.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
        Host::Network(_) | Host::SelfHost => false,
    }
}

/// The entry that would allow a connection, for messages about one that is not allowed.
pub fn missing_entry(scheme: &str, host: &str, port: u16) -> String {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    match default_port(scheme) {
        Some(default) if default == port => format!("{scheme}://{host}"),
        _ => format!("{scheme}://{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(entries: &[&str]) -> AllowedHosts {
        AllowedHosts::parse(entries).unwrap()
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn nothing_is_allowed_that_is_not_listed() {
        assert!(!AllowedHosts::none().allows("http", "example.com", 80));
        assert!(!AllowedHosts::none().allows_ip(&["tcp"], address("10.0.0.1"), 80));
        assert!(!AllowedHosts::none().allows_self("redis"));
        assert!(AllowedHosts::parse(&["https://a.com", "*"]).is_err());
    }

    #[test]
    fn scheme_host_and_port_must_all_fit_whatever_their_case() {
        let hosts = allowed(&["https://Api.example.com"]);
        assert!(hosts.allows("HTTPS", "API.Example.com.", 443));
        for (scheme, host, port) in [
            ("http", "api.example.com", 443),
            ("https", "example.com", 443),
            ("https", "x.api.example.com", 443),
            ("https", "api.example.com", 444),
        ] {
            assert!(!hosts.allows(scheme, host, port), "{scheme} {host} {port}");
        }
    }

    #[test]
    fn subdomains_are_not_the_domain_and_not_names_that_end_alike() {
        let hosts = allowed(&["*://*.example.com:*"]);
        assert!(hosts.allows("http", "a.b.example.com", 1));
        for host in ["example.com", ".example.com", "badexample.com", "example.com.evil.net"] {
            assert!(!hosts.allows("http", host, 1), "{host}");
        }
    }

    #[test]
    fn addresses_are_compared_as_addresses() {
        let hosts = allowed(&["http://10.1.0.0/16:8000..8010", "redis://[fd00::1]"]);
        assert!(hosts.allows("http", "10.1.2.3", 8009) && !hosts.allows("http", "10.1.2.3", 8010));
        assert!(hosts.allows("http", "[::ffff:10.1.2.3]", 8000));
        assert!(hosts.allows("redis", "[fd00:0::1]", 6379));
        assert!(!hosts.allows("http", "10.1.example.com", 8000));
    }

    #[test]
    fn self_is_for_the_caller_to_know() {
        let hosts = allowed(&["redis://self"]);
        assert!(hosts.allows_self("redis") && !hosts.allows_self("http"));
        assert!(!hosts.allows("redis", "self", 6379));
    }

    #[test]
    fn a_socket_needs_an_address_a_network_or_a_star() {
        let hosts = allowed(&["tcp://10.0.0.1:5000", "udp://*:53", "tcp://example.com:443"]);
        assert!(hosts.allows_ip(&["tcp"], address("10.0.0.1"), 5000));
        assert!(hosts.allows_ip(&["udp"], address("1.1.1.1"), 53));
        assert!(!hosts.allows_ip(&["tcp"], address("1.1.1.1"), 443));
        assert_eq!(hosts.names().map(|named| named.name).collect::<Vec<_>>(), ["example.com"]);
        assert_eq!(hosts.ports_of_name(&["tcp"], "Example.com"), [&Ports::One(443)]);
        assert!(hosts.ports_of_name(&["udp"], "example.com").contains(&&Ports::One(53)), "* is every name, too");
        assert!(hosts.ports_of_name(&["tcp"], "example.org").is_empty());
    }

    #[test]
    fn only_a_single_address_counts_as_written_literally() {
        let hosts = allowed(&["*://*:*", "http://169.254.0.0/16:80", "http://169.254.169.254:80"]);
        assert!(hosts.lists_literally(address("169.254.169.254")));
        assert!(hosts.lists_literally(address("::ffff:169.254.169.254")));
        assert!(!hosts.lists_literally(address("169.254.169.253")));
    }

    #[test]
    fn the_entry_to_add_is_one_that_allows_it() {
        for (scheme, host, port, expected) in [
            ("https", "example.com", 443, "https://example.com"),
            ("redis", "cache", 6380, "redis://cache:6380"),
            ("tcp", "::1", 80, "tcp://[::1]:80"),
        ] {
            assert_eq!(missing_entry(scheme, host, port), expected);
            assert!(allowed(&[expected]).allows(scheme, host, port));
        }
    }
}
