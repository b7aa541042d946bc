//! `spinredis prepare`: the init container of a pod.

use std::{collections::BTreeMap, fs, io, path::Path};

use spinredis_crds::{
    pins::Pins,
    registries::RegistrySettings,
    report::{PrepareReport, Problem, Reason},
};
use tokio::signal::unix::{SignalKind, signal};

use super::{CommandError, read_manifest};
use crate::{
    cli::PrepareArgs,
    compile::{bounded::Bounds, engine::Engines},
    prepare,
    references::References,
    source::{Sources, credentials::Credentials, oci::Registries},
};

pub(super) fn run(args: &PrepareArgs) -> Result<(), CommandError> {
    end_on_signal()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandError::System { what: "starting threads", error: error.to_string() })?;
    let (report, result) = match runtime.block_on(prepare_app(args)) {
        Ok((report, result)) => (report, result.map_err(CommandError::from)),
        Err(error) => {
            let reason = if matches!(error, CommandError::Manifest { .. }) { Reason::Invalid } else { Reason::PrepareFailed };
            let problem = Problem { reason, message: error.to_string() };
            (PrepareReport { problem: Some(problem), ..PrepareReport::default() }, Err(error))
        }
    };
    if let Some(path) = &args.termination_message {
        fs::write(path, report.to_json()).map_err(|error| CommandError::File { path: path.display().to_string(), error })?;
    }
    result
}

/// Ends the process at SIGTERM. The first process of a container does not get the signal's ordinary effect, and compiling
/// cannot be interrupted; nothing is left half-written, since artifacts are renamed into place.
fn end_on_signal() -> Result<(), CommandError> {
    let failed = |error: std::io::Error| CommandError::System { what: "listening for signals", error: error.to_string() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let mut terminate = runtime.block_on(async { signal(SignalKind::terminate()) }).map_err(failed)?;
    std::thread::spawn(move || {
        runtime.block_on(terminate.recv());
        std::process::exit(128 + 15);
    });
    Ok(())
}

type Prepared = (PrepareReport, Result<(), prepare::PrepareError>);

async fn prepare_app(args: &PrepareArgs) -> Result<Prepared, CommandError> {
    let manifest =
        read_manifest(&args.app)?.manifest().map_err(|error| CommandError::Manifest { path: args.app.display().to_string(), error })?;
    let credentials = match &args.pull_secrets {
        Some(folder) => Credentials::from_directory(folder)?,
        None => Credentials::default(),
    };
    let settings = match &args.registries {
        Some(path) => read_json(path, RegistrySettings::parse)?,
        None => RegistrySettings::default(),
    };
    // An app that was never prepared has no pins yet.
    let pins = match args.pins.as_deref().filter(|path| path.exists()) {
        Some(path) => read_json(path, Pins::parse)?,
        None => Pins::default(),
    };
    let sources = Sources {
        references: References::directory(&args.refs),
        registries: Registries { credentials, plain_http: args.plain_http.clone(), settings, pins },
        files: BTreeMap::new(),
    };
    let engines = Engines::to_compile();
    let (report, result) = prepare::prepare(&manifest, &sources, &engines, Bounds::new(args.compile_timeout), &args.out).await;
    Ok((report, result.map(drop)))
}

/// Reads a file that the operator wrote.
fn read_json<T>(path: &Path, parse: impl Fn(&str) -> Result<T, serde_json::Error>) -> Result<T, CommandError> {
    let text = fs::read_to_string(path);
    let parsed = text.and_then(|text| parse(&text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error)));
    parsed.map_err(|error| CommandError::File { path: path.display().to_string(), error })
}
