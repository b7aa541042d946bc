//! The state machine under a deterministic simulation: one Redis, pods that join, leave, crash, stand still and lose connections, each
//! connection with delays of its own, and messages that are handled late. Each schedule follows from its seed.
//!
//! `SHARING_SCHEDULES=n` runs so many schedules, `SHARING_SEED=n` that one and prints what happened.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod facts;
mod plan;
mod pods;
mod replica;
mod script_model;
mod world;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};

use plan::{Plan, THEMES};
use world::World;

/// What a run counted.
#[derive(Clone, Copy, Default, Debug)]
struct Counted {
    messages: u64,
    replays: u64,
    again: u64,
    lost: u64,
    innocents: u64,
}

fn run(plan: &Plan, traced: bool) -> (Result<Counted, String>, Vec<String>) {
    let mut world = World::new(plan.clone(), traced);
    let result = match catch_unwind(AssertUnwindSafe(|| world.run())) {
        Ok(result) => result,
        Err(panic) => Err(format!("it panics: {:?}", panic.downcast_ref::<String>())),
    };
    let facts = &world.facts;
    let counted = Counted {
        messages: u64::from(world.published),
        replays: facts.replays,
        again: facts.again,
        lost: facts.lost,
        innocents: facts.innocents,
    };
    (result.map(|()| counted), world.trace.take().unwrap_or_default())
}

/// Leaves out of a failing plan what it fails without.
fn shrink(mut plan: Plan) -> Plan {
    let mut size = plan.steps.len().div_ceil(2);
    while size > 0 {
        let mut from = 0;
        while from < plan.steps.len() {
            let mut fewer = plan.clone();
            fewer.steps.drain(from..(from + size).min(plan.steps.len()));
            if run(&fewer, false).0.is_err() {
                plan = fewer;
            } else {
                from += size;
            }
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    plan
}

fn explain(plan: Plan, words: &str) -> String {
    let seed = plan.seed;
    let plan = shrink(plan);
    let (result, mut trace) = run(&plan, true);
    // The long wait for what never comes is no reading.
    if trace.len() > 600 {
        trace.drain(500..trace.len() - 50);
    }
    let shrunk = result.err().unwrap_or_default();
    format!(
        "seed {seed} ({:?}): {words}\nshrunk: {shrunk}\n{plan:#?}\n{}\nSHARING_SEED={seed} runs it again\n",
        plan.theme,
        trace.join("\n")
    )
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_schedule_keeps_what_the_protocol_promises() {
    if let Some(seed) = number("SHARING_SEED") {
        let plan = Plan::of(seed);
        let result = run(&plan, false).0;
        println!("{result:?}");
        if let Err(words) = result {
            panic!("{}", explain(plan, &words));
        }
        return;
    }
    let schedules = number("SHARING_SCHEDULES").unwrap_or(1_000);
    let workers = 2;
    let from = number("SHARING_FROM").unwrap_or(0);
    let run_all = |worker: u64| {
        let mut failures = Vec::new();
        let mut counted = [Counted::default(); THEMES.len()];
        for seed in (from..from + schedules).filter(|seed| seed / THEMES.len() as u64 % workers == worker) {
            let plan = Plan::of(seed);
            match run(&plan, false).0 {
                Ok(one) => {
                    let all = &mut counted[usize::try_from(seed).unwrap() % THEMES.len()];
                    all.messages += one.messages;
                    all.replays += one.replays;
                    all.again += one.again;
                    all.lost += one.lost;
                    all.innocents += one.innocents;
                }
                Err(words) => failures.push((seed, words)),
            }
        }
        (failures, counted)
    };
    let done = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|worker| scope.spawn(move || run_all(worker))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect::<Vec<_>>()
    });
    for (theme, place) in THEMES.iter().zip(0..) {
        println!("{theme:?}: {:?}", done.iter().map(|(_, counted)| counted[place]).collect::<Vec<_>>());
    }
    let failures: Vec<(u64, String)> = done.into_iter().flat_map(|(failures, _)| failures).collect();
    for (seed, words) in failures.iter() {
        println!("seed {seed} ({:?}): {words}", THEMES[usize::try_from(*seed).unwrap() % THEMES.len()]);
    }
    if let Some((seed, words)) = failures.first() {
        panic!("{} of {schedules} schedules fail\n{}", failures.len(), explain(Plan::of(*seed), words));
    }
}
