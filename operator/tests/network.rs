//! What the NetworkPolicy of an app allows, and where it says that this is more than the app names.
#![allow(clippy::unwrap_used, missing_docs)]

use serde::Deserialize;
use serde_json::{Value, json};
use spin_redis_operator::{
    reconcile::{
        build::network::{self, policy},
        dereference::{Known, ServiceName, Services},
        validate::validate,
    },
    settings::Settings,
};
use spinredis_crds::SpinRedisApp;

fn settings() -> Settings {
    Settings {
        runtime_image: "runtime:v1".to_owned(),
        runtime_image_pull_policy: None,
        plain_http_registries: vec!["registry.local".to_owned()],
        registries: Default::default(),
        image_policy: Default::default(),
        max_unfinished_apps: 5,
        runtime_environment: [("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), "http://10.9.9.9:4318/v1".to_owned())].into(),
    }
}

/// An app on a Redis server with an IP address, changed as a test wants.
fn app(change: impl FnOnce(&mut Value)) -> SpinRedisApp {
    let mut document = json!({
        "apiVersion": "spinredis.dev/v1alpha1",
        "kind": "SpinRedisApp",
        "metadata": {"name": "a", "namespace": "shop", "uid": "u"},
        "spec": {
            "networkPolicy": {},
            "trigger": {"address": "redis://10.0.0.1:7000"},
            "components": [{"id": "c", "channels": ["x"], "source": {"configMap": {"name": "guests", "key": "a.wasm"}}}],
        },
    });
    change(&mut document["spec"]);
    SpinRedisApp::deserialize(document).unwrap()
}

fn with_hosts(hosts: &[&str]) -> SpinRedisApp {
    app(|spec| spec["components"][0]["allowedOutboundHosts"] = json!(hosts))
}

/// The rules beyond those that every app here has (DNS, Redis and the collector of traces), and what was widened.
fn built(app: &SpinRedisApp, services: &Services) -> (Vec<Value>, Vec<String>) {
    let (policy, widened) = policy(&validate(app).unwrap(), services, &settings()).unwrap();
    let rules: Vec<Value> = policy.spec.unwrap().egress.unwrap().into_iter().map(|rule| json!(rule)).collect();
    let of_every_app = [
        json!({"ports": [
            {"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"},
            {"port": 5353, "protocol": "UDP"}, {"port": 5353, "protocol": "TCP"},
            {"port": 8053, "protocol": "UDP"}, {"port": 8053, "protocol": "TCP"},
        ]}),
        to_network("10.0.0.1/32", 7000),
        to_network("10.9.9.9/32", 4318),
    ];
    (rules.into_iter().filter(|rule| !of_every_app.contains(rule)).collect(), widened)
}

fn to_network(cidr: &str, port: u16) -> Value {
    json!({"to": [{"ipBlock": {"cidr": cidr}}], "ports": [{"port": port, "protocol": "TCP"}]})
}

fn to_anywhere(port: u16) -> Value {
    json!({"ports": [{"port": port, "protocol": "TCP"}]})
}

fn to_pods(ports: Value) -> Value {
    let namespace = json!({"matchLabels": {"kubernetes.io/metadata.name": "data"}});
    json!({"to": [{"namespaceSelector": namespace, "podSelector": {"matchLabels": {"app": "redis"}}}], "ports": ports})
}

fn services(spec: Value) -> Services {
    let name = ServiceName { namespace: "data".to_owned(), name: "redis".to_owned() };
    [(name, Known::There(Box::new(Deserialize::deserialize(spec).unwrap())))].into()
}

fn on_a_service() -> SpinRedisApp {
    with_hosts(&["redis://redis.data.svc:6379"])
}

fn assert_widened(widened: &[String], parts: &[&str]) {
    assert_eq!(widened.len(), 1, "{widened:?}");
    assert!(parts.iter().all(|part| widened[0].contains(part)), "{widened:?}");
}

#[test]
fn an_app_that_asks_for_no_policy_has_none_and_needs_no_service() {
    for change in [Value::Null, json!({"enabled": false})] {
        let app = app(|spec| {
            spec["networkPolicy"] = change;
            spec["trigger"]["address"] = json!("redis://redis.data.svc");
        });
        assert_eq!(policy(&validate(&app).unwrap(), &Services::new(), &settings()), None);
        assert!(network::services(&app, &settings()).is_empty());
    }
}

#[test]
fn the_policy_is_for_the_pods_of_the_app_and_lets_in_to_the_health_port_only() {
    let (policy, widened) = policy(&validate(&app(|_| {})).unwrap(), &Services::new(), &settings()).unwrap();
    assert_eq!(widened, [""; 0]);
    let spec = json!(policy.spec.unwrap());
    assert_eq!(spec["podSelector"], json!({"matchLabels": {"spinredis.dev/app": "a"}}));
    assert_eq!(spec["policyTypes"], json!(["Ingress", "Egress"]));
    assert_eq!(spec["ingress"], json!([{"ports": [{"port": 8080, "protocol": "TCP"}]}]));
    assert_eq!(spec["egress"].as_array().unwrap().len(), 3, "DNS, Redis and the collector of traces: {spec}");
}

#[test]
fn addresses_and_networks_are_exact() {
    let (rules, widened) =
        built(&with_hosts(&["https://10.1.2.3", "*://10.2.0.0/16:8000..8010", "udp://[fd00::1]:53", "redis://self"]), &Services::new());
    let range = |protocol: &str| json!({"port": 8000, "endPort": 8009, "protocol": protocol});
    let expected = [
        to_network("10.1.2.3/32", 443),
        json!({"to": [{"ipBlock": {"cidr": "10.2.0.0/16"}}], "ports": [range("TCP"), range("UDP")]}),
        json!({"to": [{"ipBlock": {"cidr": "fd00::1/128"}}], "ports": [{"port": 53, "protocol": "UDP"}]}),
    ];
    assert_eq!((rules, widened.as_slice()), (expected.to_vec(), [].as_slice()));
}

#[test]
fn a_star_is_as_wide_as_it_says_and_a_name_only_by_its_port() {
    let (rules, widened) = built(&with_hosts(&["https://*"]), &Services::new());
    assert_eq!((rules, widened), (vec![to_anywhere(443)], vec![]));
    let (rules, widened) = built(&with_hosts(&["*://*:*"]), &Services::new());
    assert_eq!((rules, widened), (vec![json!({})], vec![]));
    for host in ["https://api.example.com", "https://*.example.com"] {
        let (rules, widened) = built(&with_hosts(&[host]), &Services::new());
        assert_eq!(rules, [to_anywhere(443)]);
        assert_widened(&widened, &["spec.components[0].allowedOutboundHosts[0]", host, "every address is allowed at port 443"]);
    }
}

#[test]
fn a_service_is_its_own_addresses_and_its_pods_at_their_ports() {
    let spec = json!({
        "clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7", "fd00::7"], "selector": {"app": "redis"},
        "ports": [{"port": 6379, "targetPort": "redis"}, {"port": 6379, "protocol": "UDP", "targetPort": 1}, {"port": 9121, "targetPort": 9121}],
    });
    let (rules, widened) = built(&on_a_service(), &services(spec));
    let blocks = json!([{"ipBlock": {"cidr": "10.96.0.7/32"}}, {"ipBlock": {"cidr": "fd00::7/128"}}]);
    let expected =
        [json!({"to": blocks, "ports": [{"port": 6379, "protocol": "TCP"}]}), to_pods(json!([{"port": "redis", "protocol": "TCP"}]))];
    assert_eq!((rules, widened.as_slice()), (expected.to_vec(), [].as_slice()));
}

#[test]
fn a_headless_service_is_its_pods_at_the_port_that_is_asked_for() {
    let spec = json!({"clusterIP": "None", "clusterIPs": ["None"], "selector": {"app": "redis"}, "ports": [{"port": 1, "targetPort": 2}]});
    let (rules, widened) = built(&on_a_service(), &services(spec));
    assert_eq!((rules, widened), (vec![to_pods(json!([{"port": 6379, "protocol": "TCP"}]))], vec![]));
}

#[test]
fn a_service_that_cannot_be_said_in_pods_is_widened_to_its_port() {
    let name = ServiceName { namespace: "data".to_owned(), name: "redis".to_owned() };
    for (services, why) in [
        (services(json!({"type": "ExternalName", "externalName": "redis.example.com"})), "outside the cluster"),
        (services(json!({"clusterIP": "None", "ports": [{"port": 6379}]})), "selects no pods"),
        ([(name.clone(), Known::Missing)].into(), "does not exist"),
        ([(name, Known::Forbidden)].into(), "may not read"),
        (Services::new(), "may not read"),
    ] {
        let (rules, widened) = built(&on_a_service(), &services);
        assert_eq!(rules, [to_anywhere(6379)], "{why}");
        assert_widened(&widened, &["Service redis.data.svc", why, "port 6379"]);
    }
}

#[test]
fn stores_and_dead_letters_are_destinations_and_an_address_from_a_secret_is_any_at_the_port_of_redis() {
    let app = app(|spec| {
        spec["keyValueStores"] = json!([{"name": "s", "connection": {"address": "redis://10.0.0.2"}}]);
        let address = json!({"addressFrom": {"secretKeyRef": {"name": "r", "key": "url"}}});
        spec["components"][0]["deadLetter"] = json!({"stream": "d", "connection": address});
    });
    let (rules, widened) = built(&app, &Services::new());
    assert_eq!(rules, [to_network("10.0.0.2/32", 6379), to_anywhere(6379)]);
    assert_widened(&widened, &["spec.components[0].deadLetter.connection.addressFrom", "extraEgress", "port 6379"]);
}

#[test]
fn variables_of_the_manifest_are_read_and_those_of_secrets_are_not() {
    let variables =
        json!([{"name": "ip", "value": "10.0.0.3"}, {"name": "secret", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]);
    let of = |host: &str| {
        let mut app = with_hosts(&[host]);
        app.spec.variables = Deserialize::deserialize(&variables).unwrap();
        built(&app, &Services::new())
    };
    assert_eq!(of("https://{{ ip }}"), (vec![to_network("10.0.0.3/32", 443)], vec![]));
    let (rules, widened) = of("https://{{ secret }}.data.svc:8443");
    assert_eq!(rules, [to_anywhere(8443)]);
    assert_widened(&widened, &["{{ secret }}", "does not read it", "port 8443"]);
    let (rules, widened) = of("{{ secret }}");
    assert_eq!(rules, [json!({})]);
    assert_widened(&widened, &["every address is allowed at every port"]);
}

#[test]
fn registries_are_destinations_unless_the_app_says_no() {
    let of = |reference: &str, allow: bool| {
        let app = app(|spec| {
            spec["networkPolicy"] = json!({"allowRegistry": allow});
            spec["components"][0]["source"] = json!({"oci": {"reference": reference}});
        });
        built(&app, &Services::new())
    };
    for (reference, rule) in [
        ("ghcr.io/acme/a:v1", to_anywhere(443)),
        ("acme/a:v1", to_anywhere(443)),
        ("registry.local/a:v1", to_anywhere(80)),
        ("registry.example.com:5000/a:v1", to_anywhere(5000)),
        ("10.0.0.9:5000/a:v1", to_network("10.0.0.9/32", 5000)),
    ] {
        assert_eq!(of(reference, true).0, [rule], "{reference}");
        assert_eq!(of(reference, false), (vec![], vec![]));
    }
    assert_widened(&of("ghcr.io/acme/a:v1", true).1, &["spec.components[0].source.oci (registry ghcr.io)", "port 443"]);
}

#[test]
fn a_whole_spin_app_may_connect_anywhere_since_its_hosts_are_not_known() {
    let app = app(|spec| {
        spec["application"] = json!({"oci": {"reference": "10.0.0.9:5000/shop:v1"}});
        spec["components"] = json!([]);
    });
    let (rules, widened) = built(&app, &Services::new());
    assert!(rules.contains(&json!({})), "{rules:?}");
    assert_widened(&widened, &["spec.application (10.0.0.9:5000/shop:v1)", "every address is allowed at every port"]);
}

#[test]
fn rules_of_the_app_itself_are_added_as_the_api_server_will_store_them() {
    let extra = json!([{"ports": [{"port": 5432}], "to": [{"podSelector": {"matchLabels": {"app": "db"}}}]}]);
    let (rules, _) = built(&app(|spec| spec["networkPolicy"] = json!({"extraEgress": extra})), &Services::new());
    assert_eq!(rules[0]["ports"], json!([{"port": 5432, "protocol": "TCP"}]));
    assert_eq!(rules[0]["to"], extra[0]["to"]);
}
