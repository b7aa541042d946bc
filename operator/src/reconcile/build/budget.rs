//! The PodDisruptionBudget of an app that asks for one: as long as it has several replicas, since with one it could only
//! keep a node from being drained.

use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{metadata, selector};
use crate::reconcile::validate::Validated;

/// The budget, if the app is to have one now.
pub fn budget(app: &Validated) -> Option<PodDisruptionBudget> {
    let wanted = app.spec().pod_disruption_budget.as_ref().filter(|budget| budget.is_enabled() && app.spec().replicas > 1)?;
    let neither = wanted.min_available.is_none() && wanted.max_unavailable.is_none();
    Some(PodDisruptionBudget {
        metadata: metadata(app, app.name().to_owned()),
        spec: Some(PodDisruptionBudgetSpec {
            min_available: wanted.min_available.clone(),
            max_unavailable: wanted.max_unavailable.clone().or(neither.then_some(IntOrString::Int(1))),
            selector: Some(selector(app)),
            // A pod that is not subscribed handles nothing: it must not keep a node from being drained.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
        }),
        status: None,
    })
}
