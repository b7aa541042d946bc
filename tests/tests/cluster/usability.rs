//! What a person sees with nothing but kubectl.

use serde_json::json;
use spinredis_tests::kubernetes::{Namespace, cluster, hello, kubectl};

#[test]
fn kubectl_explains_every_field_that_an_app_needs() {
    cluster();
    let explained = kubectl(&["explain", "spinredisapp.spec.trigger"]);
    assert!(explained.contains("The Redis server whose channels the components subscribe to"), "{explained}");
    for field in ["address", "addressFrom", "username", "passwordFrom", "tls"] {
        assert!(explained.contains(&format!("  {field}\t<")), "{field} in: {explained}");
    }
    let explained = kubectl(&["explain", "spinredisapp.spec.components.source.oci.reference"]);
    assert!(explained.contains("Image reference"), "{explained}");
}

#[test]
fn kubectl_wait_and_get_show_how_an_app_fares_and_describe_shows_what_happened() {
    let namespace = Namespace::new("kubectl");
    let address = cluster().redis.address();
    namespace.apply(&hello("greeter", &address, &namespace.channel("orders")));
    namespace.kubectl(&["wait", "--for=condition=Ready", "sra/greeter", "--timeout=60s"]);

    let table = namespace.kubectl(&["get", "sra"]);
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "READY", "REASON", "REPLICAS", "ADDRESS", "AGE"]);
    assert_eq!(rows[1][..5], ["greeter", "True", "Subscribed", "1", &address]);
    assert!(namespace.kubectl(&["get", "spin"]).contains("greeter"), "the category");

    let described = namespace.kubectl(&["describe", "spinredisapp", "greeter"]);
    assert!(described.contains("Subscribed") && described.contains("1 of 1 replicas is subscribed to 1 channel"), "{described}");
    let events = namespace.json(&["get", "events", "--field-selector=involvedObject.kind=SpinRedisApp"]);
    let reasons: Vec<_> = events["items"].as_array().unwrap().iter().map(|event| event["reason"].clone()).collect();
    assert!(reasons.contains(&json!("Subscribed")), "{events}");
    // `kubectl logs` of the Deployment shows what handles messages, without naming a container.
    let log = namespace.kubectl(&["logs", "deployment/greeter"]);
    assert!(log.contains("ready: subscribed to"), "{log}");
}
