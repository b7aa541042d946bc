//! Compiled components on disk: content-addressed files and an index of them.
//!
//! The one place with unsafe code. Loading compiled code runs it, so files are only mapped from the folder that `prepare`
//! of the same pod wrote, and only when their name carries this engine's compatibility hash.

use std::{collections::BTreeMap, fs, io, path::Path};

use serde::{Deserialize, Serialize};
use spinredis_crds::{Component, Connection, Variable, manifest::sha256_digest};
use wasmtime::{Engine, Module};

use super::{
    engine::EngineKind,
    handler::HandlerKind,
    pool::{Demand, Footprint},
};

const INDEX: &str = "index.json";

/// What `prepare` left for `serve`: the app with nothing in it that has to be fetched or looked up.
#[derive(Serialize, Deserialize, Debug, Default)]
pub struct Index {
    /// The Redis server of every subscription that names no other.
    pub trigger: Option<Connection>,
    /// The components, those of the application included.
    pub components: Vec<Entry>,
}

/// One prepared component.
#[derive(Serialize, Deserialize, Debug, Clone)]
pub struct Entry {
    /// What it is configured with; of the application's components, what the application and the manifest say together.
    pub component: Component,
    /// Digest of the image manifest, or of the bytes of a ConfigMap key or file.
    pub digest: String,
    /// How it is called.
    pub handler: HandlerKind,
    /// The engine that it was compiled for.
    pub engine: EngineKind,
    /// What an instance takes.
    pub footprint: Footprint,
    /// Name of the file with the compiled code.
    pub file: String,
    /// Variables that its templates may name beside its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shared: Vec<Variable>,
    /// Whether the component sees those itself.
    #[serde(default)]
    pub shows_shared: bool,
    /// Folder with the files that came with the app, below the index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<String>,
    /// The servers of channels whose triggers name Redis servers of their own, as templates; `None` is the default server.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub addresses: BTreeMap<String, Vec<Option<String>>>,
}

/// Compiled code that is mapped.
pub enum Code {
    /// A component.
    Component(wasmtime::component::Component),
    /// A core module.
    Module(Module),
}

/// Why compiled code could not be written or loaded.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// Cannot be written.
    #[error("{path} cannot be written: {error}")]
    Write {
        /// Which file.
        path: String,
        /// What the operating system says.
        error: io::Error,
    },
    /// No index, or not one of ours.
    #[error("{path} cannot be read: {error}; run `spinredis prepare` first, with the same version")]
    Index {
        /// Which file.
        path: String,
        /// What is wrong.
        error: String,
    },
    /// Code for another engine.
    #[error("{0} was compiled for another version of spinredis or another processor: run `spinredis prepare` again")]
    Foreign(String),
    /// The code cannot be mapped.
    #[error("{path} cannot be loaded: {error}")]
    Load {
        /// Which file.
        path: String,
        /// What wasmtime says.
        error: String,
    },
}

/// The file name of compiled code: digest of the WebAssembly and compatibility hash of the engine.
pub fn file_name(wasm_digest: &str, compatibility: &str) -> String {
    format!("{}-{compatibility}.cwasm", wasm_digest.trim_start_matches("sha256:"))
}

/// Writes a file so that it is there whole or not at all.
pub fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), ArtifactError> {
    let path = folder.join(name);
    let wrong = |error| ArtifactError::Write { path: path.display().to_string(), error };
    fs::create_dir_all(folder).map_err(wrong)?;
    let partial = folder.join(format!(".{name}.partial"));
    fs::write(&partial, bytes).and_then(|()| fs::rename(&partial, &path)).map_err(wrong)
}

impl Index {
    /// What the components may need of pools at once.
    pub fn demands(&self) -> Vec<Demand> {
        self.components.iter().map(Entry::demand).collect()
    }

    /// Writes the index.
    pub fn write(&self, folder: &Path) -> Result<(), ArtifactError> {
        write(folder, INDEX, &serde_json::to_vec_pretty(self).unwrap_or_default())
    }

