//! `spin-redis-operator`: reads arguments and environment, and starts the controller.
#![forbid(unsafe_code)]

use std::{io::IsTerminal, process::ExitCode};

use clap::Parser;
use http::{HeaderValue, header::USER_AGENT};
use kube::Config;
use spin_redis_operator::{
    cli::{Args, LogFormat},
    client,
};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

// One thread does it all: the work is waiting for the API server, and of threads that pass it on each costs memory and time.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    start_logging(&args);
    match start(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn start(args: Args) -> anyhow::Result<()> {
    rustls::crypto::aws_lc_rs::default_provider().install_default().map_err(|_| anyhow::anyhow!("a TLS provider is installed already"))?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: finishing the reconciles that are under way");
    };
    let mut config = Config::infer().await?;
    // So that logs of the API server tell whose a request is.
    let name = HeaderValue::from_static(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")));
    config.headers.push((USER_AGENT, name));
    let client = client::connect(config)?;
    spin_redis_operator::run(args.into_options(), client, shutdown).await
}

fn start_logging(args: &Args) {
    // Its spans would repeat in each line what the line says itself; whoever wants them names them.
    let quieter = if args.log.contains("kube_runtime") { args.log.clone() } else { format!("{},kube_runtime=warn", args.log) };
    let filter = EnvFilter::try_new(quieter).unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr);
    match args.log_format {
        LogFormat::Json => subscriber.json().flatten_event(true).with_current_span(false).with_span_list(false).init(),
        LogFormat::Text => subscriber.init(),
    }
}
