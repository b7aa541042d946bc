//! `spinredis check`: every wrong manifest gets its sentence, every right one passes.
//!
//! The files of `manifests/invalid` are each wrong in exactly one way. Their first line is `# expect: FINDING`, the
//! beginning of the one line that `check` prints: the field's path, a colon, and a sentence. The API server refuses the
//! same files; where it does so in words of its own, and not with a rule's sentence, a second line says which:
//! `# api-server: WORDS`, or `# api-server: accepts` for what only `check` can know.

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
        let (code, lines) = check(&file);
        assert_eq!(code, 0, "{}: {lines:?}", file.display());
        assert!(lines[0].contains("nothing to find"), "{lines:?}");
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
  replicas: 2
  trigger: {address: 'http://redis'}
  components:
  - {id: a, source: {}}
",
    );
    assert_eq!(code, 1);
    assert_eq!(lines.len(), 5, "{lines:#?}");
    for part in ["metadata.name", "replicas above 1", "redis://", "channels", "exactly one of oci"] {
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
