//! Pins: the digests that the tags of an app meant when its manifest was first prepared. Every later pod of that manifest
//! fetches those, so that all replicas run the same bytes, whatever becomes of the tags.
//!
//! `prepare` reports what it resolved; the operator keeps it in the ConfigMap `<app>-pins`, under a key for each manifest;
//! `prepare` finds it there as a file.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::{component::OciSource, image::has_digest, manifest::ManifestSpec, report::PrepareReport};

/// Digests by the references that stand for them, both as the manifest and the registry write them.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(transparent)]
pub struct Pins(pub BTreeMap<String, String>);

/// Whether a source leaves it to its registry which image it means.
fn is_open(source: &OciSource) -> bool {
    source.digest.is_none() && !has_digest(&source.reference)
}

/// The references of a manifest that name no digest, each once and in an order that is always the same.
pub fn open_references(spec: &ManifestSpec) -> Vec<&str> {
    let application = spec.application.iter().map(|application| &application.oci);
    let components = spec.components.iter().filter_map(|component| component.oci());
    let open = application.chain(components).filter(|source| is_open(source));
    open.map(|source| source.reference.as_str()).collect::<BTreeSet<_>>().into_iter().collect()
}

impl Pins {
    /// Reads what [`to_text`](Self::to_text) wrote.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// JSON, the same for the same pins.
    pub fn to_text(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// The digest that a source is pinned to; none when it names one itself.
    pub fn digest(&self, source: &OciSource) -> Option<&str> {
        self.0.get(&source.reference).filter(|_| is_open(source)).map(String::as_str)
    }

    /// What the references of a manifest turned out to be. A report says so in `resolved` when it had to leave components
    /// out, and otherwise with each component. Nothing is known of a report of failure: what was wrong with an image may be
    /// mended under the same tag.
    pub fn reported(spec: &ManifestSpec, report: &PrepareReport) -> Self {
        let open = open_references(spec);
        if report.problem.is_some() {
            return Self::default();
        }
        if let Some(resolved) = &report.resolved {
            let digests = resolved.iter().map(|short| lengthened(short));
            return match open.len() == resolved.len() {
                true => Self(open.into_iter().map(str::to_owned).zip(digests).collect()),
                false => Self::default(),
            };
        }
        let of_manifest = |id: &str| spec.components.iter().find(|component| component.id == id)?.oci();
        let of_application = spec.application.as_ref().map(|application| &application.oci);
        let has_source = |id: &str| spec.components.iter().any(|component| component.id == id && component.source.is_some());
        let source = |id: &str| of_manifest(id).or_else(|| of_application.filter(|_| !has_source(id)));
        let found = report.components.iter().filter_map(|component| Some((source(&component.id)?, &component.digest)));
        let found = found.filter(|(source, _)| is_open(source));
        Self(found.map(|(source, digest)| (source.reference.clone(), digest.clone())).collect())
    }

    /// Takes over what is not pinned yet. Says whether there was any such.
    pub fn complete_with(&mut self, other: &Self) -> bool {
        let before = self.0.len();
        for (reference, digest) in &other.0 {
            self.0.entry(reference.clone()).or_insert_with(|| digest.clone());
        }
        self.0.len() != before
    }

    /// Whether another resolution gave a reference another digest than it is pinned to.
    pub fn contradict(&self, other: &Self) -> bool {
        other.0.iter().any(|(reference, digest)| self.0.get(reference).is_some_and(|pinned| pinned != digest))
    }
}

/// A digest in fewer bytes, as a report carries it: the bytes of a SHA-256 in base64. Others stay as they are.
pub fn shortened(digest: &str) -> String {
    let bytes = digest
        .strip_prefix("sha256:")
        .filter(|hex| hex.len() == 64 && hex.is_ascii())
        .and_then(|hex| (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect::<Option<Vec<u8>>>());
    bytes.map_or_else(|| digest.to_owned(), |bytes| BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

fn lengthened(short: &str) -> String {
    if short.contains(':') {
        return short.to_owned();
    }
    BASE64_URL_SAFE_NO_PAD.decode(short).map_or_else(|_| short.to_owned(), |bytes| format!("sha256:{}", crate::manifest::hex(&bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        manifest::{Manifest, sha256_digest},
        report::{MAX_REPORT_BYTES, PreparedComponent, Problem, Reason},
    };

    fn spec(sources: &[(&str, &str)], application: Option<&str>) -> ManifestSpec {
        let components: Vec<_> = sources
            .iter()
            .map(|(id, reference)| serde_json::json!({"id": id, "channels": ["c"], "source": {"oci": {"reference": reference}}}))
            .collect();
        let mut app = serde_json::json!({
            "apiVersion": "spinredis.dev/v1alpha1", "kind": "SpinRedisApp", "metadata": {"name": "a"},
            "spec": {"components": components},
        });
        if let Some(reference) = application {
            app["spec"]["application"] = serde_json::json!({"oci": {"reference": reference}});
        }
        Manifest::parse(&app.to_string()).unwrap().spec
    }

    fn report(components: &[(&str, &str)]) -> PrepareReport {
        let components = components.iter().map(|(id, bytes)| PreparedComponent {
            id: (*id).to_owned(),
            digest: sha256_digest(bytes.as_bytes()),
            handler: "fermyon:spin/inbound-redis".to_owned(),
        });
        PrepareReport { components: components.collect(), ..PrepareReport::default() }
    }

    fn pins(pairs: &[(&str, &str)]) -> Pins {
        Pins(pairs.iter().map(|(reference, bytes)| ((*reference).to_owned(), sha256_digest(bytes.as_bytes()))).collect())
    }

    #[test]
    fn only_references_without_a_digest_are_pinned_and_each_once() {
        let by_digest = format!("r.io/c@{}", sha256_digest(b"c"));
        let spec = spec(&[("a", "r.io/a:v1"), ("b", "r.io/a:v1"), ("c", &by_digest), ("d", "r.io/d")], Some("r.io/app:v1"));
        assert_eq!(open_references(&spec), ["r.io/a:v1", "r.io/app:v1", "r.io/d"]);
        let found = Pins::reported(&spec, &report(&[("a", "A"), ("b", "A"), ("c", "C"), ("d", "D"), ("of-the-app", "APP")]));
        assert_eq!(found, pins(&[("r.io/a:v1", "A"), ("r.io/d", "D"), ("r.io/app:v1", "APP")]));
    }

    #[test]
    fn a_report_of_failure_pins_nothing() {
        let mut failed = report(&[("a", "A")]);
        failed.problem = Some(Problem { reason: Reason::NoHandler, message: "b has none".to_owned() });
        assert_eq!(Pins::reported(&spec(&[("a", "r.io/a:v1"), ("b", "r.io/b:v1")], None), &failed), Pins::default());
    }

    #[test]
    fn the_first_resolution_stays_and_another_one_contradicts_it() {
        let mut first = pins(&[("a", "1")]);
        assert!(!first.complete_with(&pins(&[("a", "2")])));
        assert!(first.contradict(&pins(&[("a", "2")])) && !first.contradict(&pins(&[("a", "1"), ("b", "1")])));
        assert!(first.complete_with(&pins(&[("a", "2"), ("b", "2")])));
        assert_eq!(first, pins(&[("a", "1"), ("b", "2")]));
        assert_eq!(Pins::parse(&first.to_text()).unwrap(), first);
    }

    /// A report holds about twenty components; every pin of the largest app must fit all the same.
    #[test]
    fn every_reference_of_the_largest_app_is_pinned() {
        let names: Vec<(String, String)> = (0..64).map(|n| (format!("component-{n}"), format!("r.io/c{n:02}:v1"))).collect();
        let names: Vec<(&str, &str)> = names.iter().map(|(id, reference)| (id.as_str(), reference.as_str())).collect();
        let spec = spec(&names, None);
        let mut report = report(&names);
        report.resolve(&spec);
        let json = report.to_json();
        assert!(json.len() <= MAX_REPORT_BYTES, "{}", json.len());
        let read: PrepareReport = serde_json::from_str(&json).unwrap();
        assert!(read.components.len() < 64 && !read.components.is_empty(), "{}", read.components.len());
        let wanted: Vec<(&str, &str)> = names.iter().map(|(_, reference)| (*reference, *reference)).collect();
        assert_eq!(Pins::reported(&spec, &read), pins(&wanted));
    }

    #[test]
    fn a_digest_of_another_kind_is_carried_as_it_is() {
        let other = format!("sha512:{}", "0".repeat(128));
        assert_eq!(lengthened(&shortened(&other)), other);
        let sha256 = sha256_digest(b"x");
        assert_eq!((shortened(&sha256).len(), lengthened(&shortened(&sha256))), (43, sha256));
    }
}
