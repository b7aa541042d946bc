//! Stands in for the nodes of a control plane that has none: says of each pod of an app that it runs and is ready, once it
//! exists. It goes on saying so until the API server has heard it, as a kubelet does: one that lost a report while the API
//! server was away would leave a rollout unfinished for ever. Nothing runs; what is tested with this is the operator.

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
    runtime::{WatchStreamExt, utils::Backoff, watcher},
};
use serde_json::json;
use tokio::{task::JoinSet, time::sleep};

/// Between two tries of an API server that does not answer.
const RETRY: Duration = Duration::from_millis(200);

/// Reports every pod of an app as running and ready, until it is dropped.
pub async fn run(client: Client) {
    let pods = Api::<Pod>::all(client.clone());
    let watch = watcher(pods, watcher::Config::default().labels("spinredis.dev/app")).backoff(Steady);
    let mut touched = watch.applied_objects().boxed();
    let mut reports = JoinSet::new();
    while let Some(pod) = touched.next().await {
        while reports.try_join_next().is_some() {}
        let Ok(pod) = pod else { continue };
        if pod.status.as_ref().and_then(|status| status.phase.as_deref()) != Some("Running") {
            reports.spawn(report(client.clone(), pod));
        }
    }
}

/// Says that a pod runs, until that is known or the pod is gone.
async fn report(client: Client, pod: Pod) {
    let api = Api::<Pod>::namespaced(client, &pod.namespace().unwrap_or_default());
    let status = Patch::Merge(running(&pod));
    loop {
        match api.patch_status(&pod.name_any(), &PatchParams::default(), &status).await {
            Ok(_) => return,
            Err(kube::Error::Api(refusal)) if refusal.is_not_found() => return,
            Err(_) => sleep(RETRY).await,
        }
    }
}

/// A watch that broke is tried again soon, however often that fails: a test waits for it.
struct Steady;

impl Iterator for Steady {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(RETRY)
    }
}

impl Backoff for Steady {
    fn reset(&mut self) {}
}

fn running(pod: &Pod) -> serde_json::Value {
    let start = pod.creation_timestamp();
    let spec = pod.spec.as_ref();
    let prepared = |name: &str| {
        let state = json!({"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": start, "finishedAt": start}});
        json!({"name": name, "ready": true, "restartCount": 0, "image": "runtime", "imageID": "", "state": state})
    };
    let serving = |name: &str| json!({"name": name, "ready": true, "started": true, "restartCount": 0, "image": "runtime", "imageID": "", "state": {"running": {"startedAt": start}}});
    let names = |containers: Option<&Vec<k8s_openapi::api::core::v1::Container>>| -> Vec<String> {
        containers.into_iter().flatten().map(|container| container.name.clone()).collect()
    };
    let conditions = ["Initialized", "PodScheduled", "ContainersReady", "Ready"]
        .map(|type_| json!({"type": type_, "status": "True", "lastTransitionTime": start}));
    json!({"status": {
        "phase": "Running", "startTime": start, "podIP": "127.0.0.2", "conditions": conditions,
        "initContainerStatuses": names(spec.and_then(|spec| spec.init_containers.as_ref())).iter().map(|name| prepared(name)).collect::<Vec<_>>(),
        "containerStatuses": names(spec.map(|spec| &spec.containers)).iter().map(|name| serving(name)).collect::<Vec<_>>(),
    }})
}
