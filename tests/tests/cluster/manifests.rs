//! The API server refuses every wrong manifest with a sentence, and takes every right one. The files are those of
//! `spinredis check`; its test tells what their first lines mean.

use std::fs;

use serde_json::json;
use spinredis_crds::manifest::Documents;
use spinredis_tests::{
    kubernetes::{cluster, try_kubectl},
    manifests::manifests,
};

/// What kubectl says of a manifest that the API server is asked about.
fn dry_run(manifest: &str) -> Result<String, String> {
    try_kubectl(&["apply", "--dry-run=server", "-n", "default", "-f", "-"], manifest)
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
        let found = dry_run(&text);
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
        let mut app = Documents::parse(&fs::read_to_string(&file).unwrap()).unwrap().app;
        // Without the namespace, and what an API server has added to an app that it keeps.
        app["metadata"] = json!({"name": app["metadata"]["name"], "labels": app["metadata"]["labels"]});
        if let Err(refusal) = dry_run(&app.to_string()) {
            panic!("{}: {refusal}", file.display());
        }
    }
}
