//! The goals, each a ratio of two figures of one run or a bound, and whether the run met them.

use serde::Serialize;

use crate::{
    arms::Kind,
    report::{Latency, Memory, Report, Start, Throughput},
    stats::ratio,
};

/// Two threads of pure computing get this much further than one where two workers can be judged at all.
const SCALING_CONTROL: f64 = 1.85;

/// One goal.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Goal {
    /// What is to be reached.
    pub what: String,
    /// At least, or at most.
    pub bound: Bound,
    /// What the run found. None when the parts that tell did not run.
    pub found: Option<f64>,
    /// Unit of the figures.
    pub unit: &'static str,
    /// Why the figure may say nothing.
    pub note: Option<String>,
}

/// What a figure has to keep to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    /// As much, or more.
    Least(f64),
    /// As much, or less.
    Most(f64),
}

impl Goal {
    /// Whether it is met, when there is a figure.
    pub fn is_met(&self) -> Option<bool> {
        self.found.map(|found| match self.bound {
            Bound::Least(least) => found >= least,
            Bound::Most(most) => found <= most,
        })
    }
}

/// All goals, with what a run found.
pub fn judge(report: &Report) -> Vec<Goal> {
    let mut goals = Vec::new();
    let goal = |what: &str, bound, found, unit| Goal { what: what.to_owned(), bound, found, unit, note: None };
    let wall = |kind, workers| throughput(report, kind, "sdk17", workers).map(|row| row.wall);
    let cpu = |kind, workers| throughput(report, kind, "sdk17", workers).map(|row| row.cpu);

    let found = ratio(wall(Kind::Spin, 1), wall(Kind::Fresh, 2));
    goals.push(goal("sdk17, fresh instances: throughput of two workers against Spin-like", Bound::Least(4.0), found, "x"));
    for workers in [1, 2] {
        let what = format!("sdk17, fresh instances: CPU for a message against Spin-like, workers {workers}");
        goals.push(goal(&what, Bound::Most(0.37), ratio(cpu(Kind::Fresh, workers), cpu(Kind::Spin, 1)), "x"));
    }
    for workers in [1, 2] {
        let what = format!("sdk17, reused instance: throughput against native, workers {workers}");
        goals.push(goal(&what, Bound::Least(0.6), ratio(wall(Kind::Native, workers), wall(Kind::Reuse, workers)), "x"));
    }
    let found = ratio(wall(Kind::Fresh, 1), wall(Kind::Fresh, 2));
    let mut scaling = goal("sdk17, fresh instances: two workers against one", Bound::Least(1.4), found, "x");
    if let Some(control) = report.control {
        let verdict = if control < SCALING_CONTROL { ", too little to judge by" } else { "" };
        scaling.note = Some(format!("pure computing scales {control:.2}x{verdict}"));
    }
    goals.push(scaling);

    for (alone, shared) in [(Kind::Fresh, Kind::SharedFresh), (Kind::Reuse, Kind::SharedReuse)] {
        let what = format!("sdk17, {alone}: throughput when replicas share messages, one worker");
        goals.push(goal(&what, Bound::Least(0.95), ratio(wall(alone, 1), wall(shared, 1)), "x"));
    }

    for (kind, most) in [(Kind::Fresh, 2.0), (Kind::Warm, 1.3), (Kind::Reuse, 1.15)] {
        let what = format!("sdk17, {kind}: p50 at 2,000 messages/s against native");
        goals.push(goal(&what, Bound::Most(most), ratio(p50(report, kind), p50(report, Kind::Native)), "x"));
    }
    for guest in ["js", "py"] {
        let start = report.start.iter().find(|start| start.guest == guest);
        let what = format!("{guest}: start to subscribed with prepared code");
        goals.push(goal(&what, Bound::Most(10.0), start.map(|start| start.prepared), "ms"));
        let what = format!("{guest}: the same, how much faster than compiling at start");
        goals.push(goal(&what, Bound::Least(500.0), start.and_then(speedup), "x"));
    }
    let found = per_component(&report.memory).map(|bytes| bytes / 1024.0);
    goals.push(goal("sdk17: anonymous memory for each idle component", Bound::Most(100.0), found, "KiB"));
    let overload = report.overload.as_ref();
    let found = overload.map(|overload| overload.above_bound / 1e6);
    goals.push(goal("4x overload: memory above the bound of the queue", Bound::Most(16.0), found, "MB"));
    goals.push(goal("4x overload: disconnects", Bound::Most(0.0), overload.map(|overload| overload.disconnects), ""));
    goals.push(goal("4x overload: messages unaccounted for", Bound::Most(0.0), overload.map(|overload| overload.unaccounted), ""));
    goals
}

