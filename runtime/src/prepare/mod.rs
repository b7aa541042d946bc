//! Prepares all components of an app: fetch, find the handler, compile, check the imports, write.

pub mod plan;

use std::path::Path;

use spinredis_crds::{
    manifest::{Manifest, sha256_digest},
    report::{PrepareReport, PreparedComponent, Problem, Reason, shorten},
};
use wasmtime::Module;

use crate::{
    application::{self, ApplicationError, files},
    call,
    compile::{
        artifact::{self, ArtifactError, Code, Entry, Index},
        bounded::{self, Bounds, Overrun},
        engine::{self, EngineKind, Engines},
        handler::{self, HandlerError, HandlerKind},
        one_line,
        pool::{Footprint, PoolError},
        prune,
    },
    references::describe_missing,
    source::{Fetched, SourceError, Sources},
};
use plan::{PlanError, Planned};

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
    /// A component takes too much to compile.
    #[error("component {component} cannot be compiled: {error}")]
    Overrun {
        /// Id of the component.
        component: String,
        /// What it takes.
        error: Overrun,
    },
    /// A component imports what this runtime does not have.
    #[error("component {component} cannot be linked: {error}; docs/guests.md lists what a component may import")]
    Import {
        /// Id of the component.
        component: String,
        /// What the linker says.
        error: String,
    },
    /// A memory that is larger than allowed from the beginning.
    #[error(
        "component {component} starts with a memory of {wanted} bytes, and its memoryLimit is {limit} bytes: raise memoryLimit, or build it with less memory"
    )]
    Memory {
        /// Id of the component.
        component: String,
        /// What it starts with, in bytes.
        wanted: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The whole app cannot be had.
    #[error(transparent)]
    Application(#[from] ApplicationError),
    /// The whole app and the manifest do not fit.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// More instances than a process can have.
    #[error(transparent)]
    Pool(#[from] PoolError),
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
            PrepareError::Handler { error: HandlerError::Malformed(_), .. } | PrepareError::Compile { .. } => Reason::PrepareFailed,
            PrepareError::Overrun { .. } | PrepareError::Artifact(_) => Reason::PrepareFailed,
            PrepareError::Memory { .. } | PrepareError::Plan(_) | PrepareError::Pool(_) => Reason::Invalid,
            PrepareError::Application(error) => error.reason(),
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
    bounds: Bounds,
    out: &Path,
) -> (PrepareReport, Result<Index, PrepareError>) {
    let mut index = Index::default();
    let result = prepare_all(manifest, sources, engines, bounds, out, &mut index).await;
    let components = index
        .components
        .iter()
        .map(|entry| PreparedComponent {
            id: entry.component.id.clone(),
            digest: entry.digest.clone(),
            handler: entry.handler.interface().to_owned(),
        })
        .collect();
    let problem = result.as_ref().err().map(|error| Problem { reason: error.reason(), message: shorten(&error.to_string(), 2_000) });
    let mut report = PrepareReport { components, resolved: None, problem };
    report.resolve(&manifest.spec);
    (report, result.map(|()| index))
}

async fn prepare_all(
    manifest: &Manifest,
    sources: &Sources,
    engines: &Engines,
    bounds: Bounds,
    out: &Path,
    index: &mut Index,
) -> Result<(), PrepareError> {
    let mut references = manifest.references();
    // A local file in the place of a source needs no ConfigMap.
    for component in manifest.spec.components.iter().filter(|component| sources.files.contains_key(&component.id)) {
        let replaced = component.config_map().map(|source| source.reference());
        references.retain(|reference| Some(reference) != replaced.as_ref());
    }
    let missing = sources.references.missing(&references);
    if !missing.is_empty() {
        let names = missing.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        return Err(PrepareError::MissingReferences { message: describe_missing(&missing), names });
    }
    let application = match &manifest.spec.application {
        Some(spec) => Some(application::fetch(&sources.registries, &spec.oci).await?),
        None => None,
    };
    for warning in application.iter().flat_map(|application| &application.application.unsupported) {
        tracing::warn!("{warning}");
    }
    let plan = plan::plan(manifest, application.as_ref().map(|application| &application.application))?;
    index.trigger = plan.trigger;
    if let Some(application) = &application {
        application.write_files(out).await?;
    }
    for planned in plan.components {
        let id = planned.component.id.clone();
        let fetched = match (planned.of_application, &application) {
            (Some(place), Some(application)) if !sources.files.contains_key(&id) => {
                let component = &application.application.components[place];
                Fetched { wasm: application.wasm(component).await?, digest: application.digest.clone() }
            }
            _ => sources.fetch(&planned.component).await.map_err(|error| PrepareError::Source { component: id.clone(), error })?,
        };
        let has_files = planned.of_application.is_some_and(|place| {
            application.as_ref().is_some_and(|application| !application.application.components[place].files.is_empty())
        });
        let (engines, folder) = (engines.clone(), out.to_owned());
        let compiled = bounded::run(bounds, move || compile(planned, has_files, fetched, &engines, &folder));
        let entry = compiled.await.map_err(|error| PrepareError::Overrun { component: id.clone(), error })??;
        tracing::info!(component = %id, digest = %entry.digest, handler = entry.handler.interface(), "component is prepared");
        index.components.push(entry);
    }
    // Loading checks each component against its pool: better here than in a pod that would start again and again.
    let engines = Engines::to_run(&index.demands())?;
    for entry in &index.components {
        let failed = |error: wasmtime::Error| PrepareError::Compile {
            component: entry.component.id.clone(),
            error: one_line(&format!("{error:#}")),
        };
        artifact::load(out, entry, engines.engine(entry.engine).map_err(failed)?)?;
    }
    index.write(out)?;
    Ok(())
}

fn compile(planned: Planned, has_files: bool, fetched: Fetched, engines: &Engines, out: &Path) -> Result<Entry, PrepareError> {
    let id = planned.component.id.clone();
    let wrong = |error| PrepareError::Handler { component: id.clone(), error };
    let callable = handler::resolve(fetched.wasm).map_err(wrong)?;
    let limit = planned.component.limits().memory;
    if callable.initial_memory > limit {
        return Err(PrepareError::Memory { component: id.clone(), wanted: callable.initial_memory, limit });
    }
    let kind = EngineKind::of(callable.concurrent, callable.wasm.len());
    let failed = |error: wasmtime::Error| PrepareError::Compile { component: id.clone(), error: one_line(&format!("{error:#}")) };
    let engine = engines.engine(kind).map_err(failed)?;
    let file = artifact::file_name(&sha256_digest(&callable.wasm), &engine::compatibility(engine));
    let code = match artifact::find(out, &file, callable.kind, engine) {
        Some(code) => code,
        None => {
            let (code, bytes) = match callable.kind {
                HandlerKind::Legacy => {
                    let module = Module::new(engine, &callable.wasm).map_err(failed)?;
                    let bytes = module.serialize().map_err(failed)?;
                    (Code::Module(module), bytes)
                }
                _ => {
                    let component = prune::compile(engine, &callable.wasm).map_err(failed)?;
                    let bytes = component.serialize().map_err(failed)?;
                    (Code::Component(component), bytes)
                }
            };
            artifact::write_code(out, &file, &bytes)?;
            code
        }
    };
    if let Code::Component(component) = &code {
        handler::check_type(engine, component, callable.kind).map_err(wrong)?;
    }
    call::link(engine, &code, callable.kind, callable.concurrent)
        .map_err(|error| PrepareError::Import { component: id.clone(), error: unsupported(&error) })?;
    Ok(Entry {
        files: has_files.then(|| format!("{}/{id}", files::FOLDER)),
        component: planned.component,
        digest: fetched.digest,
        handler: callable.kind,
        engine: kind,
        footprint: Footprint::of(&code),
        file,
        shared: planned.shared,
        shows_shared: planned.shows_shared,
        addresses: planned.addresses,
    })
}

/// What the linker says of an import that is not here, in words for the author of the component.
fn unsupported(error: &wasmtime::Error) -> String {
    let text = one_line(&format!("{error:#}"));
    // The linker's own sentence ends with the name in backticks; what comes before speaks of its inside.
    let name = text.split('`').nth(1).unwrap_or_default();
    let draft = name.contains("-rc-2023-");
    match name {
        "" => text,
        _ if draft => format!("it imports {name}, a draft of WASI 0.2: build it again with a Spin SDK of 2024 or later"),
        _ => format!("it imports {name}, which this runtime does not have ({text})"),
    }
}
