//! `spinredis check`: every wrong manifest gets its sentence, every right one passes.
//!
//! The files of `manifests/invalid` are each wrong in exactly one way. Their first line is `# expect: FINDING`, the
//! beginning of the one line that `check` prints: the field's path, a colon, and a sentence. The API server refuses the
//! same files; where it does so in words of its own, and not with a rule's sentence, a second line says which:
//! `# api-server: WORDS`, or `# api-server: accepts` for what only `check` can know. The files of `manifests/valid` are right;
//! one that begins with lines `# warns: FINDING` gets exactly these warnings.

use std::{fs, path::Path, process::Command};

use spinredis_tests::{app::assert_no_stack_trace, guests::repository, manifests::manifests, runtime::binary};

/// Exit code and lines of `spinredis check -f FILE`, which must all be on stdout.
fn check(file: &Path) -> (i32, Vec<String>) {
    let output = Command::new(binary()).arg("check").arg("-f").arg(file).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{}", file.display());
    assert_no_stack_trace(&text);
    (output.status.code().unwrap(), text.lines().map(str::to_owned).collect())
}

/// `check` of a file with this content.
fn check_text(text: impl AsRef<[u8]>) -> (i32, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.yaml");
    fs::write(&file, text).unwrap();
    check(&file)
}

#[test]
fn every_wrong_manifest_gets_one_finding_that_names_the_field() {
    let mut wrong = Vec::new();
    for file in manifests("invalid") {
        let text = fs::read_to_string(&file).unwrap();
        let expected = text.lines().next().and_then(|line| line.strip_prefix("# expect: "));
        let expected = expected.unwrap_or_else(|| panic!("{} does not begin with `# expect: `", file.display()));
        let (code, lines) = check(&file);
        if code != 1 || lines.len() != 1 || !lines[0].starts_with(expected) {
            wrong.push(format!(
                "{}: exit code {code}\n  expected: {expected}\n  printed:  {}",
                file.display(),
                lines.join("\n            ")
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_right_manifest_passes() {
    for file in manifests("valid") {
        let text = fs::read_to_string(&file).unwrap();
        let expected: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("# warns: ")).collect();
        let (code, lines) = check(&file);
        assert_eq!(code, 0, "{}: {lines:?}", file.display());
        let warnings: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("warning: ")).collect();
        let each = expected.iter().zip(&warnings).all(|(expected, warning)| warning.starts_with(expected));
        assert!(each && warnings.len() == expected.len(), "{}: {expected:#?}, and printed: {warnings:#?}", file.display());
        let verdict = if expected.is_empty() { "nothing to find" } else { "is valid, with" };
        assert!(lines[expected.len()].contains(verdict), "{lines:?}");
    }
}

#[test]
fn a_whole_spin_app_is_counted_as_one() {
    for (file, what) in [("application", "the application"), ("application-with-changes", "the application and 2 components")] {
        let (code, lines) = check(&repository().join(format!("tests/manifests/valid/{file}.yaml")));
        assert_eq!(code, 0, "{lines:?}");
        assert!(lines[0].ends_with(&format!("nothing to find in {what}")), "{lines:?}");
    }
}

#[test]
fn warnings_are_printed_and_change_no_exit_code() {
    let app = fs::read_to_string(repository().join("tests/manifests/valid/smallest.yaml")).unwrap();
    let (code, lines) = check_text(app.replace("channels: [messages]", "channels: [messages]\n    patterns: ['mess*']"));
    assert_eq!(code, 0, "{lines:?}");
    assert!(lines[0].starts_with("warning: spec.components[0]: gets each message of channel `messages` twice"), "{lines:?}");
    assert!(lines[1].ends_with("is valid, with 1 warning for 1 component"), "{lines:?}");
}

#[test]
fn values_and_keys_of_the_objects_in_the_same_file_are_looked_at() {
    let app = fs::read_to_string(repository().join("tests/manifests/valid/smallest.yaml")).unwrap();
    let app = app
        .replace("channels: [messages]", "channels: [messages]\n    env: [{name: A, valueFrom: {secretKeyRef: {name: api, key: token}}}]");
    for (data, part) in [
        ("stringData: {port: 6379}", "Secret api, stringData.port: must be a string, and is a number"),
        ("data: {token: 'no base64!'}", "Secret api, data.token: is not base64"),
        (
            "stringData: {other: a}",
            "spec.components[0].env[0].valueFrom.secretKeyRef: Secret api in this file has no key token; it has other",
        ),
    ] {
        let (code, lines) = check_text(format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: api}}\n{data}\n---\n{app}"));
        assert_eq!((code, lines.len()), (1, 1), "{lines:#?}");
        assert!(lines[0].starts_with(part), "{lines:#?}");
    }
}

#[test]
fn a_field_without_a_value_counts_as_absent() {
    let app = fs::read_to_string(repository().join("tests/manifests/valid/smallest.yaml")).unwrap();
    let (code, lines) = check_text(app.clone() + "    timeout:\n    env: null\n  pod:\n");
    assert_eq!(code, 0, "{lines:?}");
    let (code, lines) = check_text(app.replace("channels: [messages]", "channels:"));
    assert_eq!((code, lines.len()), (1, 1), "{lines:?}");
    assert!(lines[0].contains("at least one channel"), "{lines:?}");
}

#[test]
fn several_mistakes_are_all_found_at_once() {
    let (code, lines) = check_text(
        "
apiVersion: spinredis.dev/v1alpha1
kind: SpinRedisApp
metadata: {name: Wrong}
spec:
  delivery: EachReplica
  sharing: {}
  trigger: {address: 'http://redis'}
  components:
  - {id: a, source: {}}
",
    );
    assert_eq!(code, 1);
    assert_eq!(lines.len(), 5, "{lines:#?}");
    for part in ["metadata.name", "set delivery: Shared", "redis://", "channels", "exactly one of oci"] {
        assert!(lines.iter().any(|line| line.contains(part)), "{part} in {lines:#?}");
    }
}

#[test]
fn a_file_without_exactly_one_app_gets_a_sentence() {
    let app = fs::read_to_string(repository().join("tests/manifests/valid/smallest.yaml")).unwrap();
    for (text, part) in [
        ("kind: [", "the file is not YAML"),
        ("kind: SpinRedisApp", "apiVersion is not given"),
        ("", "holds no SpinRedisApp"),
        ("# nothing\n", "holds no SpinRedisApp"),
        ("just words", "holds no SpinRedisApp"),
        ("kind: Deployment\napiVersion: apps/v1\n", "holds no SpinRedisApp"),
        (&app.replace("v1alpha1", "v9"), "apiVersion is spinredis.dev/v9"),
        (&format!("{app}---\n{app}"), "holds 2 SpinRedisApps"),
        (&app.replace("    channels:", "   channels:"), "the file is not YAML"),
    ] {
        let (code, lines) = check_text(text);
        assert_eq!((code, lines.len()), (1, 1), "{text:?}: {lines:#?}");
        assert!(lines[0].contains("app.yaml: ") && lines[0].contains(part), "{text:?}: {lines:#?}");
    }
}

#[test]
fn a_file_that_is_no_text_gets_a_sentence() {
    let (code, lines) = check_text([0xff, 0xfe, 0x00, 0x01]);
    assert_eq!((code, lines.len()), (1, 1), "{lines:#?}");
    assert!(lines[0].contains("UTF-8"), "{lines:?}");
}

#[test]
fn a_missing_file_and_a_folder_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("none.yaml");
    for (path, part) in [(missing.as_path(), "No such file"), (folder.path(), "directory")] {
        let (code, lines) = check(path);
        assert_eq!((code, lines.len()), (1, 1), "{lines:#?}");
        assert!(lines[0].starts_with(&path.display().to_string()) && lines[0].contains(part), "{lines:?}");
    }
}

#[test]
fn a_password_in_an_address_is_not_repeated() {
    let (code, lines) = check(&repository().join("tests/manifests/invalid/address-with-password.yaml"));
    assert_eq!(code, 1);
    assert!(!lines.concat().contains("secret@"), "{lines:?}");
}

/// A component with a Redis handler that imports something of each kind.
const COMPONENT: &str = r#"(component
    (import "wasi:cli/stdout@0.2.6" (instance))
    (import "wasi:cli/stderr@0.2.6" (instance))
    (import "fermyon:spin/llm@2.0.0" (instance))
    (core module (@producers (language "Rust" "") (processed-by "rustc" "1.96.0 (abc 2026-01-01)")))
    (instance $i)
    (export "fermyon:spin/inbound-redis" (instance $i)))"#;

