//! CPU and memory of the two containers. A pod is scheduled by the larger of the two, since `prepare` ends before `serve`
//! starts, so what `prepare` needs to compile costs nothing that is not asked for.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity};
use spinredis_crds::quantity;

use crate::reconcile::validate::Validated;

const DEFAULT_REQUESTS: [(&str, &str); 2] = [("cpu", "50m"), ("memory", "64Mi")];
/// Compiling a JavaScript or Python component takes 350 to 390 MiB, whatever the app needs to run it.
const LEAST_MEMORY_LIMIT_OF_PREPARE: (&str, u64) = ("512Mi", 512 << 20);

type Quantities = BTreeMap<String, Quantity>;

/// What the app asks for; requests it leaves open get a default, unless a limit stands in for them.
pub fn of_serve(app: &Validated) -> ResourceRequirements {
    let (requests, limits) = requested(app);
    requirements(requests, limits)
}

/// The same, with a memory limit that is enough to compile. Requests are written out, since a limit would stand in for them.
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
    requirements(requests, limits)
}

fn requested(app: &Validated) -> (Quantities, Quantities) {
    let resources = app.spec().resources.clone().unwrap_or_default();
    let quantities = |map: BTreeMap<String, String>| map.into_iter().map(|(name, value)| (name, Quantity(value))).collect::<Quantities>();
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
