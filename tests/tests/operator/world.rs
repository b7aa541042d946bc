//! What the tests of this program share: a control plane with pods that are said to run, operators in this process, and apps.

use std::{
    future::Future,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use clap::Parser;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, Config,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};
use spin_redis_operator::{Options, cli::Args};
use spinredis_tests::{control_plane::ControlPlane, kubelet, ports};
use tokio::sync::oneshot;

use crate::faults::Faults;

const PATIENCE: Duration = Duration::from_secs(60);

/// A control plane that ends with the last test that uses it.
type Shared = Mutex<Weak<ControlPlane>>;

fn shared(plane: &'static Shared, start: impl FnOnce() -> ControlPlane) -> Arc<ControlPlane> {
    let mut shared = plane.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let plane = Arc::new(start());
        *shared = Arc::downgrade(&plane);
        plane
    })
}

/// Runs a test against the shared control plane without the controllers of Kubernetes: no Deployment gets pods but by the test's own
/// hand, and nothing goes with its owner.
pub fn with_bare_world<F: Future<Output = ()>>(test: impl FnOnce(World) -> F) {
    static BARE: Shared = Mutex::new(Weak::new());
    let plane = shared(&BARE, ControlPlane::start);
    run(async { test(World { client: plane.client().await, config: plane.config().await }).await });
    drop(plane);
}

/// Runs a test against the shared control plane.
pub fn with_world<F: Future<Output = ()>>(test: impl FnOnce(World) -> F) {
    static FULL: Shared = Mutex::new(Weak::new());
    let plane = shared(&FULL, || {
        let mut plane = ControlPlane::start();
        plane.start_controllers();
        plane
    });
    run(async {
        let world = World { client: plane.client().await, config: plane.config().await };
        let kubelet = tokio::spawn(kubelet::run(world.client.clone()));
        test(world).await;
        kubelet.abort();
    });
    drop(plane);
}

/// Runs a future to its end.
pub fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(future)
}

/// The cluster as a test sees it.
#[derive(Clone)]
pub struct World {
    pub client: Client,
    pub config: Config,
}

/// Asks until it is so.
pub async fn eventually<T, F: Future<Output = Result<T, String>>>(what: &str, mut probe: impl FnMut() -> F) -> T {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        match probe().await {
            Ok(value) => return value,
            Err(seen) => assert!(std::time::Instant::now() < deadline, "{what}: not within {PATIENCE:?}; last seen: {seen}"),
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// Options of an operator for one namespace, and where it serves its metrics.
pub fn options(namespace: &str, more: &[&str]) -> (Options, String) {
    let listen = format!("127.0.0.1:{}", ports::free());
    let mut arguments = vec!["operator", "--runtime-image", "runtime:test", "--namespace", namespace, "--listen", &listen];
    arguments.extend(more);
    (Args::parse_from(arguments).into_options(), listen)
}

/// An operator in this process.
pub struct Operator {
    pub metrics: String,
    stop: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<Result<(), String>>,
}

impl Operator {
    pub fn start(world: &World, namespace: &str, faults: &Faults, more: &[&str]) -> Self {
        let (options, metrics) = options(namespace, more);
        Self::start_with(world, options, metrics, faults)
    }

    pub fn start_with(world: &World, options: Options, metrics: String, faults: &Faults) -> Self {
        let client = faults.client(world.config.clone());
        let (stop, stopped) = oneshot::channel();
        let killed = faults.clone();
        let task = tokio::spawn(async move {
            let shutdown = async move { drop(stopped.await) };
            tokio::select! {
                ended = spin_redis_operator::run(options, client, shutdown) => ended.map_err(|error| error.to_string()),
                () = killed.killed() => Err("killed".to_owned()),
            }
        });
        Self { metrics, stop: Some(stop), task }
    }

    /// Asks it to stop, as SIGTERM does, and waits until it has.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        let ended = tokio::time::timeout(PATIENCE, &mut self.task).await.expect("the operator did not stop");
        assert_eq!(ended.unwrap(), Ok(()));
    }

    /// Waits until it ends by itself; gives why.
    pub async fn ended(mut self) -> String {
        let ended = tokio::time::timeout(PATIENCE, &mut self.task).await.expect("the operator did not end");
        ended.unwrap().expect_err("it ended as if it had been asked to")
    }

    pub fn kill(self) {
        self.task.abort();
    }

    /// What it answers at this path: code and text.
    pub async fn get(&self, path: &'static str) -> std::io::Result<(u16, String)> {
        let address = self.metrics.clone();
        tokio::task::spawn_blocking(move || spinredis_tests::http::get(&address, path)).await.unwrap()
    }

    /// The value of a metric of it.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let (_, text) = self.get("/metrics").await.ok()?;
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }
}

