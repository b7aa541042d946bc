//! What to pin and which pod to replace, as a pure function of what was seen.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Time};
use kube::ResourceExt;
use spinredis_crds::{manifest::ManifestSpec, pins::Pins};

use crate::{
    names::{PINS_ARGUMENT, PREPARE},
    reconcile::status::{is_ready, is_stopping, prepare_ended, prepare_report},
};

/// Everything the decision depends on.
#[derive(Debug)]
pub struct Seen<'a> {
    /// The key of the app's manifest.
    pub key: &'a str,
    /// That manifest.
    pub spec: &'a ManifestSpec,
    /// What is pinned, by the keys of manifests.
    pub kept: &'a BTreeMap<String, String>,
    /// The app's pods.
    pub pods: &'a [Pod],
    /// How many there should be.
    pub replicas: i32,
    /// Whether all pods are of the newest template, so that nobody needs the pins of earlier manifests.
    pub is_finished: bool,
}

/// What to do.
#[derive(Debug, PartialEq)]
pub struct Decision<'a> {
    /// What to pin, by the keys of manifests.
    pub kept: BTreeMap<String, String>,
    /// A pod that runs something else than is pinned.
    pub replace: Option<&'a Pod>,
}

/// Decides. The first pod that was prepared with the manifest says what its tags mean.
pub fn decide<'a>(seen: &Seen<'a>) -> Decision<'a> {
    let mut prepared: Vec<(&Pod, Pins)> = seen
        .pods
        .iter()
        .filter(|pod| has_key(pod, seen.key))
        .filter_map(|pod| {
            let report = prepare_report(pod)?;
            Some((pod, Pins::reported(seen.spec, &report)))
        })
        .collect();
    prepared.sort_by_key(|(pod, _)| (prepared_at(pod), pod.name_any()));
    // What cannot be read was written by somebody else, and is written anew.
    let mut pins = seen.kept.get(seen.key).and_then(|text| Pins::parse(text).ok()).unwrap_or_default();
    for (_, reported) in &prepared {
        pins.complete_with(reported);
    }
    let mut kept = if seen.is_finished { BTreeMap::new() } else { seen.kept.clone() };
    kept.remove(seen.key);
    if pins != Pins::default() {
        kept.insert(seen.key.to_owned(), pins.to_text());
    }
    let others: Vec<&Pod> = prepared.iter().filter(|(_, reported)| pins.contradict(reported)).map(|(pod, _)| *pod).collect();
    Decision { kept, replace: replaceable(&others, seen) }
}

/// Whether a pod was prepared with the pins of a manifest; a pod of an earlier one has another key among its arguments.
fn has_key(pod: &Pod, key: &str) -> bool {
    let containers = pod.spec.as_ref().and_then(|spec| spec.init_containers.as_ref()).into_iter().flatten();
    let arguments = containers.filter(|container| container.name == PREPARE).filter_map(|prepare| prepare.args.as_ref());
    arguments
        .into_iter()
        .any(|arguments| arguments.windows(2).any(|pair| pair[0] == PINS_ARGUMENT && pair[1].rsplit('/').next() == Some(key)))
}

/// When `prepare` ended; a pod that cannot tell comes last.
fn prepared_at(pod: &Pod) -> (bool, Option<Time>) {
    let at = prepare_ended(pod).and_then(|ended| ended.finished_at.clone());
    (at.is_none(), at)
}

/// A pod that serves nobody goes at once. One that serves goes when another serves too and none is on its way up, so that one
/// goes at a time; the only replica of an app goes since nobody else ever serves.
fn replaceable<'a>(others: &[&'a Pod], seen: &Seen<'a>) -> Option<&'a Pod> {
    let alive = || others.iter().copied().filter(|pod| !is_stopping(pod));
    if let Some(unready) = alive().find(|pod| !is_ready(pod)) {
        return Some(unready);
    }
    let of_app = || seen.pods.iter().filter(|pod| !is_stopping(pod));
    let is_settled = of_app().all(is_ready) && of_app().count() >= usize::try_from(seen.replicas).unwrap_or_default();
    let may_go = if seen.replicas <= 1 { true } else { is_settled && of_app().count() > 1 };
    alive().next().filter(|_| may_go)
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
