//! Apps as the API server stores them, in every phase of their lives, with the status that the operator computes for them. What
//! GitOps tools make of these files is tested in tests/tests/gitops.rs. `UPDATE_FIXTURES=1 cargo test -p spin-redis-operator`
//! writes them anew; the difference is for a person to read.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::{collections::BTreeMap, fs, path::PathBuf};

use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::Pod},
    jiff::Timestamp,
};
use kube::core::DynamicObject;
use serde::Deserialize;
use serde_json::{Value, json};
use spin_redis_operator::reconcile::{
    status::{Network, Observation, compute},
    subject::Subject,
};
use spinredis_crds::{
    SpinRedisAppStatus,
    report::{PrepareReport, PreparedComponent, Problem, Reason, ServeStatus},
};

const NEW: &str = "aaaaaaaaaa";
const OLD: &str = "bbbbbbbbbb";
const CREATED: &str = "2026-01-01T00:00:00Z";
const LATER: &str = "2026-01-01T01:00:00Z";

/// An app and what its cluster has of it.
struct Scene {
    object: Value,
    problem: Option<Problem>,
    deployment: Option<Deployment>,
    pods: Vec<Pod>,
    serve: BTreeMap<String, ServeStatus>,
    now: &'static str,
}

impl Scene {
    /// A new app with so many replicas, of which the operator has seen nothing: its status is what the CRD's default says.
    fn new(replicas: i32) -> Self {
        let object = json!({
            "apiVersion": "spinredis.dev/v1alpha1",
            "kind": "SpinRedisApp",
            "metadata": {
                "name": "greeter", "namespace": "default", "uid": "6d0c9a0e-0000-4000-8000-000000000000", "generation": 4,
                "creationTimestamp": CREATED,
            },
            "spec": {
                "replicas": replicas,
                "trigger": {"address": "redis://redis.default.svc:6379"},
                "components": [{"id": "greeter", "channels": ["messages"], "source": {"oci": {"reference": "ghcr.io/acme/greeter:v1"}}}],
            },
            "status": {"observedGeneration": -1},
        });
        Self { object, problem: None, deployment: None, pods: Vec::new(), serve: BTreeMap::new(), now: CREATED }
    }

    /// The same with a Deployment: how many replicas it wants, has of the newest template, has ready of those, has in all.
    fn deployed(mut self, wanted: i32, updated: i32, ready: i32, total: i32) -> Self {
        let deployment = json!({
            "metadata": {"name": "greeter", "generation": 7},
            "spec": {"replicas": wanted, "selector": {}, "template": {"metadata": {"labels": {"spinredis.dev/template": NEW}}}},
            "status": {
                "observedGeneration": 7, "replicas": total, "updatedReplicas": updated, "readyReplicas": ready,
                "availableReplicas": ready, "unavailableReplicas": total.max(wanted) - ready,
            },
        });
        self.deployment = Some(Deployment::deserialize(deployment).unwrap());
        self
    }

    /// The same after ten minutes in which the Deployment came no further.
    fn stuck(mut self) -> Self {
        let condition = json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]);
        let status = self.deployment.as_mut().and_then(|deployment| deployment.status.as_mut()).unwrap();
        status.conditions = serde_json::from_value(condition).unwrap();
        self
    }

    fn with(mut self, pod: Pod) -> Self {
        self.pods.push(pod);
        self
    }

    /// The same with what the runtime of the newest pod answers.
    fn answering(mut self, reason: Reason, message: &str) -> Self {
        let answer = ServeStatus {
            app: "default/greeter".to_owned(),
            ready: false,
            subscribed: 0,
            wanted: 1,
            reason,
            message: message.to_owned(),
            since: 1,
        };
        self.serve.insert(format!("greeter-{NEW}"), answer);
        self
    }

    /// The same an hour later, when the app had this status before.
    fn after(mut self, before: &Value) -> Self {
        self.object["status"] = before["status"].clone();
        self.now = LATER;
        self
    }

    /// The app with its status.
    fn seen(self) -> Value {
        let subject = Subject::of(DynamicObject::deserialize(&self.object).unwrap());
        let status: SpinRedisAppStatus = compute(&Observation {
            subject: &subject,
            problem: self.problem.as_ref(),
            deployment: self.deployment.as_ref(),
            pods: &self.pods,
            serve: &self.serve,
            network: Network::None,
            now: self.now.parse::<Timestamp>().unwrap(),
        });
        let mut object = self.object;
        object["status"] = json!(status);
        object
    }
}

/// A pod of a template whose `prepare` and `serve` are in these states.
fn pod(template: &str, prepare: Value, serve: Value) -> Pod {
    let ready = if serve["ready"] == json!(true) { "True" } else { "False" };
    let container = |name: &str, state: Value| {
        let mut container = json!({"name": name, "image": "spinredis-runtime:v1", "imageID": "", "ready": false, "restartCount": 0});
        container.as_object_mut().unwrap().extend(state.as_object().cloned().unwrap());
        container
    };
    let pod = json!({
        "metadata": {"name": format!("greeter-{template}"), "labels": {"spinredis.dev/template": template}},
        "spec": {"containers": []},
        "status": {
            "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": ready}],
            "initContainerStatuses": [container("prepare", prepare)],
            "containerStatuses": [container("serve", serve)],
        },
    });
    Pod::deserialize(pod).unwrap()
}