fn throughput<'a>(report: &'a Report, arm: Kind, guest: &str, workers: usize) -> Option<&'a Throughput> {
    report.throughput.iter().find(|row| row.arm == arm && row.guest == guest && row.workers == workers)
}

fn p50(report: &Report, arm: Kind) -> Option<f64> {
    report.latency.iter().find(|row: &&Latency| row.arm == arm && row.rate == 2_000).map(|row| row.p50)
}

fn speedup(start: &Start) -> Option<f64> {
    ratio(Some(start.compiling), Some(start.prepared))
}

/// What one more component takes: the difference between the process with most and the one with least components.
fn per_component(memory: &[Memory]) -> Option<f64> {
    let least = memory.iter().min_by_key(|row| row.components)?;
    let most = memory.iter().max_by_key(|row| row.components)?;
    let components = most.components - least.components;
    (components > 0).then(|| (most.anonymous - least.anonymous) / components as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(arm: Kind, workers: usize, wall: f64) -> Throughput {
        Throughput { arm, guest: "sdk17".to_owned(), workers, wall, cpu: wall, spread: 1.0 }
    }

    fn found(report: &Report, start: &str) -> (Option<f64>, Option<bool>) {
        let goals = judge(report);
        let goal = goals.iter().find(|goal| goal.what.starts_with(start)).unwrap();
        (goal.found, goal.is_met())
    }

    #[test]
    fn a_goal_without_figures_is_neither_met_nor_missed() {
        assert!(judge(&Report::default()).iter().all(|goal| goal.found.is_none() && goal.is_met().is_none()));
    }

    #[test]
    fn faster_means_less_time_for_a_message() {
        let throughput = vec![row(Kind::Spin, 1, 50_000.0), row(Kind::Fresh, 1, 18_000.0), row(Kind::Fresh, 2, 10_000.0)];
        let report = Report { throughput, ..Report::default() };
        assert_eq!(found(&report, "sdk17, fresh instances: throughput"), (Some(5.0), Some(true)));
        assert_eq!(found(&report, "sdk17, fresh instances: CPU"), (Some(0.36), Some(true)));
        assert_eq!(found(&report, "sdk17, fresh instances: two workers"), (Some(1.8), Some(true)));
        assert_eq!(found(&report, "sdk17, reused").0, None);
    }

    #[test]
    fn what_the_machine_itself_cannot_do_is_said() {
        let report = Report { control: Some(1.5), ..Report::default() };
        let goals = judge(&report);
        let note = goals.iter().find_map(|goal| goal.note.clone()).unwrap();
        assert_eq!(note, "pure computing scales 1.50x, too little to judge by");
    }

    #[test]
    fn a_component_takes_the_difference_between_many_and_one() {
        let memory = vec![Memory { components: 1, anonymous: 10e6 }, Memory { components: 101, anonymous: 10e6 + 100.0 * 50.0 * 1024.0 }];
        let report = Report { memory, ..Report::default() };
        assert_eq!(found(&report, "sdk17: anonymous memory"), (Some(50.0), Some(true)));
    }

    #[test]
    fn one_lost_message_misses_the_goal() {
        let overload = Overload { unaccounted: 1.0, ..overload() };
        let report = Report { overload: Some(overload), ..Report::default() };
        assert_eq!(found(&report, "4x overload: messages"), (Some(1.0), Some(false)));
        assert_eq!(found(&report, "4x overload: disconnects"), (Some(0.0), Some(true)));
    }

    use crate::report::Overload;

    fn overload() -> Overload {
        Overload {
            seconds: 1.0,
            published_rate: 1.0,
            handled_rate: 1.0,
            above_bound: 0.0,
            disconnects: 0.0,
            unaccounted: 0.0,
            reads: 1,
            dropped: 0.0,
        }
    }
}