/// `spinredis check` with these arguments.
fn check_with(arguments: &[&str]) -> (i32, String) {
    let output = Command::new(binary()).arg("check").args(arguments).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_component_file_is_described_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hello.wasm");
    fs::write(&file, wat::parse_str(COMPONENT).unwrap()).unwrap();
    let (code, text) = check_with(&[file.to_str().unwrap()]);
    assert_eq!(code, 0, "{text}");
    assert!(text.starts_with("hello.wasm\n"), "{text}");
    for part in [
        "handler    fermyon:spin/inbound-redis",
        "language   Rust",
        "made by    rustc 1.96.0",
        "wasi:cli@0.2.6      stdout, stderr",
        " B\n",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let warning = text.lines().find(|line| line.trim_start().starts_with("warning")).unwrap();
    assert!(warning.contains("fermyon:spin@2.0.0 llm") && !warning.contains("wasi:cli"), "{text}");
    let (code, text) = check_with(&["--component", &format!("hello={}", file.display())]);
    assert!(code == 0 && text.starts_with("hello\n"), "{text}");
}

#[test]
fn a_file_without_a_handler_is_a_finding() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text, part) in [
        ("none.wat", "(component)", "none.wat exports no handler"),
        ("broken.wasm", "\0asm\r\0\u{1}\0oops", "broken.wasm is not valid WebAssembly"),
        ("wrong.wat", "(component (oops))", "wrong.wat is not valid WebAssembly text"),
    ] {
        let file = folder.path().join(name);
        fs::write(&file, text).unwrap();
        let (code, text) = check_with(&[file.to_str().unwrap()]);
        assert!(code == 1 && text.starts_with(part), "{text}");
        assert_no_stack_trace(&text);
    }
}

