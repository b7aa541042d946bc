//! Each cause for which an app is not ready is in its status within ten seconds of being visible in the cluster, with what
//! happened, to what and what to do, and in an event. What the registry, Redis and references have to say is in sources.rs,
//! redis.rs and references.rs; here are those of the cluster, and how long all of them take.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use spinredis_tests::{
    guests,
    kubernetes::{Namespace, app, cluster, component, condition, hello, oci, reason_of, watch},
    wait::eventually,
};

/// From being visible in a pod or Deployment to being in the app's status.
const BOUND: Duration = Duration::from_secs(10);

/// What is seen in the cluster, and what must be told of it.
struct Cause {
    app: &'static str,
    /// Kind of the object in which it is visible: of the app's pods, or its Deployment.
    kind: &'static str,
    visible: fn(&Value) -> bool,
    reason: &'static str,
    stalled: bool,
    /// Parts of the message.
    says: Vec<String>,
}

fn waits_for(container: &Value, reasons: &[&str]) -> bool {
    container["state"]["waiting"]["reason"].as_str().is_some_and(|reason| reasons.contains(&reason))
}

fn has_ended_badly(container: &Value) -> bool {
    ["state", "lastState"].iter().any(|state| container[state]["terminated"]["exitCode"].as_i64().is_some_and(|code| code != 0))
}

fn prepare(pod: &Value) -> &Value {
    &pod["status"]["initContainerStatuses"][0]
}

fn serve(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"][0]
}

/// Waits until a cause is visible and until it is told, and checks what is told and how long that took.
fn assert_told(namespace: &Namespace, cause: &Cause) {
    let app = cause.app;
    let (visible, told, object) = std::thread::scope(|scope| {
        let visible = scope.spawn(|| {
            let label = format!("spinredis.dev/app={app}");
            watch(&format!("{app}: the cause is visible"), &[cause.kind, "-l", &label, "-n", namespace.name()], |objects| {
                let seen = objects.values().find(|object| (cause.visible)(object));
                seen.map(|_| Instant::now())
                    .ok_or_else(|| format!("{:?}", objects.values().map(|object| &object["status"]).collect::<Vec<_>>()))
            })
        });
        let object = namespace.wait_for(&format!("{app} says {}", cause.reason), "spinredisapp", app, |object| {
            if reason_of(object) == cause.reason { Ok(object.clone()) } else { Err(condition(object, "Ready").to_string()) }
        });
        let told = Instant::now();
        (visible.join().unwrap(), told, object)
    });
    let took = told.saturating_duration_since(visible);
    eprintln!("{app}: {} after {} ms", cause.reason, took.as_millis());
    assert!(took < BOUND, "{app}: {} took {took:?}", cause.reason);
    let message = condition(&object, "Ready")["message"].as_str().unwrap().to_owned();
    for part in &cause.says {
        assert!(message.contains(part.as_str()), "{app}: `{part}` is not in: {message}");
    }
    assert_eq!(condition(&object, "Stalled")["status"] == "True", cause.stalled, "{app}: {object}");
    assert_event(namespace, app, cause.reason, &message);
}

/// There is an event of a reason, and its note begins as the message does.
fn assert_event(namespace: &Namespace, app: &str, reason: &str, message: &str) {
    let selector = format!("--field-selector=involvedObject.kind=SpinRedisApp,involvedObject.name={app},reason={reason}");
    let beginning: String = message.chars().take(40).collect();
    eventually(&format!("{app} has an event {reason}"), || {
        let events = namespace.json(&["get", "events", &selector]);
        let found = events["items"]
            .as_array()
            .unwrap()
            .iter()
            .any(|event| event["type"] == "Warning" && event["message"].as_str().is_some_and(|note| note.starts_with(&beginning)));
        if found { Ok(()) } else { Err(events["items"].to_string()) }
    });
}

