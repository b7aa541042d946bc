//! What a life costs: writes until Ready, and nothing at all in steady state and after a restart.

use std::time::Duration;

use crate::{
    faults::Faults,
    world::{Operator, eventually, with_world},
};

const MOST_WRITES: usize = 6;

#[test]
fn an_app_takes_at_most_six_writes_to_be_ready_and_a_restart_asks_and_writes_nothing() {
    with_world(|world| async move {
        let namespace = world.namespace("restart").await;
        world.apply(&namespace, "shop", 1).await;
        let faults = Faults::none();
        let operator = Operator::start(&world, &namespace, &faults, &[]);
        world.assert_converges(&namespace, "shop", "at first").await;
        operator.stop().await;
        let writes = faults.writes();
        assert!(writes.len() <= MOST_WRITES, "{writes:#?}");
        assert_eq!(faults.requests(), writes.len(), "nothing is asked before the children are made");

        let faults = Faults::none();
        let operator = Operator::start(&world, &namespace, &faults, &[]);
        eventually("the restarted operator has looked at the app", || async {
            let reconciled = operator.metric("spin_redis_operator_reconciles_total{result=\"ok\"}").await;
            if reconciled.is_some_and(|count| count >= 1.0) { Ok(()) } else { Err(format!("{reconciled:?}")) }
        })
        .await;
        // Nothing tells that nothing more comes.
        tokio::time::sleep(Duration::from_millis(300)).await;
        operator.stop().await;
        assert_eq!((faults.requests(), faults.writes()), (0, Vec::new()), "beside lists and watches");
    });
}
