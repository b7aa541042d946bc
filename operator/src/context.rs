//! What every reconcile shares: the client, the settings, and what is remembered from one reconcile to the next. All of
//! it can be lost: after a restart the cluster says everything that matters.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::jiff::Timestamp;
use kube::Client;

use crate::{
    election::Leadership,
    events::Events,
    metrics::Metrics,
    reconcile::{
        dereference::{Cache, ServiceUsers},
        status::Pace,
        validate::Checked,
    },
    rolls::Rolls,
    settings::Settings,
    turns::Turns,
    watched::Watched,
};

const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(300);

/// Shared by all reconciles.
pub struct Context {
    /// The Kubernetes API.
    pub client: Client,
    /// What goes into the pods of every app.
    pub settings: Settings,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Where events are sent.
    pub events: Events,
    /// Digests of ConfigMaps that were read already.
    pub sources: Cache,
    /// Which apps have network policies for which Services.
    pub services: ServiceUsers,
    /// The apps that roll for the operator's own reasons.
    pub rolls: Rolls,
    /// What is known of the cluster without asking.
    pub watched: Arc<Watched>,
    /// Whether this replica may write.
    pub leadership: Leadership,
    /// The generations of apps that were found to be right.
    pub checked: Checked,
    /// How often statuses are written.
    pub pace: Pace,
    /// How soon apps are reconciled again.
    pub turns: Turns,
    /// The time of transitions.
    pub clock: fn() -> Timestamp,
    failures: Mutex<HashMap<String, u32>>,
}

impl Context {
    /// A context that remembers nothing yet.
    pub fn new(client: Client, settings: Settings, metrics: Arc<Metrics>, pod_name: Option<String>) -> Self {
        let events = Events::new(client.clone(), pod_name);
        let rolls = Rolls::new(settings.max_unfinished_apps);
        Self {
            client,
            settings,
            metrics,
            events,
            sources: Cache::default(),
            services: ServiceUsers::default(),
            rolls,
            watched: Arc::new(Watched::waiting_for(0)),
            leadership: Leadership::alone(),
            checked: Checked::default(),
            pace: Pace::default(),
            turns: Turns::default(),
            clock: Timestamp::now,
            failures: Mutex::default(),
        }
    }

    /// The same with what the watches tell, and with a leadership that may have to be waited for.
    pub fn with(self, watched: Arc<Watched>, leadership: Leadership) -> Self {
        Self { watched, leadership, ..self }
    }

    /// How long to wait before the next try of an app that just failed: twice as long each time, up to five minutes.
    pub fn failed(&self, app: String) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let times = failures.entry(app).or_default();
        *times = times.saturating_add(1);
        FIRST_RETRY.saturating_mul(2_u32.saturating_pow(*times - 1)).min(LAST_RETRY)
    }

    /// Forgets everything about an app that is gone.
    pub fn gone(&self, app: &str) {
        self.succeeded(app);
        self.checked.forget(app);
        self.pace.forget(app);
        self.turns.forget(app);
        self.rolls.forget(app);
        self.services.forget(app);
    }

    /// Forgets the failures of an app that succeeded.
    pub fn succeeded(&self, app: &str) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(app);
    }
}
