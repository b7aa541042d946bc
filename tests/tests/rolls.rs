//! An upgrade changes the pods of every app: one that goes wrong stops at the few that roll at once, and no author waits for it.
//!
//! The installed operator rests meanwhile, and one with other settings runs beside the cluster; so this is no test among those
//! of the cluster, which run side by side.

use std::{path::Path, process::Command};

use serde_json::{Value, json};
use spinredis_tests::{
    kubernetes::{Namespace, OPERATOR, OPERATOR_NAMESPACE, cluster, condition, hello, kubectl, kubectl_json, watch},
    process::Process,
    runtime::binary,
};

/// Keeps the installed operator from working as long as it lives.
struct Rest;

impl Rest {
    fn begin() -> Self {
        scale_operator(0);
        let pods = ["-n", OPERATOR_NAMESPACE, "-l", "app.kubernetes.io/component=operator", "--timeout=60s"];
        kubectl(&[&["wait", "--for=delete", "pod"][..], &pods].concat());
        Self
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        scale_operator(1);
    }
}

fn scale_operator(replicas: u32) {
    kubectl(&["scale", "deployment", OPERATOR, "-n", OPERATOR_NAMESPACE, &format!("--replicas={replicas}")]);
}

/// The image of the runtime that the installed operator gives to pods.
fn runtime_image() -> String {
    let operator = kubectl_json(&["get", "deployment", OPERATOR, "-n", OPERATOR_NAMESPACE]);
    let args = operator["spec"]["template"]["spec"]["containers"][0]["args"].as_array().unwrap().clone();
    let image = args.iter().find_map(|arg| arg.as_str()?.strip_prefix("--runtime-image="));
    image.expect("the chart names the image as --runtime-image=").to_owned()
}

/// An operator for one namespace that lets one app roll at a time.
fn start_operator(namespace: &Namespace, image: &str) -> Process {
    let program = binary().parent().unwrap_or(Path::new(".")).join("spin-redis-operator");
    let mut command = Command::new(program);
    command.args(["--runtime-image", image, "--namespace", namespace.name(), "--max-unfinished-apps", "1"]);
    Process::start(command.args(["--runtime-env", "ROLLED=yes", "--listen", "127.0.0.1:0", "--log-format", "json"]))
}

fn image_of(deployment: &Value) -> &str {
    deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default()
}

/// Whether the operator itself changed the pods, and not all of them are there yet.
fn rolls(deployment: &Value) -> bool {
    let (status, wanted) = (&deployment["status"], &deployment["spec"]["replicas"]);
    let is_current = status["observedGeneration"] == deployment["metadata"]["generation"];
    let is_finished = ["replicas", "updatedReplicas", "availableReplicas"].iter().all(|count| status[count] == *wanted);
    deployment["metadata"]["annotations"]["spinredis.dev/rolled-by"] == "operator" && !(is_current && is_finished)
}

#[test]
fn an_upgrade_rolls_one_app_after_the_other_and_an_authors_edit_does_not_wait() {
    let namespace = Namespace::new("rolls");
    let redis = &cluster().redis;
    let names: Vec<String> = (0..4).map(|number| format!("app-{number}")).collect();
    for name in &names {
        namespace.apply(&hello(name, &redis.address(), &namespace.channel(name)));
    }
    for name in &names {
        namespace.wait_until_ready(name);
    }
    let image = runtime_image();
    let rest = Rest::begin();

    // An upgrade to an image that does not exist: it gets as far as one app.
    let broken = format!("{}/no-such-image:v1", image.split_once('/').unwrap().0);
    let operator = start_operator(&namespace, &broken);
    let mut waiting = Vec::new();
    while waiting.len() < 3 {
        waiting.push(operator.wait_for("an app waits for its turn", |line| {
            let entry: Value = serde_json::from_str(line).ok()?;
            let app = entry["app"].as_str()?.rsplit('/').next()?.to_owned();
            (entry["message"].as_str()?.starts_with("waits for a turn") && !waiting.contains(&app)).then_some(app)
        }));
    }
    let with_broken = || -> Vec<String> {
        let deployments = namespace.json(&["get", "deployments", "-l", "spinredis.dev/app"])["items"].as_array().unwrap().clone();
        let broken = deployments.iter().filter(|deployment| image_of(deployment) == broken);
        broken.map(|deployment| deployment["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(with_broken().len(), 1);
    for name in &waiting {
        assert_eq!(condition(&namespace.app(name), "Ready")["status"], "True", "{name} goes on as it was");
    }
    let unlucky = namespace.app(&with_broken()[0]);
    namespace.wait_for("its old pod serves", "spinredisapp", unlucky["metadata"]["name"].as_str().unwrap(), |app| {
        let (ready, available) = (condition(app, "Ready"), condition(app, "Available"));
        if ready["status"] == "False" && available["status"] == "True" { Ok(()) } else { Err(format!("{ready} {available}")) }
    });

    // Scaling rolls nothing and is done at once; an edit brings what its author wants, with everything that is new.
    namespace.patch(&waiting[0], &json!({"spec": {"replicas": 2, "delivery": "EachReplica"}}));
    namespace.wait_for("the edit is not held up", "deployment", &waiting[0], |deployment| match image_of(deployment) == broken {
        true => Ok(()),
        false => Err(deployment["spec"].to_string()),
    });
    namespace.patch(&waiting[1], &json!({"spec": {"replicas": 0}}));
    namespace.wait_for("the app is scaled", "deployment", &waiting[1], |deployment| {
        if deployment["spec"]["replicas"] == 0 && image_of(deployment) == image { Ok(()) } else { Err(deployment["spec"].to_string()) }
    });
    namespace.patch(&waiting[1], &json!({"spec": {"replicas": 1}}));
    drop(operator);

    // And one to an image that does.
    let _operator = start_operator(&namespace, &image);
    let mut most = 0;
    watch("all apps are upgraded", &["deployments", "-n", namespace.name(), "-l", "spinredis.dev/app"], |deployments| {
        let rolling: Vec<&String> = deployments.iter().filter(|(_, one)| rolls(one)).map(|(name, _)| name).collect();
        most = most.max(rolling.iter().filter(|name| ***name != waiting[0]).count());
        let has_env = |one: &Value| one["spec"]["template"]["spec"]["containers"][0]["env"].to_string().contains("ROLLED");
        let is_done = |one: &Value| image_of(one) == image && has_env(one) && one["status"]["updatedReplicas"] == one["spec"]["replicas"];
        if deployments.len() == 4 && rolling.is_empty() && deployments.values().all(is_done) {
            return Ok(());
        }
        Err(format!("{rolling:?}"))
    });
    assert!(most <= 1, "{most} apps rolled at once");
    for name in &names {
        namespace.wait_until_ready(name);
    }
    drop(rest);
}