    /// Reads the index.
    pub fn read(folder: &Path) -> Result<Self, ArtifactError> {
        let path = folder.join(INDEX);
        let wrong = |error: String| ArtifactError::Index { path: path.display().to_string(), error };
        serde_json::from_slice(&fs::read(&path).map_err(|error| wrong(error.to_string()))?).map_err(|error| wrong(error.to_string()))
    }
}

impl Entry {
    /// What it may need of a pool at once.
    pub fn demand(&self) -> Demand {
        let limits = self.component.limits();
        // One more is made while a ready one is handed out.
        let spare = usize::from(limits.warm > 0);
        Demand {
            engine: self.engine,
            instances: u32::try_from(limits.concurrency + limits.warm + spare).unwrap_or(u32::MAX),
            footprint: self.footprint,
            memory: limits.memory,
        }
    }
}

/// Maps the compiled code of an entry.
pub fn load(folder: &Path, entry: &Entry, engine: &Engine) -> Result<Code, ArtifactError> {
    let path = folder.join(&entry.file);
    if !entry.file.ends_with(&format!("-{}.cwasm", super::engine::compatibility(engine))) {
        return Err(ArtifactError::Foreign(path.display().to_string()));
    }
    map(&path, entry.handler, engine).map_err(|error| ArtifactError::Load { path: path.display().to_string(), error: format!("{error:#}") })
}

/// Writes compiled code, with a digest beside it by which [`find`] knows that it is whole.
pub fn write_code(folder: &Path, name: &str, code: &[u8]) -> Result<(), ArtifactError> {
    write(folder, name, code)?;
    write(folder, &digest_name(name), sha256_digest(code).as_bytes())
}

/// Compiled code that an earlier run left in the folder: by an engine with the same compatibility hash, which is in its name,
/// and as it was written. Anything else counts as absent, and is compiled anew.
pub fn find(folder: &Path, name: &str, kind: HandlerKind, engine: &Engine) -> Option<Code> {
    let digest = fs::read(folder.join(digest_name(name))).ok()?;
    let path = folder.join(name);
    let is_whole = sha256_digest(&fs::read(&path).ok()?).as_bytes() == digest;
    if is_whole { map(&path, kind, engine).ok() } else { None }
}

fn digest_name(name: &str) -> String {
    format!("{name}.digest")
}

fn map(path: &Path, kind: HandlerKind, engine: &Engine) -> wasmtime::Result<Code> {
    // SAFETY: the file was written by `prepare` into a folder that nobody else writes (an emptyDir of the pod, mounted
    // read-only in serve, or a private temporary folder of `run`), by an engine with the same compatibility hash.
    #[allow(unsafe_code)]
    unsafe {
        match kind {
            HandlerKind::Legacy => Module::deserialize_file(engine, path).map(Code::Module),
            _ => wasmtime::component::Component::deserialize_file(engine, path).map(Code::Component),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::engine::{self, EngineKind, Engines};

    #[test]
    fn code_that_is_not_as_it_was_written_counts_as_absent() {
        let folder = tempfile::tempdir().unwrap();
        let engines = Engines::to_compile();
        let engine = engines.engine(EngineKind::Small).unwrap();
        let code = wasmtime::component::Component::new(engine, "(component)").unwrap().serialize().unwrap();
        let name = file_name(&sha256_digest(b"(component)"), &engine::compatibility(engine));
        let found = || find(folder.path(), &name, HandlerKind::SpinSync, engine).is_some();
        assert!(!found());
        write_code(folder.path(), &name, &code).unwrap();
        assert!(found());
        fs::write(folder.path().join(&name), &code[..code.len() - 1]).unwrap();
        assert!(!found());
    }

    #[test]
    fn each_kind_of_engine_has_code_of_its_own() {
        let engines = Engines::to_compile();
        let mut hashes = EngineKind::ALL.map(|kind| engine::compatibility(engines.engine(kind).unwrap())).to_vec();
        hashes.sort();
        hashes.dedup();
        assert_eq!(hashes.len(), EngineKind::ALL.len());
    }
}
