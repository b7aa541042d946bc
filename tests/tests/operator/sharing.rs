//! Replicas that share messages, in the pods that a real API server and its controllers make of an app: what scaling does to
//! them, by the way that an autoscaler takes.

use kube::{
    api::{DynamicObject, Patch, PatchParams},
    core::Object,
};
use serde_json::{Value, json};

use crate::{
    faults::Faults,
    world::{Operator, World, with_world},
};

/// Scales an app as `kubectl scale` and autoscalers do, and waits until it is as they want it.
async fn scale(world: &World, namespace: &str, name: &str, replicas: i32) -> Object<Value, Value> {
    let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    world.apps(namespace).patch_scale(name, &PatchParams::default(), &patch).await.unwrap();
    world.assert_converges(namespace, name, &format!("with {replicas} replicas")).await;
    let app = world.apps(namespace).get(name).await.unwrap();
    serde_json::from_value(serde_json::to_value(app).unwrap()).unwrap()
}

/// The pod template of an app's Deployment.
async fn template(world: &World, namespace: &str, name: &str) -> Value {
    let deployments: Vec<DynamicObject> = world.children(namespace, name).await;
    let deployment = deployments.into_iter().find(|child| child.data.get("spec").is_some()).unwrap();
    deployment.data["spec"]["template"].clone()
}

/// What the pods of a template sign with what they tell each other.
fn group_key(template: &Value) -> Option<&str> {
    let env = template["spec"]["containers"][0]["env"].as_array()?;
    env.iter().find(|variable| variable["name"] == "SPINREDIS_GROUP_KEY")?["value"].as_str()
}

#[test]
fn scaled_from_one_replica_an_app_comes_to_share_its_messages_and_one_that_said_so_before_keeps_its_pods() {
    with_world(|world| async move {
        let namespace = world.namespace("sharing").await;
        for name in ["open", "said"] {
            world.apply(&namespace, name, 1).await;
        }
        let shared = Patch::Merge(json!({"spec": {"delivery": "Shared", "sharing": {"beat": "50ms"}}}));
        world.apps(&namespace).patch("said", &PatchParams::default(), &shared).await.unwrap();
        let operator = Operator::start(&world, &namespace, &Faults::none(), &[]);
        for name in ["open", "said"] {
            world.assert_converges(&namespace, name, "at first").await;
        }
        let (open, said) = (template(&world, &namespace, "open").await, template(&world, &namespace, "said").await);
        assert_eq!(group_key(&open), None);

        for name in ["open", "said"] {
            let app = scale(&world, &namespace, name, 3).await;
            let scaled = template(&world, &namespace, name).await;
            assert_eq!(group_key(&scaled), app.metadata.uid.as_deref(), "{name}");
            let status = app.status.unwrap();
            assert_eq!(status["delivery"], "Shared", "{name}");
            let ready = status["conditions"].as_array().unwrap().iter().find(|condition| condition["type"] == "Ready").unwrap();
            let message = ready["message"].as_str().unwrap();
            assert_eq!(message, "Shared 3/3: each message is handled by one replica; subscribed to 1 channel", "{name}");
        }
        let shared_now = template(&world, &namespace, "open").await;
        assert_ne!(shared_now, open);
        assert_eq!(template(&world, &namespace, "said").await, said);

        scale(&world, &namespace, "open", 2).await;
        scale(&world, &namespace, "said", 1).await;
        assert_eq!(template(&world, &namespace, "open").await, shared_now);
        assert_eq!(template(&world, &namespace, "said").await, said);
        operator.stop().await;
    });
}
