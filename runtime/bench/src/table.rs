//! The tables that a person reads.

use std::fmt::{Display, Formatter, Result};

use crate::{
    goals::{Bound, Goal},
    report::{Latency, Overload, Report, Throughput},
    stats::{per_second, ratio, short},
};

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let machine = &self.machine;
        writeln!(
            f,
            "{} × {}, Linux {}, Redis {}, load {} at the start",
            machine.processors, machine.processor, machine.kernel, machine.redis, machine.load
        )?;
        if !self.throughput.is_empty() {
            throughput(f, &self.throughput)?;
        }
        if let Some(control) = self.control {
            writeln!(f, "\nTwo threads of pure computing get {} times as far as one.", short(control))?;
        }
        if !self.latency.is_empty() {
            latency(f, &self.latency)?;
        }
        if !self.start.is_empty() {
            writeln!(f, "\nStart to subscribed\n| guest | prepared, ms | compiling at start, ms |\n|---|---|---|")?;
            for row in &self.start {
                writeln!(f, "| {} | {} | {} |", row.guest, short(row.prepared), short(row.compiling))?;
            }
        }
        if !self.memory.is_empty() {
            writeln!(f, "\nIdle sdk17 components\n| components | anonymous memory, MB |\n|---|---|")?;
            for row in &self.memory {
                writeln!(f, "| {} | {} |", row.components, short(row.anonymous / 1e6))?;
            }
        }
        if let Some(row) = &self.overload {
            overload(f, row)?;
        }
        goals(f, &self.goals)
    }
}

fn throughput(f: &mut Formatter<'_>, rows: &[Throughput]) -> Result {
    writeln!(f, "\nThroughput and processor time, 64 B, closed window")?;
    writeln!(f, "| guest | arm | workers | messages/s | CPU, ns | spread |\n|---|---|---|---|---|---|")?;
    for row in rows {
        let rate = per_second(Some(row.wall)).unwrap_or(f64::NAN);
        let Throughput { arm, guest, workers, cpu, spread, .. } = row;
        writeln!(f, "| {guest} | {arm} | {workers} | {} | {} | {} |", short(rate), short(*cpu), short(*spread))?;
    }
    Ok(())
}

fn latency(f: &mut Formatter<'_>, rows: &[Latency]) -> Result {
    writeln!(f, "\nLatency, sdk17, 64 B, one worker\n| messages/s | arm | p50, µs | p99, µs |\n|---|---|---|---|")?;
    let mut rows: Vec<&Latency> = rows.iter().collect();
    rows.sort_by_key(|row| row.rate);
    for row in rows {
        writeln!(f, "| {} | {} | {} | {} |", row.rate, row.arm, short(row.p50), short(row.p99))?;
    }
    Ok(())
}

fn overload(f: &mut Formatter<'_>, row: &Overload) -> Result {
    writeln!(f, "\nOverload, 4 KiB, {} s", short(row.seconds))?;
    let times = ratio(Some(row.published_rate), Some(row.handled_rate)).unwrap_or(f64::NAN);
    writeln!(
        f,
        "{} messages/s published, {} times what was handled; {} dropped and counted.\n{} MB above the bound of the queue, {} disconnects, \
         {} unaccounted for in {} reads of the metrics.",
        short(row.published_rate),
        short(times),
        short(row.dropped),
        short(row.above_bound / 1e6),
        row.disconnects,
        row.unaccounted,
        row.reads
    )
}

fn goals(f: &mut Formatter<'_>, goals: &[Goal]) -> Result {
    writeln!(f, "\nGoals\n| goal | to reach | found | |\n|---|---|---|---|")?;
    for goal in goals {
        let Goal { what, unit, .. } = goal;
        let bound = match goal.bound {
            Bound::Least(least) => format!("≥ {}", short(least)),
            Bound::Most(most) => format!("≤ {}", short(most)),
        };
        let found = goal.found.map_or_else(|| "not measured".to_owned(), |found| format!("{} {unit}", short(found)));
        let verdict = match goal.is_met() {
            Some(true) => "met",
            Some(false) => "missed",
            None => "",
        };
        let note = goal.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
        writeln!(f, "| {what} | {bound} {unit} | {} | {verdict}{note} |", found.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::goals::judge;

    #[test]
    fn a_goal_shows_what_was_found_and_whether_that_is_enough() {
        let mut report = Report {
            overload: Some(Overload {
                seconds: 60.0,
                published_rate: 20_000.0,
                handled_rate: 5_000.0,
                above_bound: 5e6,
                disconnects: 1.0,
                unaccounted: 0.0,
                reads: 100,
                dropped: 900_000.0,
            }),
            ..Report::default()
        };
        report.goals = judge(&report);
        let text = report.to_string();
        assert!(text.contains("20.0k messages/s published, 4.00 times what was handled"), "{text}");
        assert!(text.contains("| 4x overload: memory above the bound of the queue | ≤ 16.0 MB | 5.00 MB | met |"), "{text}");
        assert!(text.contains("| 4x overload: disconnects | ≤ 0  | 1.00 | missed |"), "{text}");
        assert!(text.contains("not measured"), "{text}");
    }
}
