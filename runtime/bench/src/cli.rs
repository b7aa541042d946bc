//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::{arms::Kind, guests::Guest};

/// Measures the runtime against Spin's way and against native code, over a real Redis, and prints the figures against the goals.
///
/// Nothing else should run on the machine meanwhile. Ends with 0 also when goals are missed.
#[derive(Parser, Debug)]
#[command(name = "spinredis-bench", version)]
pub struct Args {
    /// A short run, within two minutes: fewer rounds, and no Python.
    #[arg(long)]
    pub quick: bool,
    /// Run only these parts; may be repeated.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub only: Vec<Part>,
    /// Run only these guests; may be repeated.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub guest: Vec<Guest>,
    /// Run only these arms in the parts that compare them; may be repeated.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub arm: Vec<Kind>,
    /// Write what was found to a file, as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// The program `spinredis`; the one beside this program by default.
    #[arg(long, value_name = "FILE")]
    pub spinredis: Option<PathBuf>,
    /// Folder of the guests that `make guests` builds.
    #[arg(long, value_name = "DIR", default_value = "target/guests")]
    pub guests: PathBuf,
}

/// A part of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Closed window: messages in a second, processor time.
    Throughput,
    /// Open load: p50 and p99 at 2,000 and 15,000 messages in a second.
    Latency,
    /// Four times what the handler takes.
    Overload,
    /// 1, 100 and 1,000 idle components.
    Memory,
    /// From the start of the process to the subscription.
    Start,
}

impl Args {
    /// Whether a part is to run.
    pub fn runs(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    /// Whether an arm is to run.
    pub fn runs_arm(&self, kind: Kind) -> bool {
        self.arm.is_empty() || self.arm.contains(&kind)
    }

    /// The guests to run.
    pub fn guests(&self) -> Vec<Guest> {
        let all = Guest::ALL.into_iter();
        match self.guest.is_empty() {
            true => all.filter(|guest| !self.quick || *guest != Guest::Py).collect(),
            false => all.filter(|guest| self.guest.contains(guest)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(words: &[&str]) -> Args {
        Args::try_parse_from([&["spinredis-bench"], words].concat()).unwrap()
    }

    #[test]
    fn everything_runs_unless_parts_are_named() {
        assert!(args(&[]).runs(Part::Memory));
        let some = args(&["--only", "start,latency"]);
        assert!(some.runs(Part::Start) && some.runs(Part::Latency) && !some.runs(Part::Memory));
        let two = args(&["--arm", "reuse,shared-reuse"]);
        assert!(two.runs_arm(Kind::SharedReuse) && !two.runs_arm(Kind::Spin) && args(&[]).runs_arm(Kind::Spin));
    }

    #[test]
    fn a_quick_run_leaves_the_slowest_guest_out_unless_it_is_named() {
        assert_eq!(args(&["--quick"]).guests(), [Guest::Min, Guest::Sdk17, Guest::Js]);
        assert_eq!(args(&["--quick", "--guest", "py"]).guests(), [Guest::Py]);
        assert_eq!(args(&[]).guests(), Guest::ALL);
    }
}
