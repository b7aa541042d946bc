//! Each app in fixtures/ is checked and built as the operator does it, and compared with the children written beside it.
//! `UPDATE_FIXTURES=1 cargo test -p spin-redis-operator` writes them anew; the difference is for a person to read.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::{collections::BTreeSet, fs, path::PathBuf};

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Container, PodSpec, PodTemplateSpec, Volume},
};
use serde::Deserialize;
use serde_json::{Value, json};
use spin_redis_operator::{
    reconcile::{
        build::{Children, children, pins_key},
        dereference::Services,
        validate::validate,
    },
    settings::{PullPolicy, Settings},
};
use spinredis_crds::{
    GROUP_KEY_VARIABLE, SpinRedisApp,
    registries::{RegistrySetting, RegistrySettings},
};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

fn app(name: &str) -> SpinRedisApp {
    changed(name, |_| {})
}

fn changed(name: &str, change: impl FnOnce(&mut Value)) -> SpinRedisApp {
    let mut document: Value = serde_saphyr::from_str(&fs::read_to_string(fixture(name)).unwrap()).unwrap();
    change(&mut document);
    SpinRedisApp::deserialize(document).unwrap()
}

fn settings() -> Settings {
    Settings {
        runtime_image: "ghcr.io/acme/spinredis-runtime:v0.1.0".to_owned(),
        runtime_image_pull_policy: Some(PullPolicy::IfNotPresent),
        plain_http_registries: vec!["registry.local:5000".to_owned()],
        runtime_environment: [("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), "http://collector:4318".to_owned())].into(),
        ..Settings::default()
    }
}

fn built(app: &SpinRedisApp) -> Children {
    children(&validate(app).unwrap(), Some("0123456789"), &Services::new(), &settings())
}

fn template(deployment: &Deployment) -> PodTemplateSpec {
    deployment.spec.clone().unwrap().template
}

fn pod(children: &Children) -> PodSpec {
    template(&children.deployment).spec.unwrap()
}

fn containers(pod: &PodSpec) -> Vec<Container> {
    pod.init_containers.iter().flatten().chain(&pod.containers).cloned().collect()
}

fn volume(pod: &PodSpec, name: &str) -> Option<Volume> {
    pod.volumes.iter().flatten().find(|volume| volume.name == name).cloned()
}

fn compare_with_fixture(name: &str, sources: Option<&str>) {
    let children = children(&validate(&app(&format!("{name}.yaml"))).unwrap(), sources, &Services::new(), &settings());
    let mut objects = vec![json!(children.config_map), json!(children.deployment)];
    objects.extend(children.pod_disruption_budget.map(|budget| json!(budget)));
    objects.extend(children.network_policy.map(|policy| json!(policy)));
    let found = objects.iter().map(|object| serde_saphyr::to_string(object).unwrap()).collect::<Vec<_>>().join("---\n");
    let path = fixture(&format!("{name}.children.yaml"));
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        fs::write(&path, &found).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{} is not what is built now; read the difference after UPDATE_FIXTURES=1:\n{found}", path.display());
}

#[test]
fn the_smallest_app_is_built_as_written_down() {
    compare_with_fixture("smallest", None);
}

#[test]
fn an_app_with_everything_is_built_as_written_down() {
    compare_with_fixture("everything", Some("0123456789"));
}

#[test]
fn a_whole_spin_app_is_built_as_written_down() {
    compare_with_fixture("application", None);
}

#[test]
fn an_app_with_variables_and_stores_is_built_as_written_down() {
    compare_with_fixture("stores", None);
}

#[test]
fn an_app_with_every_field_of_pods_and_policies_is_built_as_written_down() {
    compare_with_fixture("pods", None);
}

#[test]
fn an_app_whose_replicas_share_messages_is_built_as_written_down() {
    compare_with_fixture("shared", None);
}

/// The values of the environment variables of the containers with this name.
fn values(pod: &PodSpec, variable: &str) -> Vec<(String, Option<String>)> {
    let of_container = |container: Container| container.env.into_iter().flatten().map(move |env| (container.name.clone(), env));
    containers(pod)
        .into_iter()
        .flat_map(of_container)
        .filter(|(_, env)| env.name == variable)
        .map(|(name, env)| (name, env.value))
        .collect()
}

#[test]
fn replicas_that_share_messages_sign_with_the_identity_of_their_app_and_others_sign_nothing() {
    let uid = || vec![("serve".to_owned(), Some("11111111-1111-1111-1111-111111111111".to_owned()))];
    for (replicas, delivery, expected) in [
        (1, Value::Null, Vec::new()),
        (3, json!("EachReplica"), Vec::new()),
        (0, json!("Shared"), uid()),
        (1, json!("Shared"), uid()),
        (3, json!("Shared"), uid()),
        (2, Value::Null, uid()),
    ] {
        let app = changed("smallest.yaml", |app| {
            app["spec"]["replicas"] = json!(replicas);
            app["spec"]["delivery"] = delivery.clone();
        });
        assert_eq!(values(&pod(&built(&app)), GROUP_KEY_VARIABLE), expected, "{replicas} {delivery}");
    }
}

#[test]
fn scaling_an_app_that_says_how_its_replicas_share_changes_no_pod_template_and_no_manifest() {
    let of = |replicas: i32| {
        built(&changed("smallest.yaml", |app| {
            app["spec"]["delivery"] = json!("Shared");
            app["spec"]["replicas"] = json!(replicas);
        }))
    };
    let before = of(1);
    for replicas in [0, 2, 7] {
        let after = of(replicas);
        assert_eq!(template(&before.deployment), template(&after.deployment), "{replicas}");
        assert_eq!(before.config_map, after.config_map, "{replicas}");
    }
}

#[test]
fn an_app_that_leaves_delivery_open_gets_other_pods_when_it_comes_to_have_several_and_runs_the_same_bytes() {
    let of = |replicas: i32| changed("smallest.yaml", |app| app["spec"]["replicas"] = json!(replicas));
    let [one, two, three] = [1, 2, 3].map(|replicas| built(&of(replicas)));
    assert_ne!(template(&one.deployment), template(&two.deployment));
    assert_ne!(one.config_map.metadata.name, two.config_map.metadata.name);
    assert_eq!(template(&two.deployment), template(&three.deployment));
    let asked = |children: &Children| children.deployment.metadata.annotations.clone();
    assert_ne!(asked(&one), asked(&two), "whoever scales it rolls it, and waits for no other app");
    assert_eq!(asked(&two), asked(&three));
    let [one, two] = [1, 2].map(|replicas| pins_key(&validate(&of(replicas)).unwrap()));
    assert!(one.is_some() && one == two, "tags stay what they were");
}

#[test]
fn keys_of_variables_and_of_stores_are_mounted() {
    let pod = pod(&built(&app("stores.yaml")));
    let sources = volume(&pod, "refs").unwrap().projected.unwrap().sources.unwrap();
    let paths = |items: Option<Vec<_>>| items.unwrap().into_iter().map(|item: k8s_openapi::api::core::v1::KeyToPath| item.path);
    let paths: Vec<String> = sources
        .into_iter()
        .flat_map(|source| paths(source.secret.and_then(|secret| secret.items).or(source.config_map.and_then(|map| map.items))))
        .collect();
    let wanted = [
        "configmap/cache-ca/ca.crt",
        "configmap/settings/limit",
        "secret/api/token",
        "secret/archive/url",
        "secret/cache/password",
        "secret/cache-client/tls.crt",
        "secret/cache-client/tls.key",
    ];
    assert_eq!(paths, wanted);
}

#[test]
fn keys_of_the_server_of_dead_letters_are_mounted() {
    let letters = json!({"stream": "dead", "connection": {"addressFrom": {"secretKeyRef": {"name": "letters", "key": "url"}}}});
    let pod = pod(&built(&changed("smallest.yaml", |app| app["spec"]["components"][0]["deadLetter"] = letters)));
    let sources = volume(&pod, "refs").unwrap().projected.unwrap().sources.unwrap();
    let items = sources.into_iter().filter_map(|source| source.secret?.items).flatten();
    assert!(items.map(|item| item.path).any(|path| path == "secret/letters/url"));
}

#[test]
fn a_stopping_pod_has_the_drain_of_the_app_and_ten_seconds_more() {
    for (drain, seconds) in [(None, 40), (Some("0s"), 10), (Some("1ms"), 11), (Some("1m30s"), 100), (Some("1h"), 3610)] {
        let app = changed("smallest.yaml", |app| {
            if let Some(drain) = drain {
                app["spec"]["drain"] = json!(drain);
            }
        });
        assert_eq!(pod(&built(&app)).termination_grace_period_seconds, Some(seconds), "{drain:?}");
    }
}

#[test]
fn a_stopping_pod_that_shares_messages_has_the_time_until_the_others_see_that_it_leaves_too() {
    for (drain, sharing, seconds) in [
        ("30s", Value::Null, 41),
        ("0s", json!({"expiry": "1m"}), 70),
        ("500ms", json!({"expiry": "300ms"}), 11),
        ("500ms", json!({"expiry": "501ms"}), 12),
        ("1s", json!({"beat": "5s"}), 36),
    ] {
        let app = changed("smallest.yaml", |app| {
            app["spec"]["delivery"] = json!("Shared");
            app["spec"]["drain"] = json!(drain);
            app["spec"]["sharing"] = sharing.clone();
        });
        assert_eq!(pod(&built(&app)).termination_grace_period_seconds, Some(seconds), "{drain} {sharing}");
    }
}

#[test]
fn settings_of_dispatch_reach_the_runtime_and_roll_the_pods() {
    let before = built(&app("smallest.yaml"));
    for (path, value) in [
        ("/spec/components/0", ("queue", json!({"maxBytes": "1Mi"}))),
        ("/spec/trigger", ("maxMessageBytes", json!("1Mi"))),
        ("/spec", ("drain", json!("1m"))),
        ("/spec", ("delivery", json!("Shared"))),
    ] {
        let after = built(&changed("smallest.yaml", |app| app.pointer_mut(path).unwrap()[value.0] = value.1.clone()));
        assert!(json!(after.config_map).to_string().contains(value.0), "{path}");
        assert_ne!(before.config_map.metadata.name, after.config_map.metadata.name, "{path}");
        assert_ne!(template(&before.deployment), template(&after.deployment), "{path}");
    }
}

#[test]
fn prepare_of_a_whole_spin_app_gets_the_pull_secrets() {
    let pod = pod(&built(&app("application.yaml")));
    let prepare = containers(&pod).into_iter().find(|container| container.name == "prepare").unwrap();
    assert!(prepare.volume_mounts.unwrap().iter().any(|mount| mount.name == "pull-secrets"));
}

#[test]
fn scaling_labels_and_annotations_of_the_app_change_no_pod_template_and_no_manifest() {
    let before = built(&app("everything.yaml"));
    let after = built(&changed("everything.yaml", |app| {
        app["spec"]["replicas"] = json!(7);
        app["metadata"]["labels"] = json!({"team": "other"});
        app["metadata"]["annotations"] = json!({"a": "b"});
        app["metadata"]["generation"] = json!(9);
        app["metadata"]["resourceVersion"] = json!("77");
    }));
    assert_eq!(template(&before.deployment), template(&after.deployment));
    assert_eq!(before.config_map, after.config_map);
    assert_ne!(before.deployment.spec.unwrap().replicas, after.deployment.spec.unwrap().replicas);
}

#[test]
fn a_changed_channel_makes_another_manifest_and_another_template() {
    let before = built(&app("smallest.yaml"));
    let after = built(&changed("smallest.yaml", |app| app["spec"]["components"][0]["channels"] = json!(["other"])));
    assert_ne!(before.config_map.metadata.name, after.config_map.metadata.name);
    assert_ne!(template(&before.deployment), template(&after.deployment));
    assert_eq!(before.deployment.spec.unwrap().selector, after.deployment.spec.unwrap().selector);
}

#[test]
fn a_changed_component_in_a_config_map_changes_the_template_and_not_the_manifest() {
    let app = validate(&app("everything.yaml")).unwrap();
    let [before, after] = ["aaaaaaaaaa", "bbbbbbbbbb"].map(|sources| children(&app, Some(sources), &Services::new(), &settings()));
    assert_eq!(before.config_map, after.config_map);
    assert_ne!(template(&before.deployment), template(&after.deployment));
}

#[test]
fn policies_and_budgets_change_no_pod_template_and_no_manifest() {
    let before = built(&app("smallest.yaml"));
    assert_eq!((&before.pod_disruption_budget, &before.network_policy), (&None, &None));
    let after = built(&changed("smallest.yaml", |app| {
        app["spec"]["replicas"] = json!(2);
        app["spec"]["delivery"] = json!("EachReplica");
        app["spec"]["podDisruptionBudget"] = json!({});
        app["spec"]["networkPolicy"] = json!({});
    }));
    assert!(after.pod_disruption_budget.is_some() && after.network_policy.is_some());
    assert_eq!(template(&before.deployment), template(&after.deployment));
    assert_eq!(before.config_map, after.config_map);
}

#[test]
fn what_an_app_adds_to_its_pods_rolls_them_and_reaches_no_manifest() {
    let before = built(&app("smallest.yaml"));
    for pod in [
        json!({"nodeSelector": {"disk": "fast"}}),
        json!({"tolerations": [{"key": "gpu", "operator": "Exists"}]}),
        json!({"priorityClassName": "high"}),
        json!({"securityContext": {"runAsUser": 1000}}),
    ] {
        let after = built(&changed("smallest.yaml", |app| app["spec"]["pod"] = pod.clone()));
        assert_ne!(template(&before.deployment), template(&after.deployment), "{pod}");
        assert_eq!(before.config_map, after.config_map, "{pod}");
    }
}

#[test]
fn a_disruption_budget_is_there_above_one_replica_only() {
    let budget = |replicas: i32, budget: Value| {
        let built = built(&changed("smallest.yaml", |app| {
            app["spec"]["replicas"] = json!(replicas);
            app["spec"]["delivery"] = json!("EachReplica");
            app["spec"]["podDisruptionBudget"] = budget;
        }));
        built.pod_disruption_budget.map(|budget| json!(budget.spec.unwrap()))
    };
    let selector = json!({"matchLabels": {"spinredis.dev/app": "greeter"}});
    let default = json!({"maxUnavailable": 1, "selector": selector, "unhealthyPodEvictionPolicy": "AlwaysAllow"});
    assert_eq!(budget(2, json!({})), Some(default));
    assert_eq!(budget(2, json!({"minAvailable": "50%"})).unwrap()["minAvailable"], "50%");
    assert!(budget(2, json!({"minAvailable": "50%"})).unwrap().get("maxUnavailable").is_none());
    let of_shared = |replicas: i32, budget: Value| {
        let shared = changed("smallest.yaml", |app| {
            app["spec"]["replicas"] = json!(replicas);
            app["spec"]["delivery"] = json!("Shared");
            app["spec"]["podDisruptionBudget"] = budget;
        });
        built(&shared).pod_disruption_budget.is_some()
    };
    assert!(of_shared(2, Value::Null) && !of_shared(1, Value::Null) && !of_shared(2, json!({"enabled": false})));
    for (replicas, wanted) in [(1, json!({})), (0, json!({})), (2, json!({"enabled": false})), (2, Value::Null)] {
        assert_eq!(budget(replicas, wanted.clone()), None, "{replicas} {wanted}");
    }
}

#[test]
fn pods_are_spread_over_nodes_unless_the_app_says_how() {
    let spread = |constraints: Value| {
        let built = built(&changed("smallest.yaml", |app| app["spec"]["pod"] = json!({"topologySpreadConstraints": constraints})));
        json!(pod(&built).topology_spread_constraints)
    };
    let of_app = json!({"matchLabels": {"spinredis.dev/app": "greeter"}});
    let default =
        json!({"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": of_app});
    assert_eq!(spread(json!([])), json!([default]));
    let own = json!({"maxSkew": 2, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"});
    let counted = spread(json!([own]));
    assert_eq!((counted.as_array().unwrap().len(), &counted[0]["labelSelector"]), (1, &of_app), "those of the app are counted");
    let mut selected = own;
    selected["labelSelector"] = json!({"matchLabels": {"tier": "a"}});
    assert_eq!(spread(json!([selected])), json!([selected]));
}

#[test]
fn pods_meet_the_restricted_pod_security_standard() {
    for name in ["smallest.yaml", "everything.yaml", "pods.yaml"] {
        let pod = pod(&built(&app(name)));
        let of_pod = pod.security_context.clone().unwrap();
        assert_eq!(of_pod.run_as_non_root, Some(true));
        assert_eq!(of_pod.seccomp_profile.unwrap().type_, "RuntimeDefault");
        if name != "pods.yaml" {
            assert_eq!((of_pod.run_as_user, of_pod.fs_group), (None, None), "OpenShift chooses these");
        }
        assert_eq!((of_pod.sysctls, of_pod.app_armor_profile), (None, None));
        assert_eq!((pod.host_network, pod.host_pid, pod.host_ipc), (None, None, None));
        for container in containers(&pod) {
            let security = container.security_context.unwrap();
            assert_eq!(security.allow_privilege_escalation, Some(false));
            assert_eq!(security.read_only_root_filesystem, Some(true));
            assert_eq!(security.capabilities.unwrap().drop.unwrap(), ["ALL"]);
            assert_eq!((security.privileged, security.run_as_user), (None, None));
        }
        let allowed = |volume: &Volume| volume.config_map.is_some() || volume.projected.is_some() || volume.empty_dir.is_some();
        assert!(pod.volumes.iter().flatten().all(allowed));
    }
}

#[test]
fn pods_get_no_token_and_no_environment_of_services() {
    let pod = pod(&built(&app("smallest.yaml")));
    assert_eq!((pod.automount_service_account_token, pod.enable_service_links), (Some(false), Some(false)));
}

#[test]
fn each_referenced_key_is_mounted_once_and_may_be_missing() {
    let pod = pod(&built(&app("everything.yaml")));
    let sources = volume(&pod, "refs").unwrap().projected.unwrap().sources.unwrap();
    let mut paths = Vec::new();
    for source in &sources {
        let (optional, items) = match (&source.secret, &source.config_map) {
            (Some(secret), _) => (secret.optional, secret.items.clone()),
            (_, Some(config_map)) => (config_map.optional, config_map.items.clone()),
            _ => panic!("neither a Secret nor a ConfigMap"),
        };
        assert_eq!(optional, Some(true));
        paths.extend(items.unwrap().into_iter().map(|item| item.path));
    }
    let wanted = [
        "configmap/guests/audit.wasm",
        "configmap/redis-ca/ca.crt",
        "configmap/settings/currency",
        "configmap/settings/region",
        "secret/api/token",
        "secret/orders-tls/tls.crt",
        "secret/orders-tls/tls.key",
        "secret/redis/password",
    ];
    assert_eq!(paths, wanted);
    assert_eq!(sources.len(), 6, "one projection for each object");
}

#[test]
fn only_prepare_sees_pull_secrets_and_only_prepare_writes_components() {
    let pod = pod(&built(&app("everything.yaml")));
    let mounts = |name: &str| -> Vec<(String, bool)> {
        let container = containers(&pod).into_iter().find(|container| container.name == name).unwrap();
        container.volume_mounts.unwrap().into_iter().map(|mount| (mount.name, mount.read_only == Some(true))).collect()
    };
    let writable = |list: &[(String, bool)]| list.iter().filter(|mount| !mount.1).map(|mount| mount.0.clone()).collect::<BTreeSet<_>>();
    assert_eq!(writable(&mounts("prepare")), ["components".to_owned(), "tmp".to_owned()].into());
    assert!(writable(&mounts("serve")).is_empty());
    assert!(mounts("prepare").iter().any(|mount| mount.0 == "pull-secrets"));
    assert!(mounts("serve").iter().all(|mount| mount.0 != "pull-secrets"));
}

#[test]
fn an_app_without_pull_secrets_has_no_volume_and_no_argument_for_them() {
    let pod = pod(&built(&app("smallest.yaml")));
    assert_eq!(volume(&pod, "pull-secrets"), None);
    assert!(containers(&pod).iter().flat_map(|container| container.args.clone().unwrap()).all(|arg| arg != "--pull-secrets"));
}

#[test]
fn labels_of_the_user_are_added_and_never_replace_those_of_the_operator() {
    let mut app = app("everything.yaml");
    let labels = &mut app.spec.pod.get_or_insert_default().labels;
    labels.insert("example.com/x".to_owned(), "y".to_owned());
    let built = template(&built(&app).deployment).metadata.unwrap().labels.unwrap();
    assert_eq!((built["example.com/x"].as_str(), built["team"].as_str()), ("y", "checkout"));
    assert_eq!((built["spinredis.dev/app"].as_str(), built["app.kubernetes.io/managed-by"].as_str()), ("orders", "spin-redis-operator"));
}

#[test]
fn prepare_has_memory_to_compile_even_when_the_app_needs_little() {
    let limits = |limit: &str| -> Vec<String> {
        let built = built(&changed("smallest.yaml", |app| app["spec"]["resources"] = json!({"limits": {"memory": limit}})));
        containers(&pod(&built)).into_iter().map(|container| container.resources.unwrap().limits.unwrap()["memory"].0.clone()).collect()
    };
    assert_eq!(limits("100Mi"), ["512Mi", "100Mi"]);
    assert_eq!(limits("2Gi"), ["2Gi", "2Gi"]);
}

#[test]
fn what_prepare_gets_for_itself_wins_over_what_both_get() {
    let resources = |of_app: Value, of_prepare: Value| -> Vec<Value> {
        let built = built(&changed("smallest.yaml", |app| {
            app["spec"]["resources"] = of_app;
            app["spec"]["prepare"] = json!({"resources": of_prepare});
        }));
        containers(&pod(&built)).into_iter().map(|container| json!(container.resources.unwrap())).collect()
    };
    let [prepare, serve] =
        resources(json!({"limits": {"memory": "100Mi"}}), json!({"limits": {"memory": "1Gi", "cpu": "2"}})).try_into().unwrap();
    assert_eq!(prepare, json!({"limits": {"memory": "1Gi", "cpu": "2"}, "requests": {"memory": "100Mi", "cpu": "50m"}}));
    assert_eq!(serve, json!({"limits": {"memory": "100Mi"}, "requests": {"cpu": "50m"}}));
    let [prepare, _] = resources(json!({"requests": {"memory": "1Gi"}}), json!({"limits": {"memory": "600Mi"}})).try_into().unwrap();
    assert_eq!(prepare["requests"]["memory"], "600Mi", "a request that nobody named for it is no larger than its limit");
    let [prepare, _] = resources(json!({"limits": {"memory": "1Gi"}}), json!({"requests": {"memory": "2Gi"}})).try_into().unwrap();
    assert_eq!(prepare["limits"]["memory"], "2Gi", "nor is a limit smaller than its request");
}

#[test]
fn a_limit_below_the_default_request_is_no_contradiction() {
    let built = built(&changed("smallest.yaml", |app| app["spec"]["resources"] = json!({"limits": {"memory": "32Mi"}})));
    let requests: Vec<_> = containers(&pod(&built)).into_iter().map(|container| container.resources.unwrap().requests.unwrap()).collect();
    assert_eq!(requests[0]["memory"].0, "32Mi");
    assert_eq!(requests[1].get("memory"), None, "Kubernetes takes the limit for the request");
    assert_eq!(requests[1]["cpu"].0, "50m");
}

#[test]
fn an_app_that_cannot_work_is_refused_with_the_path_of_the_field() {
    let error = validate(&changed("smallest.yaml", |app| app["spec"]["trigger"]["address"] = json!("redis://host:99999"))).unwrap_err();
    assert!(error.to_string().starts_with("spec.trigger.address: "), "{error}");
}

#[test]
fn pins_are_seen_by_prepare_alone_and_their_key_is_that_of_the_manifest() {
    let app = app("smallest.yaml");
    let (key, pod) = (pins_key(&validate(&app).unwrap()).unwrap(), pod(&built(&app)));
    let source = volume(&pod, "pins").unwrap().config_map.unwrap();
    assert_eq!((source.name.as_str(), source.optional, source.items), ("greeter-pins", Some(true), None));
    let [prepare, serve] = containers(&pod).try_into().unwrap();
    let file = format!("/var/run/spinredis/pins/{key}");
    assert!(prepare.args.unwrap().windows(2).any(|pair| pair == ["--pins".to_owned(), file.clone()]));
    assert!(serve.volume_mounts.unwrap().iter().all(|mount| mount.name != "pins"));
}

#[test]
fn a_new_manifest_and_a_refresh_have_pins_of_their_own_and_nothing_else_has() {
    let key = |change: fn(&mut Value)| pins_key(&validate(&changed("smallest.yaml", change)).unwrap()).unwrap();
    let before = key(|_| {});
    assert_eq!(before, key(|app| app["spec"]["replicas"] = json!(0)));
    assert_eq!(before, key(|app| app["spec"]["resources"] = json!({"limits": {"memory": "1Gi"}})));
    assert_eq!(before, key(|app| app["metadata"]["annotations"] = json!({"a": "b"})));
    assert_ne!(before, key(|app| app["spec"]["drain"] = json!("1m")));
    let refreshed = key(|app| app["metadata"]["annotations"] = json!({"spinredis.dev/refresh": "now"}));
    assert!(before != refreshed && refreshed.len() == before.len());
    let again = changed("smallest.yaml", |app| app["metadata"]["annotations"] = json!({"spinredis.dev/refresh": "now"}));
    assert_ne!(template(&built(&again).deployment), template(&built(&app("smallest.yaml")).deployment), "its pods are new ones");
}

#[test]
fn an_app_whose_images_are_named_by_digest_has_no_pins() {
    let by_digest = changed("smallest.yaml", |app| {
        app["spec"]["components"][0]["source"]["oci"]["digest"] = json!(format!("sha256:{}", "0".repeat(64)));
    });
    assert_eq!(pins_key(&validate(&by_digest).unwrap()), None);
    let pod = pod(&built(&by_digest));
    assert_eq!(volume(&pod, "pins"), None);
    assert!(containers(&pod).iter().flat_map(|container| container.args.clone().unwrap()).all(|arg| arg != "--pins"));
}

#[test]
fn settings_of_an_apps_own_registries_travel_with_its_manifest_and_those_of_others_change_nothing() {
    let with = |host: &str| {
        let setting = RegistrySetting { host: host.to_owned(), ca: Some("PEM".to_owned()), ..RegistrySetting::default() };
        let settings = Settings { registries: RegistrySettings(vec![setting]), ..settings() };
        children(&validate(&app("smallest.yaml")).unwrap(), None, &Services::new(), &settings)
    };
    let (before, other, own) =
        (children(&validate(&app("smallest.yaml")).unwrap(), None, &Services::new(), &settings()), with("other.io"), with("ghcr.io"));
    assert_eq!(before, other);
    assert_ne!(before.config_map.metadata.name, own.config_map.metadata.name);
    let text = own.config_map.data.unwrap().remove("registries.json").unwrap();
    assert!(text.contains("ghcr.io") && text.contains("PEM"), "{text}");
    let [prepare, serve] = containers(&pod(&with("ghcr.io"))).try_into().unwrap();
    let pair = ["--registries".to_owned(), "/etc/spinredis/registries.json".to_owned()];
    assert!(prepare.args.unwrap().windows(2).any(|found| found == pair));
    assert!(!serve.args.unwrap().contains(&pair[0]));
}

#[test]
fn the_author_of_a_change_is_told_by_the_origin_of_a_deployment() {
    let of = |app: &SpinRedisApp, sources: &str, settings: &Settings| {
        let deployment = children(&validate(app).unwrap(), Some(sources), &Services::new(), settings).deployment;
        deployment.metadata.annotations.unwrap()["spinredis.dev/origin"].clone()
    };
    let app = app("smallest.yaml");
    let before = of(&app, "a", &settings());
    let of_changed = |change: fn(&mut Value)| of(&changed("smallest.yaml", change), "a", &settings());
    let other_image = Settings { runtime_image: "other".to_owned(), ..settings() };
    assert_eq!(before, of(&app, "a", &other_image), "not the author's change");
    assert_eq!(before, of_changed(|app| app["spec"]["replicas"] = json!(0)), "changes no pods");
    assert_ne!(before, of(&app, "b", &settings()));
    assert_ne!(before, of_changed(|app| app["spec"]["drain"] = json!("1m")));
    assert_ne!(before, of_changed(|app| app["spec"]["resources"] = json!({"limits": {"memory": "1Gi"}})));
    assert_ne!(before, of_changed(|app| app["metadata"]["annotations"] = json!({"spinredis.dev/refresh": "now"})));
}