#[test]
fn components_at_hand_are_described_below_the_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let (file, app) = (folder.path().join("hello.wat"), folder.path().join("app.yaml"));
    fs::write(&file, COMPONENT).unwrap();
    let manifest = format!(
        "apiVersion: v1
kind: ConfigMap
metadata: {{name: guests}}
data:
  hello.wat: |
    {}
---
apiVersion: spinredis.dev/v1alpha1
kind: SpinRedisApp
metadata: {{name: app}}
spec:
  trigger: {{address: 'redis://redis:6379'}}
  components:
  - {{id: beside, channels: [a], source: {{configMap: {{name: guests, key: hello.wat}}}}}}
  - {{id: image, channels: [a], source: {{oci: {{reference: 'ghcr.io/acme/image:v1'}}}}}}
",
        COMPONENT.replace('\n', "\n    ")
    );
    fs::write(&app, &manifest).unwrap();
    let (code, text) = check_with(&["-f", app.to_str().unwrap()]);
    assert_eq!(code, 0, "{text}");
    for part in
        ["nothing to find in 2 components", "\nbeside (", "may reach  nothing", "not looked at, since check asks no registry: image"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    let given = format!("image={}", file.display());
    let (code, text) = check_with(&[app.to_str().unwrap(), "--component", &given]);
    assert!(code == 0 && text.contains("\nimage (") && !text.contains("not looked at"), "{text}");
    fs::write(&file, "(component)").unwrap();
    let (code, text) = check_with(&[app.to_str().unwrap(), "--component", &given]);
    assert!(code == 1 && text.starts_with("component image (") && text.contains("exports no handler"), "{text}");
    let (code, text) = check_with(&[app.to_str().unwrap(), "--component", "nobody=x.wasm"]);
    assert!(code == 1 && text.contains("no component of that id"), "{text}");
}
