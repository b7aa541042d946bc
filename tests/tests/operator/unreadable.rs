//! An app that is stored in a form which the operator does not know, as after a newer CRD was taken back.

use k8s_openapi::api::events::v1::Event;
use kube::{
    Api,
    api::{ListParams, PostParams},
};
use serde_json::json;
use spinredis_tests::control_plane::ControlPlane;

use crate::{
    faults::Faults,
    world::{Operator, World, eventually, run},
};

const UNREADABLE: &str = "spin_redis_operator_unreadable_apps_total";

/// Lets the API server take any app.
fn take_any(plane: &ControlPlane) {
    let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let schema = json!({"type": "object", "properties": {"spec": anything, "status": anything}});
    let version = "/spec/versions/0";
    let patch = json!([
        {"op": "replace", "path": format!("{version}/schema/openAPIV3Schema"), "value": schema},
        {"op": "remove", "path": format!("{version}/subresources/scale")},
        {"op": "remove", "path": format!("{version}/additionalPrinterColumns")},
    ]);
    plane.kubectl(&["patch", "crd", "spinredisapps.spinredis.dev", "--type=json", "--patch", &patch.to_string()]);
}

#[test]
fn an_app_that_cannot_be_read_is_named_in_its_status_an_event_and_a_metric_and_the_others_go_on() {
    let plane = ControlPlane::start();
    run(async {
        let world = World { client: plane.client().await, config: plane.config().await };
        let namespace = world.namespace("unreadable").await;
        world.apply(&namespace, "before", 1).await;
        let operator = Operator::start(&world, &namespace, &Faults::none(), &[]);
        take_any(&plane);
        let broken =
            json!({"apiVersion": "spinredis.dev/v1alpha1", "kind": "SpinRedisApp", "metadata": {"name": "broken"}, "spec": {"trigger": 5}});
        let broken = serde_json::from_value(broken).unwrap();
        eventually("the API server takes any app", || async {
            let made = world.apps(&namespace).create(&PostParams::default(), &broken).await;
            made.map(drop).map_err(|error| error.to_string())
        })
        .await;
        let message = eventually("the status says that it cannot be read", || async {
            let app = world.apps(&namespace).get("broken").await.unwrap();
            let mut conditions = app.data["status"]["conditions"].as_array().into_iter().flatten();
            let stalled = conditions.find(|condition| condition["type"] == "Stalled" && condition["status"] == "True");
            stalled.map(|stalled| stalled["message"].to_string()).ok_or_else(|| app.data["status"].to_string())
        })
        .await;
        assert!(message.contains("cannot be read"), "{message}");
        eventually("an event says so", || async {
            let events = Api::<Event>::namespaced(world.client.clone(), &namespace).list(&ListParams::default()).await.unwrap();
            let is_it = |event: &Event| event.regarding.as_ref().is_some_and(|app| app.name.as_deref() == Some("broken"));
            let notes: Vec<_> = events.items.iter().filter(|event| is_it(event)).filter_map(|event| event.note.clone()).collect();
            if notes.iter().any(|note| note.contains("cannot be read")) { Ok(()) } else { Err(format!("{notes:?}")) }
        })
        .await;
        assert!(operator.metric(UNREADABLE).await.is_some_and(|count| count >= 1.0));

        // One that was there, and one that comes later.
        world.apply(&namespace, "after", 2).await;
        for name in ["before", "after"] {
            eventually(&format!("{name} has its children"), || async {
                let children = world.children(&namespace, name).await.len();
                if children == 2 { Ok(()) } else { Err(format!("{children} children")) }
            })
            .await;
        }
        operator.stop().await;
        // It is met by an operator that begins, too.
        let next = Operator::start(&world, &namespace, &Faults::none(), &[]);
        world.apply(&namespace, "later", 1).await;
        eventually("an operator that begins with it makes children of others", || async {
            let children = world.children(&namespace, "later").await.len();
            if children == 2 { Ok(()) } else { Err(format!("{children} children")) }
        })
        .await;
        next.stop().await;
    });
}
