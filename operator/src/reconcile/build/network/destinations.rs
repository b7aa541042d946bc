//! Where the pods of an app connect to, as far as its manifest and the operator's settings say it.

use std::collections::{BTreeMap, BTreeSet};

use spinredis_crds::{
    SpinRedisApp, Variable,
    address::{DEFAULT_PORT, RedisAddress},
    image::ImageName,
    manifest::ManifestSpec,
    outbound::{Entry, Host, Network, Ports},
    registries::split_mirror,
    template::Template,
    variable::{Value, VariableError, Variables},
};

use crate::{reconcile::dereference::ServiceName, settings::Settings};

/// Variables of the runtime that name where traces go.
const COLLECTORS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

const A_NAME: &str = "is a host name, which a NetworkPolicy cannot say";
const WILDCARD: &str = "stands for host names, which a NetworkPolicy cannot say";
const UNREAD_ADDRESS: &str =
    "is kept where the operator does not read it (another port than 6379 belongs into spec.networkPolicy.extraEgress)";
const UNREAD_VARIABLE: &str = "holds a variable whose value is kept where the operator does not read it";
const APPLICATION: &str = "has hosts and addresses of its own, which the operator does not know";

/// Something that the pods connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The field that names it, with what it says: the beginning of a sentence.
    pub what: String,
    /// Where it is.
    pub target: Target,
    /// At which ports.
    pub ports: Ports,
    /// By which protocols.
    pub protocols: &'static [&'static str],
}

/// Where something is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Everywhere: the app says so.
    Everywhere,
    /// In a network.
    Network(Network),
    /// Behind a Service.
    Service(ServiceName),
    /// Nobody knows, for this reason.
    Unknown(&'static str),
}

const TCP: &[&str] = &["TCP"];
const UDP: &[&str] = &["UDP"];
const BOTH: &[&str] = &["TCP", "UDP"];

/// Everything the pods of an app connect to but for DNS, in the order of its fields.
pub fn destinations(app: &SpinRedisApp, settings: &Settings) -> Vec<Destination> {
    let spec = ManifestSpec::of(&app.spec);
    let mut found = redis(&spec);
    found.extend(hosts(&spec));
    found.extend(spec.application.iter().map(|application| Destination {
        what: format!("spec.application ({})", application.oci.reference),
        target: Target::Unknown(APPLICATION),
        ports: Ports::Any,
        protocols: BOTH,
    }));
    if app.spec.network_policy.as_ref().is_some_and(|policy| policy.allows_registry()) {
        found.extend(registries(&spec, settings));
    }
    found.extend(collectors(settings));
    found
}

/// The Services among them.
pub fn services(app: &SpinRedisApp, settings: &Settings) -> BTreeSet<ServiceName> {
    if !app.spec.network_policy.as_ref().is_some_and(|policy| policy.is_enabled()) {
        return BTreeSet::new();
    }
    let services = destinations(app, settings).into_iter().filter_map(|destination| match destination.target {
        Target::Service(name) => Some(name),
        _ => None,
    });
    services.collect()
}

fn target(host: &str) -> Target {
    match (Network::parse(host), ServiceName::of(host)) {
        (Some(network), _) => Target::Network(network),
        (None, Some(service)) => Target::Service(service),
        (None, None) => Target::Unknown(A_NAME),
    }
}

/// The Redis servers of trigger, stores and dead letters.
fn redis(spec: &ManifestSpec) -> Vec<Destination> {
    let destination = |what: String, target, port| Destination { what, target, ports: Ports::One(port), protocols: TCP };
    let connections = spec.connections().into_iter().filter_map(|(path, connection)| {
        let address = connection.address.as_deref().and_then(|address| RedisAddress::parse(address).ok());
        match address {
            Some(address) => Some(destination(format!("{path}.address ({address})"), target(&address.host), address.port)),
            None => connection
                .address_from
                .as_ref()
                .map(|_| destination(format!("{path}.addressFrom"), Target::Unknown(UNREAD_ADDRESS), DEFAULT_PORT)),
        }
    });
    connections.collect()
}

