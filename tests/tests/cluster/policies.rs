//! What surrounds the pods of an app: where and as whom they run, their PodDisruptionBudget, their NetworkPolicy. The test
//! cluster enforces no NetworkPolicy, so what is looked at is what they say.

use serde_json::{Value, json};
use spinredis_tests::kubernetes::{Namespace, OPERATOR, cluster, condition, hello, kubectl_with, try_kubectl};

/// Waits until an object is there, and gives it.
fn wait_for_object(namespace: &Namespace, kind: &str, name: &str) -> Value {
    namespace.kubectl(&["wait", "--for=create", &format!("{kind}/{name}"), "--timeout=60s"]);
    namespace.json(&["get", kind, name])
}

/// Waits until there is no such object.
fn wait_until_gone(namespace: &Namespace, kind: &str, name: &str) {
    namespace.kubectl(&["wait", "--for=delete", &format!("{kind}/{name}"), "--timeout=60s"]);
    assert!(try_kubectl(&["get", kind, name, "-n", namespace.name()], "").is_err());
}

#[test]
fn pods_with_every_field_run_where_the_restricted_standard_is_enforced() {
    let namespace = Namespace::new("every-pod-field");
    let redis = &cluster().redis;
    let class = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "spinredis-tests"}, "value": 1});
    kubectl_with(&["apply", "-f", "-"], &class.to_string());
    namespace.apply(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "greeter"}}));
    let mut app = hello("greeter", &redis.address(), &namespace.channel("orders"));
    app["spec"]["prepare"] = json!({"resources": {"limits": {"memory": "600Mi"}}});
    let unless = json!({"matchLabels": {"app": "nobody"}});
    app["spec"]["pod"] = json!({
        "labels": {"team": "a"},
        "annotations": {"example.com/note": "b"},
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "gpu", "operator": "Exists", "value": ""}],
        "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "kubernetes.io/hostname", "labelSelector": unless}]}},
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule"}],
        "priorityClassName": "spinredis-tests",
        "serviceAccountName": "greeter",
        "securityContext": {
            "runAsUser": 1234, "runAsGroup": 1234, "fsGroup": 2345, "fsGroupChangePolicy": "OnRootMismatch", "supplementalGroups": [3456],
        },
    });
    namespace.apply(&app);
    namespace.wait_until_ready("greeter");
    namespace.assert_answers("greeter", redis, &namespace.channel("orders"));
    let pod = namespace.pod("greeter");
    let spec = &pod["spec"];
    assert_eq!((&spec["serviceAccountName"], &spec["priorityClassName"]), (&json!("greeter"), &json!("spinredis-tests")));
    assert_eq!((&spec["securityContext"]["runAsUser"], &spec["securityContext"]["runAsNonRoot"]), (&json!(1234), &json!(true)));
    let tolerated: Vec<&Value> =
        spec["tolerations"].as_array().unwrap().iter().map(|toleration| &toleration["tolerationSeconds"]).collect();
    assert_eq!(tolerated.iter().filter(|seconds| **seconds == 30).count(), 2, "those of a lost node stay: {spec}");
    let volumes = spec["volumes"].as_array().unwrap();
    assert!(volumes.iter().all(|volume| !volume["name"].as_str().unwrap().contains("token")), "no token is mounted: {volumes:?}");
    // An empty text that the API server leaves out must not be written again and again.
    let applied = || {
        let deployment = namespace.json(&["get", "deployment", "greeter", "--show-managed-fields"]);
        let managers = deployment["metadata"]["managedFields"].as_array().unwrap().clone();
        managers.into_iter().find(|entry| entry["manager"] == OPERATOR).unwrap()["time"].clone()
    };
    let before = applied();
    namespace.patch("greeter", &json!({"spec": {"podDisruptionBudget": {}}}));
    namespace.wait_until_ready("greeter");
    assert_eq!(applied(), before);
    // What is no longer asked for goes.
    namespace.patch("greeter", &json!({"spec": {"pod": null}}));
    namespace.wait_for("the pods are as those of any app", "deployment", "greeter", |deployment| {
        let spec = &deployment["spec"]["template"]["spec"];
        let is_plain = spec["serviceAccountName"] == "default" && spec["nodeSelector"].is_null() && spec["affinity"].is_null();
        let security = json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}});
        if is_plain && spec["securityContext"] == security { Ok(()) } else { Err(spec.to_string()) }
    });
    namespace.wait_until_ready("greeter");
}

