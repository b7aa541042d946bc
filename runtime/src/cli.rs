//! The command line. Secrets are never arguments: those show in `ps`; references name files or environment variables.

use std::{path::PathBuf, str::FromStr, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use spinredis_crds::Reference;

use crate::telemetry::log::Writing;

pub mod dead_letters;

/// Runs WebAssembly components for messages on Redis channels.
#[derive(Parser, Debug)]
#[command(name = "spinredis", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Fetch, inspect and compile an app's components (the init container of a pod).
    Prepare(PrepareArgs),
    /// Subscribe and call prepared components (the container of a pod).
    Serve(ServeArgs),
    /// Prepare and serve in one process, for a laptop.
    Run(RunArgs),
    /// Say everything that is wrong with a manifest and what its components are, without Redis or a cluster.
    Check(CheckArgs),
    /// Make a SpinRedisApp of a Spin manifest (spin.toml).
    Import(ImportArgs),
    /// Look at messages that failed for good, have them handled again, or remove them.
    DeadLetters(dead_letters::DeadLettersArgs),
    /// Show how a running app fares: subscriptions, counters, last failures. For a pod: kubectl exec deploy/NAME -- spinredis status.
    Status(StatusArgs),
}

/// How log lines look.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For a person.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// `spinredis prepare`.
#[derive(Args, Debug)]
pub struct PrepareArgs {
    /// The app's manifest.
    #[arg(long, value_name = "FILE")]
    pub app: PathBuf,
    /// Folder of referenced Secrets and ConfigMap keys: KIND/NAME/KEY.
    #[arg(long, value_name = "DIR")]
    pub refs: PathBuf,
    /// Where the compiled components and their index go.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Folder of registry credentials: NAME/.dockerconfigjson.
    #[arg(long, value_name = "DIR")]
    pub pull_secrets: Option<PathBuf>,
    /// Registry (HOST or HOST:PORT) that speaks plain HTTP; may be repeated.
    #[arg(long = "plain-http", value_name = "HOST")]
    pub plain_http: Vec<String>,
    /// Registries' private authorities, mirrors and plain HTTP, as the operator writes them (JSON).
    #[arg(long, value_name = "FILE")]
    pub registries: Option<PathBuf>,
    /// Digests to fetch in the place of tags, as the operator writes them (JSON); may be missing.
    #[arg(long, value_name = "FILE")]
    pub pins: Option<PathBuf>,
    /// How long compiling one component may take: 90s, 10m.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = spinredis_crds::duration::parse)]
    pub compile_timeout: Duration,
    /// File for the report that Kubernetes shows as the container's termination message.
    #[arg(long, value_name = "FILE")]
    pub termination_message: Option<PathBuf>,
    /// How log lines look.
    #[arg(long, value_enum, default_value_t)]
    pub log_format: LogFormat,
}

/// `spinredis serve`.
#[derive(Args, Debug)]
pub struct ServeArgs {
    /// The app's manifest.
    #[arg(long, value_name = "FILE")]
    pub app: PathBuf,
    /// Folder of referenced Secrets and ConfigMap keys: KIND/NAME/KEY.
    #[arg(long, value_name = "DIR")]
    pub refs: PathBuf,
    /// Where `prepare` left the components.
    #[arg(long, value_name = "DIR")]
    pub components: PathBuf,
    /// Address for /healthz, /readyz, /status and /metrics; `:8080` listens on every address.
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// How log lines look.
    #[arg(long, value_enum, default_value_t)]
    pub log_format: LogFormat,
}

/// `spinredis run`.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// The app's manifest; ConfigMaps and Secrets in the same file are used for its references.
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
    /// Use a local file instead of a component's source; may be repeated.
    #[arg(long = "component", value_name = "ID=PATH")]
    pub components: Vec<ComponentFile>,
    /// Use another Redis than the manifest names: redis://HOST:PORT. A password goes to --ref, never here.
    #[arg(long, value_name = "URL")]
    pub address: Option<String>,
    /// Folder of referenced Secrets and ConfigMap keys: KIND/NAME/KEY.
    #[arg(long, value_name = "DIR")]
    pub refs: Option<PathBuf>,
    /// A referenced value, from a file or an environment variable: KIND/NAME/KEY=@FILE or KIND/NAME/KEY=env:VAR; may be repeated.
    // Read as text here and parsed by the command: an error of the parser would repeat what may be a secret.
    #[arg(long = "ref", value_name = "REF")]
    pub references: Vec<String>,
    /// Registry credentials, as `docker login` writes them (without this option none are used).
    #[arg(long, value_name = "FILE")]
    pub docker_config: Option<PathBuf>,
    /// Registry (HOST or HOST:PORT) that speaks plain HTTP; may be repeated.
    #[arg(long = "plain-http", value_name = "HOST")]
    pub plain_http: Vec<String>,
    /// Address for /healthz, /readyz, /status and /metrics; `:8080` listens on every address.
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// How log lines look.
    #[arg(long, value_enum, default_value_t)]
    pub log_format: LogFormat,
}

