//! What every reconcile shares: the client, the settings, and what is remembered from one reconcile to the next. All of
//! it can be lost: after a restart the cluster says everything that matters.

use std::sync::Arc;

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
    retry::Failures,
    rolls::Rolls,
    settings::Settings,
    turns::Turns,
    watched::Watched,
};

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
    /// The apps whose last reconcile failed.
    pub failures: Failures,
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
            failures: Failures::default(),
        }
    }

    /// The same with what the watches tell, and with a leadership that may have to be waited for.
    pub fn with(self, watched: Arc<Watched>, leadership: Leadership) -> Self {
        Self { watched, leadership, ..self }
    }

    /// Forgets everything about an app that is gone.
    pub fn gone(&self, app: &str) {
        self.failures.forget(app);
        self.checked.forget(app);
        self.pace.forget(app);
        self.turns.forget(app);
        self.rolls.forget(app);
        self.services.forget(app);
    }
}