impl World {
    /// A namespace of a test.
    pub async fn namespace(&self, name: &str) -> String {
        let namespace = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        Api::<Namespace>::all(self.client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
        name.to_owned()
    }

    pub fn api(&self, namespace: &str, group: &str, version: &str, kind: &str) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Api::namespaced_with(self.client.clone(), namespace, &resource)
    }

    pub fn apps(&self, namespace: &str) -> Api<DynamicObject> {
        self.api(namespace, "spinredis.dev", "v1alpha1", "SpinRedisApp")
    }

    /// Makes an app, or brings it to this number of channels.
    pub async fn apply(&self, namespace: &str, name: &str, channels: usize) {
        let channels: Vec<String> = (0..channels).map(|number| format!("channel-{number}")).collect();
        let app = json!({"apiVersion": "spinredis.dev/v1alpha1", "kind": "SpinRedisApp", "metadata": {"name": name}, "spec": {
            "trigger": {"address": "redis://redis:6379"},
            "components": [{"id": "one", "channels": channels, "source": {"oci": {"reference": "registry.example.com/one:1"}}}],
        }});
        self.apps(namespace).patch(name, &PatchParams::apply("test").force(), &Patch::Apply(&app)).await.unwrap();
    }

    pub async fn delete(&self, namespace: &str, name: &str) {
        drop(self.apps(namespace).delete(name, &DeleteParams::background()).await.unwrap());
    }

    /// What of an app is there: kind and name of each child.
    pub async fn children(&self, namespace: &str, name: &str) -> Vec<DynamicObject> {
        let selected = ListParams::default().labels(&format!("spinredis.dev/app={name}"));
        let mut found = Vec::new();
        for (group, kind) in
            [("", "ConfigMap"), ("apps", "Deployment"), ("policy", "PodDisruptionBudget"), ("networking.k8s.io", "NetworkPolicy")]
        {
            found.extend(self.api(namespace, group, "v1", kind).list(&selected).await.unwrap().items);
        }
        found
    }

    /// Waits until an app is Ready in its newest form, then checks that its children are exactly those of a fresh app.
    pub async fn assert_converges(&self, namespace: &str, name: &str, why: &str) {
        let app = eventually(&format!("{namespace}/{name} is Ready {why}"), || async {
            let app = self.apps(namespace).get(name).await.map_err(|error| error.to_string())?;
            let status = &app.data["status"];
            let condition = |type_: &str| -> Value {
                let all = status["conditions"].as_array().into_iter().flatten();
                all.filter(|condition| condition["type"] == type_).map(|condition| condition["status"].clone()).next().unwrap_or_default()
            };
            let is_ready = condition("Ready") == "True" && condition("Reconciling") == "False" && condition("Stalled") == "False";
            let is_current = status["observedGeneration"] == json!(app.metadata.generation);
            if !is_ready || !is_current || status["readyReplicas"] != app.data["spec"]["replicas"] {
                return Err(format!("{status:#}"));
            }
            // The manifest of an earlier generation goes when the pods of it have gone.
            let children = self.children(namespace, name).await;
            let kinds: Vec<_> = children.iter().map(|child| child.metadata.name.clone().unwrap_or_default()).collect();
            let budgets = usize::from(status["delivery"] == "Shared" && app.data["spec"]["replicas"].as_i64() > Some(1));
            if children.len() == 2 + budgets { Ok(app) } else { Err(format!("children {kinds:?}")) }
        })
        .await;
        let children = self.children(namespace, name).await;
        let (config_map, deployment) = (&children[0], &children[1]);
        let volumes = deployment.data["spec"]["template"]["spec"]["volumes"].to_string();
        assert!(volumes.contains(config_map.metadata.name.as_deref().unwrap()), "{why}: the pods read another manifest: {volumes}");
        for child in &children {
            let owner = &child.metadata.owner_references.as_ref().unwrap()[0];
            assert_eq!(Some(&owner.uid), app.metadata.uid.as_ref(), "{why}");
        }
    }
}