/// What the components list in allowedOutboundHosts. `self` is the trigger's Redis server.
fn hosts(spec: &ManifestSpec) -> Vec<Destination> {
    let shared = values(&spec.variables);
    let mut found = Vec::new();
    for (index, component) in spec.components.iter().enumerate() {
        let own = values(&component.variables);
        let (known, guessed) = (Variables::new(shared.clone(), own.clone()), Variables::new(guess(&shared), guess(&own)));
        for (entry_index, text) in component.allowed_outbound_hosts.iter().enumerate() {
            let what = format!("spec.components[{index}].allowedOutboundHosts[{entry_index}] ({text})");
            let Ok(template) = Template::parse(text) else { continue };
            let entry = match known.resolve(&template) {
                Ok(text) => Entry::parse(&text).ok().map(|entry| (target_of(&entry.host), entry)),
                // The scheme and the port are perhaps in the template itself.
                Err(VariableError::Unread(_)) => {
                    let entry = guessed.resolve(&template).ok().and_then(|text| Entry::parse(&text).ok());
                    let any = || Entry { scheme: None, host: Host::Any, ports: Ports::Any };
                    Some((Some(Target::Unknown(UNREAD_VARIABLE)), entry.unwrap_or_else(any)))
                }
                Err(_) => None,
            };
            if let Some((Some(target), entry)) = entry {
                found.push(Destination { what, target, protocols: protocols(&entry), ports: entry.ports });
            }
        }
    }
    found
}

fn target_of(host: &Host) -> Option<Target> {
    match host {
        Host::Any => Some(Target::Everywhere),
        Host::Name(name) => Some(target(name)),
        Host::Subdomains(_) => Some(Target::Unknown(WILDCARD)),
        Host::Network(network) => Some(Target::Network(*network)),
        Host::SelfHost => None,
    }
}

fn protocols(entry: &Entry) -> &'static [&'static str] {
    match entry.scheme.as_deref() {
        None => BOTH,
        Some("udp") => UDP,
        Some(_) => TCP,
    }
}

fn values(variables: &[Variable]) -> BTreeMap<String, Value> {
    variables.iter().map(|variable| (variable.name.clone(), variable.value().unwrap_or(Value::Unread))).collect()
}

/// The same with something in the place of what was not read.
fn guess(values: &BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let guessed = |value: &Value| if *value == Value::Unread { Value::Text("unread".to_owned()) } else { value.clone() };
    values.iter().map(|(name, value)| (name.clone(), guessed(value))).collect()
}

/// The registries of the images and their mirrors, each once. Those of the open internet hand out what they hold from other
/// hosts, at the same port.
fn registries(spec: &ManifestSpec, settings: &Settings) -> Vec<Destination> {
    let application = spec.application.iter().map(|application| ("spec.application.oci".to_owned(), &application.oci));
    let components = spec.components.iter().enumerate();
    let components = components.filter_map(|(index, component)| Some((format!("spec.components[{index}].source.oci"), component.oci()?)));
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for (path, source) in application.chain(components) {
        let registry = ImageName::of(&source.reference).registry;
        let mirror = settings.registries.of(&registry).and_then(|setting| setting.mirror.as_deref());
        let mirror = mirror.map(|mirror| split_mirror(mirror).0.to_owned());
        for host in std::iter::once(registry).chain(mirror) {
            if seen.insert(host.clone()) {
                let is_plain = settings.plain_http_registries.contains(&host)
                    || settings.registries.of(&host).is_some_and(|setting| setting.plain_http);
                let scheme = if is_plain { "http" } else { "https" };
                found.extend(url(&format!("{scheme}://{host}"), format!("{path} (registry {host})")));
            }
        }
    }
    found
}

fn collectors(settings: &Settings) -> Vec<Destination> {
    let given = COLLECTORS.iter().filter_map(|name| Some((name, settings.runtime_environment.get(*name)?)));
    given.filter_map(|(name, endpoint)| url(endpoint, format!("{name} of the operator's settings"))).collect()
}

/// Host and port of a URL.
fn url(text: &str, what: String) -> Option<Destination> {
    let (scheme, rest) = text.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    let entry = Entry::parse(&format!("{scheme}://{host}")).ok()?;
    Some(Destination { what, target: target_of(&entry.host)?, protocols: TCP, ports: entry.ports })
}
