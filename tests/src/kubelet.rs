//! Stands in for the nodes of a control plane that has none: says of each pod of an app that it runs and is ready, once it
//! exists. Nothing runs; what is tested with this is the operator.

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::json;

/// Reports every pod of an app as running and ready, until it is dropped.
pub async fn run(client: Client) {
    let pods = Api::<Pod>::all(client.clone());
    let mut touched = watcher(pods, watcher::Config::default().labels("spinredis.dev/app")).default_backoff().applied_objects().boxed();
    while let Some(pod) = touched.next().await {
        let Ok(pod) = pod else { continue };
        if pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running") {
            continue;
        }
        let api = Api::<Pod>::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
        // A pod that went meanwhile needs no status.
        drop(api.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(running(&pod))).await);
    }
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
