//! The PodDisruptionBudget of an app that asks for one, or whose replicas share messages: what is published while all of them are away is
//! lost. It is there as long as the app has several replicas, since with one it could only keep a node from being drained.

use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};
use spinredis_crds::{Delivery, DisruptionBudget};

use super::{metadata, selector};
use crate::reconcile::validate::Validated;

/// The budget, if the app is to have one now.
pub fn budget(app: &Validated) -> Option<PodDisruptionBudget> {
    let spec = app.spec();
    let default = (spec.effective_delivery() == Delivery::Shared).then(DisruptionBudget::default);
    let wanted = spec.pod_disruption_budget.clone().or(default).filter(|budget| budget.is_enabled() && spec.replicas > 1)?;
    let neither = wanted.min_available.is_none() && wanted.max_unavailable.is_none();
    Some(PodDisruptionBudget {
        metadata: metadata(app, app.name().to_owned()),
        spec: Some(PodDisruptionBudgetSpec {
            min_available: wanted.min_available,
            max_unavailable: wanted.max_unavailable.or(neither.then_some(IntOrString::Int(1))),
            selector: Some(selector(app)),
            // A pod that is not subscribed handles nothing: it must not keep a node from being drained.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
        }),
        status: None,
    })
}
