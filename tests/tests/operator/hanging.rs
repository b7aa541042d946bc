//! A reconcile that hangs holds up no other app, and is tried again.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::{
    faults::{Fault, Faults},
    world::{Operator, with_world},
};

#[test]
fn requests_that_are_never_answered_for_one_app_delay_no_other_and_are_given_up() {
    with_world(|world| async move {
        let namespace = world.namespace("hanging").await;
        let hangs = Arc::new(AtomicBool::new(true));
        let still = hangs.clone();
        let faults = Faults::new(move |seen| {
            if still.load(Ordering::SeqCst) && !seen.is_of_watch() && seen.path.contains("/stuck") { Fault::Hang } else { Fault::None }
        });
        let operator = Operator::start(&world, &namespace, &faults, &["--reconciles", "2"]);
        world.apply(&namespace, "stuck", 1).await;
        let started = std::time::Instant::now();
        for number in 0..6 {
            world.apply(&namespace, &format!("shop-{number}"), 1).await;
        }
        for number in 0..6 {
            world.assert_converges(&namespace, &format!("shop-{number}"), "beside one that hangs").await;
        }
        // Sooner than the hanging one is given up for the first time.
        assert!(started.elapsed() < spin_redis_operator::reconcile::TIMEOUT, "{:?}", started.elapsed());
        hangs.store(false, Ordering::SeqCst);
        world.assert_converges(&namespace, "stuck", "once it is answered").await;
        operator.stop().await;
    });
}
