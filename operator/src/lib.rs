//! The operator: turns each `SpinRedisApp` into a Deployment of the runtime, and says in the app's status how it fares.
//!
//! [`controller`] watches and decides when; [`reconcile`] does one app in five steps. It talks to the Kubernetes API and to
//! the health port of unready pods, never to Redis or a registry, and has no permission on Secrets.
#![forbid(unsafe_code)]

pub mod cli;
pub mod context;
pub mod controller;
pub mod events;
pub mod metrics;
pub mod names;
pub mod reconcile;
pub mod server;
pub mod settings;

use std::{future::Future, sync::Arc};

use futures::FutureExt;
use kube::Client;

use crate::{context::Context, controller::Scope, metrics::Metrics, server::Readiness, settings::Settings};

/// What [`run`] needs to know, read from arguments and environment by `main`.
#[derive(Clone, Debug)]
pub struct Options {
    /// What goes into the pods of every app.
    pub settings: Settings,
    /// Namespaces to watch; empty for all.
    pub namespaces: Vec<String>,
    /// Where health and metrics are served: `:8080`, `127.0.0.1:0`.
    pub listen: String,
    /// Name of the operator's own pod, for events.
    pub pod_name: Option<String>,
}

/// Runs until `shutdown` resolves, then finishes the reconciles that are under way.
pub async fn run(options: Options, client: Client, shutdown: impl Future<Output = ()> + Send + Sync + 'static) -> anyhow::Result<()> {
    let shutdown = shutdown.boxed().shared();
    let metrics = Arc::new(Metrics::default());
    let scopes = Scope::all_of(&options.namespaces);
    let readiness = Readiness::waiting_for(scopes.len());
    let listener = server::bind(&options.listen).await?;
    tracing::info!(address = %listener.local_addr()?, "health and metrics are served");
    let context = Arc::new(Context::new(client, options.settings, metrics.clone(), options.pod_name));
    let controllers = scopes.into_iter().map(|scope| controller::run(scope, context.clone(), readiness.clone(), shutdown.clone()));
    let server = tokio::spawn(server::serve(listener, metrics, readiness.clone()));
    futures::future::join_all(controllers).await;
    server.abort();
    tracing::info!("stopped");
    Ok(())
}
