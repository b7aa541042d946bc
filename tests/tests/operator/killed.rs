//! Killed at every request of a reconcile in turn, before it and after it took effect: the next operator comes to the same end.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use futures::future::join_all;

use crate::{
    faults::{Fault, Faults, Seen},
    world::{Operator, World, eventually, with_world},
};

/// More requests than any of the lives below takes.
const MOST: usize = 40;
/// How many lives are lived side by side.
const SIDE_BY_SIDE: usize = 8;

/// Runs lives, killed at the first, second, … request, until one ends before it is killed. Gives how many were killed.
async fn at_every_request<F: Future<Output = bool>>(life: impl Fn(usize) -> F) -> usize {
    for first in (1..MOST).step_by(SIDE_BY_SIDE) {
        let killed = join_all((first..first + SIDE_BY_SIDE).map(&life)).await;
        if let Some(survived) = killed.iter().position(|killed| !killed) {
            return first + survived - 1;
        }
    }
    panic!("a life takes more than {MOST} requests");
}

/// Starts an operator that the plan kills, waits until it is dead or the app is Ready, and lets another one finish.
async fn killed_and_finished(world: &World, namespace: &str, faults: &Faults, why: &str) -> bool {
    let operator = Operator::start(world, namespace, faults, &[]);
    tokio::select! {
        () = faults.killed() => {}
        () = world.assert_converges(namespace, "shop", why) => {}
    }
    let was_killed = faults.has_killed();
    operator.kill();
    let next = Operator::start(world, namespace, &Faults::none(), &[]);
    world.assert_converges(namespace, "shop", why).await;
    next.stop().await;
    was_killed
}

fn at(number: usize, fault: fn() -> Fault) -> impl FnMut(&Seen) -> Fault + Send + 'static {
    move |seen| if seen.number == number { fault() } else { Fault::None }
}

#[test]
fn an_operator_killed_at_any_request_of_a_new_app_is_followed_by_one_that_finishes() {
    with_world(|world| async move {
        for (word, fault) in [("before", (|| Fault::KillBefore) as fn() -> Fault), ("after", || Fault::KillAfter)] {
            let killed = at_every_request(|number| {
                let world = world.clone();
                async move {
                    let namespace = world.namespace(&format!("killed-{word}-{number}")).await;
                    world.apply(&namespace, "shop", 1).await;
                    let why = format!("after a kill {word} request {number}");
                    killed_and_finished(&world, &namespace, &Faults::new(at(number, fault)), &why).await
                }
            })
            .await;
            assert!(killed >= 5, "only {killed} requests were met");
        }
    });
}

#[test]
fn an_operator_killed_at_any_request_of_an_edit_is_followed_by_one_that_finishes() {
    with_world(|world| async move {
        for (word, fault) in [("before", (|| Fault::KillBefore) as fn() -> Fault), ("after", || Fault::KillAfter)] {
            let killed = at_every_request(|number| {
                let world = world.clone();
                async move {
                    let namespace = world.namespace(&format!("edited-{word}-{number}")).await;
                    world.apply(&namespace, "shop", 1).await;
                    let first = Operator::start(&world, &namespace, &Faults::none(), &[]);
                    world.assert_converges(&namespace, "shop", "at first").await;
                    first.stop().await;
                    world.apply(&namespace, "shop", 2).await;
                    let why = format!("after a kill {word} request {number} of an edit");
                    killed_and_finished(&world, &namespace, &Faults::new(at(number, fault)), &why).await
                }
            })
            .await;
            assert!(killed >= 5, "only {killed} requests were met");
        }
    });
}

#[test]
fn an_app_deleted_at_any_request_leaves_no_child_behind() {
    with_world(|world| async move {
        at_every_request(|number| {
            let world = world.clone();
            async move {
                let namespace = world.namespace(&format!("deleted-{number}")).await;
                world.apply(&namespace, "shop", 1).await;
                let was_deleted = Arc::new(AtomicBool::new(false));
                let faults = {
                    let (world, namespace, was_deleted) = (world.clone(), namespace.clone(), was_deleted.clone());
                    Faults::new(move |seen| {
                        if seen.number != number {
                            return Fault::None;
                        }
                        let (world, namespace, was_deleted) = (world.clone(), namespace.clone(), was_deleted.clone());
                        // A task of its own: the operator may give up the request that this hangs on.
                        let deletion = async move {
                            world.delete(&namespace, "shop").await;
                            was_deleted.store(true, Ordering::SeqCst);
                        };
                        Fault::After(Box::pin(async move { tokio::spawn(deletion).await.unwrap() }))
                    })
                };
                let operator = Operator::start(&world, &namespace, &faults, &[]);
                let deleted = || was_deleted.load(Ordering::SeqCst);
                tokio::select! {
                    () = world.assert_converges(&namespace, "shop", "before it is deleted") => {}
                    () = eventually("the app is deleted", || async { if deleted() { Ok(()) } else { Err(String::new()) } }) => {}
                }
                if deleted() {
                    // What was under way when the app went may have made a child, which the garbage collector takes.
                    operator.stop().await;
                    eventually(&format!("nothing is left after a deletion at request {number}"), || async {
                        let left = world.children(&namespace, "shop").await;
                        let names: Vec<_> = left.iter().map(|child| child.metadata.name.clone()).collect();
                        if left.is_empty() { Ok(()) } else { Err(format!("{names:?}")) }
                    })
                    .await;
                    let faults = Faults::none();
                    let next = Operator::start(&world, &namespace, &faults, &[]);
                    eventually("the next operator is ready", || async {
                        let answer = next.get("/readyz").await;
                        if matches!(answer, Ok((200, _))) { Ok(()) } else { Err(format!("{answer:?}")) }
                    })
                    .await;
                    next.stop().await;
                    assert_eq!(faults.writes(), [""; 0], "for an app that is gone");
                    assert!(world.children(&namespace, "shop").await.is_empty());
                } else {
                    operator.stop().await;
                }
                deleted()
            }
        })
        .await;
    });
}
