//! What processes and threads take: processor time of this process and the calling thread, memory of another process.

use std::{fs, io};

use rustix::time::{ClockId, clock_gettime};

/// Processor time of this process so far, user and system, in nanoseconds.
///
/// The kernel's clock of the process counts what getrusage does, and finer.
pub fn process() -> u64 {
    nanoseconds(ClockId::ProcessCPUTime)
}

/// Processor time of the calling thread so far, in nanoseconds.
pub fn thread() -> u64 {
    nanoseconds(ClockId::ThreadCPUTime)
}

fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    u64::try_from(time.tv_sec).unwrap_or_default() * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or_default()
}

/// Anonymous memory of a process in RAM, in bytes: what it has made itself, without files that are mapped.
pub fn anonymous(process: u32) -> io::Result<u64> {
    field(&fs::read_to_string(format!("/proc/{process}/status"))?, "RssAnon:")
        .ok_or_else(|| io::Error::other("/proc tells no RssAnon: Linux 4.5 or later is needed"))
}

/// A line of /proc/PID/status in bytes.
fn field(status: &str, name: &str) -> Option<u64> {
    let kibibytes: u64 = status.lines().find_map(|line| line.strip_prefix(name))?.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_the_status_is_in_bytes() {
        let status = "VmRSS:\t   20 kB\nRssAnon:\t     12 kB\nRssFile:\t 8 kB\n";
        assert_eq!(field(status, "RssAnon:"), Some(12 << 10));
        assert_eq!(field(status, "RssShmem:"), None);
    }

    #[test]
    fn work_takes_time_of_its_thread_and_of_the_process() {
        let (process_before, thread_before) = (process(), thread());
        let mut sum = 0_u64;
        while thread() - thread_before < 2_000_000 {
            sum = sum.wrapping_add(std::hint::black_box(1));
        }
        assert!(sum > 0 && process() - process_before >= 2_000_000);
    }

    #[test]
    fn this_process_has_memory_of_its_own() {
        assert!(anonymous(std::process::id()).unwrap() > 0);
    }
}
