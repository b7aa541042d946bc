//! Limits that the kernel keeps: a control group of its own for a process, as a container has. Needs root, as containers do.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use crate::wait::eventually;

const ROOT: &str = "/sys/fs/cgroup";
/// Processor time is given out by this time, in microseconds.
const PERIOD: u64 = 100_000;

/// A control group, removed when it is dropped; what runs in it goes back to the root.
pub struct Cgroup {
    /// The same folder when the kernel has one hierarchy for all (v2).
    memory: PathBuf,
    cpu: PathBuf,
    is_v2: bool,
}

impl Cgroup {
    /// Without limits yet.
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("spinredis-tests-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let is_v2 = Path::new(ROOT).join("cgroup.controllers").exists();
        let folder = |controller: &str| if is_v2 { Path::new(ROOT).join(&name) } else { Path::new(ROOT).join(controller).join(&name) };
        if is_v2 {
            write(&Path::new(ROOT).join("cgroup.subtree_control"), "+memory +cpu");
        }
        let group = Self { memory: folder("memory"), cpu: folder("cpu"), is_v2 };
        for folder in group.folders() {
            fs::create_dir_all(folder)
                .unwrap_or_else(|error| panic!("{} cannot be made ({error}): run this test as root", folder.display()));
        }
        group
    }

    fn folders(&self) -> [&PathBuf; 2] {
        [&self.memory, &self.cpu]
    }

    /// A process that takes more memory than this is killed.
    pub fn limit_memory(&self, bytes: u64) {
        write(&self.memory.join(if self.is_v2 { "memory.max" } else { "memory.limit_in_bytes" }), &bytes.to_string());
    }

    /// Processor time in hundredths of one processor; `None`: as much as there is.
    pub fn limit_cpu(&self, percent: Option<u64>) {
        let quota = percent.map(|percent| PERIOD * percent / 100);
        if self.is_v2 {
            let quota = quota.map_or_else(|| "max".to_owned(), |quota| quota.to_string());
            write(&self.cpu.join("cpu.max"), &format!("{quota} {PERIOD}"));
        } else {
            write(&self.cpu.join("cpu.cfs_period_us"), &PERIOD.to_string());
            write(&self.cpu.join("cpu.cfs_quota_us"), &quota.map_or_else(|| "-1".to_owned(), |quota| quota.to_string()));
        }
    }

    /// Puts a process into it.
    pub fn add(&self, id: u32) {
        self.folders().iter().for_each(|folder| write(&folder.join("cgroup.procs"), &id.to_string()));
    }
}

impl Default for Cgroup {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for folder in self.folders() {
            let root = if self.is_v2 { Path::new(ROOT) } else { folder.parent().unwrap() };
            eventually("the control group is empty and removed", || {
                for id in fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default().lines() {
                    let _ = fs::write(root.join("cgroup.procs"), id);
                }
                match fs::remove_dir(folder) {
                    Err(error) if folder.exists() => Err(error.to_string()),
                    _ => Ok(()),
                }
            });
        }
    }
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("{} does not take {text} ({error}): run this test as root", path.display()));
}