#[test]
fn causes_in_prepare_and_in_serve_are_told_within_ten_seconds() {
    let namespace = Namespace::new("causes");
    let cluster = cluster();
    let address = cluster.redis.address();
    namespace.add_guest("no-handler.wat");
    let prepare_failed: fn(&Value) -> bool = |pod| has_ended_badly(prepare(pod));
    let serve_runs: fn(&Value) -> bool = |pod| !serve(pod)["state"]["running"].is_null();
    let trigger = || json!({"address": address});
    let missing = format!("{}/tests/{}:v1", cluster.registries.open, namespace.name());

    let mut no_key = hello("no-key", &address, &namespace.channel("no-key"));
    no_key["spec"]["components"][0]["source"]["configMap"]["key"] = json!("no-such.wat");
    let mut no_map = hello("no-map", &address, &namespace.channel("no-map"));
    no_map["spec"]["components"][0]["source"]["configMap"]["name"] = json!("no-such-map");
    let mut no_handler = hello("no-handler", &address, &namespace.channel("no-handler"));
    no_handler["spec"]["components"][0]["source"] = guests::source("no-handler.wat");
    let nowhere = "redis://no-such-redis:6379";
    let mut too_big = hello("too-big", &address, &namespace.channel("too-big"));
    too_big["spec"]["resources"] = json!({"requests": {"cpu": "1k"}});
    for manifest in [
        app("no-image", trigger(), json!([component("hello", &namespace.channel("no-image"), oci(&missing))])),
        no_key,
        no_map,
        no_handler,
        hello("no-redis", nowhere, "orders"),
        hello("refused", &address.replace(":6379", ":6380"), "orders"),
        too_big,
    ] {
        namespace.apply(&manifest);
    }
    let cause = |app, visible, reason, stalled, says: &[&str]| Cause {
        app,
        kind: "pods",
        visible,
        reason,
        stalled,
        says: says.iter().map(|part| (*part).to_owned()).collect(),
    };
    let causes = [
        cause("no-image", prepare_failed, "RegistryError", false, &[&missing, "component hello"]),
        cause("no-key", prepare_failed, "MissingReference", false, &["key no-such.wat of ConfigMap guests", "create it"]),
        cause("no-map", prepare_failed, "MissingReference", false, &["ConfigMap no-such-map"]),
        cause("no-handler", prepare_failed, "NoHandler", true, &["component hello"]),
        cause("no-redis", serve_runs, "RedisUnreachable", false, &[nowhere]),
        cause("refused", serve_runs, "RedisUnreachable", false, &[":6380"]),
        cause(
            "too-big",
            |pod| pod["status"]["conditions"].as_array().into_iter().flatten().any(|condition| condition["reason"] == "Unschedulable"),
            "Unschedulable",
            false,
            &["cpu", "spec.resources"],
        ),
    ];
    // All are watched from now on, side by side: none of them waits for another.
    std::thread::scope(|scope| {
        let watches: Vec<_> = causes.iter().map(|cause| scope.spawn(|| assert_told(&namespace, cause))).collect();
        for watch in watches {
            watch.join().unwrap();
        }
    });
}

#[test]
fn a_quota_that_refuses_the_pods_is_named_and_its_end_is_enough() {
    let namespace = Namespace::new("quota");
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}, "spec": {"hard": {"pods": "0"}}});
    namespace.apply(&quota);
    namespace.wait_for("the quota is in force", "resourcequota", "small", |quota| {
        if quota["status"]["hard"]["pods"] == "0" { Ok(()) } else { Err(quota["status"].to_string()) }
    });
    namespace.apply(&hello("greeter", &cluster().redis.address(), &namespace.channel("orders")));
    assert_told(
        &namespace,
        &Cause {
            app: "greeter",
            kind: "deployments",
            visible: |deployment| {
                let mut conditions = deployment["status"]["conditions"].as_array().into_iter().flatten();
                conditions.any(|condition| condition["type"] == "ReplicaFailure" && condition["status"] == "True")
            },
            reason: "PodRejected",
            stalled: true,
            says: ["exceeded quota: small", "the cluster refuses the pods"].map(str::to_owned).into(),
        },
    );
    namespace.kubectl(&["delete", "resourcequota", "small"]);
    // The Deployment controller tries again with backoff; a change makes it try at once.
    namespace.patch("greeter", &json!({"spec": {"pod": {"labels": {"example.com/again": "yes"}}}}));
    namespace.wait_until_ready("greeter");
}

