//! An operator that is asked to stop, at a time when it could not begin.

use crate::{
    faults::{Fault, Faults},
    world::{Operator, eventually, with_bare_world},
};

/// Starts an operator whose lists of what the path names are never answered, and asks it to stop once it waits for them.
fn stops_while_it_waits_for(namespace: &'static str, listed: &'static str) {
    with_bare_world(|world| async move {
        let namespace = world.namespace(namespace).await;
        let faults = Faults::new(move |seen| if seen.is_of_watch() && seen.path.contains(listed) { Fault::Hang } else { Fault::None });
        let operator = Operator::start(&world, &namespace, &faults, &[]);
        eventually("it waits for that list only", || async {
            let answer = operator.get("/readyz").await;
            if matches!(&answer, Ok((503, text)) if text.contains(" 1 ")) { Ok(()) } else { Err(format!("{answer:?}")) }
        })
        .await;
        operator.stop().await;
    });
}

#[test]
fn one_that_still_waits_for_its_list_of_apps_stops() {
    stops_while_it_waits_for("stops-without-apps", "/spinredisapps");
}

#[test]
fn one_that_knows_the_apps_and_waits_for_another_list_stops() {
    stops_while_it_waits_for("stops-without-pods", "/pods");
}
