//! Prepares all components of an app: fetch, find the handler, compile, check the imports, write.

use std::path::Path;

use spinredis_crds::{
    Component as ComponentSpec,
    manifest::{Manifest, sha256_digest},
    report::{PrepareReport, PreparedComponent, Problem, Reason, shorten},
};
use wasmtime::component::Component;

use super::{
    artifact::{self, ArtifactError, Entry, Index},
    engine::{self, Engines},
    handler::{self, HandlerError},
};
use crate::{
    guest,
    references::describe_missing,
    source::{Fetched, SourceError, Sources},
};

/// Why an app could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// Referenced keys that do not exist.
    #[error("{message}")]
    MissingReferences {
        /// The references.
        names: String,
        /// The whole sentence.
        message: String,
    },
    /// A component cannot be fetched.
    #[error("component {component}: {error}")]
    Source {
        /// Id of the component.
        component: String,
        /// Why.
        error: SourceError,
    },
    /// A component cannot be called.
    #[error("component {component} {error}")]
    Handler {
        /// Id of the component.
        component: String,
        /// Why.
        error: HandlerError,
    },
    /// A component does not compile.
    #[error("component {component} does not compile: {error}")]
    Compile {
        /// Id of the component.
        component: String,
        /// What the compiler says.
        error: String,
    },
    /// A component imports what this runtime does not have.
    #[error(
        "component {component} cannot be linked: {error}; it may import WASI 0.2 (and 0.3 with the asynchronous handler) but for HTTP, and nothing else in this version"
    )]
    Import {
        /// Id of the component.
        component: String,
        /// What the linker says.
        error: String,
    },
    /// The result cannot be written.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
}

impl PrepareError {
    /// How the app's status calls it.
    pub fn reason(&self) -> Reason {
        match self {
            PrepareError::MissingReferences { .. } => Reason::MissingReference,
            PrepareError::Source { error, .. } => error.reason(),
            PrepareError::Handler { error: HandlerError::Malformed(_), .. } | PrepareError::Compile { .. } | PrepareError::Artifact(_) => {
                Reason::PrepareFailed
            }
            PrepareError::Handler { .. } => Reason::NoHandler,
            PrepareError::Import { .. } => Reason::UnsupportedImport,
        }
    }
}

/// Prepares every component into `out`. The report tells what was prepared, also when one of the later ones fails.
pub async fn prepare(
    manifest: &Manifest,
    sources: &Sources,
    engines: &Engines,
    out: &Path,
) -> (PrepareReport, Result<Index, PrepareError>) {
    let mut index = Index::default();
    let result = prepare_all(manifest, sources, engines, out, &mut index).await;
    let components = index
        .components
        .iter()
        .map(|entry| PreparedComponent {
            id: entry.id.clone(),
            digest: entry.digest.clone(),
            handler: entry.handler.interface().to_owned(),
        })
        .collect();
    let problem = result.as_ref().err().map(|error| Problem { reason: error.reason(), message: shorten(&error.to_string(), 2_000) });
    (PrepareReport { components, problem }, result.map(|()| index))
}

async fn prepare_all(manifest: &Manifest, sources: &Sources, engines: &Engines, out: &Path, index: &mut Index) -> Result<(), PrepareError> {
    let mut references = manifest.references();
    // A local file in the place of a source needs no ConfigMap.
    for component in manifest.spec.components.iter().filter(|component| sources.files.contains_key(&component.id)) {
        let replaced = component.source.config_map.as_ref().map(|source| source.reference());
        references.retain(|reference| Some(reference) != replaced.as_ref());
    }
    let missing = sources.references.missing(&references);
    if !missing.is_empty() {
        let names = missing.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        return Err(PrepareError::MissingReferences { message: describe_missing(&missing), names });
    }
    for component in &manifest.spec.components {
        let fetched = sources.fetch(component).await.map_err(|error| PrepareError::Source { component: component.id.clone(), error })?;
        let entry = compile(component, fetched, engines, out)?;
        tracing::info!(component = %entry.id, digest = %entry.digest, handler = entry.handler.interface(), "component is prepared");
        index.components.push(entry);
    }
    index.write(out)?;
    Ok(())
}

fn compile(component: &ComponentSpec, fetched: Fetched, engines: &Engines, out: &Path) -> Result<Entry, PrepareError> {
    let id = component.id.clone();
    let kind = handler::find(&fetched.wasm).map_err(|error| PrepareError::Handler { component: id.clone(), error })?;
    let engine = engines.for_handler(kind);
    let failed = |error: wasmtime::Error| PrepareError::Compile { component: id.clone(), error: format!("{error:#}") };
    let file = artifact::file_name(&sha256_digest(&fetched.wasm), &engine::compatibility(engine));
    let compiled = Component::new(engine, &fetched.wasm).map_err(failed)?;
    handler::check_type(engine, &compiled, kind).map_err(|error| PrepareError::Handler { component: id.clone(), error })?;
    guest::Handler::link(engine, &compiled, kind)
        .map_err(|error| PrepareError::Import { component: id.clone(), error: one_line(&error) })?;
    artifact::write(out, &file, &compiled.serialize().map_err(failed)?)?;
    Ok(Entry { id, digest: fetched.digest, handler: kind, file })
}

/// A chain of causes on one line.
fn one_line(error: &wasmtime::Error) -> String {
    format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ")
}
