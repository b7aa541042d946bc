//! Redis messages as Spin's trigger handles them: the stream of redis-rs, a task made and joined for each message, and the next
//! message only then; Wasmtime configured as Spin configures it, a fresh instance for each message.

mod engine;
mod store;

use std::{
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use anyhow::Context;
use futures::StreamExt;
use tokio::sync::oneshot;

use super::{Arm, Kind, Label, Running};
use crate::{guests::Guest, probe::Probe};
pub use store::Callable;

/// How long Redis may take to confirm the subscription.
const PATIENCE: Duration = Duration::from_secs(20);

/// A guest, called as Spin calls it.
pub struct Spin {
    guest: Guest,
    callable: Arc<Callable>,
}

impl Spin {
    /// Compiles the guest.
    pub fn new(guest: Guest, component: &[u8]) -> anyhow::Result<Self> {
        Ok(Self { guest, callable: Arc::new(Callable::new(component)?) })
    }
}

impl Arm for Spin {
    fn label(&self) -> Label {
        Label { kind: Kind::Spin, guest: self.guest, workers: 1 }
    }

    fn start(&self, address: &str, channel: &str, probe: &Arc<Probe>) -> anyhow::Result<Box<dyn Running>> {
        let (stop, stopped) = oneshot::channel();
        let (ready, subscribed) = mpsc::channel();
        let (callable, probe) = (self.callable.clone(), probe.clone());
        let (address, channel) = (address.to_owned(), channel.to_owned());
        let thread = std::thread::Builder::new().name("spin-like".to_owned()).spawn(move || -> anyhow::Result<()> {
            // As many threads as processors, as Spin's own.
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            // On one of them and not on this one, where each message would wake another thread: the faster of the two ways.
            let handling = runtime.spawn(handle(address, channel, ready, callable, probe));
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => Ok(()),
                    ended = handling => ended?,
                }
            })
        })?;
        let confirmed = subscribed.recv_timeout(PATIENCE);
        let started = Started { stop, thread };
        if confirmed.is_err() {
            Box::new(started).stop()?;
            anyhow::bail!("no subscription within {} s", PATIENCE.as_secs());
        }
        Ok(Box::new(started))
    }
}

async fn handle(
    address: String,
    channel: String,
    ready: mpsc::Sender<()>,
    callable: Arc<Callable>,
    probe: Arc<Probe>,
) -> anyhow::Result<()> {
    let mut stream = redis::Client::open(address)?.get_async_pubsub().await?;
    stream.subscribe(&channel).await?;
    // Whoever waits for it has given up, and ends this soon.
    let _ = ready.send(());
    let mut messages = stream.on_message();
    while let Some(message) = messages.next().await {
        one(&callable, message, &probe).await?;
    }
    anyhow::bail!("Redis has closed the connection")
}

async fn one(callable: &Arc<Callable>, message: redis::Msg, probe: &Arc<Probe>) -> anyhow::Result<()> {
    let (callable, probe) = (callable.clone(), probe.clone());
    let task = tokio::spawn(async move {
        let payload = message.get_payload_bytes();
        callable.call(payload).await?;
        probe.handle(payload);
        anyhow::Ok(())
    });
    task.await.context("the task of a message ended early")?
}

struct Started {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<anyhow::Result<()>>,
}

impl Running for Started {
    fn stop(self: Box<Self>) -> anyhow::Result<()> {
        // It may have ended by itself; then it says why.
        let _ = self.stop.send(());
        self.thread.join().map_err(|_| anyhow::anyhow!("the Spin-like arm panicked"))?
    }
}
