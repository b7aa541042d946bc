//! The commands: each puts the stages together and turns errors into one sentence and an exit code.

mod check;
mod dead_letters;
mod import;
mod prepare;
mod run;
mod serve;
mod status;
mod text;
mod values;

use std::{fs, io::Write, path::Path, process::ExitCode};

use spinredis_crds::manifest::{Documents, ManifestError};

use crate::cli::Command;

/// Why a command ended early.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// A file cannot be read or written.
    #[error("{path}: {error}")]
    File {
        /// Which file.
        path: String,
        /// What the operating system says.
        error: std::io::Error,
    },
    /// A manifest cannot be read.
    #[error("{path}: {error}")]
    Manifest {
        /// Which file.
        path: String,
        /// What is wrong.
        error: ManifestError,
    },
    /// A manifest breaks rules of the API.
    #[error("{path} has {count} finding{}: {findings}", if *count == 1 { "" } else { "s" })]
    Findings {
        /// Which file.
        path: String,
        /// How many.
        count: usize,
        /// Each in a sentence.
        findings: String,
    },
    /// `--component` names a component that the app does not have.
    #[error("--component {given}: the app has no component of that id, it has {known}")]
    UnknownComponent {
        /// As given.
        given: String,
        /// The ids of the app.
        known: String,
    },
    /// A file that would be replaced.
    #[error("{0} is there already: name another file, or replace it with --force")]
    Exists(String),
    /// Several apps for one file.
    #[error(
        "the triggers name {count} Redis servers, and each needs an app of its own, but {path} is one file: name a folder with --output, and each app gets a file there"
    )]
    SeveralApps {
        /// How many apps there are.
        count: usize,
        /// The file that was named.
        path: String,
    },
    /// `--ref` is not written as it should be.
    #[error("--ref: {0}")]
    Reference(String),
    /// An environment variable of `--ref` is not set.
    #[error("--ref {reference}: the environment variable {variable} is not set")]
    UnsetVariable {
        /// As given.
        reference: String,
        /// Name of the variable.
        variable: String,
    },
    /// References without a value.
    #[error(
        "no value for {0}: give it with --ref KIND/NAME/KEY=env:VAR or =@FILE, as a folder with --refs, or put the Secret or ConfigMap into the manifest's file"
    )]
    NoValue(String),
    /// Credentials cannot be used.
    #[error(transparent)]
    Credentials(#[from] crate::source::credentials::CredentialsError),
    /// The components cannot be prepared.
    #[error(transparent)]
    Prepare(#[from] crate::prepare::PrepareError),
    /// The app cannot be loaded.
    #[error(transparent)]
    Load(#[from] crate::app::LoadError),
    /// The app ended early.
    #[error(transparent)]
    Serve(#[from] crate::app::ServeError),
    /// The health port is taken.
    #[error(transparent)]
    Listen(#[from] crate::health::ListenError),
    /// Something of the operating system or of wasmtime that nobody expects.
    #[error("{what}: {error}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What happened.
        error: String,
    },
}

/// Runs a command to its end.
pub fn start(command: Command) -> ExitCode {
    let result = match command {
        Command::Check(args) => return check::run(&args),
        Command::Import(args) => return import::run(&args),
        Command::DeadLetters(args) => return dead_letters::run(&args.command),
        Command::Status(args) => return status::run(&args),
        Command::Prepare(args) => prepare::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Run(args) => run::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Reads the documents of a manifest file.
fn read_manifest(path: &Path) -> Result<Documents, CommandError> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| CommandError::File { path: name.clone(), error })?;
    Documents::parse(&text).map_err(|error| CommandError::Manifest { path: name, error })
}

/// Writes lines for a person to stdout; nobody is helped by an error about a closed pipe.
fn say(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