#[test]
fn a_prepare_that_runs_out_of_memory_says_which_limit_to_raise() {
    let namespace = Namespace::new("prepare-memory");
    let cluster = cluster();
    // Compiling CPython takes several times as much.
    let (reference, _) = cluster.registries.push("tests/python:memory", &guests::built("python"));
    let components = json!([component("python", &namespace.channel("orders"), oci(&reference))]);
    let mut app = app("greeter", json!({"address": cluster.redis.address()}), components);
    app["spec"]["prepare"] = json!({"resources": {"limits": {"memory": "64Mi"}}});
    namespace.apply(&app);
    assert_told(
        &namespace,
        &Cause {
            app: "greeter",
            kind: "pods",
            visible: |pod| ["state", "lastState"].iter().any(|state| prepare(pod)[state]["terminated"]["reason"] == "OOMKilled"),
            reason: "PrepareFailed",
            stalled: false,
            says: ["want of memory", "raise spec.prepare.resources.limits.memory"].map(str::to_owned).into(),
        },
    );
    namespace.patch("greeter", &json!({"spec": {"prepare": null}}));
    namespace.wait_until_ready("greeter");
}

#[test]
fn a_runtime_whose_image_cannot_be_pulled_or_that_keeps_ending_is_told() {
    let namespace = Namespace::new("runtime-failed");
    let cluster = cluster();
    // What a pod says is the same whether the image was wrong from the beginning or is so now, which needs no second operator.
    let missing = format!("{}/tests/no-such-runtime:v1", cluster.registries.open);
    let another = cluster.registries.image("spin-redis-operator");
    for name in ["not-pulled", "crashing"] {
        namespace.apply(&hello(name, &cluster.redis.address(), &namespace.channel(name)));
    }
    let cause = |app, visible, reason, says: Vec<String>| Cause { app, kind: "pods", visible, reason, stalled: false, says };
    for (image, cause) in [
        (
            &missing,
            cause(
                "not-pulled",
                |pod| waits_for(serve(pod), &["ErrImagePull", "ImagePullBackOff"]),
                "ImagePullFailed",
                vec![missing.clone(), "the image of the runtime".to_owned(), "check the runtime image".to_owned()],
            ),
        ),
        // It does not know the arguments of the runtime, and ends at once.
        (
            &another,
            cause(
                "crashing",
                |pod| serve(pod)["state"]["running"].is_null() && serve(pod)["lastState"]["terminated"]["exitCode"] == 2,
                "RuntimeFailed",
                vec!["ended with exit code 2".to_owned()],
            ),
        ),
    ] {
        namespace.wait_until_ready(cause.app);
        let pod = namespace.pod_names(cause.app).remove(0);
        namespace.kubectl(&["set", "image", &format!("pod/{pod}"), &format!("serve={image}")]);
        assert_told(&namespace, &cause);
        let app = namespace.app(cause.app);
        assert_eq!(condition(&app, "Available")["status"], "False", "{app}");
    }
}

#[test]
fn two_replicas_that_fail_for_two_causes_are_both_told() {
    let namespace = Namespace::new("two-causes");
    let cluster = cluster();
    let mut manifest = hello("greeter", &cluster.redis.address(), &namespace.channel("orders"));
    manifest["spec"]["delivery"] = json!("EachReplica");
    manifest["spec"]["replicas"] = json!(2);
    namespace.apply(&manifest);
    namespace.wait_until_ready("greeter");
    let pods = namespace.pod_names("greeter");
    let missing = format!("{}/tests/no-such-runtime:v1", cluster.registries.open);
    for (pod, image) in pods.iter().zip([&missing, &cluster.registries.image("spin-redis-operator")]) {
        namespace.kubectl(&["set", "image", &format!("pod/{pod}"), &format!("serve={image}")]);
    }
    namespace.wait_for("both causes are told", "spinredisapp", "greeter", |app| {
        let ready = condition(app, "Ready");
        let said = format!("{}: {}", ready["reason"].as_str().unwrap_or_default(), ready["message"].as_str().unwrap_or_default());
        let both = said.contains("ImagePullFailed") || said.contains("cannot be pulled");
        if both && said.contains("ended with exit code 2") && said.contains("another pod") { Ok(()) } else { Err(said) }
    });
}
