//! CPU and memory of the two containers. A pod is scheduled by the larger of the two, since `prepare` ends before `serve`
//! starts, so what `prepare` needs to compile costs nothing that is not asked for.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity};
use spinredis_crds::quantity;

use crate::reconcile::{apply::amount, validate::Validated};

const DEFAULT_REQUESTS: [(&str, &str); 2] = [("cpu", "50m"), ("memory", "64Mi")];
/// Compiling a JavaScript or Python component takes 350 to 390 MiB, whatever the app needs to run it.
const LEAST_MEMORY_LIMIT_OF_PREPARE: (&str, u64) = ("512Mi", 512 << 20);

type Quantities = BTreeMap<String, Quantity>;

/// What the app asks for; requests it leaves open get a default, unless a limit stands in for them.
pub fn of_serve(app: &Validated) -> ResourceRequirements {
    let (requests, limits) = requested(app);
    requirements(requests, limits)
}

/// The same, with a memory limit that is enough to compile; what the app names for `prepare` wins. Requests are written out,
/// since a limit would stand in for them.
pub fn of_prepare(app: &Validated) -> ResourceRequirements {
    let (mut requests, mut limits) = requested(app);
    for (name, limit) in &limits {
        requests.entry(name.clone()).or_insert_with(|| limit.clone());
    }
    if let Some(limit) = limits.get_mut("memory")
        && quantity::bytes(&limit.0).is_ok_and(|bytes| bytes < LEAST_MEMORY_LIMIT_OF_PREPARE.1)
    {
        *limit = Quantity(LEAST_MEMORY_LIMIT_OF_PREPARE.0.to_owned());
    }
    let own = app.spec().prepare.as_ref().and_then(|prepare| prepare.resources.clone()).unwrap_or_default();
    let (own_requests, own_limits) = (quantities(own.requests), quantities(own.limits));
    for (name, limit) in &own_limits {
        // A request that nobody named for prepare gives way to a smaller limit.
        if requests.get(name).is_some_and(|request| amount(&request.0) > amount(&limit.0)) {
            requests.insert(name.clone(), limit.clone());
        }
    }
    for (name, request) in &own_requests {
        // And a limit that nobody named for prepare to a larger request.
        if limits.get(name).is_some_and(|limit| amount(&limit.0) < amount(&request.0)) {
            limits.insert(name.clone(), request.clone());
        }
    }
    requests.extend(own_requests);
    limits.extend(own_limits);
    requirements(requests, limits)
}

fn quantities(map: BTreeMap<String, String>) -> Quantities {
    map.into_iter().map(|(name, value)| (name, Quantity(value))).collect()
}

fn requested(app: &Validated) -> (Quantities, Quantities) {
    let resources = app.spec().resources.clone().unwrap_or_default();
    let (mut requests, limits) = (quantities(resources.requests), quantities(resources.limits));
    for (name, value) in DEFAULT_REQUESTS {
        if !limits.contains_key(name) {
            requests.entry(name.to_owned()).or_insert_with(|| Quantity(value.to_owned()));
        }
    }
    (requests, limits)
}

fn requirements(requests: Quantities, limits: Quantities) -> ResourceRequirements {
    let some = |map: Quantities| (!map.is_empty()).then_some(map);
    ResourceRequirements { requests: some(requests), limits: some(limits), claims: None }
}
