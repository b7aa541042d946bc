//! Several replicas, one leader: the one that holds a Lease reconciles, the others keep their watches warm and wait. Whoever
//! can renew no longer stops before another may begin; whoever is asked to stop gives the Lease back.
//!
//! [`decide`] is pure; this is the edge that reads and writes the Lease. It writes nothing else.

pub mod decide;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::{api::coordination::v1::Lease, jiff::Timestamp};
use kube::{Api, Client, api::PostParams};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::{metrics::Metrics, names::words};
use decide::{Seen, Step, Timing};

/// Which Lease the replicas share, and who this one is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidacy {
    /// Name of the Lease.
    pub lease: String,
    /// Its namespace; `None`: the namespace that the client is configured for, in a pod its own.
    pub namespace: Option<String>,
    /// Name of this replica, which no other may have.
    pub identity: String,
    /// How long the Lease lasts.
    pub timing: Timing,
}

/// Why this replica may no longer write.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Lost {
    /// Another replica holds the lease.
    #[error("another replica, {0}, took the lease over; this one stops, and starts again as a follower")]
    Taken(String),
    /// The lease could not be renewed in time.
    #[error(
        "the lease could not be renewed for {} seconds; this replica stops before another may begin: see whether the API server answers, and \
         whether the operator may update Leases in its namespace (last error: {last})", deadline.as_secs()
    )]
    Expired {
        /// How long it was tried.
        deadline: Duration,
        /// What went wrong the last time.
        last: String,
    },
}

/// Whether this replica leads; can be asked and waited for.
#[derive(Clone, Debug)]
pub struct Leadership(watch::Receiver<bool>);

impl Leadership {
    /// That of an operator without other replicas.
    pub fn alone() -> Self {
        Self(watch::channel(true).1)
    }

    /// Waits until this replica leads; for ever when it never will.
    pub async fn acquired(&self) {
        if self.0.clone().wait_for(|leads| *leads).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The candidate of this replica.
pub struct Election {
    candidacy: Candidacy,
    leases: Api<Lease>,
    metrics: Arc<Metrics>,
    leads: watch::Sender<bool>,
    seen: Option<Seen>,
}

impl Election {
    /// Stands for election, once [`run`](Self::run).
    pub fn new(candidacy: Candidacy, client: Client, metrics: Arc<Metrics>) -> (Self, Leadership) {
        let leases = match &candidacy.namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::default_namespaced(client),
        };
        let (leads, leadership) = watch::channel(false);
        (Self { candidacy, leases, metrics, leads, seen: None }, Leadership(leadership))
    }

    /// Waits to lead, leads, and ends when that is over. Whatever runs on behalf of the leader must be dropped then.
    pub async fn run(&mut self) -> Lost {
        let Candidacy { timing, identity, lease, .. } = self.candidacy.clone();
        tracing::info!(%identity, %lease, "waiting for the lease");
        let mut reported = None;
        loop {
            match self.attempt().await {
                Ok(true) => break,
                Ok(false) => reported = None,
                Err(error) => {
                    // Once and not every two seconds.
                    if reported.replace(error.clone()).as_ref() != Some(&error) {
                        tracing::warn!("the lease cannot be had: {error}");
                    }
                }
            }
            sleep(timing.retry).await;
        }
        tracing::info!(%identity, "this replica leads");
        self.metrics.leads(true);
        self.leads.send_replace(true);
        let lost = self.hold(&timing).await;
        self.metrics.leads(false);
        self.leads.send_replace(false);
        lost
    }

    /// Renews until that fails for too long.
    async fn hold(&mut self, timing: &Timing) -> Lost {
        let mut renewed = Instant::now();
        let mut last = "none".to_owned();
        loop {
            let left = timing.renew_deadline.saturating_sub(renewed.elapsed());
            if left.is_zero() {
                return Lost::Expired { deadline: timing.renew_deadline, last };
            }
            sleep(timing.retry.min(left)).await;
            let started = Instant::now();
            match timeout(timing.renew_deadline.saturating_sub(renewed.elapsed()), self.attempt()).await {
                // The lease counts from before the request: it may have taken effect at once.
                Ok(Ok(true)) => renewed = started,
                Ok(Ok(false)) => {
                    let holder = self.seen.as_ref().and_then(Seen::holder).unwrap_or("nobody known").to_owned();
                    return Lost::Taken(holder);
                }
                Ok(Err(error)) => last = error,
                Err(_) => last = "the API server did not answer".to_owned(),
            }
        }
    }

    /// Looks at the lease and takes or renews it if it may. Gives whether it is this replica's now.
    async fn attempt(&mut self) -> Result<bool, String> {
        let identity = self.candidacy.identity.clone();
        let name = self.candidacy.lease.clone();
        let work = async {
            let found = self.leases.get_opt(&name).await.map_err(|error| words(&error))?;
            let now = Instant::now();
            self.seen = found.map(|lease| Seen::now(lease, self.seen.as_ref(), now));
            let step = decide::step(self.seen.as_ref(), &identity, now);
            let mut wanted = decide::held(self.seen.as_ref(), &identity, &self.candidacy.timing, Timestamp::now());
            let written = match step {
                Step::Wait => return Ok(false),
                Step::Create => {
                    wanted.metadata.name = Some(name.clone());
                    self.leases.create(&PostParams::default(), &wanted).await
                }
                Step::Take | Step::Renew => self.leases.replace(&name, &PostParams::default(), &wanted).await,
            };
            match written {
                Ok(lease) => {
                    self.seen = Some(Seen::now(lease, None, now));
                    Ok(true)
                }
                // Another was faster; the next look tells who. A holder's own renewal is only tried again.
                Err(kube::Error::Api(status)) if status.code == 409 && step != Step::Renew => Ok(false),
                Err(error) => Err(words(&error)),
            }
        };
        // A request that is never answered must not keep a follower from trying again.
        timeout(self.candidacy.timing.renew_deadline / 2, work).await.unwrap_or_else(|_| Err("the API server did not answer".to_owned()))
    }

    /// Gives the lease back, if it is this replica's, after its last write.
    pub async fn release(self) {
        let is_mine = |seen: &Seen| seen.holder() == Some(&self.candidacy.identity);
        let Some(seen) = self.seen.as_ref().filter(|seen| is_mine(seen)).filter(|_| *self.leads.borrow()) else { return };
        self.leads.send_replace(false);
        let work = async {
            match self.give_back(seen.lease.clone()).await {
                // A renewal whose answer was not seen, or somebody's label; or another replica has it by now.
                Err(kube::Error::Api(status)) if status.is_conflict() => {
                    let found = self.leases.get_opt(&self.candidacy.lease).await?.map(|lease| Seen::now(lease, None, Instant::now()));
                    match found.filter(is_mine) {
                        Some(seen) => self.give_back(seen.lease).await,
                        None => Ok(()),
                    }
                }
                given => given,
            }
        };
        match timeout(self.candidacy.timing.retry, work).await {
            Ok(Ok(())) => tracing::info!("the lease was given back"),
            Ok(Err(error)) => {
                tracing::warn!("the lease could not be given back, so the next replica waits for it to run out: {}", words(&error))
            }
            Err(_) => tracing::warn!("the lease could not be given back in time, so the next replica waits for it to run out"),
        }
    }

    async fn give_back(&self, lease: Lease) -> Result<(), kube::Error> {
        let released = decide::released(lease, Timestamp::now());
        self.leases.replace(&self.candidacy.lease, &PostParams::default(), &released).await.map(drop)
    }
}
