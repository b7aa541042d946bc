//! Passwords stay in their Secrets, whether they are right or wrong: each is planted as a canary, and then looked for in
//! everything that somebody without a right to that Secret might see.

use std::{fs, path::Path};

use serde_json::json;
use spinredis_tests::{
    guests,
    kubernetes::{Namespace, OPERATOR, OPERATOR_NAMESPACE, app, cluster, component, hello, kubectl, kubectl_with, oci, try_kubectl},
};

/// What is looked for, and what each is.
struct Canaries(Vec<(&'static str, String)>);

impl Canaries {
    /// Values that nobody else has.
    fn of(namespace: &Namespace) -> Self {
        let kinds = ["right", "wrong", "url", "guest", "variable", "registry", "store", "tls"];
        Self(kinds.map(|kind| (kind, format!("canary-{kind}-{}", namespace.name()))).into())
    }

    fn get(&self, kind: &str) -> &str {
        &self.0.iter().find(|(found, _)| *found == kind).unwrap().1
    }

    /// The line of a text in which one of them is, as it is or in base64.
    fn found_in<'a>(&self, text: &'a str) -> Option<&'a str> {
        use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
        // Base64 of a part that begins anywhere: the middle of each of the three alignments.
        let encoded: Vec<String> = self
            .0
            .iter()
            .flat_map(|(_, canary)| (0..3).map(|skip| STANDARD_NO_PAD.encode(canary.as_bytes().get(skip..).unwrap_or_default())))
            .map(|text| text[..text.len() - 4].to_owned())
            .collect();
        text.lines().find(|line| {
            self.0.iter().any(|(_, canary)| line.contains(canary.as_str())) || encoded.iter().any(|encoded| line.contains(encoded.as_str()))
        })
    }
}

/// Command lines and environments of all processes of this machine but the tests' own, which plant the canaries. Where the
/// cluster's nodes are elsewhere there is nothing of them here.
fn processes() -> String {
    let mut text = String::new();
    for process in fs::read_dir("/proc").unwrap().filter_map(Result::ok).map(|entry| entry.path()) {
        let read = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).replace('\0', " ");
        let command = read(&process.join("cmdline"));
        let is_of_the_product = command.contains("spinredis ") || command.contains("spin-redis-operator");
        if is_of_the_product && !command.contains("kubectl") {
            text += &format!("{command}\n{}\n", read(&process.join("environ")));
        }
    }
    text
}

