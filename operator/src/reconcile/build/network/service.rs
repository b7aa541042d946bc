//! What lets pods reach a Service: its own addresses, for plugins that look at a connection before it is directed to a pod,
//! and the pods behind it at their own ports, for those that look after.

use k8s_openapi::{
    api::{
        core::v1::{ServicePort, ServiceSpec},
        networking::v1::{NetworkPolicyEgressRule, NetworkPolicyPeer},
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use spinredis_crds::outbound::Network;

use super::{block, destinations::Destination, each_once, port, ports, rule};
use crate::reconcile::dereference::ServiceName;

/// Label of every namespace with its name, set by the API server.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// The rules and why they are wide, if they are; or why there is nothing but a wide rule.
pub fn rules(
    name: &ServiceName,
    service: &ServiceSpec,
    destination: &Destination,
) -> Result<(Vec<NetworkPolicyEgressRule>, Option<String>), String> {
    if service.type_.as_deref() == Some("ExternalName") {
        return Err(format!("names Service {name}, which stands for a host name outside the cluster"));
    }
    let matched = matched(service, destination);
    let addresses: Vec<NetworkPolicyPeer> = addresses(service).into_iter().map(block).collect();
    let to_service = (!addresses.is_empty() && !matched.is_empty()).then(|| {
        let own = matched.iter().map(|of| port(protocol(of), Some(IntOrString::Int(of.port))));
        rule(addresses.clone(), Some(own.collect()))
    });
    // Without an address of its own the name means the pods themselves, at the very port that is asked for.
    let targets = if addresses.is_empty() || matched.is_empty() {
        ports(&destination.ports, destination.protocols)
    } else {
        Some(each_once(matched.iter().map(|of| port(protocol(of), Some(target(of)))).collect()))
    };
    let Some(selector) = service.selector.as_ref().filter(|selector| !selector.is_empty()) else {
        let rules = to_service.into_iter().chain([rule(Vec::new(), targets)]);
        return Ok((rules.collect(), Some(format!("names Service {name}, which selects no pods"))));
    };
    let labels = |labels| Some(LabelSelector { match_labels: Some(labels), match_expressions: None });
    let pods = NetworkPolicyPeer {
        ip_block: None,
        namespace_selector: labels([(NAMESPACE_NAME.to_owned(), name.namespace.clone())].into()),
        pod_selector: labels(selector.clone()),
    };
    Ok((to_service.into_iter().chain([rule(vec![pods], targets)]).collect(), None))
}

/// The ports of the Service that the destination means.
fn matched<'a>(service: &'a ServiceSpec, destination: &Destination) -> Vec<&'a ServicePort> {
    let is_meant = |of: &&ServicePort| {
        u16::try_from(of.port).is_ok_and(|port| destination.ports.contains(port)) && destination.protocols.contains(&protocol(of))
    };
    service.ports.iter().flatten().filter(is_meant).collect()
}

fn protocol(port: &ServicePort) -> &str {
    port.protocol.as_deref().unwrap_or("TCP")
}

fn target(port: &ServicePort) -> IntOrString {
    match &port.target_port {
        None | Some(IntOrString::Int(0)) => IntOrString::Int(port.port),
        Some(target) => target.clone(),
    }
}

/// The addresses of the Service in CIDR notation; none of a headless one.
fn addresses(service: &ServiceSpec) -> Vec<String> {
    let all = service.cluster_ips.iter().flatten().chain(&service.cluster_ip);
    each_once(all.filter_map(|address| Network::parse(address)).map(|network| network.to_string()).collect())
}
