//! The operator: turns each `SpinRedisApp` into a Deployment of the runtime, and says in the app's status how it fares.
//!
//! [`controller`] watches and decides when; [`reconcile`] does one app in five steps. It talks to the Kubernetes API and to
//! the health port of unready pods, never to Redis or a registry, and has no permission on Secrets.
#![forbid(unsafe_code)]

pub mod cli;
pub mod client;
pub mod context;
pub mod controller;
pub mod election;
pub mod events;
pub mod metrics;
pub mod names;
pub mod policy;
pub mod reconcile;
pub mod registries;
pub mod retry;
pub mod rolls;
pub mod server;
pub mod settings;
pub mod turns;
pub mod watched;

use std::{future::Future, sync::Arc};

use futures::FutureExt;
use kube::Client;

use crate::{
    context::Context,
    controller::Scope,
    election::{Candidacy, Election, Leadership},
    metrics::Metrics,
    settings::Settings,
    watched::Watched,
};

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
    /// How this replica stands for election; `None` when it is the only one.
    pub candidacy: Option<Candidacy>,
    /// How many apps of each watched namespace, or of the cluster, are reconciled at once.
    pub reconciles: u16,
}

/// Runs until `shutdown` resolves, then finishes the reconciles that are under way. An error when this replica led and may not
/// any longer: then everything is dropped at once, and the caller has to end the process.
pub async fn run(options: Options, client: Client, shutdown: impl Future<Output = ()> + Send + Sync + 'static) -> anyhow::Result<()> {
    let shutdown = shutdown.boxed().shared();
    let metrics = Arc::new(Metrics::default());
    let scopes = Scope::all_of(&options.namespaces);
    let watched = Arc::new(Watched::waiting_for(scopes.len() * controller::WATCHES));
    let listener = server::bind(&options.listen).await?;
    tracing::info!(address = %listener.local_addr()?, "health and metrics are served");
    let server = tokio::spawn(server::serve(listener, metrics.clone(), watched.clone()));
    let _server = server::Guard(server.abort_handle());

    let (mut election, leadership) = match options.candidacy {
        None => {
            metrics.leads(true);
            (None, Leadership::alone())
        }
        Some(candidacy) => {
            let (election, leadership) = Election::new(candidacy, client.clone(), metrics.clone());
            (Some(election), leadership)
        }
    };
    let known = watched.clone();
    let context = Context::new(client, options.settings, metrics, options.pod_name).with(watched, leadership);
    let context = Arc::new(context);
    let controllers = scopes.into_iter().map(|scope| controller::run(scope, context.clone(), options.reconciles, shutdown.clone()));
    let controllers = futures::future::join_all(controllers);
    match &mut election {
        None => drop(controllers.await),
        Some(election) => tokio::select! {
            _ = controllers => {}
            lost = async {
                // One that cannot list must not keep the lease from one that can.
                known.listed().await;
                election.run().await
            } => return Err(lost.into()),
        },
    }
    if let Some(election) = election {
        election.release().await;
    }
    tracing::info!("stopped");
    Ok(())
}
