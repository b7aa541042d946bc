//! `spinredis`: parses the command line and starts what it asks for.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use spinredis::{cli::Cli, commands, telemetry};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let _log = telemetry::log::install(cli.log_format(), std::env::var(telemetry::log::FILTER_VARIABLE).ok().as_deref(), cli.log_writing());
    // One provider for every TLS connection of the process. A second call could only fail because it is installed.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    commands::start(cli.command)
}
