//! `wasi:http` outgoing requests, 0.2 and 0.3: one client for each component, so that connections are used again and no
//! component gets those of another.
//!
//! Redirects are followed by guests, not here, so each hop is checked like any other request.

mod connector;
mod timed;

use std::{error::Error as StdError, future::Future, io, sync::Arc, time::Duration};

use http_body_util::BodyExt;
use hyper_util::{client::legacy, rt::TokioExecutor};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::Host;
use connector::Connector;
use timed::Timed;

/// How long an idle connection is kept.
const IDLE_FOR: Duration = Duration::from_secs(30);
/// How many idle connections are kept to one host.
const MAX_IDLE_PER_HOST: usize = 8;
/// What a guest gets that asks for no time limit; the attempt's own deadline is shorter, or as long as its author wants.
const NO_LIMIT: Duration = Duration::from_secs(3600);

type Answer = Result<(hyper::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

/// The HTTP client of one component.
#[derive(Clone)]
pub struct Client(legacy::Client<Connector, WasiBody>);

impl Default for Client {
    fn default() -> Self {
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder.pool_timer(hyper_util::rt::TokioTimer::new()).pool_idle_timeout(IDLE_FOR).pool_max_idle_per_host(MAX_IDLE_PER_HOST);
        Self(builder.build(Connector))
    }
}

/// Sends a guest's requests.
pub struct Hooks(pub Arc<Host>);

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        request: hyper::Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Answer> + Send> {
        let host = self.0.clone();
        Box::new(async move { send(&host, request, options.unwrap_or_default()).await })
    }
}

async fn send(host: &Host, request: hyper::Request<WasiBody>, options: RequestOptions) -> Answer {
    let settings = host.settings().map_err(|error| Error::InternalError(Some(error.to_string())))?;
    let uri = request.uri();
    let scheme = uri.scheme_str().unwrap_or("https").to_owned();
    let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
    let port = authority.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
    settings.network.check(&scheme, authority.host().trim_matches(['[', ']']), port).map_err(|_| Error::HttpRequestDenied)?;

    // The connector has no other way to learn who asks.
    let network = settings.network.clone();
    let first_byte = options.first_byte_timeout.unwrap_or(NO_LIMIT).saturating_add(options.connect_timeout.unwrap_or_default());
    let answer = connector::NETWORK.scope(network, tokio::time::timeout(first_byte, host.http.0.request(request))).await;
    let response = answer.map_err(|_| Error::ConnectionReadTimeout)?.map_err(|error| explain(&error))?;
    let between = options.between_bytes_timeout.unwrap_or(NO_LIMIT);
    let response = response.map(|body| Timed::new(body, between).boxed_unsync());
    // The client drives the connection itself.
    Ok((response, Box::new(async { Ok(()) })))
}

/// The case of the WIT for what the client says.
fn explain(error: &legacy::Error) -> Error {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(inner) = cause {
        if let Some(error) = inner.downcast_ref::<connector::ConnectError>() {
            return error.into();
        }
        if let Some(error) = inner.downcast_ref::<io::Error>() {
            return match error.kind() {
                io::ErrorKind::TimedOut => Error::ConnectionTimeout,
                io::ErrorKind::ConnectionRefused => Error::ConnectionRefused,
                _ => Error::ConnectionTerminated,
            };
        }
        if let Some(error) = inner.downcast_ref::<hyper::Error>() {
            if error.is_incomplete_message() || error.is_closed() {
                return Error::ConnectionTerminated;
            }
            if error.is_parse() {
                return Error::HttpProtocolError;
            }
        }
        cause = inner.source();
    }
    Error::InternalError(Some(error.to_string()))
}
