//! The benchmark: the runtime against Spin's way of handling Redis messages and against native code, over a real Redis.
//!
//! Arms are interleaved round by round in one process, the best round of each counts, and a run is judged by ratios of its own
//! figures. What is measured of whole processes (overload, memory, start) is measured of the real program `spinredis`.

mod arms;
mod cli;
mod control;
mod goals;
mod guests;
mod load;
mod machine;
mod metrics;
mod probe;
mod program;
mod report;
mod sections;
mod server;
mod stats;
mod table;
mod usage;

use std::{env, fs, io::Write, path::PathBuf, time::Duration};

use anyhow::{Context, ensure};
use clap::Parser;

use arms::{Arm, Kind, Label, spin::Spin, spinredis::Spinredis};
use cli::{Args, Part};
use guests::Guest;
use report::Report;
use sections::{latency, memory, overload, start, throughput};

/// Says on stderr how far the run is.
macro_rules! progress {
    ($($text:tt)*) => {{
        use std::io::Write;
        // Nobody may be listening; the run goes on.
        let _ = writeln!(std::io::stderr(), $($text)*);
    }};
}
pub(crate) use progress;

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut report = Report { machine: machine::here(), ..Report::default() };
    measure(&args, &mut report)?;
    report.goals = goals::judge(&report);
    if let Some(path) = &args.json {
        fs::write(path, serde_json::to_vec_pretty(&report)?).with_context(|| path.display().to_string())?;
    }
    write!(std::io::stdout(), "{report}")?;
    Ok(())
}

fn measure(args: &Args, report: &mut Report) -> anyhow::Result<()> {
    let seconds = |quick: f64, full: f64| Duration::from_secs_f64(if args.quick { quick } else { full });
    let rounds = if args.quick { 3 } else { 7 };
    if args.runs(Part::Throughput) || args.runs(Part::Latency) {
        let guests = if args.runs(Part::Throughput) { args.guests() } else { vec![Guest::Sdk17] };
        let arms = arms(args, &guests)?;
        if args.runs(Part::Throughput) {
            let plan = throughput::Plan { rounds, measured: seconds(0.2, 1.0) };
            (report.throughput, report.control) = throughput::run(&arms, plan)?;
        }
        if args.runs(Part::Latency) {
            let one = |arm: &&dyn Arm| arm.label().guest == Guest::Sdk17 && arm.label().workers == 1;
            let arms: Vec<&dyn Arm> = arms.iter().map(AsRef::as_ref).filter(one).collect();
            report.latency = latency::run(&arms, latency::Plan { rounds, measured: seconds(0.3, 2.0) })?;
        }
    }
    if args.runs(Part::Start) {
        progress!("start");
        let guests: Vec<Guest> = args.guests().into_iter().filter(|guest| guest.is_slow()).collect();
        report.start = start::run(&program(args)?, &guests, &args.guests)?;
    }
    if args.runs(Part::Memory) {
        progress!("memory");
        let numbers: &[usize] = if args.quick { &[1, 100] } else { &[1, 100, 1_000] };
        report.memory = memory::run(&program(args)?, numbers, &args.guests)?;
    }
    if args.runs(Part::Overload) {
        progress!("overload");
        report.overload = Some(overload::run(&program(args)?, seconds(10.0, 60.0))?);
    }
    Ok(())
}

/// Every arm with these guests.
fn arms(args: &Args, guests: &[Guest]) -> anyhow::Result<Vec<Box<dyn Arm>>> {
    let mut arms: Vec<Box<dyn Arm>> = Vec::new();
    for guest in guests {
        progress!("compiling {guest}");
        let component = guest.component(&args.guests)?;
        if args.runs_arm(Kind::Spin) {
            arms.push(Box::new(Spin::new(*guest, &component)?));
        }
        // What sharing costs is measured where a call costs least.
        let shared = [Kind::SharedFresh, Kind::SharedReuse].into_iter().filter(|_| *guest == Guest::Sdk17);
        let kinds = [Kind::Native, Kind::Fresh, Kind::Warm, Kind::Reuse].into_iter().chain(shared);
        for kind in kinds.filter(|kind| args.runs_arm(*kind)) {
            for workers in [1, 2] {
                let label = Label { kind, guest: *guest, workers };
                arms.push(Box::new(Spinredis::new(label, &component).with_context(|| label.to_string())?));
            }
        }
    }
    Ok(arms)
}

/// The program `spinredis`.
fn program(args: &Args) -> anyhow::Result<PathBuf> {
    let beside = || env::current_exe().map(|this| this.with_file_name("spinredis"));
    let path = args.spinredis.clone().map_or_else(beside, Ok)?;
    ensure!(path.is_file(), "there is no {}: run `cargo build --release -p spinredis` first, or name it with --spinredis", path.display());
    Ok(path)
}
