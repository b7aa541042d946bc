//! What GitOps tools make of an object: Flux and Helm by kstatus, Argo CD by the health.lua that the chart ships. Asked of the
//! program in tests/kstatus, which is built when it is not there yet.

use std::{
    io::Write,
    process::{Command, Stdio},
    sync::OnceLock,
};

use serde_json::Value;

use crate::guests::repository;

/// What the tools say of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// `Current`, `InProgress`, `Failed`, `Terminating`, … of kstatus.
    pub kstatus: String,
    /// `Healthy`, `Progressing`, `Degraded`, … of Argo CD.
    pub argocd: String,
    /// The message beside it.
    pub message: String,
}

/// What the tools say of each of these objects.
pub fn judge(objects: &[Value]) -> Vec<Verdict> {
    static BUILT: OnceLock<()> = OnceLock::new();
    let bin = repository().join("target/tools/bin");
    BUILT.get_or_init(|| {
        let built = Command::new(repository().join("tests/kstatus/build.sh")).arg(&bin).status();
        assert!(built.is_ok_and(|status| status.success()), "tests/kstatus/build.sh failed");
    });
    let mut child = Command::new(bin.join("kstatus"))
        .arg(repository().join("charts/spin-redis-operator/files/health.lua"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let text: String = objects.iter().map(|object| format!("{object}\n")).collect();
    let mut stdin = child.stdin.take().unwrap();
    // On a thread of its own: it prints while it reads.
    let writing = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap().unwrap();
    assert!(output.status.success(), "kstatus could not judge an object");
    let field = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
    let verdicts = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>().map(|line| {
        let line = line.unwrap();
        Verdict { kstatus: field(&line, "kstatus"), argocd: field(&line, "argocd"), message: field(&line, "argocdMessage") }
    });
    let verdicts: Vec<Verdict> = verdicts.collect();
    assert_eq!(verdicts.len(), objects.len());
    verdicts
}
