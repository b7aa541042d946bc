//! Where a component may connect to, checked by name and, after the name is resolved, by address.
//!
//! Three rules: a host must be listed in allowedOutboundHosts; link-local addresses, where clouds keep their metadata
//! services, must be listed literally; and the port of this process's own health checks is never reached.

use std::{
    collections::HashMap,
    fmt, io,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use spinredis_crds::outbound::{self, AllowedHosts};
use tokio::net::{TcpStream, lookup_host};

/// How long what a name resolved to is used for raw sockets, which know addresses only.
const NAMES_FRESH_FOR: Duration = Duration::from_secs(5);
/// The same refusal is logged again after so long.
const LOG_EVERY: Duration = Duration::from_secs(60);
/// How many different refusals are remembered for that.
const MAX_LOGGED: usize = 256;

/// A connection that is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No entry allows it.
    #[error("{target} is not allowed: add {entry:?} to allowedOutboundHosts of the component")]
    NotListed {
        /// What the guest wants.
        target: String,
        /// What to add.
        entry: String,
    },
    /// A link-local address.
    #[error(
        "{target} is {address}, a link-local address, where clouds keep credentials: list that very address in allowedOutboundHosts of the component if it is meant"
    )]
    LinkLocal {
        /// What the guest wants.
        target: String,
        /// What it resolves to.
        address: IpAddr,
    },
    /// The port of our own health checks.
    #[error("{0} is the health port of this very process, which no component reaches")]
    OwnHealthPort(String),
}

/// The network as one component sees it.
#[derive(Clone, Default)]
pub struct Network {
    component: String,
    allowed: AllowedHosts,
    /// Host and port that `self` stands for: the trigger's Redis server.
    own_server: Option<(String, u16)>,
    health_port: Option<u16>,
    shared: Arc<Shared>,
}

/// What outlives a change of the settings.
#[derive(Default)]
struct Shared {
    logged: Mutex<HashMap<String, Instant>>,
    names: Mutex<HashMap<String, (Instant, Vec<IpAddr>)>>,
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("allowed", &self.allowed).finish_non_exhaustive()
    }
}

impl Network {
    /// Whether the same hosts are allowed.
    pub fn allows_the_same(&self, other: &Self) -> bool {
        self.allowed == other.allowed
    }

    /// A network without any host. `own_server` is what `self` means, `health_port` the port nobody may reach.
    pub fn new(component: &str, own_server: Option<(String, u16)>, health_port: Option<u16>) -> Self {
        Self { component: component.to_owned(), allowed: AllowedHosts::none(), own_server, health_port, shared: Arc::default() }
    }

    /// The same with other hosts allowed.
    pub fn allowing(&self, allowed: AllowedHosts) -> Self {
        Self { allowed, ..self.clone() }
    }

    /// Whether any host is allowed.
    pub fn is_closed(&self) -> bool {
        self.allowed.entries().is_empty()
    }

    /// Checks a host by the name that the guest gives it.
    pub fn check(&self, scheme: &str, host: &str, port: u16) -> Result<(), Refused> {
        let is_own = self.own_server.as_ref().is_some_and(|own| own.0.eq_ignore_ascii_case(host) && own.1 == port);
        if self.allowed.allows(scheme, host, port) || (is_own && self.allowed.allows_self(scheme)) {
            return Ok(());
        }
        let entry = outbound::missing_entry(scheme, host, port);
        Err(self.refuse(Refused::NotListed { target: entry.clone(), entry }))
    }

    /// Checks an address that a name resolved to.
    fn check_address(&self, target: &str, address: SocketAddr) -> Result<(), Refused> {
        let ip = address.ip().to_canonical();
        if outbound::is_link_local(ip) && !self.allowed.lists_literally(ip) {
            return Err(self.refuse(Refused::LinkLocal { target: target.to_owned(), address: ip }));
        }
        if Some(address.port()) == self.health_port && is_of_this_machine(ip) {
            return Err(self.refuse(Refused::OwnHealthPort(target.to_owned())));
        }
        Ok(())
    }

