//! What the garbage collector of Kubernetes leaves when it missed that an owner went. Here it does not run at all.

use kube::{
    Api,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    faults::Faults,
    world::{Operator, World, eventually, with_bare_world},
};

const RECONCILED: &str = "spin_redis_operator_reconciles_total{result=\"ok\"}";

async fn create(api: Api<DynamicObject>, object: Value) -> DynamicObject {
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap()
}

fn deployments(world: &World, namespace: &str) -> Api<DynamicObject> {
    world.api(namespace, "apps", "v1", "Deployment")
}

async fn uid_of_deployment(world: &World, namespace: &str) -> Option<String> {
    deployments(world, namespace).get_opt("shop").await.unwrap().and_then(|deployment| deployment.metadata.uid)
}

/// Says of the app's Deployment that it is through, and waits until the app is Ready.
async fn make_ready(world: &World, namespace: &str) -> DynamicObject {
    let deployment = eventually("the app has a Deployment", || async {
        deployments(world, namespace).get_opt("shop").await.unwrap().ok_or_else(|| "none".to_owned())
    })
    .await;
    let status = json!({"status": {
        "observedGeneration": deployment.metadata.generation,
        "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1,
    }});
    deployments(world, namespace).patch_status("shop", &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
    assert_status(world, namespace, "subscribed to 1 channel").await;
    deployment
}

async fn assert_status(world: &World, namespace: &str, words: &str) {
    eventually(&format!("the status says {words:?}"), || async {
        let status = world.apps(namespace).get("shop").await.unwrap().data["status"].to_string();
        if status.contains(words) { Ok(()) } else { Err(status) }
    })
    .await;
}

fn template(manifest: &str) -> Value {
    json!({"metadata": {"labels": {"spinredis.dev/app": "shop"}}, "spec": {
        "containers": [{"name": "serve", "image": "runtime:test"}],
        "volumes": [{"name": "app", "configMap": {"name": manifest}}],
    }})
}

fn replica_set(name: &str, owners: Value, manifest: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": name, "labels": {"spinredis.dev/app": "shop"}, "ownerReferences": owners},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"spinredis.dev/app": "shop"}}, "template": template(manifest)}})
}

fn owner(api_version: &str, kind: &str, object: &DynamicObject) -> Value {
    json!([{"apiVersion": api_version, "kind": kind, "name": object.metadata.name, "uid": object.metadata.uid, "controller": true}])
}

#[test]
fn what_an_earlier_app_of_the_same_name_left_behind_becomes_the_next_ones() {
    with_bare_world(|world| async move {
        let namespace = world.namespace("left-behind").await;
        world.apply(&namespace, "shop", 1).await;
        let operator = Operator::start(&world, &namespace, &Faults::none(), &[]);
        let left = make_ready(&world, &namespace).await;
        world.delete(&namespace, "shop").await;
        world.apply(&namespace, "shop", 2).await;
        let app = world.apps(&namespace).get("shop").await.unwrap();
        assert_status(&world, &namespace, "of an earlier app of this name is being deleted").await;
        let children = eventually("every child is the next app's, and nothing else is left", || async {
            let children = world.children(&namespace, "shop").await;
            let owners: Vec<_> = children.iter().map(|child| &child.metadata.owner_references.as_ref().unwrap()[..]).collect();
            let are_its_own = owners.iter().all(|owners| owners.len() == 1 && Some(&owners[0].uid) == app.metadata.uid.as_ref());
            if are_its_own && children.len() == 2 { Ok(children) } else { Err(format!("{owners:?}")) }
        })
        .await;
        assert_eq!(children[1].metadata.uid, left.metadata.uid, "its pods roll as for any edit");
        let volumes = children[1].data["spec"]["template"]["spec"]["volumes"].to_string();
        assert!(volumes.contains(children[0].metadata.name.as_deref().unwrap()), "{volumes}");
        operator.stop().await;
    });
}

#[test]
fn a_deployment_that_was_deleted_comes_back_once_its_pods_are_being_stopped() {
    with_bare_world(|world| async move {
        let namespace = world.namespace("pods-left").await;
        world.apply(&namespace, "shop", 1).await;
        let operator = Operator::start(&world, &namespace, &Faults::none(), &[]);
        let deployment = make_ready(&world, &namespace).await;
        let replica_sets = world.api(&namespace, "apps", "v1", "ReplicaSet");
        let set = create(replica_sets.clone(), replica_set("shop-1", owner("apps/v1", "Deployment", &deployment), "any")).await;
        let mut pod = template("any");
        pod["metadata"]["name"] = json!("shop-1-a");
        pod["metadata"]["ownerReferences"] = owner("apps/v1", "ReplicaSet", &set);
        let pods = world.api(&namespace, "", "v1", "Pod");
        let before = operator.metric(RECONCILED).await.unwrap();
        create(pods.clone(), pod).await;
        eventually("the operator has seen the pod", || async {
            let now = operator.metric(RECONCILED).await.unwrap();
            if now > before { Ok(()) } else { Err(format!("{now} reconciles")) }
        })
        .await;

        deployments(&world, &namespace).delete("shop", &DeleteParams::background()).await.unwrap();
        assert_status(&world, &namespace, "ReplicaSet shop-1 has yet to be deleted with it").await;
        assert_eq!(uid_of_deployment(&world, &namespace).await, None, "it would be a second one that handles each message");
        replica_sets.delete("shop-1", &DeleteParams::background()).await.unwrap();
        pods.delete("shop-1-a", &DeleteParams::default()).await.unwrap();
        eventually("the Deployment is made again", || async { uid_of_deployment(&world, &namespace).await.ok_or("none".to_owned()) }).await;
        operator.stop().await;
    });
}

#[test]
fn a_manifest_that_a_forgotten_replica_set_names_goes_with_that_replica_set() {
    with_bare_world(|world| async move {
        let namespace = world.namespace("forgotten").await;
        world.apply(&namespace, "shop", 1).await;
        let operator = Operator::start(&world, &namespace, &Faults::none(), &[]);
        make_ready(&world, &namespace).await;
        let replica_sets = world.api(&namespace, "apps", "v1", "ReplicaSet");
        create(replica_sets.clone(), replica_set("shop-0", json!([]), "shop-0000000000")).await;
        let app = world.apps(&namespace).get("shop").await.unwrap();
        let before = operator.metric(RECONCILED).await.unwrap();
        let owners = owner("spinredis.dev/v1alpha1", "SpinRedisApp", &app);
        let metadata = json!({"name": "shop-0000000000", "labels": {"spinredis.dev/app": "shop"}, "ownerReferences": owners});
        let config_maps = world.api(&namespace, "", "v1", "ConfigMap");
        create(config_maps.clone(), json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})).await;
        eventually("the operator has seen it", || async {
            let now = operator.metric(RECONCILED).await.unwrap();
            if now > before { Ok(()) } else { Err(format!("{now} reconciles")) }
        })
        .await;
        assert!(config_maps.get_opt("shop-0000000000").await.unwrap().is_some(), "a pod of the ReplicaSet may need it");
        // Nothing that the operator watches changes with this.
        replica_sets.delete("shop-0", &DeleteParams::background()).await.unwrap();
        eventually("the old manifest is gone", || async {
            let left = config_maps.get_opt("shop-0000000000").await.unwrap();
            if left.is_none() { Ok(()) } else { Err("it is there".to_owned()) }
        })
        .await;
        operator.stop().await;
    });
}
