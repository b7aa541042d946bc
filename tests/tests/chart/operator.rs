//! The operator's Deployment, and what stands beside it: arguments, registries, replicas, NetworkPolicy, ServiceMonitor.

use serde_json::{Value, json};
use spinredis_tests::chart::{rendered, rendered_text};

use crate::{NAME, arguments, everything, named, of_kind, operator, version};

#[test]
fn the_operators_pods_are_restricted_probed_and_know_who_they_are() {
    for values in [json!({}), everything()] {
        let objects = rendered(&values);
        let pod = &operator(&objects)["template"]["spec"];
        let container = &pod["containers"][0];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        assert_eq!(
            container["securityContext"],
            json!({
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "runAsNonRoot": true,
                "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
            })
        );
        assert_eq!(
            (&container["readinessProbe"]["httpGet"]["path"], &container["livenessProbe"]["httpGet"]["path"]),
            (&json!("/readyz"), &json!("/healthz"))
        );
        let variable = |name: &str| {
            let found = container["env"].as_array().unwrap().iter().find(|variable| variable["name"] == name);
            found.unwrap_or_else(|| panic!("no {name}")).clone()
        };
        for (name, field) in [("POD_NAME", "metadata.name"), ("POD_NAMESPACE", "metadata.namespace")] {
            assert_eq!(variable(name)["valueFrom"]["fieldRef"]["fieldPath"], field);
        }
        assert_eq!(
            (&variable("SPINREDIS_LEADER_ELECTION")["value"], &variable("SPINREDIS_LEASE_NAME")["value"]),
            (&json!("true"), &json!(NAME))
        );
    }
    assert_eq!(operator(&rendered(&everything()))["template"]["spec"]["securityContext"]["runAsUser"], 1000);
}

#[test]
fn what_is_not_set_is_left_to_the_operator() {
    let plain = arguments(&rendered(&json!({})));
    let image = "ghcr.io/spinredis/spinredis-runtime";
    assert_eq!(plain, [&format!("--runtime-image={image}:{}", version()), "--listen=:8080", "--log-format=json"]);
    let digest = format!("sha256:{}", "0".repeat(64));
    let pinned = arguments(&rendered(&json!({"runtime": {"image": {"digest": digest}}})));
    assert_eq!(pinned[0], format!("--runtime-image={image}@{digest}"));
    let all = arguments(&rendered(&everything()));
    for argument in [
        "--plain-http-registry=plain:5000",
        "--registries=/etc/spin-redis-operator/registries/registries.yaml",
        "--allowed-registry=private/acme",
        "--require-digest",
        "--max-unfinished-apps=2",
        "--reconciles=16",
        "--runtime-env=OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318",
    ] {
        assert!(all.contains(&argument.to_owned()), "{argument}: {all:?}");
    }
    assert!(arguments(&rendered(&json!({"rollout": {"maxUnfinishedApps": 0}}))).contains(&"--max-unfinished-apps=0".to_owned()));
}

#[test]
fn registries_are_a_file_whose_authorities_are_mounted_where_it_says() {
    let objects = rendered(&everything());
    let file = named(&objects, "ConfigMap", &format!("{NAME}-registries"))["data"]["registries.yaml"].as_str().unwrap();
    let file: Value = serde_saphyr::from_str(file).unwrap();
    let authorities = "/etc/spin-redis-operator/authorities/authorities";
    // The one that only has no TLS is a flag, as ever: another form would roll every app.
    assert_eq!(file, json!([{"host": "private", "caFile": format!("{authorities}/ca.crt"), "mirror": "mirror/x"}]));
    let pod = &operator(&objects)["template"];
    let mounts = pod["spec"]["containers"][0]["volumeMounts"].as_array().unwrap();
    let mount = mounts.iter().find(|mount| mount["mountPath"] == authorities).unwrap();
    let volume = pod["spec"]["volumes"].as_array().unwrap().iter().find(|volume| volume["name"] == mount["name"]).unwrap();
    assert_eq!(volume["configMap"]["name"], "authorities");
    let mut changed = everything();
    changed["runtime"]["registries"][1]["mirror"] = json!("other");
    let changed = rendered(&changed);
    assert_ne!(pod["metadata"]["annotations"], operator(&changed)["template"]["metadata"]["annotations"], "a change restarts the operator");
    assert!(rendered_text(&json!({"runtime": {"registries": [{"host": "x", "plainHTTP": true}]}}), &[]).find("registries.yaml").is_none());
}

#[test]
fn several_replicas_have_a_budget_and_are_spread() {
    let one = rendered(&json!({}));
    assert!(of_kind(&one, "PodDisruptionBudget").is_empty());
    let three = rendered(&everything());
    let spec = operator(&three);
    let budget = &named(&three, "PodDisruptionBudget", NAME)["spec"];
    assert_eq!(
        (&spec["replicas"], &budget["maxUnavailable"], &budget["unhealthyPodEvictionPolicy"]),
        (&json!(3), &json!(1), &json!("AlwaysAllow"))
    );
    assert_eq!(budget["selector"], spec["selector"]);
    for (objects, key) in [(&one, "kubernetes.io/hostname"), (&three, "zone")] {
        let spread = &operator(objects)["template"]["spec"]["topologySpreadConstraints"][0];
        assert_eq!((&spread["topologyKey"], &spread["labelSelector"]), (&json!(key), &spec["selector"]));
    }
    let without = rendered(&json!({"replicas": 2, "podDisruptionBudget": {"enabled": false}}));
    assert!(of_kind(&without, "PodDisruptionBudget").is_empty());
}

#[test]
fn the_network_policy_lets_metrics_in_and_dns_api_server_and_apps_out() {
    assert!(of_kind(&rendered(&json!({})), "NetworkPolicy").is_empty());
    let objects = rendered(&everything());
    let policy = &named(&objects, "NetworkPolicy", NAME)["spec"];
    assert_eq!(policy["podSelector"], operator(&objects)["selector"]);
    assert_eq!(policy["ingress"][0]["from"], json!([{"podSelector": {}}]));
    let egress = policy["egress"].as_array().unwrap();
    assert_eq!(egress[1]["to"], json!([{"ipBlock": {"cidr": "10.0.0.1/32"}}]));
    assert_eq!(egress[2]["to"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"], "runtime");
    assert_eq!(egress.len(), 4);
}

#[test]
fn a_service_monitor_brings_the_service_it_selects() {
    let objects = rendered(&json!({"serviceMonitor": {"enabled": true}}));
    let service = named(&objects, "Service", &format!("{NAME}-metrics"));
    let monitor = &named(&objects, "ServiceMonitor", NAME)["spec"];
    let wanted = monitor["selector"]["matchLabels"].as_object().unwrap();
    wanted.iter().for_each(|(label, value)| assert_eq!(&service["metadata"]["labels"][label], value));
    assert_eq!(monitor["endpoints"][0]["port"], service["spec"]["ports"][0]["name"]);
}