    /// Connects to a host that [`check`](Self::check) allows, at the first of its addresses that is allowed and answers.
    pub async fn connect(&self, scheme: &str, host: &str, port: u16) -> io::Result<TcpStream> {
        let denied = |refused: Refused| io::Error::new(io::ErrorKind::PermissionDenied, refused.to_string());
        self.check(scheme, host, port).map_err(denied)?;
        let target = outbound::missing_entry(scheme, host, port);
        let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"));
        let found = lookup_host((host.trim_matches(['[', ']']), port)).await;
        for address in found.map_err(|error| io::Error::new(io::ErrorKind::NotFound, error))? {
            if let Err(refused) = self.check_address(&target, address) {
                last = denied(refused);
                continue;
            }
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Whether a raw socket may connect or send to an address: an entry lists it, or a name that it belongs to.
    pub async fn allows_socket(&self, schemes: &[&str], address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        let listed = self.allowed.allows_ip(schemes, ip, address.port()) || self.is_of_a_listed_name(schemes, ip, address.port()).await;
        if !listed {
            let entry = outbound::missing_entry(schemes.first().unwrap_or(&"*"), &ip.to_string(), address.port());
            self.refuse(Refused::NotListed { target: address.to_string(), entry });
            return false;
        }
        self.check_address(&address.to_string(), SocketAddr::new(ip, address.port())).is_ok()
    }

    async fn is_of_a_listed_name(&self, schemes: &[&str], ip: IpAddr, port: u16) -> bool {
        let own = self.own_server.iter().filter(|own| own.1 == port && schemes.iter().any(|scheme| self.allowed.allows_self(scheme)));
        let listed =
            self.allowed.names().filter(|entry| entry.ports.contains(port) && entry.scheme.is_none_or(|scheme| schemes.contains(&scheme)));
        let names: Vec<String> = listed.map(|entry| entry.name.to_owned()).chain(own.map(|own| own.0.clone())).collect();
        for name in names {
            if self.addresses(&name).await.contains(&ip) {
                return true;
            }
        }
        false
    }

    /// What a listed name resolves to.
    async fn addresses(&self, name: &str) -> Vec<IpAddr> {
        let known = {
            let names = self.shared.names.lock().unwrap_or_else(PoisonError::into_inner);
            names.get(name).filter(|(at, _)| at.elapsed() < NAMES_FRESH_FOR).map(|(_, addresses)| addresses.clone())
        };
        if let Some(addresses) = known {
            return addresses;
        }
        let found = lookup_host((name, 0)).await.map(|found| found.map(|address| address.ip().to_canonical()).collect::<Vec<_>>());
        let addresses = found.unwrap_or_default();
        let mut names = self.shared.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.insert(name.to_owned(), (Instant::now(), addresses.clone()));
        addresses
    }

    /// Logs a refusal, each once in a while: a guest may try for ever.
    fn refuse(&self, refused: Refused) -> Refused {
        let text = refused.to_string();
        let mut logged = self.shared.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.get(&text).is_none_or(|at| at.elapsed() > LOG_EVERY) {
            if logged.len() >= MAX_LOGGED {
                logged.clear();
            }
            tracing::warn!(target: "guest", component = %self.component, "{text}");
            logged.insert(text, Instant::now());
        }
        refused
    }
}

/// Whether an address is one of this machine's or container's own: only those can be bound.
fn is_of_this_machine(ip: IpAddr) -> bool {
    ip.is_loopback() || ip.is_unspecified() || UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(entries: &[&str]) -> Network {
        Network::new("c", Some(("redis.local".to_owned(), 6379)), Some(8080)).allowing(AllowedHosts::parse(entries).unwrap())
    }

    #[test]
    fn nothing_is_allowed_that_is_not_listed_and_the_missing_entry_is_named() {
        let refused = network(&[]).check("https", "api.example.com", 8443).unwrap_err().to_string();
        assert!(refused.contains("\"https://api.example.com:8443\"") && refused.contains("allowedOutboundHosts"), "{refused}");
        assert_eq!(network(&["https://api.example.com:8443"]).check("https", "api.example.com", 8443), Ok(()));
    }

    #[test]
    fn self_is_the_server_of_the_trigger() {
        assert_eq!(network(&["redis://self"]).check("redis", "redis.local", 6379), Ok(()));
        assert!(network(&["redis://self"]).check("redis", "other.local", 6379).is_err());
    }

    #[test]
    fn link_local_addresses_are_refused_unless_listed_literally() {
        let metadata: SocketAddr = "169.254.169.254:80".parse().unwrap();
        for allowed in ["*://*:*", "http://*.internal", "http://169.254.0.0/16"] {
            assert!(matches!(network(&[allowed]).check_address("x", metadata), Err(Refused::LinkLocal { .. })), "{allowed}");
        }
        assert_eq!(network(&["http://169.254.169.254"]).check_address("x", metadata), Ok(()));
        let mapped: SocketAddr = "[::ffff:169.254.169.254]:80".parse().unwrap();
        assert!(network(&["*://*:*"]).check_address("x", mapped).is_err());
    }

    #[test]
    fn the_health_port_of_this_process_is_out_of_reach_and_that_of_others_is_not() {
        let check = |address: &str| network(&["*://*:*"]).check_address("x", address.parse().unwrap());
        for own in ["127.0.0.1:8080", "[::1]:8080", "0.0.0.0:8080"] {
            assert!(matches!(check(own), Err(Refused::OwnHealthPort(_))), "{own}");
        }
        assert_eq!(check("127.0.0.1:8081"), Ok(()));
        assert_eq!(check("203.0.113.7:8080"), Ok(()));
    }

    #[tokio::test]
    async fn a_raw_socket_may_reach_what_a_listed_name_resolves_to() {
        let address: SocketAddr = "127.0.0.1:6000".parse().unwrap();
        assert!(network(&["*://localhost:6000"]).allows_socket(&["tcp"], address).await);
        assert!(!network(&["*://localhost:6001"]).allows_socket(&["tcp"], address).await);
        assert!(network(&["*://127.0.0.0/8:6000"]).allows_socket(&["tcp"], address).await);
    }
}
