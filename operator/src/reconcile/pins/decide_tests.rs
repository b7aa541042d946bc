//! Pods in the form in which the API server gives them, of an app with two components whose tags may move.

use serde::Deserialize;
use serde_json::{Value, json};
use spinredis_crds::{
    manifest::{Manifest, sha256_digest},
    report::{PrepareReport, PreparedComponent, Problem, Reason},
};

use super::*;

const KEY: &str = "0123456789";
const A: &str = "r.io/a:v1";
const B: &str = "r.io/b:v1";

fn spec() -> ManifestSpec {
    let component = |id: &str, reference: &str| json!({"id": id, "channels": ["c"], "source": {"oci": {"reference": reference}}});
    let app = json!({
        "apiVersion": "spinredis.dev/v1alpha1", "kind": "SpinRedisApp", "metadata": {"name": "app"},
        "spec": {"components": [component("a", A), component("b", B)]},
    });
    Manifest::parse(&app.to_string()).unwrap().spec
}

fn pins(a: &str, b: &str) -> String {
    Pins([(A, a), (B, b)].map(|(reference, bytes)| (reference.to_owned(), sha256_digest(bytes.as_bytes()))).into()).to_text()
}

fn report(a: &str, b: &str) -> PrepareReport {
    let component =
        |id: &str, bytes: &str| PreparedComponent { id: id.to_owned(), digest: sha256_digest(bytes.as_bytes()), handler: "h".to_owned() };
    PrepareReport { components: vec![component("a", a), component("b", b)], ..PrepareReport::default() }
}

/// A pod that was prepared at that minute.
fn pod(name: &str, key: &str, minute: u32, report: &PrepareReport, ready: bool) -> Pod {
    let ended = json!({"terminated": {"exitCode": 0, "message": report.to_json(), "finishedAt": format!("2026-01-01T00:{minute:02}:00Z")}});
    Pod::deserialize(json!({
        "metadata": {"name": name},
        "spec": {
            "containers": [],
            "initContainers": [{"name": "prepare", "args": ["prepare", PINS_ARGUMENT, format!("/var/run/spinredis/pins/{key}")]}],
        },
        "status": {
            "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}],
            "initContainerStatuses": [{"name": "prepare", "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": ended}],
        },
    }))
    .unwrap()
}

fn changed(pod: &Pod, change: impl FnOnce(&mut Value)) -> Pod {
    let mut value = json!(pod);
    change(&mut value);
    Pod::deserialize(value).unwrap()
}

struct Case {
    kept: Vec<(&'static str, String)>,
    pods: Vec<Pod>,
    replicas: i32,
    is_finished: bool,
}

impl Default for Case {
    fn default() -> Self {
        Self { kept: Vec::new(), pods: Vec::new(), replicas: 1, is_finished: true }
    }
}

impl Case {
    /// What is kept by key, and the name of the pod to replace.
    fn decision(&self) -> (BTreeMap<String, String>, Option<String>) {
        let kept = self.kept.iter().map(|(key, text)| ((*key).to_owned(), text.clone())).collect();
        let seen = Seen { key: KEY, spec: &spec(), kept: &kept, pods: &self.pods, replicas: self.replicas, is_finished: self.is_finished };
        let Decision { kept, replace } = decide(&seen);
        (kept, replace.map(ResourceExt::name_any))
    }
}

fn only(key: &str, text: String) -> BTreeMap<String, String> {
    [(key.to_owned(), text)].into()
}

#[test]
fn the_pod_that_was_prepared_first_says_what_the_tags_mean() {
    let pods = vec![pod("late", KEY, 2, &report("new", "b"), true), pod("early", KEY, 1, &report("old", "b"), true)];
    let (kept, replaced) = Case { pods, replicas: 2, ..Case::default() }.decision();
    assert_eq!(kept, only(KEY, pins("old", "b")));
    assert_eq!(replaced.as_deref(), Some("late"));
}

#[test]
fn what_is_pinned_stays_whatever_pods_report() {
    let pods = vec![pod("other", KEY, 1, &report("new", "b"), true)];
    let (kept, replaced) = Case { kept: vec![(KEY, pins("old", "b"))], pods, ..Case::default() }.decision();
    assert_eq!((kept, replaced.as_deref()), (only(KEY, pins("old", "b")), Some("other")));
    let nobody = Case { kept: vec![(KEY, pins("old", "b"))], replicas: 0, ..Case::default() };
    assert_eq!(nobody.decision(), (only(KEY, pins("old", "b")), None), "an app scaled to zero comes back as it was");
}

#[test]
fn pods_of_another_manifest_and_of_a_failed_preparation_say_nothing() {
    let failed = PrepareReport { problem: Some(Problem { reason: Reason::NoHandler, message: "none".to_owned() }), ..report("a", "b") };
    let pods = vec![pod("other", "9876543210", 1, &report("x", "y"), true), pod("failed", KEY, 2, &failed, false)];
    assert_eq!(Case { pods, ..Case::default() }.decision(), (BTreeMap::new(), None));
}

#[test]
fn the_pins_of_an_earlier_manifest_stay_while_its_pods_may_be_needed() {
    let kept = vec![("earlier", pins("x", "y"))];
    let pods = vec![pod("new", KEY, 1, &report("a", "b"), false)];
    let mut both = only(KEY, pins("a", "b"));
    assert_eq!(Case { kept: kept.clone(), pods: pods.clone(), ..Case::default() }.decision().0, both);
    both.insert("earlier".to_owned(), pins("x", "y"));
    assert_eq!(Case { kept, pods, is_finished: false, ..Case::default() }.decision().0, both);
}

#[test]
fn pods_are_replaced_one_after_the_other_and_those_that_serve_nobody_first() {
    let kept = || vec![(KEY, pins("a", "b"))];
    let other = |name: &str, ready: bool| pod(name, KEY, 1, &report("moved", "b"), ready);
    let right = |name: &str, ready: bool| pod(name, KEY, 1, &report("a", "b"), ready);
    let replaced = |pods: Vec<Pod>, replicas: i32| Case { kept: kept(), pods, replicas, ..Case::default() }.decision().1;

    assert_eq!(replaced(vec![other("a", true), other("b", false)], 2).as_deref(), Some("b"));
    assert_eq!(replaced(vec![other("a", true), other("b", true)], 2).as_deref(), Some("a"));
    assert_eq!(replaced(vec![other("a", true), right("b", true)], 2).as_deref(), Some("a"));
    assert_eq!(replaced(vec![other("a", true), right("b", false)], 2), None, "b is on its way up");
    assert_eq!(replaced(vec![other("a", true)], 2), None, "the second pod is still to come");
    assert_eq!(replaced(vec![right("a", true), right("b", true)], 2), None);
    assert_eq!(replaced(vec![other("a", true)], 1).as_deref(), Some("a"));
    let stopping = changed(&other("a", true), |pod| pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"));
    assert_eq!(replaced(vec![stopping, right("b", true)], 1), None);
}

#[test]
fn what_somebody_else_wrote_in_place_of_pins_is_written_anew() {
    let pods = vec![pod("a", KEY, 1, &report("a", "b"), true)];
    let (kept, _) = Case { kept: vec![(KEY, "nonsense".to_owned())], pods, ..Case::default() }.decision();
    assert_eq!(kept, only(KEY, pins("a", "b")));
}
