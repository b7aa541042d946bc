//! `/healthz`, `/readyz`, `/status` and `/metrics`, on a thread that guests cannot hold up; and `/debug/status` for `spinredis
//! status`, which only this machine is given: it repeats what guests said when they failed.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    Json, Router,
    extract::{ConnectInfo, State},
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use spinredis_crds::report::ServeStatus;
use tokio::net::TcpListener;

use crate::{app::Reporter, redis::servers::Servers, report, telemetry::metrics::Metrics};

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
    /// Everything, for `spinredis status`.
    pub reporter: Arc<Reporter>,
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
            .route(report::PATH, get(everything))
            .with_state(self)
            .into_make_service_with_connect_info::<SocketAddr>();
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

async fn everything(State(health): State<Health>, ConnectInfo(peer): ConnectInfo<SocketAddr>) -> impl IntoResponse {
    match is_this_machine(peer.ip()) {
        true => Json(health.reporter.report()).into_response(),
        false => (StatusCode::FORBIDDEN, "only this machine is told: run `spinredis status` in the pod\n").into_response(),
    }
}

/// Whether an address is the loopback one, also when a socket of IPv6 shows it.
fn is_this_machine(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

async fn metrics(State(health): State<Health>) -> impl IntoResponse {
    match health.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_loopback_address_is_this_machine() {
        for (address, expected) in
            [("127.0.0.1", true), ("::1", true), ("::ffff:127.0.0.1", true), ("10.0.0.1", false), ("::ffff:10.0.0.1", false)]
        {
            assert_eq!(is_this_machine(address.parse().unwrap()), expected, "{address}");
        }
    }
}
