//! The API as people, pipelines and programs use it: explained, edited, applied by several at once, read and written by a
//! typed client. No pod runs here: all apps are scaled to zero.

use std::{fs, process::Command};

use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, PostParams},
    core::ApiResource,
};
use serde_json::{Value, json};
use spinredis_crds::{SpinRedisApp, manifest::Documents};
use spinredis_tests::{
    kubernetes::{Namespace, cluster, hello, kubectl, kubectl_with},
    manifests::manifests,
};

/// An app with no pods.
fn idle(name: &str) -> Value {
    let mut app = hello(name, "redis://redis.example:6379", "messages");
    app["spec"]["replicas"] = json!(0);
    app
}

#[test]
fn kubectl_explains_fields_however_deep_they_are() {
    cluster();
    for (field, words) in [
        ("pod.tolerations.tolerationSeconds", "How long a taint of effect NoExecute is tolerated"),
        (
            "pod.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution.podAffinityTerm.topologyKey",
            "such as kubernetes.io/hostname",
        ),
        ("pod.topologySpreadConstraints.labelSelector", "Default: the pods of this app"),
        ("pod.securityContext.seLinuxOptions", "SELinux labels of the processes"),
        ("prepare.resources.limits", "What the container may not exceed"),
        ("podDisruptionBudget.minAvailable", "must stay"),
        ("networkPolicy.extraEgress.to.ipBlock.cidr", "such as 10.1.0.0/16"),
    ] {
        let explained = kubectl(&["explain", &format!("spinredisapp.spec.{field}")]);
        assert!(explained.contains(words), "{field}: {explained}");
    }
}

#[test]
fn two_managers_apply_different_fields_and_both_are_kept() {
    let namespace = Namespace::new("two-managers");
    let apply = |manager: &str, spec: Value| {
        let app = json!({"apiVersion": "spinredis.dev/v1alpha1", "kind": "SpinRedisApp", "metadata": {"name": "shared"}, "spec": spec});
        let manager = format!("--field-manager={manager}");
        kubectl_with(&["apply", "--server-side", &manager, "-n", namespace.name(), "-f", "-"], &app.to_string());
    };
    let mut first = idle("shared")["spec"].clone();
    first["pod"] = json!({"labels": {"team": "a"}});
    apply("first", first.clone());
    // Another component, another toleration's neighbours, one more label: none of it is the first manager's.
    let second = json!({
        "components": [{"id": "second", "channels": ["other"], "source": {"configMap": {"name": "guests", "key": "hello.wat"}}}],
        "pod": {"labels": {"cost": "b"}, "nodeSelector": {"kubernetes.io/os": "linux"}},
        "podDisruptionBudget": {"maxUnavailable": 1},
    });
    apply("second", second.clone());
    apply("first", first);

    let app = namespace.json(&["get", "spinredisapp", "shared", "--show-managed-fields"]);
    let ids: Vec<&Value> = app["spec"]["components"].as_array().unwrap().iter().map(|component| &component["id"]).collect();
    assert_eq!(ids, ["hello", "second"]);
    assert_eq!(app["spec"]["pod"]["labels"], json!({"team": "a", "cost": "b"}));
    assert_eq!(
        (&app["spec"]["pod"]["nodeSelector"], &app["spec"]["podDisruptionBudget"]),
        (&second["pod"]["nodeSelector"], &second["podDisruptionBudget"])
    );
    let managers: Vec<&Value> = app["metadata"]["managedFields"].as_array().unwrap().iter().map(|entry| &entry["manager"]).collect();
    assert!(managers.contains(&&json!("first")) && managers.contains(&&json!("second")), "{managers:?}");

    // What one no longer applies goes, and nothing else.
    apply("second", json!({"pod": {"labels": {"cost": "b"}}}));
    let app = namespace.app("shared");
    assert_eq!(app["spec"]["components"].as_array().unwrap().len(), 1);
    assert_eq!(app["spec"]["pod"], json!({"labels": {"team": "a", "cost": "b"}}));
    assert_eq!(app["spec"]["podDisruptionBudget"], Value::Null);
}

