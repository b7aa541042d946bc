//! Several replicas and one Lease.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use spin_redis_operator::election::decide::Timing;

use crate::{
    faults::{Fault, Faults},
    world::{Operator, World, eventually, options, with_world},
};

const LEADER: &str = "spin_redis_operator_leader";
/// As in production, but looked at more often: with shorter deadlines a busy machine would lose leases that nobody cut.
const TIMING: Timing =
    Timing { duration: Duration::from_secs(15), renew_deadline: Duration::from_secs(10), retry: Duration::from_millis(500) };

fn replica(world: &World, namespace: &str, name: &str, faults: &Faults) -> Operator {
    let (mut options, metrics) = options(namespace, &["--leader-election", "--lease-namespace", namespace, "--pod-name", name]);
    options.candidacy.as_mut().unwrap().timing = TIMING;
    Operator::start_with(world, options, metrics, faults)
}

async fn wait_until_it_leads(operator: &Operator, leads: bool) {
    let wanted = if leads { 1.0 } else { 0.0 };
    eventually(&format!("{LEADER} is {wanted}"), || async {
        let value = operator.metric(LEADER).await;
        if value == Some(wanted) { Ok(()) } else { Err(format!("{value:?}")) }
    })
    .await;
}

#[test]
fn a_leader_that_is_asked_to_stop_hands_over_at_once_and_a_follower_writes_nothing() {
    with_world(|world| async move {
        let namespace = world.namespace("handed-over").await;
        let follower_faults = Faults::none();
        let leader = replica(&world, &namespace, "operator-a", &Faults::none());
        wait_until_it_leads(&leader, true).await;
        let follower = replica(&world, &namespace, "operator-b", &follower_faults);
        world.apply(&namespace, "shop", 1).await;
        world.assert_converges(&namespace, "shop", "with two replicas").await;
        wait_until_it_leads(&follower, false).await;
        assert_eq!(follower_faults.writes(), [""; 0], "a follower writes not even the lease");

        let asked = Instant::now();
        leader.stop().await;
        wait_until_it_leads(&follower, true).await;
        assert!(asked.elapsed() < TIMING.duration, "the lease was not given back: {:?}", asked.elapsed());
        world.apply(&namespace, "shop", 2).await;
        world.assert_converges(&namespace, "shop", "with the next leader").await;
        follower.stop().await;
    });
}

#[test]
fn a_lease_that_changed_meanwhile_is_given_back_all_the_same() {
    with_world(|world| async move {
        let namespace = world.namespace("changed").await;
        let (is_asked, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (asked, once) = (is_asked.clone(), refused.clone());
        // Its first write after it was asked to stop meets another version than it knows.
        let faults = Faults::new(move |seen| {
            let is_write = asked.load(Ordering::SeqCst) && seen.is_write() && seen.path.contains("/leases");
            if is_write && !once.swap(true, Ordering::SeqCst) { Fault::Refuse(409) } else { Fault::None }
        });
        let leader = replica(&world, &namespace, "operator-a", &faults);
        wait_until_it_leads(&leader, true).await;
        is_asked.store(true, Ordering::SeqCst);
        leader.stop().await;
        assert!(refused.load(Ordering::SeqCst));
        let lease = world.api(&namespace, "coordination.k8s.io", "v1", "Lease").get("spin-redis-operator").await.unwrap();
        assert_eq!(lease.data["spec"]["holderIdentity"].as_str().unwrap_or_default(), "");
    });
}

#[test]
fn a_leader_that_is_cut_off_ends_before_another_begins() {
    with_world(|world| async move {
        let namespace = world.namespace("cut-off").await;
        let is_cut = Arc::new(AtomicBool::new(false));
        let cut = is_cut.clone();
        // Its requests for leases are not answered any more; all others are, so that it could do harm.
        let faults =
            Faults::new(move |seen| if cut.load(Ordering::SeqCst) && seen.path.contains("/leases") { Fault::Hang } else { Fault::None });
        let leader = replica(&world, &namespace, "operator-a", &faults);
        wait_until_it_leads(&leader, true).await;
        let follower_faults = Faults::none();
        let follower = replica(&world, &namespace, "operator-b", &follower_faults);
        is_cut.store(true, Ordering::SeqCst);
        let why = leader.ended().await;
        assert!(why.contains("could not be renewed"), "{why}");
        assert_eq!(follower_faults.writes(), [""; 0], "the follower began while the leader still led");
        let written = faults.writes().len();
        wait_until_it_leads(&follower, true).await;
        world.apply(&namespace, "shop", 1).await;
        world.assert_converges(&namespace, "shop", "with the next leader").await;
        assert_eq!(faults.writes().len(), written, "the old leader wrote after it had lost the lease");
        follower.stop().await;
    });
}
