//! `/healthz`, `/readyz`, `/status` and `/metrics`, on a thread that guests cannot hold up.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use spinredis_crds::report::ServeStatus;
use tokio::net::TcpListener;

use crate::{redis::servers::Servers, telemetry::metrics::Metrics};

/// Why the server cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {error}; give another address with --listen")]
pub struct ListenError {
    address: String,
    error: std::io::Error,
}

/// What the answers are made of.
#[derive(Clone)]
pub struct Health {
    /// Readiness and its reason.
    pub subscriptions: Servers,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// Listens on `HOST:PORT`; `:PORT` means every address, IPv6 too where there is any.
pub async fn listen(address: &str) -> Result<TcpListener, ListenError> {
    let failed = |error| ListenError { address: address.to_owned(), error };
    let Some(port) = address.strip_prefix(':') else { return TcpListener::bind(address).await.map_err(failed) };
    match TcpListener::bind(format!("[::]:{port}")).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind(format!("0.0.0.0:{port}")).await.map_err(failed),
    }
}

impl Health {
    /// Answers requests for as long as the process runs.
    pub async fn serve(self, listener: TcpListener) {
        let address = listener.local_addr().map(|address: SocketAddr| address.to_string()).unwrap_or_default();
        tracing::info!(%address, "answering /healthz, /readyz, /status and /metrics");
        let router = Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .route("/status", get(status))
            .route("/metrics", get(metrics))
            .with_state(self);
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!("the health server ended: {error}");
        }
    }
}

async fn ready(State(health): State<Health>) -> impl IntoResponse {
    let status = health.subscriptions.status();
    let code = if status.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, format!("{}: {}\n", status.reason, status.message))
}

async fn status(State(health): State<Health>) -> Json<ServeStatus> {
    Json(health.subscriptions.status())
}

async fn metrics(State(health): State<Health>) -> impl IntoResponse {
    match health.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
