//! `spinredis import`: a Spin manifest becomes a manifest that `check` accepts, or is refused by line with nothing written.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use spinredis_tests::{app::assert_no_stack_trace, guests::repository, runtime::binary};

/// Exit code, stdout and stderr of `spinredis import`.
fn import(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(binary()).arg("import").args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert_no_stack_trace(&stderr);
    (output.status.code().unwrap(), stdout, stderr)
}

fn example(name: &str) -> PathBuf {
    repository().join("tests/imports").join(name)
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn what_is_imported_is_valid() {
    for name in ["v1.toml", "v2.toml"] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("app.yaml");
        let (code, stdout, stderr) = import(&[path(&example(name)), "-o", path(&file), "--image-prefix", "ghcr.io/acme/"]);
        assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
        assert!(stdout.contains("app.yaml: "), "{stdout}");
        assert!(fs::read_to_string(&file).unwrap().contains("reference: ghcr.io/acme/"));
        let check = Command::new(binary()).arg("check").arg(&file).output().unwrap();
        let findings = String::from_utf8(check.stdout).unwrap();
        assert!(check.status.success(), "{name}: {findings}\n{}", fs::read_to_string(&file).unwrap());
    }
}

#[test]
fn without_an_output_the_app_goes_to_stdout_alone() {
    let (code, stdout, stderr) = import(&[path(&example("v2.toml"))]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.starts_with("# Made of v2.toml") && stdout.contains("\nkind: SpinRedisApp\n"), "{stdout}");
}

#[test]
fn refusals_name_file_and_line_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.yaml");
    let manifest = example("refused.toml");
    let (code, stdout, stderr) = import(&[path(&manifest), "-o", path(&file)]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(!file.exists());
    let text = fs::read_to_string(&manifest).unwrap();
    let lines: Vec<usize> = text.lines().enumerate().filter(|(_, line)| line.contains("# expect: ")).map(|(index, _)| index + 1).collect();
    let named: Vec<&str> = stderr.lines().collect();
    assert_eq!(named.len(), lines.len(), "{stderr}");
    for (line, sentence) in lines.iter().zip(named) {
        assert!(sentence.starts_with(&format!("{}:{line}: ", manifest.display())), "{sentence}");
    }
}

#[test]
fn a_file_that_is_there_stays_unless_it_may_be_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.yaml");
    fs::write(&file, "mine").unwrap();
    let (code, _, stderr) = import(&[path(&example("v1.toml")), "-o", path(&file)]);
    assert!(code == 1 && stderr.contains("app.yaml is there already"), "{stderr}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    let (code, ..) = import(&[path(&example("v1.toml")), "-o", path(&file), "--force"]);
    assert!(code == 0 && fs::read_to_string(&file).unwrap().contains("SpinRedisApp"));
}

#[test]
fn an_app_with_two_servers_becomes_two_files_in_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("spin.toml"),
        r#"
spin_manifest_version = 2
[application]
name = "two"
[[trigger.redis]]
channel = "a"
address = "redis://one:6379"
component = "c"
[[trigger.redis]]
channel = "b"
address = "redis://two:6379"
component = "c"
[component.c]
source = "c.wasm"
"#,
    )
    .unwrap();
    let (code, _, stderr) = import(&[path(folder.path()), "-o", path(&folder.path().join("app.yaml"))]);
    assert!(code == 1 && stderr.contains("2 Redis servers") && stderr.contains("name a folder"), "{stderr}");
    let (code, stdout, _) = import(&[path(folder.path()), "-o", path(folder.path())]);
    assert_eq!(code, 0, "{stdout}");
    for name in ["two.yaml", "two-2.yaml"] {
        let check = Command::new(binary()).arg("check").arg(folder.path().join(name)).output().unwrap();
        assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    }
}

#[test]
fn a_missing_file_is_named() {
    let (code, stdout, stderr) = import(&["no/such/spin.toml"]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.starts_with("no/such/spin.toml: ") && stderr.lines().count() == 1, "{stderr}");
}