#[test]
fn no_password_is_in_any_status_event_log_config_map_argument_or_answer() {
    let namespace = Namespace::new("canary");
    let cluster = cluster();
    let canaries = Canaries::of(&namespace);
    let (user, login) = (namespace.name(), &cluster.registries.private);
    let address = cluster.redis.address();
    cluster.redis.set_user(user, canaries.get("right"), user);
    for kind in ["right", "wrong", "guest", "variable", "store"] {
        set_secret(&namespace, kind, canaries.get(kind));
    }
    set_secret(&namespace, "url", &address.replace("redis://", &format!("redis://{user}:{}@", canaries.get("url"))));
    // No certificate at all: what is said of it must not quote it.
    set_secret(&namespace, "tls", canaries.get("tls"));
    namespace.set_pull_secret("registry", &login.host, &login.user, canaries.get("registry"));

    let secret = |name: &str| json!({"secretKeyRef": {"name": name, "key": "value"}});
    for name in ["right", "wrong"] {
        let mut manifest = hello(name, &address, &namespace.channel(name));
        manifest["spec"]["trigger"]["username"] = json!(user);
        manifest["spec"]["trigger"]["passwordFrom"] = secret(name);
        manifest["spec"]["variables"] = json!([{"name": "token", "valueFrom": secret("variable")}]);
        let store = json!({"name": "own", "connection": {"address": address, "username": user, "passwordFrom": secret("store")}});
        manifest["spec"]["keyValueStores"] = json!([store]);
        let component = &mut manifest["spec"]["components"][0];
        component["env"] = json!([{"name": "TOKEN", "valueFrom": secret("guest")}]);
        component["keyValueStores"] = json!(["own"]);
        // On a server that refuses it: what is said of that is looked at too.
        component["deadLetter"] = json!({"stream": "dead", "connection": {"addressFrom": secret("url")}});
        namespace.apply(&manifest);
    }
    let source = || guests::source("hello.wat");
    namespace.apply(&app("url", json!({"addressFrom": secret("url")}), json!([component("hello", &namespace.channel("url"), source())])));
    let tls = json!({"address": address.replace("redis://", "rediss://"), "tls": {"caFrom": secret("tls")}});
    namespace.apply(&app("tls", tls, json!([component("hello", &namespace.channel("tls"), source())])));
    let image = cluster.registries.push_private("tests/hello:v1", &guests::wasm("hello.wat")).0;
    let mut manifest = app("registry", json!({"address": address}), json!([component("hello", "orders", oci(&image))]));
    manifest["spec"]["imagePullSecrets"] = json!([{"name": "registry"}]);
    namespace.apply(&manifest);

    namespace.wait_until_ready("right");
    namespace.assert_answers("right", &cluster.redis, &namespace.channel("right"));
    namespace.wait_for_reason("wrong", "RedisAuthFailed");
    namespace.wait_for_reason("url", "RedisAuthFailed");
    namespace.wait_for_reason("tls", "RedisUnreachable");
    namespace.wait_for_reason("registry", "RegistryError");

    let apps = ["right", "wrong", "url", "tls", "registry"];
    let objects = "spinredisapps,deployments,replicasets,pods,configmaps,events,endpointslices";
    let mut places = vec![("the objects".to_owned(), namespace.kubectl(&["get", objects, "-o", "yaml", "--show-managed-fields"]))];
    places.push(("kubectl describe".to_owned(), namespace.kubectl(&["describe", "spinredisapps,deployments,pods"])));
    for pod in apps.iter().flat_map(|name| namespace.pod_names(name)) {
        places.push((format!("the log of {pod}"), namespace.log(&pod)));
    }
    places.push(("the operator's log".to_owned(), kubectl(&["logs", "-n", OPERATOR_NAMESPACE, &format!("deployment/{OPERATOR}")])));
    for name in ["right", "wrong", "url", "tls"] {
        let pod = namespace.pod_names(name).remove(0);
        for path in ["status", "metrics", "readyz", "debug/status"] {
            let answer = try_kubectl(&["get", "--raw", &format!("/api/v1/namespaces/{user}/pods/{pod}:8080/proxy/{path}")], "");
            // A pod that is not ready says so with a code that kubectl calls an error.
            places.push((format!("/{path} of {name}"), answer.unwrap_or_else(|error| error)));
        }
        for output in ["text", "json"] {
            let status = kubectl(&["exec", "-n", user, &format!("deploy/{name}"), "--", "spinredis", "status", "-o", output]);
            assert!(status.contains(&format!("{user}/{name}")), "{status}");
            places.push((format!("spinredis status of {name}"), status));
        }
    }
    let of_processes = processes();
    if !of_processes.is_empty() {
        places.push(("arguments and environments of processes".to_owned(), of_processes));
    }
    for (place, text) in &places {
        assert!(!text.is_empty(), "{place} is empty");
        assert_eq!(canaries.found_in(text), None, "{place}");
    }
    assert!(places[0].1.contains("RedisAuthFailed"), "the place where a password would be was looked at");
    let planted = namespace.kubectl(&["get", "secrets", "-o", "yaml"]);
    assert!(canaries.found_in(&planted).is_some(), "what is planted is found where it is");
}

/// Not with `apply`, which keeps a copy in an annotation.
fn set_secret(namespace: &Namespace, name: &str, value: &str) {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"value": value}});
    kubectl_with(&["create", "-n", namespace.name(), "-f", "-"], &secret.to_string());
}
