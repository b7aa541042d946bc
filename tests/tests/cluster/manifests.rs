//! The API server refuses every wrong manifest with a sentence, and takes every right one. The files are those of
//! `spinredis check`; its test tells what their first lines mean.

use std::{
    fs,
    path::{Path, PathBuf},
};

use spinredis_tests::{
    guests::repository,
    kubernetes::{cluster, try_kubectl},
};

fn manifests(folder: &str) -> Vec<PathBuf> {
    let folder = repository().join("tests/manifests").join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// What kubectl says of a file that the API server is asked about.
fn dry_run(file: &Path) -> Result<String, String> {
    try_kubectl(&["apply", "--dry-run=server", "-n", "default", "-f", file.to_str().unwrap()], "")
}

#[test]
fn the_api_server_refuses_every_wrong_manifest_with_its_sentence() {
    cluster();
    let mut wrong = Vec::new();
    for file in manifests("invalid") {
        let text = fs::read_to_string(&file).unwrap();
        let comment = |name: &str| text.lines().find_map(|line| line.strip_prefix(&format!("# {name}: ")));
        let finding = comment("expect").expect("the first line says what is wrong");
        let words = comment("api-server");
        let found = dry_run(&file);
        let Err(refusal) = &found else {
            if words != Some("accepts") {
                wrong.push(format!("{}: accepted", file.display()));
            }
            continue;
        };
        let (path, sentence) = match finding.split_once(": ") {
            Some((path, sentence)) if path.starts_with("spec") => (path, sentence),
            _ => ("", finding),
        };
        let sentence = words.unwrap_or(sentence);
        if !refusal.contains(path) || !refusal.contains(sentence) {
            wrong.push(format!("{}: `{path}` and `{sentence}` are not both in: {refusal}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_api_server_takes_every_right_manifest() {
    cluster();
    for file in manifests("valid") {
        if let Err(refusal) = dry_run(&file) {
            panic!("{}: {refusal}", file.display());
        }
    }
}
