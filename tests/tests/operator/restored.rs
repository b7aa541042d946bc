//! An etcd that was restored from a backup: objects are what they were, and versions count from there on.

use spinredis_tests::control_plane::ControlPlane;

use crate::{
    faults::Faults,
    world::{Operator, World, eventually},
};

/// Waits until the Deployment of an app reads the manifest of its newest form.
async fn assert_deployed(world: &World, namespace: &str, name: &str, channels: usize) {
    let last = format!("channel-{}", channels - 1);
    eventually(&format!("{name} is deployed with {channels} channels"), || async {
        let deployment = world.api(namespace, "apps", "v1", "Deployment").get(name).await.map_err(|error| error.to_string())?;
        let volumes = deployment.data["spec"]["template"]["spec"]["volumes"].to_string();
        let children = world.children(namespace, name).await;
        let manifest = children.iter().find(|child| volumes.contains(child.metadata.name.as_deref().unwrap()));
        let text = manifest.map(|manifest| manifest.data["data"].to_string()).unwrap_or_default();
        let has_all = text.contains(&last) && !text.contains(&format!("channel-{channels}"));
        if has_all { Ok(()) } else { Err(text) }
    })
    .await;
}

#[test]
fn after_etcd_was_restored_from_a_backup_new_and_edited_apps_are_seen() {
    let mut plane = ControlPlane::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (world, namespace, operator) = runtime.block_on(async {
        let world = World { client: plane.client().await, config: plane.config().await };
        let namespace = world.namespace("restored").await;
        world.apply(&namespace, "before", 1).await;
        let operator = Operator::start(&world, &namespace, &Faults::none(), &[]);
        assert_deployed(&world, &namespace, "before", 1).await;
        (world, namespace, operator)
    });
    plane.back_up();
    runtime.block_on(async {
        // Many versions, so that those after the restore stay below for long.
        for channels in 2..40 {
            world.apply(&namespace, "before", channels).await;
            world.apply(&namespace, &format!("lost-{channels}"), 1).await;
        }
        assert_deployed(&world, &namespace, "before", 39).await;
        assert_deployed(&world, &namespace, "lost-39", 1).await;
    });
    plane.restore();
    runtime.block_on(async {
        world.apply(&namespace, "before", 3).await;
        world.apply(&namespace, "after", 2).await;
        assert_deployed(&world, &namespace, "before", 3).await;
        assert_deployed(&world, &namespace, "after", 2).await;
        operator.stop().await;
    });
    drop(runtime);
}