#[test]
fn a_disruption_budget_comes_above_one_replica_and_goes_at_one() {
    let namespace = Namespace::new("budget");
    let mut app = hello("greeter", &cluster().redis.address(), &namespace.channel("orders"));
    app["spec"]["delivery"] = json!("EachReplica");
    app["spec"]["podDisruptionBudget"] = json!({});
    namespace.apply(&app);
    namespace.wait_until_ready("greeter");
    assert!(try_kubectl(&["get", "pdb", "greeter", "-n", namespace.name()], "").is_err(), "one replica needs none");

    namespace.kubectl(&["scale", "spinredisapp", "greeter", "--replicas=2"]);
    let budget = wait_for_object(&namespace, "pdb", "greeter");
    assert_eq!(budget["spec"]["maxUnavailable"], 1);
    assert_eq!(budget["spec"]["unhealthyPodEvictionPolicy"], "AlwaysAllow");
    assert_eq!(budget["spec"]["selector"], json!({"matchLabels": {"spinredis.dev/app": "greeter"}}));
    namespace.wait_until_ready("greeter");
    // Whoever deletes it gets another; whoever changes it, too.
    namespace.kubectl(&["delete", "pdb", "greeter"]);
    wait_for_object(&namespace, "pdb", "greeter");
    namespace.patch("greeter", &json!({"spec": {"podDisruptionBudget": {"minAvailable": "50%"}}}));
    namespace.wait_for("the budget is what the app says now", "pdb", "greeter", |budget| {
        let spec = &budget["spec"];
        if spec["minAvailable"] == "50%" && spec["maxUnavailable"].is_null() { Ok(()) } else { Err(spec.to_string()) }
    });

    namespace.kubectl(&["scale", "spinredisapp", "greeter", "--replicas=1"]);
    wait_until_gone(&namespace, "pdb", "greeter");
    namespace.wait_until_ready("greeter");
}

/// The rules of a policy for what goes out, but for DNS.
fn egress(policy: &Value) -> Vec<Value> {
    let rules = policy["spec"]["egress"].as_array().cloned().unwrap_or_default();
    rules.into_iter().filter(|rule| rule["ports"][0]["port"] != 53).collect()
}

fn block(address: &Value) -> Value {
    json!({"ipBlock": {"cidr": format!("{}/32", address.as_str().unwrap())}})
}

#[test]
fn a_network_policy_names_what_is_behind_services_and_follows_them() {
    let namespace = Namespace::new("network-policy");
    let redis = &cluster().redis;
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "api"}, "spec": {
        "selector": {"app": "api"}, "ports": [{"port": 80, "targetPort": "web"}],
    }});
    namespace.apply(&service);
    let mut app = hello("greeter", &redis.address(), &namespace.channel("orders"));
    app["spec"]["networkPolicy"] = json!({});
    app["spec"]["components"][0]["allowedOutboundHosts"] = json!([format!("http://api.{}.svc", namespace.name()), "tcp://10.1.2.3:9000"]);
    namespace.apply(&app);
    let ready = namespace.wait_until_ready("greeter");
    let exact = condition(&ready, "NetworkPolicyExact");
    assert_eq!((&exact["status"], &exact["reason"]), (&json!("True"), &json!("Exact")), "{exact}");

    let policy = namespace.json(&["get", "networkpolicy", "greeter"]);
    assert_eq!(policy["spec"]["podSelector"], json!({"matchLabels": {"spinredis.dev/app": "greeter"}}));
    assert_eq!(policy["spec"]["ingress"], json!([{"ports": [{"port": 8080, "protocol": "TCP"}]}]));
    let redis_namespace = redis.address().split('.').nth(1).unwrap().to_owned();
    let of_redis = kubectl_json_in(&redis_namespace, "redis");
    let pods = |name: &str, labels: Value| json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}, "podSelector": {"matchLabels": labels}});
    let port = |port: Value| json!([{"port": port, "protocol": "TCP"}]);
    let address = namespace.json(&["get", "service", "api"])["spec"]["clusterIP"].clone();
    let expected = |address: &Value| {
        vec![
            json!({"to": [block(&of_redis["spec"]["clusterIP"])], "ports": port(json!(6379))}),
            json!({"to": [pods(&redis_namespace, of_redis["spec"]["selector"].clone())], "ports": port(json!(6379))}),
            json!({"to": [block(address)], "ports": port(json!(80))}),
            json!({"to": [pods(namespace.name(), json!({"app": "api"}))], "ports": port(json!("web"))}),
            json!({"to": [block(&json!("10.1.2.3"))], "ports": port(json!(9000))}),
        ]
    };
    assert_eq!(egress(&policy), expected(&address));
    namespace.assert_answers("greeter", redis, &namespace.channel("orders"));

    // A Service that is made again has another address.
    namespace.kubectl(&["delete", "service", "api"]);
    let missing = "names Service api";
    namespace.wait_for("the missing Service is told", "spinredisapp", "greeter", |app| {
        let exact = condition(app, "NetworkPolicyExact");
        if exact["message"].as_str().unwrap_or_default().contains(missing) { Ok(()) } else { Err(exact.to_string()) }
    });
    let mut other = service;
    other["spec"]["clusterIP"] = json!(another(address.as_str().unwrap()));
    namespace.apply(&other);
    namespace.wait_for("the policy has the new address", "networkpolicy", "greeter", |policy| {
        if egress(policy) == expected(&other["spec"]["clusterIP"]) { Ok(()) } else { Err(policy["spec"].to_string()) }
    });
    // It comes back when somebody deletes it, and goes when the app no longer asks for it.
    namespace.kubectl(&["delete", "networkpolicy", "greeter"]);
    wait_for_object(&namespace, "networkpolicy", "greeter");
    namespace.patch("greeter", &json!({"spec": {"networkPolicy": null}}));
    wait_until_gone(&namespace, "networkpolicy", "greeter");
    let without = namespace.wait_until_ready("greeter");
    assert_eq!(condition(&without, "NetworkPolicyExact"), Value::Null);
}