fn report(problem: Option<Problem>) -> String {
    let digest = format!("sha256:{}", "0".repeat(64));
    let component = PreparedComponent { id: "greeter".to_owned(), digest, handler: "fermyon:spin/inbound-redis".to_owned() };
    PrepareReport { components: if problem.is_some() { Vec::new() } else { vec![component] }, problem, resolved: None }.to_json()
}

fn prepared() -> Value {
    json!({"ready": true, "state": {"terminated": {"exitCode": 0, "message": report(None)}}})
}

fn failed(reason: Reason, message: &str) -> Value {
    let message = report(Some(Problem { reason, message: message.to_owned() }));
    json!({"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 1, "message": message}}})
}

fn waiting() -> Value {
    json!({"state": {"waiting": {"reason": "PodInitializing"}}})
}

fn running(ready: bool) -> Value {
    json!({"ready": ready, "state": {"running": {}}})
}

fn ready_scene() -> Scene {
    Scene::new(1).deployed(1, 1, 1, 1).with(pod(NEW, prepared(), running(true)))
}

/// A pod of the template before, which serves.
fn old() -> Pod {
    pod(OLD, prepared(), running(true))
}

fn failing(reason: Reason, message: &str) -> Pod {
    pod(NEW, failed(reason, message), waiting())
}

fn objects() -> Vec<(&'static str, Value)> {
    let ready = ready_scene().seen();
    let mut edited = ready.clone();
    edited["metadata"]["generation"] = json!(5);
    let mut deleted = ready.clone();
    deleted["metadata"]["deletionTimestamp"] = json!(LATER);
    let without_status = {
        let mut object = Scene::new(1).object;
        object.as_object_mut().unwrap().remove("status");
        object
    };
    let mut unreadable = Scene::new(1);
    unreadable.object["spec"]["components"] = json!("none");
    let message = "the app cannot be read by this version of the operator; correct it, or update the operator";
    unreadable.problem = Some(Problem { reason: Reason::Invalid, message: message.to_owned() });
    let mut unschedulable = pod(NEW, waiting(), waiting());
    let condition = json!([{"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available: 1 Insufficient memory."}]);
    unschedulable.status.as_mut().unwrap().conditions = serde_json::from_value(condition).unwrap();

    let no_handler = "component greeter exports no Redis handler";
    let missing = "key password of Secret redis does not exist: create it, or correct the name";
    let no_image = "registry ghcr.io has no image ghcr.io/acme/greeter:v1: push it, or correct the reference";
    let unreachable = "redis://redis.default.svc:6379 cannot be reached: connection refused";
    let refused = "Redis refuses the default user: correct key password of Secret redis";
    let running_pod = || Scene::new(1).deployed(1, 1, 0, 1).with(pod(NEW, prepared(), running(false)));
    vec![
        ("new", Scene::new(1).object),
        ("without-status", without_status),
        ("reconciling", Scene::new(1).deployed(1, 1, 0, 1).with(pod(NEW, running(false), waiting())).seen()),
        ("ready", ready.clone()),
        ("edited", edited),
        ("rolling-out", Scene::new(1).deployed(1, 1, 1, 2).with(pod(NEW, running(false), waiting())).with(old()).after(&ready).seen()),
        (
            "bad-edit-waiting",
            Scene::new(1).deployed(1, 1, 1, 2).with(failing(Reason::RegistryError, no_image)).with(old()).after(&ready).seen(),
        ),
        (
            "bad-edit-stalled",
            Scene::new(1).deployed(1, 1, 1, 2).with(failing(Reason::NoHandler, no_handler)).with(old()).after(&ready).seen(),
        ),
        ("stalled", Scene::new(1).deployed(1, 1, 0, 1).with(failing(Reason::NoHandler, no_handler)).seen()),
        ("no-progress", Scene::new(1).deployed(1, 1, 0, 1).stuck().with(failing(Reason::RegistryError, no_image)).seen()),
        ("missing-reference", Scene::new(1).deployed(1, 1, 0, 1).with(failing(Reason::MissingReference, missing)).seen()),
        ("unschedulable", Scene::new(1).deployed(1, 1, 0, 1).with(unschedulable).seen()),
        ("unreadable", unreadable.seen()),
        ("redis-not-yet-there", running_pod().answering(Reason::RedisUnreachable, unreachable).seen()),
        ("redis-lost", running_pod().answering(Reason::RedisUnreachable, unreachable).after(&ready).seen()),
        ("wrong-password", running_pod().answering(Reason::RedisAuthFailed, refused).seen()),
        ("scaling-to-zero", Scene::new(0).deployed(0, 0, 0, 1).after(&ready).seen()),
        ("scaled-to-zero", Scene::new(0).deployed(0, 0, 0, 0).after(&ready).seen()),
        ("being-deleted", deleted),
    ]
}

#[test]
fn the_recorded_objects_have_the_status_that_is_computed_now() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/objects");
    let mut wrong = Vec::new();
    let objects = objects();
    for (name, object) in &objects {
        let path = folder.join(format!("{name}.json"));
        let found = serde_json::to_string_pretty(object).unwrap() + "\n";
        if std::env::var_os("UPDATE_FIXTURES").is_some() {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&path, &found).unwrap();
        }
        if fs::read_to_string(&path).unwrap_or_default() != found {
            wrong.push(format!("{name}: {found}"));
        }
    }
    assert!(wrong.is_empty(), "not what is computed now; read the difference after UPDATE_FIXTURES=1:\n{}", wrong.join("\n"));
    let recorded = fs::read_dir(&folder).unwrap().count();
    assert_eq!(recorded, objects.len(), "a file in {} is of no object here", folder.display());
}
