//! What Flux and Argo CD say of a live app, in each state that a watch sees: recorded objects are judged in tests/gitops.rs.

use std::sync::Mutex;

use serde_json::{Value, json};
use spinredis_tests::{
    gitops::judge,
    guests,
    kubernetes::{Namespace, cluster, condition, hello, watch},
    wait::eventually,
};

/// Every object that a watch of an app saw until something held of it.
fn seen_until(namespace: &Namespace, what: &str, found: impl Fn(&Value) -> bool) -> Vec<Value> {
    let seen = Mutex::new(Vec::new());
    let args = ["spinredisapp", "--field-selector=metadata.name=greeter", "-n", namespace.name()];
    watch(what, &args, |objects| {
        let object = objects.get("greeter").ok_or("it is gone")?;
        seen.lock().unwrap().push(object.clone());
        if found(object) { Ok(()) } else { Err(condition(object, "Ready").to_string()) }
    });
    seen.into_inner().unwrap()
}

fn is_ready(app: &Value) -> bool {
    condition(app, "Ready")["status"] == "True"
}

/// Each object is called done exactly when it is Ready in its newest generation; gives what is said of the last.
fn assert_judged_as_its_status(objects: &[Value]) -> (String, String) {
    let verdicts = judge(objects);
    for (object, found) in objects.iter().zip(&verdicts) {
        let ready = is_ready(object) && object["metadata"]["deletionTimestamp"].is_null();
        assert_eq!(found.kstatus == "Current", ready, "{found:?}: {object}");
        assert_eq!(found.argocd == "Healthy", ready, "{found:?}: {object}");
    }
    let last = verdicts.last().unwrap();
    (last.kstatus.clone(), last.argocd.clone())
}

fn said(kstatus: &str, argocd: &str) -> (String, String) {
    (kstatus.to_owned(), argocd.to_owned())
}

#[test]
fn flux_and_argo_cd_follow_an_app_from_its_creation_to_its_deletion() {
    let namespace = Namespace::new("gitops");
    namespace.add_guest("no-handler.wat");
    let manifest = hello("greeter", &cluster().redis.address(), &namespace.channel("orders"));
    namespace.apply(&manifest);
    let objects = seen_until(&namespace, "the app is ready", is_ready);
    assert_eq!(assert_judged_as_its_status(&objects), said("Current", "Healthy"));

    let mut bad = manifest.clone();
    bad["spec"]["components"][0]["source"] = guests::source("no-handler.wat");
    namespace.apply(&bad);
    let objects = seen_until(&namespace, "the bad edit is told", |app| condition(app, "Stalled")["status"] == "True");
    assert_eq!(assert_judged_as_its_status(&objects), said("Failed", "Degraded"));
    assert_eq!(condition(objects.last().unwrap(), "Available")["status"], "True", "the old pod serves");

    namespace.apply(&manifest);
    let objects = seen_until(&namespace, "the edit is taken back", is_ready);
    assert_eq!(assert_judged_as_its_status(&objects), said("Current", "Healthy"));

    namespace.patch("greeter", &json!({"spec": {"replicas": 0}}));
    let objects = seen_until(&namespace, "the app is scaled to zero", is_ready);
    assert_eq!(assert_judged_as_its_status(&objects), said("Current", "Healthy"));

    assert_told_in_events(&namespace);
    namespace.kubectl(&["delete", "spinredisapp", "greeter", "--cascade=foreground", "--wait=false"]);
    let stopping = seen_deleted(&namespace);
    if let Some(object) = stopping {
        assert_eq!(assert_judged_as_its_status(&[object]), said("Terminating", "Progressing"));
    }
}

/// What a person finds in `kubectl describe`: each transition once, and not one event for each reconcile.
fn assert_told_in_events(namespace: &Namespace) {
    // The last one is written a moment after the status.
    let reasons = eventually("the last transition is in an event", || {
        let events = namespace.json(&["get", "events", "--field-selector=involvedObject.kind=SpinRedisApp"]);
        let reasons: Vec<String> =
            events["items"].as_array().unwrap().iter().map(|event| event["reason"].as_str().unwrap().to_owned()).collect();
        if reasons.iter().any(|reason| reason == "ScaledToZero") { Ok(reasons) } else { Err(format!("{reasons:?}")) }
    });
    let count = |reason: &str| reasons.iter().filter(|found| *found == reason).count();
    assert_eq!((count("NoHandler"), count("ScaledToZero")), (1, 1), "{reasons:?}");
    // Ready at first and after the bad edit; the beginnings of that edit, of its end, and of the scaling.
    assert!((1..=2).contains(&count("Subscribed")) && (1..=3).contains(&count("Progressing")), "{reasons:?}");
    assert_eq!(reasons.len(), count("NoHandler") + count("ScaledToZero") + count("Subscribed") + count("Progressing"), "{reasons:?}");
}

/// The app on its way out, unless it is gone already.
fn seen_deleted(namespace: &Namespace) -> Option<Value> {
    let apps = namespace.json(&["get", "spinredisapps"]);
    let app = apps["items"].as_array().unwrap().first().cloned();
    app.filter(|app| !app["metadata"]["deletionTimestamp"].is_null())
}
