//! A namespace for one test, in which the restricted Pod Security Standard is enforced. It is deleted with the test; when
//! the test fails, what is in it is printed first.

use std::{
    process::Command,
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use super::{
    Redis, TEST_LABEL, Watched, cluster, condition, kubectl, kubectl_json, kubectl_with, operator_log_tail, reason_of, try_kubectl, watch,
};
use crate::{guests, metrics::Metrics, process::Process, wait::eventually};

/// A namespace for one test.
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// A new namespace whose name begins with this. The ConfigMap `guests` in it has `hello.wat`.
    pub fn new(prefix: &str) -> Self {
        cluster();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let namespace = Self { name: format!("{prefix}-{:05x}", now.as_millis() & 0xfffff) };
        let labels = json!({TEST_LABEL: "true", "pod-security.kubernetes.io/enforce": "restricted"});
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace.name, "labels": labels}});
        kubectl_with(&["create", "-f", "-"], &object.to_string());
        // Pods are refused until there is one.
        namespace.kubectl(&["wait", "--for=create", "serviceaccount/default", "--timeout=60s"]);
        namespace.add_guest("hello.wat");
        namespace
    }

    /// Its name, which is unique; it also serves as a prefix of channels and users of the shared Redis.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A channel of the shared Redis that is this test's own.
    pub fn channel(&self, name: &str) -> String {
        format!("{}/{name}", self.name)
    }

    /// kubectl in this namespace; it must succeed.
    pub fn kubectl(&self, args: &[&str]) -> String {
        kubectl(&[args, &["-n", &self.name]].concat())
    }

    /// The JSON that kubectl prints in this namespace.
    pub fn json(&self, args: &[&str]) -> Value {
        kubectl_json(&[args, &["-n", &self.name]].concat())
    }

    /// `kubectl apply` of a manifest.
    pub fn apply(&self, manifest: &Value) {
        self.apply_text(&manifest.to_string());
    }

    /// `kubectl apply` of a manifest.
    pub fn apply_text(&self, manifest: &str) {
        kubectl_with(&["apply", "-n", &self.name, "-f", "-"], manifest);
    }

    /// `kubectl patch` of an app.
    pub fn patch(&self, app: &str, patch: &Value) {
        self.kubectl(&["patch", "spinredisapp", app, "--type=merge", "-p", &patch.to_string()]);
    }

    /// Adds a guest of tests/guests/wat to the ConfigMap `guests`.
    pub fn add_guest(&self, name: &str) {
        let guests = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "guests"}, "data": {name: guests::wat(name)}});
        // Not with `apply`, which keeps a copy in an annotation.
        kubectl_with(&["apply", "--server-side", &format!("--field-manager={name}"), "-n", &self.name, "-f", "-"], &guests.to_string());
    }

    /// Makes a Secret, or changes it.
    pub fn set_secret(&self, name: &str, key: &str, value: &str) {
        self.apply(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {key: value}}));
    }

    /// Makes a Secret with credentials of a registry, as the documentation of Kubernetes says.
    pub fn set_pull_secret(&self, name: &str, host: &str, user: &str, password: &str) {
        let options =
            [("server", host), ("username", user), ("password", password)].map(|(option, value)| format!("--docker-{option}={value}"));
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        self.kubectl(&[&["create", "secret", "docker-registry", name], options.as_slice()].concat());
    }

    /// A Redis of this test's own.
    pub fn start_redis(&self) -> Redis {
        Redis::start(&self.name, &cluster().registries)
    }

    /// Watches one object until something holds.
    pub fn wait_for<T>(&self, what: &str, kind: &str, name: &str, mut found: impl FnMut(&Value) -> Result<T, String>) -> T {
        let selector = format!("--field-selector=metadata.name={name}");
        watch(what, &[kind, &selector, "-n", &self.name], |objects: &Watched| found(objects.get(name).ok_or("it is gone")?))
    }

    /// Waits until the condition Ready of an app is True, and gives the app.
    pub fn wait_until_ready(&self, app: &str) -> Value {
        self.wait_for(&format!("{app} is Ready"), "spinredisapp", app, |app| match condition(app, "Ready") {
            ready if ready["status"] == "True" => Ok(app.clone()),
            ready => Err(ready.to_string()),
        })
    }

    /// Waits until an app gives a reason for not being ready, checks that the status is consistent, and gives its message.
    pub fn wait_for_reason(&self, app: &str, reason: &str) -> String {
        let found = self.wait_for(&format!("{app} says {reason}"), "spinredisapp", app, |app| {
            if reason_of(app) == reason { Ok(app.clone()) } else { Err(condition(app, "Ready").to_string()) }
        });
        assert_one_is_true(&found);
        let ready = condition(&found, "Ready");
        assert_eq!(ready["status"], "False", "{ready}");
        let message = ready["message"].as_str().unwrap().to_owned();
        assert!(!message.is_empty() && !message.contains('\n') && !message.contains("Error("), "{message}");
        message
    }

    /// An app.
    pub fn app(&self, name: &str) -> Value {
        self.json(&["get", "spinredisapp", name])
    }

    /// The pods of an app that are not on their way out.
    pub fn pods(&self, app: &str) -> Vec<Value> {
        let pods = self.json(&["get", "pods", "-l", &format!("spinredis.dev/app={app}")]);
        let all = pods["items"].as_array().unwrap().clone();
        all.into_iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).collect()
    }

    /// The names of the pods of an app.
    pub fn pod_names(&self, app: &str) -> Vec<String> {
        self.pods(app).iter().map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    }

    /// The only pod of an app.
    pub fn pod(&self, app: &str) -> Value {
        let pods = self.pods(app);
        assert_eq!(pods.len(), 1, "{app} has other than one pod: {:?}", self.pod_names(app));
        pods.into_iter().next().unwrap()
    }

    /// Waits for a guest's line in the log of a pod.
    pub fn wait_for_line(&self, pod: &str, line: &str) {
        let mut command = Command::new("kubectl");
        let log = Process::start(command.args(["logs", "--follow", "-n", &self.name, pod, "-c", "serve"]));
        log.wait_for(&format!("`{line}` in the log of {pod}"), |text| {
            let entry: Value = serde_json::from_str(text).ok()?;
            (entry["target"] == "guest" && entry["message"] == line).then_some(())
        });
    }

    /// The logs of a pod's containers so far; that of one which has not started is empty.
    pub fn log(&self, pod: &str) -> String {
        let log = |container| try_kubectl(&["logs", pod, "-c", container, "-n", &self.name], "").unwrap_or_default();
        ["prepare", "serve"].map(log).concat()
    }

    /// `/metrics` of a pod.
    pub fn metrics(&self, pod: &str) -> Metrics {
        Metrics::parse(&kubectl(&["get", "--raw", &format!("/api/v1/namespaces/{}/pods/{pod}:8080/proxy/metrics", self.name)]))
    }

    /// Waits until a pod has handled so many messages.
    pub fn wait_until_handled(&self, pod: &str, wanted: f64) {
        eventually(&format!("{pod} has handled {wanted} messages"), || {
            let handled = self.metrics(pod).sum("spinredis_messages_handled_total", &[]);
            if handled == wanted { Ok(()) } else { Err(handled.to_string()) }
        });
    }

    /// Publishes a message and expects that the app's only pod, which has handled none so far, prints and counts it. A pod
    /// that is being replaced may get it too.
    pub fn assert_answers(&self, app: &str, redis: &Redis, channel: &str) {
        let pod = self.pod(app)["metadata"]["name"].as_str().unwrap().to_owned();
        assert!(redis.publish(channel, "hello from a test") > 0, "{channel} has no subscriber");
        self.wait_for_line(&pod, "Got message: hello from a test");
        self.wait_until_handled(&pod, 1.0);
    }

    fn describe(&self) -> String {
        let mut text = format!("==== {}\n", self.name);
        for args in [&["get", "all,spinredisapps,configmaps", "-o", "wide"][..], &["describe", "spinredisapps,deployments,pods"]] {
            let args = [args, &["-n", &self.name]].concat();
            text += &try_kubectl(&args, "").unwrap_or_else(|error| error);
        }
        let logs =
            ["logs", "-n", &self.name, "-l", "spinredis.dev/app", "--all-containers", "--prefix", "--tail=30", "--max-log-requests=50"];
        text += &try_kubectl(&logs, "").unwrap_or_else(|error| error);
        text + "==== operator\n" + &operator_log_tail()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.describe());
        }
        let _ = try_kubectl(&["delete", "namespace", &self.name, "--wait=false"], "");
    }
}

/// As kstatus has it: exactly one of the three says True.
fn assert_one_is_true(app: &Value) {
    let of = |type_| condition(app, type_)["status"] == "True";
    let said = ["Ready", "Reconciling", "Stalled"].map(of);
    assert_eq!(said.iter().filter(|is| **is).count(), 1, "Ready, Reconciling, Stalled: {said:?}");
}
