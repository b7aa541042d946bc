//! What Flux (kstatus) and Argo CD (the chart's health.lua) say of apps in every phase of their lives. The objects are recorded
//! from the operator's own computation, see operator/tests/objects.rs.

use std::{collections::BTreeMap, fs};

use serde_json::{Value, json};
use spinredis_tests::{
    gitops::{Verdict, judge},
    guests::repository,
    kubernetes::condition,
};

/// Each recorded object with what kstatus and Argo CD must say of it.
const EXPECTED: [(&str, &str, &str); 19] = [
    ("new", "InProgress", "Progressing"),
    // Never stored like that, since the CRD has a default; nothing to fail on either.
    ("without-status", "Current", "Progressing"),
    ("reconciling", "InProgress", "Progressing"),
    ("ready", "Current", "Healthy"),
    ("edited", "InProgress", "Progressing"),
    ("rolling-out", "InProgress", "Progressing"),
    ("bad-edit-waiting", "InProgress", "Progressing"),
    ("bad-edit-stalled", "Failed", "Degraded"),
    ("stalled", "Failed", "Degraded"),
    ("no-progress", "Failed", "Degraded"),
    ("missing-reference", "InProgress", "Progressing"),
    ("unschedulable", "InProgress", "Progressing"),
    ("unreadable", "Failed", "Degraded"),
    ("redis-not-yet-there", "InProgress", "Progressing"),
    ("redis-lost", "InProgress", "Degraded"),
    ("wrong-password", "InProgress", "Degraded"),
    ("scaling-to-zero", "InProgress", "Progressing"),
    ("scaled-to-zero", "Current", "Healthy"),
    ("being-deleted", "Terminating", "Progressing"),
];

/// The recorded objects by their names.
fn recorded() -> BTreeMap<String, Value> {
    let folder = repository().join("operator/fixtures/objects");
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap())
        })
        .collect()
}

fn verdicts() -> BTreeMap<String, (Value, Verdict)> {
    let objects = recorded();
    let verdicts = judge(&objects.values().cloned().collect::<Vec<_>>());
    objects.into_iter().zip(verdicts).map(|((name, object), verdict)| (name, (object, verdict))).collect()
}

#[test]
fn flux_and_argo_cd_say_of_every_phase_what_a_person_would() {
    let verdicts = verdicts();
    let found: BTreeMap<&str, (&str, &str)> =
        verdicts.iter().map(|(name, (_, found))| (name.as_str(), (found.kstatus.as_str(), found.argocd.as_str()))).collect();
    let expected: BTreeMap<&str, (&str, &str)> = EXPECTED.into_iter().map(|(name, kstatus, argocd)| (name, (kstatus, argocd))).collect();
    assert_eq!(found, expected);
    let message = |name: &str| verdicts[name].1.message.as_str();
    assert!(message("scaled-to-zero").contains("scaled to zero"), "{}", message("scaled-to-zero"));
    assert!(message("wrong-password").starts_with("RedisAuthFailed: "), "{}", message("wrong-password"));
    assert!(message("stalled").starts_with("NoHandler: "), "{}", message("stalled"));
}

#[test]
fn an_app_is_current_and_healthy_exactly_when_it_is_ready_in_that_generation() {
    for (name, (object, found)) in verdicts() {
        let ready = condition(&object, "Ready")["status"] == "True" && object["metadata"]["deletionTimestamp"].is_null();
        assert_eq!(found.argocd == "Healthy", ready, "{name}: {found:?}");
        if !object["status"].is_null() {
            assert_eq!(found.kstatus == "Current", ready, "{name}: {found:?}");
        }
    }
}

#[test]
fn a_status_that_makes_no_sense_is_no_error_of_the_health_check() {
    let app = |status: Value| {
        json!({
            "apiVersion": "spinredis.dev/v1alpha1", "kind": "SpinRedisApp",
            "metadata": {"name": "greeter", "generation": 4}, "spec": {}, "status": status,
        })
    };
    let with = |conditions: Value| app(json!({"observedGeneration": 4, "conditions": conditions}));
    let objects = [
        app(json!({})),
        app(json!({"observedGeneration": 4})),
        with(json!([])),
        with(json!([{"type": "Available", "status": "True"}])),
        with(json!([{"type": "Ready"}])),
        with(json!([{"type": "Ready", "status": "False", "reason": "ReasonOfAVersionToCome", "message": "…"}])),
    ];
    for (object, found) in objects.iter().zip(judge(&objects)) {
        assert_eq!(found.argocd, "Progressing", "{object}");
    }
}
