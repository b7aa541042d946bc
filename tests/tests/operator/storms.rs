//! Storms: conflicts, refusals, resets, watches that expire, an API server that goes and comes back. When a storm is over,
//! every app is as it should be.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use rand::RngExt;
use spinredis_tests::{control_plane::ControlPlane, kubelet};

use crate::{
    faults::{Fault, Faults},
    world::{Operator, World, run, with_world},
};

const APPS: usize = 12;

/// One request in three fails in one of the ways in which requests fail.
fn storm(is_raging: &Arc<AtomicBool>) -> Faults {
    let is_raging = is_raging.clone();
    Faults::new(move |seen| {
        let mut random = rand::rng();
        if !is_raging.load(Ordering::SeqCst) || random.random_range(0..3) != 0 {
            return Fault::None;
        }
        match random.random_range(0..5) {
            0 if seen.path.contains("watch=") => Fault::Expire,
            0 => Fault::Refuse(409),
            1 => Fault::Refuse(429),
            2 => Fault::Refuse(500),
            3 => Fault::Refuse(503),
            _ => Fault::Reset,
        }
    })
}

#[test]
fn after_a_storm_of_conflicts_refusals_resets_and_expired_watches_every_app_converges() {
    with_world(|world| async move {
        let namespace = world.namespace("storm").await;
        let is_raging = Arc::new(AtomicBool::new(true));
        let faults = storm(&is_raging);
        let operator = Operator::start(&world, &namespace, &faults, &[]);
        for number in 0..APPS {
            world.apply(&namespace, &format!("shop-{number}"), 1).await;
        }
        for number in (0..APPS).step_by(3) {
            world.apply(&namespace, &format!("shop-{number}"), 2).await;
        }
        for number in (1..APPS).step_by(4) {
            world.delete(&namespace, &format!("shop-{number}")).await;
        }
        crate::world::eventually("the storm has met many requests", || async {
            let requests = faults.requests();
            if requests > 4 * APPS { Ok(()) } else { Err(format!("{requests} requests")) }
        })
        .await;
        is_raging.store(false, Ordering::SeqCst);
        for number in (0..APPS).filter(|number| number % 4 != 1) {
            world.assert_converges(&namespace, &format!("shop-{number}"), "after the storm").await;
        }
        for number in (1..APPS).step_by(4) {
            let name = format!("shop-{number}");
            crate::world::eventually(&format!("nothing is left of {name}"), || async {
                let left = world.children(&namespace, &name).await.len();
                if left == 0 { Ok(()) } else { Err(format!("{left} children")) }
            })
            .await;
        }
        operator.stop().await;
    });
}

#[test]
fn an_api_server_that_goes_and_comes_back_finds_its_apps_finished() {
    let mut plane = ControlPlane::start();
    plane.start_controllers();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (world, operator, namespace) = runtime.block_on(async {
        let world = World { client: plane.client().await, config: plane.config().await };
        tokio::spawn(kubelet::run(world.client.clone()));
        let namespace = world.namespace("gone").await;
        let operator = Operator::start(&world, &namespace, &Faults::none(), &[]);
        world.apply(&namespace, "before", 1).await;
        world.assert_converges(&namespace, "before", "before the API server goes").await;
        world.apply(&namespace, "during", 1).await;
        world.apply(&namespace, "before", 2).await;
        (world, operator, namespace)
    });
    plane.kill_api_server();
    plane.start_api_server();
    runtime.block_on(async {
        world.apply(&namespace, "after", 1).await;
        for name in ["before", "during", "after"] {
            world.assert_converges(&namespace, name, "after the API server came back").await;
        }
        operator.stop().await;
    });
    drop(runtime);
    run(async {});
}
