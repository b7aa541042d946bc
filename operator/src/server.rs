//! Health and metrics over HTTP. Healthy means that this answers; ready means that every watch has its list, so that this
//! replica reconciles, or could take over at once.

use std::{io, sync::Arc};

use axum::{
    Router,
    http::{StatusCode, header::CONTENT_TYPE},
    routing::get,
};
use tokio::{net::TcpListener, task::AbortHandle};

use crate::{metrics::Metrics, watched::Watched};

/// Ends the server when it is dropped.
pub struct Guard(pub AbortHandle);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn readiness(watched: &Watched) -> (StatusCode, String) {
    match watched.unlisted() {
        0 => (StatusCode::OK, "ready\n".to_owned()),
        waiting => (StatusCode::SERVICE_UNAVAILABLE, format!("waiting for the lists of {waiting} watches; the log says why\n")),
    }
}

/// Listens at `HOST:PORT`; `:PORT` stands for every address of the machine, of IPv6 too where it has that.
pub async fn bind(address: &str) -> io::Result<TcpListener> {
    match address.strip_prefix(':') {
        None => TcpListener::bind(address).await,
        Some(port) => match TcpListener::bind(format!("[::]:{port}")).await {
            Ok(listener) => Ok(listener),
            Err(_) => TcpListener::bind(format!("0.0.0.0:{port}")).await,
        },
    }
    .map_err(|error| io::Error::new(error.kind(), format!("cannot listen at {address}: {error}")))
}

/// Answers until it is dropped.
pub async fn serve(listener: TcpListener, metrics: Arc<Metrics>, watched: Arc<Watched>) {
    let text = [(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    let routes = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(move || async move { readiness(&watched) }))
        .route("/metrics", get(move || async move { (text, metrics.text()) }));
    if let Err(error) = axum::serve(listener, routes).await {
        tracing::error!("health and metrics are no longer served: {error}");
    }
}
