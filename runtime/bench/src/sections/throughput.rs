//! Messages in a second and processor time for a message, every arm in a closed window, round by round.

use std::{sync::Arc, time::Duration};

use anyhow::Context;

use super::CHANNEL;
use crate::{
    arms::Arm,
    control,
    load::{
        Publisher,
        closed::{self, Closed},
    },
    probe::Probe,
    progress,
    report::Throughput,
    server::Server,
    stats::{Rounds, ratio},
};

/// Bytes of a payload.
const PAYLOAD: usize = 64;

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Rounds that count; one more before them does not.
    pub rounds: usize,
    /// Of a round of an arm.
    pub measured: Duration,
}

/// Measures all arms; also gives how far two threads of pure computing get over one.
pub fn run(arms: &[Box<dyn Arm>], plan: Plan) -> anyhow::Result<(Vec<Throughput>, Option<f64>)> {
    let server = Server::start(false)?;
    let mut figures: Vec<(Rounds, Rounds)> = vec![Default::default(); arms.len()];
    let (mut one, mut two) = (Rounds::default(), Rounds::default());
    for round in 0..=plan.rounds {
        progress!("throughput: round {round} of {}", plan.rounds);
        one.push(control::measure(1, plan.measured / 4));
        two.push(control::measure(2, plan.measured / 4));
        for (arm, (wall, cpu)) in arms.iter().zip(&mut figures) {
            let round_figures = measure(arm.as_ref(), &server, plan).with_context(|| arm.label().to_string())?;
            // In the first round caches are cold and pools empty.
            if round > 0 {
                wall.push(round_figures.wall);
                cpu.push(round_figures.cpu);
            }
        }
    }
    let rows = arms.iter().zip(&figures).map(|(arm, (wall, cpu))| {
        let label = arm.label();
        Throughput {
            arm: label.kind,
            guest: label.guest.name().to_owned(),
            workers: label.workers,
            wall: wall.best().unwrap_or(f64::NAN),
            cpu: cpu.best().unwrap_or(f64::NAN),
            spread: wall.spread().unwrap_or(f64::NAN),
        }
    });
    Ok((rows.collect(), ratio(one.best(), two.best())))
}

fn measure(arm: &dyn Arm, server: &Server, plan: Plan) -> anyhow::Result<closed::Figures> {
    let probe = Arc::new(Probe::default());
    let running = arm.start(&server.address(), CHANNEL, &probe)?;
    let mut publisher = Publisher::connect(&server.socket(), CHANNEL, PAYLOAD)?;
    // As many as keep a fast arm busy while a batch is on its way, and no more than a slow one finishes soon.
    let window = if arm.label().guest.is_slow() { 32 } else { 512 };
    let closed = Closed { window, warm_up: plan.measured / 5, measured: plan.measured };
    let figures = closed::run(closed, &mut publisher, &probe);
    // Why an arm ended tells more than that messages are missing.
    running.stop()?;
    figures
}
