//! The manifests of `tests/manifests`: the same files are asked of `spinredis check` and of a real API server.

use std::{fs, path::PathBuf};

use crate::guests::repository;

/// The files of `tests/manifests/invalid` or `tests/manifests/valid`, sorted; there is at least one.
pub fn manifests(folder: &str) -> Vec<PathBuf> {
    let folder = repository().join("tests/manifests").join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}