/// A Service of another namespace.
fn kubectl_json_in(namespace: &str, service: &str) -> Value {
    serde_json::from_str(&try_kubectl(&["get", "service", service, "-n", namespace, "-o", "json"], "").unwrap()).unwrap()
}

/// A neighbour of a Service's address, which is not likely to be taken.
fn another(address: &str) -> String {
    let (network, host) = address.rsplit_once('.').unwrap();
    format!("{network}.{}", (host.parse::<u8>().unwrap() ^ 0x40).max(2))
}

#[test]
fn what_a_network_policy_cannot_say_is_listed_and_the_app_is_ready_all_the_same() {
    let namespace = Namespace::new("widened");
    let mut app = hello("greeter", &cluster().redis.address(), &namespace.channel("orders"));
    app["spec"]["networkPolicy"] = json!({});
    app["spec"]["components"][0]["allowedOutboundHosts"] = json!(["https://api.example.com"]);
    namespace.apply(&app);
    let exact = condition(&namespace.wait_until_ready("greeter"), "NetworkPolicyExact");
    assert_eq!((&exact["status"], &exact["reason"]), (&json!("False"), &json!("Widened")), "{exact}");
    let message = exact["message"].as_str().unwrap();
    assert!(message.contains("spec.components[0].allowedOutboundHosts[0] (https://api.example.com)"), "{message}");
    assert!(message.contains("every address is allowed at port 443"), "{message}");
}

#[test]
fn while_an_edit_is_rolled_out_old_pods_keep_their_way() {
    let namespace = Namespace::new("way-of-old-pods");
    let address = cluster().redis.address();
    let mut app = hello("greeter", &address, &namespace.channel("orders"));
    app["spec"]["networkPolicy"] = json!({});
    namespace.apply(&app);
    namespace.wait_until_ready("greeter");
    let before = egress(&namespace.json(&["get", "networkpolicy", "greeter"]));

    app["spec"]["trigger"]["address"] = json!("redis://10.255.255.1:6379");
    namespace.apply(&app);
    namespace.wait_for("the policy has the new address and the old ones", "networkpolicy", "greeter", |policy| {
        let rules = egress(policy);
        let has_new = rules.iter().any(|rule| rule["to"][0]["ipBlock"]["cidr"] == "10.255.255.1/32");
        if has_new && before.iter().all(|rule| rules.contains(rule)) { Ok(()) } else { Err(policy["spec"].to_string()) }
    });
    app["spec"]["trigger"]["address"] = json!(address);
    namespace.apply(&app);
    namespace.wait_for("only what the app names is left", "networkpolicy", "greeter", |policy| {
        if egress(policy) == before { Ok(()) } else { Err(policy["spec"].to_string()) }
    });
    namespace.wait_until_ready("greeter");
}

#[test]
fn a_network_policy_of_somebody_else_is_left_as_it_is() {
    let namespace = Namespace::new("policy-conflict");
    let policy = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "greeter"}, "spec": {"podSelector": {}}});
    namespace.apply(&policy);
    let version = || namespace.json(&["get", "networkpolicy", "greeter"])["metadata"]["resourceVersion"].clone();
    let before = version();
    let mut app = hello("greeter", &cluster().redis.address(), &namespace.channel("orders"));
    app["spec"]["networkPolicy"] = json!({});
    namespace.apply(&app);
    let message = namespace.wait_for_reason("greeter", "NameConflict");
    assert!(message.contains("NetworkPolicy greeter exists already"), "{message}");
    // An app that asks for none does not mind it.
    namespace.patch("greeter", &json!({"spec": {"networkPolicy": {"enabled": false}}}));
    namespace.wait_until_ready("greeter");
    assert_eq!(version(), before);
}
