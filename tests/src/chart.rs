//! The Helm chart without a cluster: what it renders for given values, what it refuses, and the table of its values that its
//! README shows.

use std::{
    fmt::Write as _,
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use serde_json::Value;

use crate::guests::repository;

/// The folder of the chart.
pub fn folder() -> PathBuf {
    repository().join("charts/spin-redis-operator")
}

/// The chart's version before this one, as `helm package` wrote it.
pub fn previous() -> PathBuf {
    repository().join("tests/charts/spin-redis-operator-0.1.0.tgz")
}

/// helm: of the tools that the tests build, else of the machine.
pub fn helm() -> Command {
    let built = repository().join("target/tools/bin/helm");
    Command::new(if built.is_file() { built } else { "helm".into() })
}

/// What helm prints; it must succeed.
pub fn helm_prints(args: &[&str]) -> String {
    let output = run(args);
    assert!(output.status.success(), "helm {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn run(args: &[&str]) -> Output {
    helm().args(args).output().unwrap_or_else(|error| panic!("helm cannot be started: {error}"))
}

/// A file with values, and the chart's folder: the end of a command of helm.
pub struct Values(tempfile::NamedTempFile);

impl Values {
    /// Writes the file.
    pub fn new(values: &Value) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), values.to_string()).unwrap();
        Self(file)
    }

    /// Its path.
    pub fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }
}

/// The text that `helm template release` prints for values, in the namespace `operators`.
pub fn rendered_text(values: &Value, more: &[&str]) -> String {
    let (file, chart) = (Values::new(values), folder());
    let args = ["template", "release", chart.to_str().unwrap(), "-n", "operators", "--values", file.path()];
    helm_prints(&[&args, more].concat())
}

/// The objects of [`rendered_text`], without those of `helm test`.
pub fn rendered(values: &Value) -> Vec<Value> {
    objects(&rendered_text(values, &["--skip-tests"]))
}

/// The objects of a text of manifests.
pub fn objects(text: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    documents.into_iter().filter(Value::is_object).collect()
}

/// What helm says of values that the chart refuses.
pub fn refused(values: &Value) -> String {
    let (file, chart) = (Values::new(values), folder());
    let output = run(&["template", "release", chart.to_str().unwrap(), "--values", file.path()]);
    assert!(!output.status.success(), "{values} were expected to be refused");
    String::from_utf8(output.stderr).unwrap()
}

/// One value of the chart, as its comment in values.yaml describes it.
#[derive(Debug)]
pub struct Documented {
    /// Its path, such as `image.tag`.
    pub path: String,
    /// Its comment: what stands above it after `# --`.
    pub comment: String,
}

/// Every value with a comment that begins with two dashes, in the order of values.yaml.
pub fn documented(text: &str) -> Vec<Documented> {
    let mut found = Vec::new();
    let mut keys: Vec<(usize, &str)> = Vec::new();
    let mut comment: Option<String> = None;
    for line in text.lines() {
        let trimmed = line.trim_start();
        let depth = line.len() - trimmed.len();
        if let Some(start) = trimmed.strip_prefix("# -- ") {
            comment = Some(start.to_owned());
        } else if let Some(more) = trimmed.strip_prefix("# ").filter(|_| comment.is_some()) {
            let comment = comment.as_mut().unwrap();
            comment.push(' ');
            comment.push_str(more.trim());
        } else if let Some((key, _)) = trimmed.split_once(':').filter(|(key, _)| is_key(key)) {
            keys.retain(|(outer, _)| *outer < depth);
            keys.push((depth, key));
            if let Some(comment) = comment.take() {
                let names: Vec<&str> = keys.iter().map(|(_, name)| *name).collect();
                found.push(Documented { path: names.join("."), comment });
            }
        } else {
            comment = None;
        }
    }
    found
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|character| character.is_ascii_alphanumeric())
}

/// The table of values for the README: path, default as JSON, comment.
pub fn table(text: &str) -> String {
    let values: Value = serde_saphyr::from_str(text).unwrap();
    let mut table = "| value | default | what it is |\n|---|---|---|\n".to_owned();
    for Documented { path, comment } in documented(text) {
        let default = values.pointer(&format!("/{}", path.replace('.', "/"))).unwrap_or_else(|| panic!("{path} is not in values.yaml"));
        let cell = |text: &str| text.replace('|', "\\|");
        writeln!(table, "| `{path}` | `{}` | {} |", cell(&default.to_string()), cell(&comment)).unwrap();
    }
    table
}
