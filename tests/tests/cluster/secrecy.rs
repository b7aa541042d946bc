//! Passwords stay in their Secrets, whether they are right or wrong.

use serde_json::json;
use spinredis_tests::{
    guests,
    kubernetes::{Namespace, OPERATOR, OPERATOR_NAMESPACE, app, cluster, component, hello, kubectl, oci},
};

#[test]
fn no_password_is_in_any_status_event_log_config_map_or_argument() {
    let namespace = Namespace::new("canary");
    let cluster = cluster();
    let (user, login) = (namespace.name(), &cluster.registries.private);
    let canary = |what: &str| format!("canary-{what}-{user}");
    let (right, wrong, in_url, of_guest, of_registry) =
        (canary("right"), canary("wrong"), canary("url"), canary("guest"), canary("registry"));
    cluster.redis.set_user(user, &right, user);
    for (name, value) in [("right", &right), ("wrong", &wrong), ("guest", &of_guest)] {
        namespace.set_secret(name, "value", value);
    }
    namespace.set_secret("url", "value", &cluster.redis.address().replace("redis://", &format!("redis://{user}:{in_url}@")));
    namespace.set_pull_secret("registry", &login.host, &login.user, &of_registry);

    let secret = |name: &str| json!({"secretKeyRef": {"name": name, "key": "value"}});
    for name in ["right", "wrong"] {
        let mut manifest = hello(name, &cluster.redis.address(), &namespace.channel(name));
        manifest["spec"]["trigger"]["username"] = json!(user);
        manifest["spec"]["trigger"]["passwordFrom"] = secret(name);
        manifest["spec"]["components"][0]["env"] = json!([{"name": "TOKEN", "valueFrom": secret("guest")}]);
        namespace.apply(&manifest);
    }
    let source = guests::source("hello.wat");
    namespace.apply(&app("url", json!({"addressFrom": secret("url")}), json!([component("hello", &namespace.channel("url"), source)])));
    let image = cluster.registries.push_private("tests/hello:v1", &guests::wasm("hello.wat")).0;
    let mut manifest = app("registry", json!({"address": cluster.redis.address()}), json!([component("hello", "orders", oci(&image))]));
    manifest["spec"]["imagePullSecrets"] = json!([{"name": "registry"}]);
    namespace.apply(&manifest);

    namespace.wait_until_ready("right");
    namespace.assert_answers("right", &cluster.redis, &namespace.channel("right"));
    namespace.wait_for_reason("wrong", "RedisAuthFailed");
    namespace.wait_for_reason("url", "RedisAuthFailed");
    namespace.wait_for_reason("registry", "RegistryError");

    let objects = "spinredisapps,deployments,replicasets,pods,configmaps,events,endpointslices";
    let mut places = vec![("objects", namespace.kubectl(&["get", objects, "-o", "yaml", "--show-managed-fields"]))];
    for name in ["right", "wrong", "url", "registry"] {
        places.extend(namespace.pod_names(name).iter().map(|pod| ("a log", namespace.log(pod))));
    }
    places.push(("the operator's log", kubectl(&["logs", "-n", OPERATOR_NAMESPACE, &format!("deployment/{OPERATOR}")])));
    let pod = namespace.pod_names("right").remove(0);
    let answer = |path: &str| kubectl(&["get", "--raw", &format!("/api/v1/namespaces/{user}/pods/{pod}:8080/proxy/{path}")]);
    places.extend([("/status", answer("status")), ("/metrics", answer("metrics"))]);
    for (place, text) in &places {
        assert!(!text.is_empty(), "{place} is empty");
        // All of them begin alike.
        let found = text.lines().find(|line| {
            line.contains("canary-") && [&right, &wrong, &in_url, &of_guest, &of_registry].iter().any(|canary| line.contains(*canary))
        });
        assert!(found.is_none(), "{place}: {}", found.unwrap_or_default());
    }
    assert!(places[0].1.contains("RedisAuthFailed"), "the place where a password would be was looked at");
}
