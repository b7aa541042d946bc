//! Where the pods of an app run: what it asks for, and what stands in where it leaves something open.

use k8s_openapi::api::core::v1::{Toleration, TopologySpreadConstraint};
use spinredis_crds::Pod;

use super::selector;
use crate::reconcile::validate::Validated;

/// How long a pod stays on a node that no longer answers.
const LOST_NODE_SECONDS: i64 = 30;

/// The tolerations of the app, and those of a lost node unless the app has its own for it.
pub fn tolerations(pod: &Pod) -> Vec<Toleration> {
    let lost_node = ["not-ready", "unreachable"].map(lost_node).into_iter();
    let defaults = lost_node.filter(|default| !pod.tolerations.iter().any(|own| replaces(own, default)));
    defaults.chain(pod.tolerations.iter().cloned()).collect()
}

/// Whether an app's own toleration is for the taint of a default one. A toleration without a key is for every taint, one
/// without an effect for every effect.
fn replaces(own: &Toleration, default: &Toleration) -> bool {
    let is_for = |own: &Option<String>, default: &Option<String>| own.as_deref().is_none_or(str::is_empty) || own == default;
    is_for(&own.key, &default.key) && is_for(&own.effect, &default.effect)
}

fn lost_node(condition: &str) -> Toleration {
    Toleration {
        key: Some(format!("node.kubernetes.io/{condition}")),
        operator: Some("Exists".to_owned()),
        effect: Some("NoExecute".to_owned()),
        toleration_seconds: Some(LOST_NODE_SECONDS),
        value: None,
    }
}

/// The constraints of the app; without any its pods are spread over nodes as well as it goes. That stands in the template of
/// an app with one replica too, so that scaling changes no template.
pub fn spread(app: &Validated, pod: &Pod) -> Vec<TopologySpreadConstraint> {
    if pod.topology_spread_constraints.is_empty() {
        return vec![TopologySpreadConstraint {
            max_skew: 1,
            topology_key: "kubernetes.io/hostname".to_owned(),
            when_unsatisfiable: "ScheduleAnyway".to_owned(),
            label_selector: Some(selector(app)),
            ..TopologySpreadConstraint::default()
        }];
    }
    let own_pods = |mut constraint: TopologySpreadConstraint| {
        // Kubernetes counts no pods at all without one.
        constraint.label_selector.get_or_insert_with(|| selector(app));
        constraint
    };
    pod.topology_spread_constraints.iter().cloned().map(own_pods).collect()
}

/// A list, unless it is empty.
pub fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toleration(key: Option<&str>, effect: Option<&str>) -> Toleration {
        Toleration { key: key.map(str::to_owned), effect: effect.map(str::to_owned), ..Toleration::default() }
    }

    fn kept(own: Toleration) -> usize {
        tolerations(&Pod { tolerations: vec![own], ..Pod::default() }).len() - 1
    }

    #[test]
    fn a_lost_node_is_left_after_thirty_seconds_unless_the_app_says_otherwise_of_it() {
        assert_eq!(tolerations(&Pod::default()).len(), 2);
        assert_eq!(kept(toleration(Some("example.com/gpu"), None)), 2, "another taint");
        assert_eq!(kept(toleration(Some("node.kubernetes.io/unreachable"), Some("NoSchedule"))), 2, "another effect");
        assert_eq!(kept(toleration(Some("node.kubernetes.io/unreachable"), Some("NoExecute"))), 1);
        assert_eq!(kept(toleration(Some("node.kubernetes.io/unreachable"), None)), 1);
        assert_eq!(kept(toleration(None, None)), 0, "every taint");
    }
}