#[test]
fn kubectl_edit_changes_what_was_edited_and_nothing_else() {
    let namespace = Namespace::new("edit");
    let mut app = idle("edited");
    app["spec"]["pod"] = json!({"tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}]});
    app["spec"]["podDisruptionBudget"] = json!({"minAvailable": "50%"});
    namespace.apply(&app);
    let before = namespace.app("edited")["spec"].clone();
    // kubectl keeps a copy of what it could not save, with the reason in a comment.
    let folder = tempfile::tempdir().unwrap();
    let edit = |editor: &str| {
        let mut command = Command::new("kubectl");
        command
            .env("KUBE_EDITOR", editor)
            .env("TMPDIR", folder.path())
            .args(["edit", "spinredisapp", "edited", "-n", namespace.name()])
            .output()
            .unwrap()
    };
    let output = edit("sed -i s/tolerationSeconds:.60/tolerationSeconds:\\ 90/");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut expected = before;
    expected["pod"]["tolerations"][0]["tolerationSeconds"] = json!(90);
    assert_eq!(namespace.app("edited")["spec"], expected);

    let refused = edit("sed -i s/NoExecute/NoSchedule/");
    assert!(!refused.status.success(), "{}", String::from_utf8_lossy(&refused.stdout));
    let kept = fs::read_dir(folder.path()).unwrap().map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect::<String>();
    // The editor changed the words of the reason, too.
    assert!(kept.contains("tolerationSeconds needs effect: NoSchedule"), "{kept}");
    assert_eq!(namespace.app("edited")["spec"], expected, "an edit that is refused changes nothing");
}

#[test]
fn the_scale_subresource_tells_and_sets_the_replicas_and_selects_the_pods() {
    let namespace = Namespace::new("scale-api");
    let mut app = idle("scaled");
    app["spec"]["delivery"] = json!("EachReplica");
    namespace.apply(&app);
    namespace.wait_until_ready("scaled");
    let path = format!("/apis/spinredis.dev/v1alpha1/namespaces/{}/spinredisapps/scaled/scale", namespace.name());
    let scale = || serde_json::from_str::<Value>(&kubectl(&["get", "--raw", &path])).unwrap();
    // A zero is left out.
    let replicas = || scale()["spec"]["replicas"].as_i64().unwrap_or_default();
    assert_eq!((replicas(), &scale()["status"]["selector"]), (0, &json!("spinredis.dev/app=scaled")));
    // As a HorizontalPodAutoscaler does it: the scale alone is written.
    let mut wanted = scale();
    wanted["spec"]["replicas"] = json!(1);
    kubectl_with(&["replace", "--raw", &path, "-f", "-"], &wanted.to_string());
    assert_eq!(namespace.app("scaled")["spec"]["replicas"], 1);
    namespace.kubectl(&["scale", "spinredisapp", "scaled", "--replicas=0"]);
    assert_eq!(replicas(), 0);
}

#[test]
fn a_typed_client_reads_and_writes_every_field_and_loses_none() {
    let namespace = Namespace::new("round-trip");
    // One of them is there already when the tests run side by side.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = Client::try_default().await.unwrap();
        let typed: Api<SpinRedisApp> = Api::namespaced(client.clone(), namespace.name());
        let untyped: Api<DynamicObject> = Api::namespaced_with(client, namespace.name(), &ApiResource::erase::<SpinRedisApp>(&()));
        for (number, file) in manifests("valid").into_iter().enumerate() {
            let mut document = Documents::parse(&fs::read_to_string(&file).unwrap()).unwrap().app;
            document["metadata"] = json!({"name": format!("app-{number}")});
            document.as_object_mut().unwrap().remove("status");
            document["spec"]["replicas"] = json!(0);
            let stored = untyped.create(&PostParams::default(), &serde_json::from_value(document).unwrap()).await.unwrap();
            let written = loop {
                let read = typed.get(&stored.name_any()).await.unwrap();
                match typed.replace(&stored.name_any(), &PostParams::default(), &read).await {
                    // The operator wrote its status in between.
                    Err(kube::Error::Api(status)) if status.code == 409 => {}
                    written => break written.unwrap(),
                }
            };
            assert_eq!(written.metadata.generation, stored.metadata.generation, "{}", file.display());
            let after = untyped.get(&stored.name_any()).await.unwrap();
            assert_eq!(after.data["spec"], stored.data["spec"], "{}", file.display());
        }
    });
}
