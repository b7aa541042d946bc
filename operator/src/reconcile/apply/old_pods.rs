//! Keeps the way open for old pods: one NetworkPolicy is for all pods of an app, and those that serve while an edit is rolled
//! out still need what the app named before. As long as there may be any, rules are added and none is taken away.

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::Pod,
    networking::v1::{NetworkPolicy, NetworkPolicyEgressRule},
};
use kube::ResourceExt;
use serde_json::json;

use super::drift;
use crate::names::TEMPLATE_LABEL;

/// An app that is edited again and again while nothing of it gets ready keeps no more old rules than these.
const MOST_RULES: usize = 512;

/// Adds to a policy the rules it has now and would lose.
pub fn keep_rules(wanted: &mut NetworkPolicy, live: Option<&NetworkPolicy>) {
    let Some(egress) = wanted.spec.as_mut().and_then(|spec| spec.egress.as_mut()) else { return };
    for rule in live.and_then(|live| live.spec.as_ref()?.egress.as_ref()).into_iter().flatten() {
        if egress.len() < MOST_RULES && !egress.iter().any(|wanted| is_same(rule, wanted)) {
            egress.push(rule.clone());
        }
    }
}

/// Apart from what the API server adds.
fn is_same(live: &NetworkPolicyEgressRule, wanted: &NetworkPolicyEgressRule) -> bool {
    drift::covers(&json!(live), &json!(wanted)) && drift::covers(&json!(wanted), &json!(live))
}

/// Whether pods of another template than the wanted one may run. A pod that stops still finishes its queue, and its Deployment
/// no longer counts it.
pub fn may_run(wanted: &Deployment, live: Option<&Deployment>, pods: &[Pod]) -> bool {
    let template =
        |deployment: &Deployment| deployment.spec.as_ref()?.template.metadata.as_ref()?.labels.as_ref()?.get(TEMPLATE_LABEL).cloned();
    if pods.iter().any(|pod| pod.labels().get(TEMPLATE_LABEL) != template(wanted).as_ref()) {
        return true;
    }
    let Some(live) = live else { return false };
    let Some(status) = &live.status else { return true };
    let is_old_news = status.observed_generation < live.metadata.generation;
    template(live) != template(wanted) || is_old_news || status.updated_replicas.unwrap_or(0) != status.replicas.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::Value;

    use super::*;

    fn policy(egress: Value) -> NetworkPolicy {
        NetworkPolicy::deserialize(json!({"metadata": {}, "spec": {"podSelector": {}, "egress": egress}})).unwrap()
    }

    fn deployment(template: &str, status: Value) -> Deployment {
        let labels = json!({TEMPLATE_LABEL: template});
        let spec = json!({"selector": {}, "template": {"metadata": {"labels": labels}, "spec": {"containers": []}}});
        Deployment::deserialize(json!({"metadata": {"generation": 2}, "spec": spec, "status": status})).unwrap()
    }

    fn pod(template: &str) -> Pod {
        Pod::deserialize(json!({"metadata": {"name": template, "labels": {TEMPLATE_LABEL: template}}})).unwrap()
    }

    #[test]
    fn rules_are_added_once_and_none_is_lost() {
        let (old, new) = (json!({"ports": [{"port": 1, "protocol": "TCP"}]}), json!({"ports": [{"port": 2, "protocol": "TCP"}]}));
        let mut wanted = policy(json!([new]));
        let expected = policy(json!([new, old]));
        keep_rules(&mut wanted, Some(&policy(json!([old]))));
        assert_eq!(wanted, expected);
        let mut again = policy(json!([new]));
        keep_rules(&mut again, Some(&expected));
        assert_eq!(again, expected, "the second time nothing changes");
    }

    #[test]
    fn old_pods_are_gone_when_every_pod_is_of_the_wanted_template() {
        let wanted = deployment("new", json!({}));
        let status = |observed: i64, updated: i32| json!({"observedGeneration": observed, "replicas": 2, "updatedReplicas": updated});
        assert!(!may_run(&wanted, None, &[]), "there are no pods at all");
        assert!(!may_run(&wanted, Some(&deployment("new", status(2, 2))), &[pod("new")]));
        assert!(may_run(&wanted, Some(&deployment("new", status(2, 2))), &[pod("new"), pod("old")]), "one that stops is not counted");
        for (live, why) in [
            (deployment("old", status(2, 2)), "about to be rolled out"),
            (deployment("new", status(1, 2)), "not yet seen by the Deployment's controller"),
            (deployment("new", status(2, 1)), "being rolled out"),
        ] {
            assert!(may_run(&wanted, Some(&live), &[]), "{why}");
        }
    }
}
