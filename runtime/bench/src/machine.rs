//! What machine a run is made on, for whoever compares two of them.

use std::{fs, process::Command, thread};

use crate::report::Machine;

/// This machine. What cannot be found out is "unknown".
pub fn here() -> Machine {
    let unknown = || "unknown".to_owned();
    let read = |path: &str| fs::read_to_string(path).ok();
    let processor = read("/proc/cpuinfo").and_then(|text| after(&text, "model name").map(str::to_owned));
    let redis = Command::new("redis-server").arg("--version").output().ok();
    let redis = redis.and_then(|output| version(&String::from_utf8_lossy(&output.stdout)).map(str::to_owned));
    Machine {
        processor: processor.unwrap_or_else(unknown),
        processors: thread::available_parallelism().map_or(0, usize::from),
        kernel: read("/proc/sys/kernel/osrelease").map_or_else(unknown, |text| text.trim().to_owned()),
        redis: redis.unwrap_or_else(unknown),
        load: read("/proc/loadavg").and_then(|text| text.split(' ').next().map(str::to_owned)).unwrap_or_else(unknown),
    }
}

/// The value of a line `name : value`.
fn after<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find(|line| line.starts_with(name))?.split_once(": ").map(|(_, value)| value)
}

/// Of what redis-server says about itself: `Redis server v=7.0.15 sha=…`.
fn version(text: &str) -> Option<&str> {
    text.split_whitespace().find_map(|word| word.strip_prefix("v="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_names_are_found() {
        assert_eq!(version("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64\n"), Some("7.0.15"));
        assert_eq!(after("processor\t: 0\nmodel name\t: AMD EPYC\n", "model name"), Some("AMD EPYC"));
        assert_eq!(after("", "model name"), None);
    }
}
