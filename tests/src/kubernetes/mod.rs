//! A real Kubernetes with the operator installed by its Helm chart, driven with kubectl and helm as a user would.
//!
//! The cluster is the one of `KUBECONFIG`; `REGISTRY` and `PRIVATE_REGISTRY` are registries that its pods reach. What the
//! set-up makes stays for the next run: the release `spin-redis-operator` in the namespace `spin-redis-system`, and one
//! Redis that most tests share, in `spinredis-tests`. A namespace of a test goes with the test.

mod app;
mod kubectl;
mod namespace;
mod redis;
mod registries;

use std::{process::Command, sync::OnceLock};

use serde_json::{Value, json};

pub use app::{app, component, condition, hello, oci, reason_of};
pub use kubectl::{Watched, kubectl, kubectl_fails, kubectl_json, kubectl_with, try_kubectl, watch};
pub use namespace::Namespace;
pub use redis::Redis;
pub use registries::{Login, Registries};

use crate::{chart, process::Process};

/// Namespace and name of the release.
pub const OPERATOR_NAMESPACE: &str = "spin-redis-system";
/// Name of the release, of the operator's Deployment and of its ServiceAccount.
pub const OPERATOR: &str = "spin-redis-operator";
/// Label of the namespaces of tests.
const TEST_LABEL: &str = "spinredis.dev/test";
const SHARED_NAMESPACE: &str = "spinredis-tests";

/// What all tests share.
pub struct Cluster {
    /// Where component images are pushed.
    pub registries: Registries,
    /// A Redis without a password; tests use channels and users of their own on it.
    pub redis: Redis,
}

/// The cluster, set up by the first test that asks.
pub fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let registries = Registries::from_environment();
        // Of a run that was ended before its tests could clean up.
        kubectl(&["delete", "namespace", "-l", TEST_LABEL, "--wait=false"]);
        install(&registries);
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SHARED_NAMESPACE, "labels": {
            "pod-security.kubernetes.io/enforce": "restricted",
        }}});
        kubectl_with(&["apply", "-f", "-"], &namespace.to_string());
        let redis = Redis::start(SHARED_NAMESPACE, &registries);
        Cluster { registries, redis }
    })
}

/// Installs the chart's previous version and upgrades it, so that every test runs on what an upgrade left, CRD included; or
/// brings a release that is there to the chart and the images of now.
fn install(registries: &Registries) {
    let mut values = chart_values(registries);
    // A line for each reconcile, for the tests that wait for one.
    values["log"] = json!({"level": "info,spin_redis_operator::controller=debug"});
    let values = chart::Values::new(&values);
    let common = ["--namespace", OPERATOR_NAMESPACE, "--create-namespace", "--values", values.path()];
    let helm = |args: &[&str]| {
        let output = Command::new("helm").args(args).args(common).output();
        let output = output.unwrap_or_else(|error| panic!("helm cannot be started: {error}"));
        if !output.status.success() {
            let pods = kubectl(&["describe", "pods", "-n", OPERATOR_NAMESPACE]);
            panic!("helm: {}\n{}{pods}", String::from_utf8_lossy(&output.stderr), operator_log_tail());
        }
    };
    if try_kubectl(&["get", "deployment", OPERATOR, "-n", OPERATOR_NAMESPACE], "").is_err() {
        // Not waited for: the operator of now may need more rights than that version gave.
        helm(&["upgrade", "--install", OPERATOR, chart::previous().to_str().unwrap()]);
    }
    helm(&["upgrade", "--install", OPERATOR, chart::folder().to_str().unwrap(), "--wait", "--timeout", "2m"]);
}

/// Values of the chart, in this version and the previous one, for the images of now. Digests, so that a new image is not
/// hidden by an old one of the same tag on the node.
pub fn chart_values(registries: &Registries) -> Value {
    let image = |name: &str| {
        let digest = registries.digest(name);
        json!({"repository": format!("{}/{name}", registries.open), "digest": digest})
    };
    json!({
        "image": image("spin-redis-operator"),
        "runtime": {
            "image": image("spinredis-runtime"),
            "registries": [
                {"host": registries.open, "plainHTTP": true},
                {"host": registries.private.host, "plainHTTP": true},
            ],
        },
    })
}

/// The operator's pod that is not on its way out.
pub fn operator_pod() -> Value {
    wait_for_another_operator_pod("")
}

/// Waits until a pod of the operator other than this one is ready.
pub fn wait_for_another_operator_pod(name: &str) -> Value {
    let pods = ["pods", "-n", OPERATOR_NAMESPACE, "-l", "app.kubernetes.io/component=operator"];
    watch("the operator is ready", &pods, |pods| {
        let is_ready =
            |pod: &Value| pod["status"]["containerStatuses"][0]["ready"] == true && pod["metadata"]["deletionTimestamp"].is_null();
        let other = pods.iter().find(|(pod, object)| *pod != name && is_ready(object));
        other.map(|(_, object)| object.clone()).ok_or_else(|| format!("{:?}", pods.keys()))
    })
}

/// Waits for a line in the log of a pod of the operator.
pub fn wait_for_operator_line(pod: &str, what: &str, found: impl Fn(&str) -> bool) {
    let log = Process::start(Command::new("kubectl").args(["logs", "--follow", "-n", OPERATOR_NAMESPACE, pod]));
    log.wait_for(what, |line| found(line).then_some(()));
}

/// The end of the operator's log, for failures.
fn operator_log_tail() -> String {
    let deployment = format!("deployment/{OPERATOR}");
    let log = try_kubectl(&["logs", "-n", OPERATOR_NAMESPACE, &deployment, "--tail=40"], "");
    log.unwrap_or_else(|error| error)
}
