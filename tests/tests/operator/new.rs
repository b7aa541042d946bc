//! The children of a new app are made without asking first whether their names are free. A stranger's object keeps its own.

use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    faults::{Fault, Faults},
    world::{Operator, World, eventually, with_world},
};

async fn wait_for_conflict(world: &World, namespace: &str) -> String {
    eventually("the app says whose name is taken", || async {
        let app = world.apps(namespace).get("shop").await.map_err(|error| error.to_string())?;
        let conditions = app.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let ready = conditions.into_iter().find(|condition| condition["type"] == "Ready").unwrap_or_default();
        let message = ready["message"].as_str().unwrap_or_default().to_owned();
        if ready["reason"] == "NameConflict" { Ok(message) } else { Err(ready.to_string()) }
    })
    .await
}

#[test]
fn a_stranger_of_a_new_app_s_name_is_left_as_it_is_and_nothing_is_made_beside_it() {
    with_world(|world| async move {
        let namespace = world.namespace("taken").await;
        let labels = json!({"app": "stranger"});
        let stranger: Deployment = serde_json::from_value(json!({"metadata": {"name": "shop"}, "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "one", "image": "one"}]}},
        }}))
        .unwrap();
        let deployments: Api<Deployment> = Api::namespaced(world.client.clone(), &namespace);
        let before = deployments.create(&PostParams::default(), &stranger).await.unwrap();
        let operator = Operator::start(&world, &namespace, &Faults::none(), &[]);
        // The operator is there before the app, and knows nothing of the stranger.
        world.apply(&namespace, "shop", 1).await;
        let message = wait_for_conflict(&world, &namespace).await;
        assert!(message.contains("Deployment shop exists already"), "{message}");
        let after = deployments.get("shop").await.unwrap();
        assert_eq!((&after.spec, after.uid()), (&before.spec, before.uid()));
        assert!(after.owner_references().is_empty() && !after.managed_fields().iter().any(is_of_operator), "{:?}", after.metadata);
        let made = world.children(&namespace, "shop").await;
        assert!(made.is_empty(), "{made:?}");

        deployments.delete("shop", &DeleteParams::default()).await.unwrap();
        world.assert_converges(&namespace, "shop", "once the name is free").await;
        operator.stop().await;
    });
}

#[test]
fn no_pod_starts_with_the_manifest_of_a_stranger_that_appears_while_the_children_are_made() {
    with_world(|world| async move {
        let namespace = world.namespace("taken-manifest").await;
        let config_maps: Api<ConfigMap> = Api::namespaced(world.client.clone(), &namespace);
        let deployments: Api<Deployment> = Api::namespaced(world.client.clone(), &namespace);
        let strange = config_maps.clone();
        // Once: just before the manifest is written, somebody else makes a ConfigMap of its name.
        let faults = Faults::new(move |seen| {
            let name = seen.path.split('?').next().and_then(|path| path.rsplit_once("/configmaps/shop-")).map(|(_, hash)| hash.to_owned());
            match name {
                Some(hash) if seen.number <= 2 => {
                    let strange = strange.clone();
                    Fault::After(Box::pin(async move {
                        let object: Value = json!({"metadata": {"name": format!("shop-{hash}")}, "data": {"app.yaml": "strange"}});
                        drop(strange.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await);
                    }))
                }
                _ => Fault::None,
            }
        });
        let operator = Operator::start(&world, &namespace, &faults, &[]);
        world.apply(&namespace, "shop", 1).await;
        let message = wait_for_conflict(&world, &namespace).await;
        assert!(message.contains("ConfigMap shop-"), "{message}");
        let made = deployments.get_opt("shop").await.unwrap();
        assert!(made.is_none_or(|made| made.spec.unwrap().replicas == Some(0)), "its pods would read the stranger's manifest");
        let all = config_maps.list(&ListParams::default()).await.unwrap();
        let strange = all.iter().find(|found| found.name_any().starts_with("shop-")).unwrap();
        assert_eq!(strange.data.as_ref().unwrap()["app.yaml"], "strange");

        // Another manifest has another name.
        world.apply(&namespace, "shop", 2).await;
        world.assert_converges(&namespace, "shop", "with another manifest").await;
        operator.stop().await;
    });
}

fn is_of_operator(entry: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry) -> bool {
    entry.manager.as_deref() == Some("spin-redis-operator")
}
