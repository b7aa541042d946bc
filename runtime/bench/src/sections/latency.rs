//! Latency at given rates, every arm round by round: from publishing a message to the end of its handler.

use std::{sync::Arc, time::Duration};

use anyhow::Context;

use super::CHANNEL;
use crate::{
    arms::Arm,
    load::{
        Publisher,
        open::{self, Open},
    },
    probe::Probe,
    progress,
    report::Latency,
    server::Server,
    stats::{Rounds, quantile},
};

/// Bytes of a payload.
const PAYLOAD: usize = 64;

/// Messages in a second.
pub const RATES: [u32; 2] = [2_000, 15_000];

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Rounds that count; one more before them does not.
    pub rounds: usize,
    /// Of a round of an arm at one rate.
    pub measured: Duration,
}

/// Measures these arms.
pub fn run(arms: &[&dyn Arm], plan: Plan) -> anyhow::Result<Vec<Latency>> {
    let server = Server::start(false)?;
    let cases: Vec<(&dyn Arm, u32)> = arms.iter().flat_map(|arm| RATES.map(|rate| (*arm, rate))).collect();
    let mut figures: Vec<(Rounds, Rounds)> = vec![Default::default(); cases.len()];
    for round in 0..=plan.rounds {
        progress!("latency: round {round} of {}", plan.rounds);
        for ((arm, rate), (p50, p99)) in cases.iter().zip(&mut figures) {
            let open = Open { rate: *rate, warm_up: plan.measured / 5, measured: plan.measured };
            let mut latencies = measure(*arm, &server, open).with_context(|| arm.label().to_string())?;
            if round > 0 {
                p50.push(quantile(&mut latencies, 0.5).unwrap_or(f64::NAN) / 1e3);
                p99.push(quantile(&mut latencies, 0.99).unwrap_or(f64::NAN) / 1e3);
            }
        }
    }
    let rows = cases.iter().zip(&figures).map(|((arm, rate), (p50, p99))| Latency {
        arm: arm.label().kind,
        rate: *rate,
        p50: p50.best().unwrap_or(f64::NAN),
        p99: p99.best().unwrap_or(f64::NAN),
    });
    Ok(rows.collect())
}

fn measure(arm: &dyn Arm, server: &Server, open: Open) -> anyhow::Result<Vec<f64>> {
    let probe = Arc::new(Probe::default());
    let running = arm.start(&server.address(), CHANNEL, &probe)?;
    let mut publisher = Publisher::connect(&server.socket(), CHANNEL, PAYLOAD)?;
    let latencies = open::run(open, &mut publisher, &probe);
    running.stop()?;
    latencies
}
