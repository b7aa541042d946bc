//! Health and metrics over HTTP. Healthy means that this answers; ready means that every watch of apps has its list.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    http::{StatusCode, header::CONTENT_TYPE},
    routing::get,
};
use tokio::net::TcpListener;

use crate::metrics::Metrics;

/// How many watches of apps still wait for their list.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<AtomicUsize>);

impl Readiness {
    /// Ready once this many watches have their list.
    pub fn waiting_for(watches: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(watches)))
    }

    /// One more watch has its list.
    pub fn one_is_ready(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    fn answer(&self) -> (StatusCode, String) {
        match self.0.load(Ordering::Relaxed) {
            0 => (StatusCode::OK, "ready\n".to_owned()),
            waiting => (StatusCode::SERVICE_UNAVAILABLE, format!("waiting for the list of apps of {waiting} watches; the log says why\n")),
        }
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
pub async fn serve(listener: TcpListener, metrics: Arc<Metrics>, readiness: Readiness) {
    let text = [(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    let routes = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(move || async move { readiness.answer() }))
        .route("/metrics", get(move || async move { (text, metrics.text()) }));
    if let Err(error) = axum::serve(listener, routes).await {
        tracing::error!("health and metrics are no longer served: {error}");
    }
}