/// `spinredis check`.
#[derive(Args, Debug)]
#[group(id = "what", required = true, multiple = true, args = ["path", "file", "components"])]
pub struct CheckArgs {
    /// The app's manifest, or a WebAssembly file.
    #[arg(value_name = "PATH", conflicts_with = "file")]
    pub path: Option<PathBuf>,
    /// The same, as in `run`.
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The file of a component whose source is elsewhere, to see what it is; may be repeated.
    #[arg(long = "component", value_name = "ID=PATH")]
    pub components: Vec<ComponentFile>,
}

/// `spinredis status`.
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// The health port of the app, as `serve` or `run` was given it; of another machine nothing is told.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub listen: String,
    /// How it is printed.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: OutputFormat,
}

/// How a command prints what it found.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutputFormat {
    /// For a person.
    #[default]
    Text,
    /// For a program: one JSON object.
    Json,
}

/// `spinredis import`.
#[derive(Args, Debug)]
pub struct ImportArgs {
    /// The Spin manifest, or the folder with spin.toml.
    #[arg(value_name = "SPIN.TOML", default_value = "spin.toml")]
    pub manifest: PathBuf,
    /// File to write, or a folder in which each app gets a file; without it the apps go to stdout.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Replace files that are there.
    #[arg(long, requires = "output")]
    pub force: bool,
    /// Registry and folder of the component images: ghcr.io/acme.
    #[arg(long, value_name = "PREFIX", value_parser = image_prefix)]
    pub image_prefix: Option<String>,
}

fn image_prefix(text: &str) -> Result<String, String> {
    let prefix = text.trim_end_matches('/');
    match prefix.is_empty() || prefix.contains("://") || prefix.contains(char::is_whitespace) {
        true => Err("write REGISTRY or REGISTRY/FOLDER without a scheme, for example ghcr.io/acme".to_owned()),
        false => Ok(prefix.to_owned()),
    }
}

/// `ID=PATH` of `--component`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComponentFile {
    /// Id of the component in the manifest.
    pub id: String,
    /// The file to use.
    pub path: PathBuf,
}

impl FromStr for ComponentFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((id, path)) if !id.is_empty() && !path.is_empty() => Ok(Self { id: id.to_owned(), path: path.into() }),
            _ => Err("write ID=PATH, for example hello=target/hello.wasm".to_owned()),
        }
    }
}

/// Where the value of `--ref` comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueSource {
    /// The bytes of a file.
    File(PathBuf),
    /// The text of an environment variable.
    Variable(String),
}

/// `KIND/NAME/KEY=@FILE` or `KIND/NAME/KEY=env:VAR` of `--ref`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferenceValue {
    /// Which reference.
    pub reference: Reference,
    /// Where its value comes from.
    pub source: ValueSource,
}

impl FromStr for ReferenceValue {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The part behind `=` is never repeated in an error: a person may have put the secret itself there.
        let wrong = || {
            "write KIND/NAME/KEY=@FILE or KIND/NAME/KEY=env:VAR, for example secret/redis/password=env:REDIS_PASSWORD; the value itself is never an argument".to_owned()
        };
        let (reference, source) = text.split_once('=').ok_or_else(wrong)?;
        let source = match (source.strip_prefix('@'), source.strip_prefix("env:")) {
            (Some(path), _) if !path.is_empty() => ValueSource::File(path.into()),
            (_, Some(variable)) if !variable.is_empty() => ValueSource::Variable(variable.to_owned()),
            _ => return Err(wrong()),
        };
        Ok(Self {
            reference: reference.parse().map_err(|error: spinredis_crds::reference::ParseReferenceError| error.to_string())?,
            source,
        })
    }
}

impl Cli {
    /// The log format of whichever command was given.
    pub fn log_format(&self) -> LogFormat {
        match &self.command {
            Command::Prepare(args) => args.log_format,
            Command::Serve(args) => args.log_format,
            Command::Run(args) => args.log_format,
            Command::Check(_) | Command::Import(_) | Command::DeadLetters(_) | Command::Status(_) => LogFormat::Text,
        }
    }

    /// Whether what is logged may make anybody wait: never where messages are handled.
    pub fn log_writing(&self) -> Writing {
        match &self.command {
            Command::Serve(_) | Command::Run(_) => Writing::Dropping,
            _ => Writing::Waiting,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_value_names_a_file_or_a_variable() {
        let value: ReferenceValue = "secret/redis/password=env:PASSWORD".parse().unwrap();
        assert_eq!(value.source, ValueSource::Variable("PASSWORD".into()));
        let value: ReferenceValue = "configmap/guests/a.wat=@a.wat".parse().unwrap();
        assert_eq!(value.source, ValueSource::File("a.wat".into()));
    }

    #[test]
    fn a_secret_given_as_an_argument_is_refused_and_not_repeated() {
        let error = "secret/redis/password=hunter2".parse::<ReferenceValue>().unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
