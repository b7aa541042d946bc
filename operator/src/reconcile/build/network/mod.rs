//! The NetworkPolicy of an app that asks for one: in to the health port, out to DNS and to what the app names. A NetworkPolicy
//! knows pods and networks but no host names; where it must allow more than the app says, it tells so in a sentence, and the
//! runtime still holds guests to the exact hosts.

mod destinations;
mod service;

use k8s_openapi::{
    api::networking::v1::{
        IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use spinredis_crds::outbound::Ports;

use super::{metadata, selector};
use crate::{
    names::HEALTH_PORT,
    reconcile::{
        dereference::{Known, Services},
        validate::Validated,
    },
    settings::Settings,
};

pub use destinations::services;
use destinations::{Destination, Target, destinations};

/// Port of DNS (RFC 1035), and those at which its pods listen behind that port in OpenShift and Gardener: some networks judge
/// by the port of the pod.
const DNS_PORTS: [u16; 3] = [53, 5353, 8053];

/// The policy, if the app asks for one, and where it is wider than what the app names.
pub fn policy(app: &Validated, services: &Services, settings: &Settings) -> Option<(NetworkPolicy, Vec<String>)> {
    let wanted = app.spec().network_policy.as_ref().filter(|policy| policy.is_enabled())?;
    // Where DNS answers differs from cluster to cluster: pods, an address on the node, a host of its own.
    let dns = DNS_PORTS.iter().filter_map(|port| ports(&Ports::One(*port), &["UDP", "TCP"])).flatten().collect();
    let mut egress = vec![rule(Vec::new(), Some(dns))];
    let mut widened = Vec::new();
    for destination in destinations(app, settings) {
        let (rules, why) = rules(&destination, services);
        egress.extend(rules);
        widened.extend(why.map(|why| format!("{} {why}: every address is allowed at {}", destination.what, in_words(&destination.ports))));
    }
    egress.extend(wanted.extra_egress.iter().cloned().map(with_protocols));
    let policy = NetworkPolicy {
        metadata: metadata(app, app.name().to_owned()),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(selector(app)),
            policy_types: Some(["Ingress", "Egress"].map(str::to_owned).into()),
            ingress: Some(vec![NetworkPolicyIngressRule { from: None, ports: ports(&Ports::One(HEALTH_PORT), &["TCP"]) }]),
            egress: Some(each_once(egress)),
        }),
    };
    Some((policy, each_once(widened)))
}

/// The rules that let the pods reach a destination, and why they allow more than that if they do.
fn rules(destination: &Destination, services: &Services) -> (Vec<NetworkPolicyEgressRule>, Option<String>) {
    let ports = || ports(&destination.ports, destination.protocols);
    let wide = |why: String| (vec![rule(Vec::new(), ports())], Some(why));
    match &destination.target {
        Target::Everywhere => (vec![rule(Vec::new(), ports())], None),
        Target::Network(network) => (vec![rule(vec![block(network.to_string())], ports())], None),
        Target::Unknown(why) => wide((*why).to_owned()),
        Target::Service(name) => match services.get(name) {
            Some(Known::There(spec)) => service::rules(name, spec, destination).unwrap_or_else(wide),
            Some(Known::Missing) => wide(format!("names Service {name}, which does not exist")),
            Some(Known::Forbidden) | None => wide(format!("names Service {name}, which the operator may not read")),
        },
    }
}

fn rule(to: Vec<NetworkPolicyPeer>, ports: Option<Vec<NetworkPolicyPort>>) -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule { ports, to: (!to.is_empty()).then_some(to) }
}

fn block(cidr: String) -> NetworkPolicyPeer {
    NetworkPolicyPeer { ip_block: Some(IPBlock { cidr, except: None }), ..NetworkPolicyPeer::default() }
}

fn port(protocol: &str, port: Option<IntOrString>) -> NetworkPolicyPort {
    NetworkPolicyPort { protocol: Some(protocol.to_owned()), port, end_port: None }
}

/// Ports as a policy lists them; nothing stands for every port of every protocol.
fn ports(ports: &Ports, protocols: &[&str]) -> Option<Vec<NetworkPolicyPort>> {
    if *ports == Ports::Any && protocols.len() > 1 {
        return None;
    }
    let number = |number: u16| Some(IntOrString::Int(i32::from(number)));
    let of = |protocol: &&str| match ports {
        Ports::Any => port(protocol, None),
        Ports::One(one) => port(protocol, number(*one)),
        // A policy counts the end in, an allowed host does not.
        Ports::Range(range) => {
            NetworkPolicyPort { end_port: Some(i32::from(range.end.saturating_sub(1))), ..port(protocol, number(range.start)) }
        }
    };
    Some(protocols.iter().map(of).collect())
}

fn in_words(ports: &Ports) -> String {
    match ports {
        Ports::Any => "every port".to_owned(),
        Ports::One(port) => format!("port {port}"),
        Ports::Range(range) => format!("ports {} to {}", range.start, range.end.saturating_sub(1)),
    }
}

/// As the API server would store it, so that the policy is not written again and again.
fn with_protocols(mut rule: NetworkPolicyEgressRule) -> NetworkPolicyEgressRule {
    for port in rule.ports.iter_mut().flatten() {
        port.protocol.get_or_insert_with(|| "TCP".to_owned());
    }
    rule
}

fn each_once<T: PartialEq>(list: Vec<T>) -> Vec<T> {
    let mut once: Vec<T> = Vec::with_capacity(list.len());
    for item in list {
        if !once.contains(&item) {
            once.push(item);
        }
    }
    once
}
