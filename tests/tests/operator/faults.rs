//! A layer over the client of the Kubernetes API that counts the requests of reconciles and lets some of them fail, or kills the
//! operator at them. The requests of watches are not counted; a plan may tell them by their query.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kube::{
    Client, Config,
    client::{Body, ClientBuilder, DynBody},
};
use serde_json::json;
use tokio::sync::watch;
use tower_service::Service;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Answer = Response<Box<DynBody>>;
type Answering = Pin<Box<dyn Future<Output = Result<Answer, BoxError>> + Send>>;

/// What becomes of a request.
pub enum Fault {
    /// Nothing; it is answered.
    None,
    /// The operator is killed before the request is sent.
    KillBefore,
    /// The operator is killed after the request took effect, before the answer is seen.
    KillAfter,
    /// Something is done first.
    After(Pin<Box<dyn Future<Output = ()> + Send>>),
    /// It is refused with this code.
    Refuse(u16),
    /// The connection is reset after the request took effect.
    Reset,
    /// It is never answered.
    Hang,
    /// A watch is told that its version is too old.
    Expire,
}

/// A request of a reconcile: its number from 1 on (0 for those of watches), method, and path with query.
pub struct Seen {
    pub number: usize,
    pub method: Method,
    pub path: String,
}

impl Seen {
    pub fn is_of_watch(&self) -> bool {
        self.number == 0
    }

    pub fn is_write(&self) -> bool {
        self.method != Method::GET
    }
}

type Plan = dyn FnMut(&Seen) -> Fault + Send;

/// What was requested so far, and what becomes of requests.
#[derive(Clone)]
pub struct Faults {
    plan: Arc<Mutex<Box<Plan>>>,
    count: Arc<AtomicUsize>,
    writes: Arc<Mutex<Vec<String>>>,
    dead: watch::Sender<bool>,
}

impl Faults {
    pub fn new(plan: impl FnMut(&Seen) -> Fault + Send + 'static) -> Self {
        Self { plan: Arc::new(Mutex::new(Box::new(plan))), count: Arc::default(), writes: Arc::default(), dead: watch::Sender::new(false) }
    }

    pub fn none() -> Self {
        Self::new(|_| Fault::None)
    }

    /// A client whose requests go through here.
    pub fn client(&self, config: Config) -> Client {
        let builder = ClientBuilder::try_from(config).unwrap();
        builder.with_layer(&LayerOf(self.clone())).build()
    }

    /// Requests of reconciles so far.
    pub fn requests(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Writes so far: method and path of each.
    pub fn writes(&self) -> Vec<String> {
        self.writes.lock().unwrap().clone()
    }

    /// Waits until the plan kills the operator.
    pub async fn killed(&self) {
        self.dead.subscribe().wait_for(|dead| *dead).await.unwrap();
    }

    pub fn has_killed(&self) -> bool {
        *self.dead.borrow()
    }

    fn kill(&self) {
        self.dead.send_replace(true);
    }

    fn look_at(&self, request: &Request<Body>) -> Fault {
        let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
        let is_of_watch = path.contains("watch=") || path.contains("limit=");
        let number = if is_of_watch { 0 } else { self.count.fetch_add(1, Ordering::SeqCst) + 1 };
        let seen = Seen { number, method: request.method().clone(), path };
        if seen.is_write() {
            self.writes.lock().unwrap().push(format!("{} {}", seen.method, seen.path));
        }
        (self.plan.lock().unwrap())(&seen)
    }
}

struct LayerOf(Faults);

impl<S> tower_layer::Layer<S> for LayerOf {
    type Service = Faulty<S>;

    fn layer(&self, inner: S) -> Faulty<S> {
        Faulty { inner, faults: self.0.clone() }
    }
}

/// The client under the layer.
pub struct Faulty<S> {
    inner: S,
    faults: Faults,
}

impl<S> Service<Request<Body>> for Faulty<S>
where
    S: Service<Request<Body>, Response = Answer, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = Answer;
    type Error = BoxError;
    type Future = Answering;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Answering {
        if self.faults.has_killed() {
            return Box::pin(std::future::pending());
        }
        let faults = self.faults.clone();
        match faults.look_at(&request) {
            Fault::None => Box::pin(self.inner.call(request)),
            Fault::KillBefore => {
                faults.kill();
                Box::pin(std::future::pending())
            }
            Fault::KillAfter => {
                let answer = self.inner.call(request);
                Box::pin(async move {
                    drop(answer.await);
                    faults.kill();
                    std::future::pending().await
                })
            }
            Fault::After(first) => {
                let answer = self.inner.call(request);
                Box::pin(async move {
                    first.await;
                    answer.await
                })
            }
            Fault::Refuse(code) => Box::pin(async move { Ok(refusal(code)) }),
            Fault::Reset => {
                let answer = self.inner.call(request);
                Box::pin(async move {
                    drop(answer.await);
                    Err(BoxError::from("connection reset by the test"))
                })
            }
            Fault::Hang => Box::pin(std::future::pending()),
            Fault::Expire => Box::pin(async {
                let event = json!({"type": "ERROR", "object": status(410)});
                Ok(answer(200, format!("{event}\n")))
            }),
        }
    }
}

fn status(code: u16) -> serde_json::Value {
    let reason = match code {
        409 => "Conflict",
        410 => "Expired",
        429 => "TooManyRequests",
        _ => "InternalError",
    };
    json!({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "code": code, "reason": reason, "message": "refused by the test"})
}

fn refusal(code: u16) -> Answer {
    answer(code, status(code).to_string())
}

fn answer(code: u16, text: String) -> Answer {
    let body: Box<DynBody> = Box::new(Body::from(text.into_bytes()).map_err(BoxError::from));
    let mut answer = Response::builder().status(code).header("content-type", "application/json");
    if code == 429 {
        answer = answer.header("retry-after", "1");
    }
    answer.body(body).unwrap()
}
