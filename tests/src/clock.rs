//! A process whose clock on the wall is wrong, as on a node without time synchronisation.

use std::{fs, path::PathBuf, process::Command};

/// The command with a clock that is off by this: `+1h`, `-90m`. Time still passes as fast as elsewhere.
pub fn off_by(command: &mut Command, offset: &str) {
    command.env("LD_PRELOAD", library()).env("FAKETIME", offset).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
}

fn library() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").unwrap().filter_map(Result::ok).map(|entry| entry.path().join("faketime/libfaketime.so.1"));
    folders.into_iter().find(|path| path.exists()).expect("libfaketime is installed: see tests/setup.sh")
}
