//! From a Spin manifest (`spin.toml`, versions 1 and 2) to SpinRedisApps, as text: no file is read and nothing is fetched.
//!
//! | step | module |
//! |---|---|
//! | TOML with the lines things stand in | [`read`] |
//! | the two versions of the manifest, read into one model | [`v1`], [`v2`], [`component`], [`model`] |
//! | what of it a SpinRedisApp can say | [`convert`], with [`address`], [`hosts`], [`names`], [`templates`] |
//! | YAML with comments where a person must act | [`write`] |
//!
//! What has no equivalent is refused with its line, and all refusals are collected: a person should not have to run this
//! once for each. The formats are those of Spin's manifest references, <https://spinframework.dev/manifest-reference> and
//! <https://spinframework.dev/manifest-reference-v1>.

mod address;
mod component;
mod convert;
mod hosts;
mod model;
mod names;
mod read;
mod templates;
#[cfg(test)]
mod tests;
mod v1;
mod v2;
mod write;

use std::{panic::resume_unwind, thread};

use spinredis_crds::{check, manifest::Documents};

/// Largest manifest, in bytes.
const MAX_BYTES: usize = 256 << 10;
/// Stack of the thread that reads it, in bytes. The TOML parser bounds how deep it goes, but not in all malformed text: three
/// bytes may cost it a frame of some 1200. Only what is used of it is ever there.
const STACK: usize = 256 << 20;

/// Something in a Spin manifest that no SpinRedisApp can say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    /// Line in the manifest, counted from 1.
    pub line: usize,
    /// What it is and what to do about it, on one line.
    pub message: String,
}

impl Refusal {
    /// The message may repeat what the manifest says; what a terminal could obey becomes blanks.
    fn new(line: usize, message: impl AsRef<str>) -> Self {
        Self { line, message: write::in_one_line(message.as_ref()) }
    }
}

/// What the person asked for beside the manifest.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where component images go, `ghcr.io/acme`; without it the manifest has a placeholder and says so.
    pub image_prefix: Option<String>,
}

/// An app as it is to be written to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Name of the app.
    pub name: String,
    /// Number of its components.
    pub components: usize,
    /// The SpinRedisApp, as YAML.
    pub yaml: String,
}

/// The SpinRedisApps that do what a Spin app does: one for each Redis server that its triggers name, since an app has one.
/// `file` is what comments call the manifest.
pub fn import(file: &str, text: &str, options: &Options) -> Result<Vec<Imported>, Vec<Refusal>> {
    let refused = |message: String| Err(vec![Refusal::new(1, message)]);
    if text.len() > MAX_BYTES {
        return refused(format!("this is larger than {} KiB, which no Spin manifest is", MAX_BYTES >> 10));
    }
    thread::scope(|scope| {
        let work = || read_and_convert(file, text, options);
        match thread::Builder::new().name("import".to_owned()).stack_size(STACK).spawn_scoped(scope, work) {
            Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(error) => refused(format!("no thread can be started to read it: {error}")),
        }
    })
}

fn read_and_convert(file: &str, text: &str, options: &Options) -> Result<Vec<Imported>, Vec<Refusal>> {
    let mut reader = read::Reader::new(text);
    let app = reader.document().and_then(|document| model::App::read(&mut reader, &document));
    let apps = app.map(|app| convert::apps(&app, &mut reader.refusals, options)).unwrap_or_default();
    let mut refusals = reader.refusals;
    if !refusals.is_empty() {
        refusals.sort();
        refusals.dedup();
        return Err(refusals);
    }
    let imported =
        apps.into_iter().map(|app| Imported { name: app.name.clone(), components: app.components.len(), yaml: write::yaml(file, &app) });
    imported.map(checked).collect()
}

/// Refuses an app that the API server would refuse: what no line of the manifest is to blame for, such as too many of
/// something.
fn checked(app: Imported) -> Result<Imported, Vec<Refusal>> {
    let refusal = |sentence: String| Refusal::new(1, format!("app {} would not be taken by Kubernetes: {sentence}", app.name));
    let refusals: Vec<Refusal> = match Documents::parse(&app.yaml) {
        Ok(documents) => check::app(&documents.app).iter().map(|finding| refusal(finding.to_string())).collect(),
        Err(error) => vec![refusal(error.to_string())],
    };
    if refusals.is_empty() { Ok(app) } else { Err(refusals) }
}
