//! A TCP proxy that a test puts between the runtime and Redis, and through which it does to the connection what networks
//! and servers do: cut it, let it go dead, slow it down, put foreign bytes into it, answer in the server's place, lead to
//! another server.
//!
//! It knows nothing of Redis but how commands are framed, and that only while it answers some of them itself.

mod connection;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    runtime::Runtime,
    sync::{broadcast, watch},
};

use crate::wait::eventually;

/// How bytes go from the server to the client.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// As they come.
    Open,
    /// Not at all, in neither direction: the connection is half-open. Connections are accepted all the same.
    Stalled,
    /// One by one, with a rest after each so many.
    Trickle(usize, Duration),
    /// So many, and then the connection ends.
    CutAfter(usize),
}

/// Bytes that no server sent: a head, so many times a byte, a tail.
#[derive(Debug)]
struct Foreign {
    head: Vec<u8>,
    fill: u64,
    tail: Vec<u8>,
}

/// Answers some commands in the server's place.
type Answers = Arc<dyn Fn(&[Vec<u8>]) -> Option<Vec<u8>> + Send + Sync>;

struct Shared {
    target: Mutex<u16>,
    answers: Mutex<Option<Answers>>,
    way: watch::Sender<Way>,
    /// Counts the cuts; a connection ends when it changes.
    cuts: watch::Sender<u64>,
    foreign: broadcast::Sender<Arc<Foreign>>,
    injected: AtomicUsize,
    accepted: AtomicUsize,
    open: AtomicUsize,
}

/// A proxy on a port of its own. It ends with the test.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    /// None only while it is dropped.
    runtime: Option<Runtime>,
}

impl Proxy {
    /// A proxy before the server on this port of the loopback address, which may start later.
    pub fn before(target: u16) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            answers: Mutex::default(),
            way: watch::Sender::new(Way::Open),
            cuts: watch::Sender::new(0),
            foreign: broadcast::Sender::new(16),
            injected: AtomicUsize::new(0),
            accepted: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
        });
        let port = listener.local_addr().unwrap().port();
        runtime.spawn(connection::accept(listener, shared.clone()));
        Self { port, shared, runtime: Some(runtime) }
    }

    /// TCP port of the loopback address.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `redis://127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// `spec.trigger` of an app that needs nothing but the address.
    pub fn trigger(&self) -> Value {
        json!({"address": self.address()})
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Connections that are open now.
    pub fn connections(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// Ends all connections of now.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Ends a connection after so many more bytes of the server; then bytes go through again.
    pub fn cut_after(&self, bytes: usize) {
        self.set(Way::CutAfter(bytes));
    }

    /// Forwards nothing more in either direction, and closes nothing.
    pub fn stall(&self) {
        self.set(Way::Stalled);
    }

    /// Sends the server's bytes one by one, with a rest after each `bytes` of them.
    pub fn trickle(&self, bytes: usize, rest: Duration) {
        self.set(Way::Trickle(bytes, rest));
    }

    /// Ends [`stall`](Self::stall) and [`trickle`](Self::trickle).
    pub fn open(&self) {
        self.set(Way::Open);
    }

    fn set(&self, way: Way) {
        self.shared.way.send_replace(way);
    }

    /// Leads new connections to another server.
    pub fn lead_to(&self, target: u16) {
        *self.shared.target.lock().unwrap() = target;
    }

    /// Sends a client bytes that no server sent. The server should be quiet, or they fall into the middle of what it says.
    pub fn inject(&self, bytes: &[u8]) {
        self.inject_filled(bytes, 0, b"");
    }

    /// The same: a head, so many times the letter `x`, a tail. Returns when the client has taken them, or is gone.
    pub fn inject_filled(&self, head: &[u8], fill: u64, tail: &[u8]) {
        let before = self.shared.injected.load(Ordering::Relaxed);
        let foreign = Arc::new(Foreign { head: head.to_vec(), fill, tail: tail.to_vec() });
        let receivers = self.shared.foreign.send(foreign).expect("somebody is connected");
        eventually("the client takes the bytes", || {
            let taken = self.shared.injected.load(Ordering::Relaxed) - before;
            if taken == receivers { Ok(()) } else { Err(format!("{taken} of {receivers}")) }
        });
    }

    /// Answers commands in the server's place where `answers` gives something; the others go on to the server.
    pub fn answer(&self, answers: impl Fn(&[Vec<u8>]) -> Option<Vec<u8>> + Send + Sync + 'static) {
        *self.shared.answers.lock().unwrap() = Some(Arc::new(answers));
    }

    /// Ends [`answer`](Self::answer).
    pub fn answer_nothing(&self) {
        *self.shared.answers.lock().unwrap() = None;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
