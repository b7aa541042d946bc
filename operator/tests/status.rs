//! What the status says for what was observed: pods in the form in which the API server gives them.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::Pod},
    jiff::Timestamp,
};
use kube::core::DynamicObject;
use serde::Deserialize;
use serde_json::{Value, json};
use spin_redis_operator::reconcile::{
    status::{Network, Observation, compute},
    subject::Subject,
};
use spinredis_crds::{
    Delivery, SpinRedisAppStatus,
    report::{PrepareReport, PreparedComponent, Problem, Reason, ServeStatus},
};

const NEW: &str = "aaaaaaaaaa";
const OLD: &str = "bbbbbbbbbb";

fn subject(replicas: i32, status: Option<&SpinRedisAppStatus>) -> Subject {
    let spec = json!({
        "replicas": replicas,
        "trigger": {"address": "redis://redis"},
        "components": [
            {"id": "one", "channels": ["a", "b"], "patterns": ["p.*"], "source": {"oci": {"reference": "r/x:1"}}},
            {"id": "two", "channels": ["a"], "source": {"oci": {"reference": "r/y:1"}}},
        ],
    });
    subject_of(&spec, status)
}

fn subject_of(spec: &Value, status: Option<&SpinRedisAppStatus>) -> Subject {
    let mut app = json!({
        "apiVersion": "spinredis.dev/v1alpha1", "kind": "SpinRedisApp",
        "metadata": {"name": "hello", "namespace": "default", "uid": "u", "generation": 4},
        "spec": spec,
    });
    if let Some(status) = status {
        app["status"] = json!(status);
    }
    Subject::of(DynamicObject::deserialize(app).unwrap())
}

fn deployment(wanted: i32, updated: i32, ready: i32, total: i32, conditions: Value) -> Deployment {
    Deployment::deserialize(json!({
        "metadata": {"name": "hello", "generation": 7},
        "spec": {"replicas": wanted, "selector": {}, "template": {"metadata": {"labels": {"spinredis.dev/template": NEW}}}},
        "status": {
            "observedGeneration": 7, "replicas": total, "updatedReplicas": updated, "readyReplicas": ready,
            "availableReplicas": ready, "unavailableReplicas": total.max(wanted) - ready, "conditions": conditions,
        },
    }))
    .unwrap()
}

/// A pod with the given states of its two containers.
fn pod(template: &str, prepare: Value, serve: Value) -> Pod {
    let ready = serve["ready"] == json!(true);
    let container = |name: &str, state: Value| {
        let mut container = json!({"name": name, "image": "r/runtime:v1", "imageID": "", "ready": false, "restartCount": 0});
        container.as_object_mut().unwrap().extend(state.as_object().cloned().unwrap());
        container
    };
    Pod::deserialize(json!({
        "metadata": {"name": format!("hello-{template}"), "labels": {"spinredis.dev/template": template}},
        "spec": {"containers": []},
        "status": {
            "phase": "Pending",
            "podIP": "10.0.0.1",
            "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": if ready { "True" } else { "False" }}],
            "initContainerStatuses": [container("prepare", prepare)],
            "containerStatuses": [container("serve", serve)],
        },
    }))
    .unwrap()
}

fn report(problem: Option<Problem>) -> String {
    let component = |id: &str| PreparedComponent { id: id.to_owned(), digest: format!("sha256:{id}"), handler: "h".to_owned() };
    PrepareReport { components: vec![component("one"), component("two")], resolved: None, problem }.to_json()
}

fn prepared() -> Value {
    json!({"ready": true, "state": {"terminated": {"exitCode": 0, "reason": "Completed", "message": report(None)}}})
}

fn failed(message: &str, reason: &str) -> Value {
    json!({
        "restartCount": 2,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 20s"}},
        "lastState": {"terminated": {"exitCode": 1, "reason": reason, "message": message}},
    })
}

fn not_started() -> Value {
    json!({"state": {"waiting": {"reason": "PodInitializing"}}})
}

fn running(ready: bool) -> Value {
    json!({"ready": ready, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}})
}

struct Seen {
    subject: Subject,
    problem: Option<Problem>,
    deployment: Option<Deployment>,
    pods: Vec<Pod>,
    serve: BTreeMap<String, ServeStatus>,
    network: Network,
    now: &'static str,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            subject: subject(1, None),
            problem: None,
            deployment: Some(deployment(1, 1, 0, 1, json!([]))),
            pods: Vec::new(),
            serve: BTreeMap::new(),
            network: Network::None,
            now: "2026-01-01T00:00:00Z",
        }
    }
}

impl Seen {
    fn status(&self) -> SpinRedisAppStatus {
        let status = compute(&Observation {
            subject: &self.subject,
            problem: self.problem.as_ref(),
            deployment: self.deployment.as_ref(),
            pods: &self.pods,
            serve: &self.serve,
            network: self.network.clone(),
            now: self.now.parse::<Timestamp>().unwrap(),
        });
        let of_three = ["Ready", "Reconciling", "Stalled"].map(|type_| condition(&status, type_).0);
        assert_eq!(of_three.iter().filter(|status| *status == "True").count(), 1, "{of_three:?}");
        assert_eq!(status.observed_generation, 4);
        status
    }
}

/// Status, reason and message of a condition.
fn condition(status: &SpinRedisAppStatus, type_: &str) -> (String, String, String) {
    let found = status.conditions.iter().find(|condition| condition.type_ == type_).unwrap();
    (found.status.clone(), found.reason.clone(), found.message.clone())
}

/// The one of Ready, Reconciling and Stalled that is true, and the reason and message of Ready.
fn verdict(status: &SpinRedisAppStatus) -> (&'static str, String, String) {
    let is_true = ["Ready", "Reconciling", "Stalled"].into_iter().find(|type_| condition(status, type_).0 == "True").unwrap();
    let (_, reason, message) = condition(status, "Ready");
    (is_true, reason, message)
}

fn of_pod(pod: Pod) -> (&'static str, String, String) {
    verdict(&Seen { pods: vec![pod], ..Seen::default() }.status())
}

fn problem(reason: Reason) -> Option<Problem> {
    Some(Problem { reason, message: "words of the runtime".to_owned() })
}

#[test]
fn an_app_is_ready_when_every_replica_of_its_newest_template_is() {
    let seen =
        Seen { deployment: Some(deployment(1, 1, 1, 1, json!([]))), pods: vec![pod(NEW, prepared(), running(true))], ..Seen::default() };
    let status = seen.status();
    assert_eq!(
        verdict(&status),
        ("Ready", "Subscribed".to_owned(), "1 of 1 replicas is subscribed to 2 channels and 1 pattern".to_owned())
    );
    assert_eq!((status.replicas, status.ready_replicas, status.selector.as_str()), (1, 1, "spinredis.dev/app=hello"));
    assert_eq!(condition(&status, "Available").0, "True");
    assert_eq!(condition(&status, "ComponentsReady").0, "True");
    assert_eq!(status.components[1].digest, "sha256:two");
}

#[test]
fn what_several_replicas_do_with_a_message_is_told_with_how_many_there_are() {
    let of = |replicas: i32, delivery: Value| {
        let spec = json!({
            "replicas": replicas,
            "delivery": delivery,
            "trigger": {"address": "redis://redis"},
            "components": [{"id": "one", "channels": ["a"], "source": {"oci": {"reference": "r/x:1"}}}],
        });
        let pods = (0..replicas).map(|_| pod(NEW, prepared(), running(true))).collect();
        let deployment = Some(deployment(replicas, replicas, replicas, replicas, json!([])));
        let status = Seen { subject: subject_of(&spec, None), deployment, pods, ..Seen::default() }.status();
        (verdict(&status).2, status.delivery)
    };
    let shared = |count: &str| format!("Shared {count}: each message is handled by one replica; subscribed to 1 channel");
    assert_eq!(of(3, json!("Shared")), (shared("3/3"), Some(Delivery::Shared)));
    assert_eq!(of(3, Value::Null), (shared("3/3"), Some(Delivery::Shared)));
    assert_eq!(of(1, json!("Shared")), (shared("1/1"), Some(Delivery::Shared)));
    let each = "EachReplica 2/2: each message is handled by every replica; subscribed to 1 channel";
    assert_eq!(of(2, json!("EachReplica")), (each.to_owned(), Some(Delivery::EachReplica)));
    assert_eq!(of(1, json!("EachReplica")), ("1 of 1 replicas is subscribed to 1 channel".to_owned(), Some(Delivery::EachReplica)));
    assert_eq!(of(1, Value::Null), ("1 of 1 replicas is subscribed to 1 channel".to_owned(), None));
}

#[test]
fn an_app_is_not_ready_while_a_pod_of_an_earlier_template_is_there() {
    let pods = vec![pod(NEW, prepared(), running(true)), pod(OLD, prepared(), running(true))];
    let status = Seen { deployment: Some(deployment(1, 1, 2, 2, json!([]))), pods, ..Seen::default() }.status();
    assert_eq!(verdict(&status).0, "Reconciling");
    assert_eq!(status.ready_replicas, 1, "only pods of the newest template count");
}

#[test]
fn while_replicas_come_and_go_it_says_how_many_and_which() {
    let said = |wanted: i32, new: i32, old: i32| {
        let of = |template: &'static str, count: i32| (0..count).map(move |_| pod(template, prepared(), running(true)));
        let pods = of(NEW, new).chain(of(OLD, old)).collect();
        let deployment = Some(deployment(wanted, new, new + old, new + old, json!([])));
        verdict(&Seen { subject: subject(wanted, None), deployment, pods, ..Seen::default() }.status()).2
    };
    assert_eq!(said(2, 5, 0), "5 replicas are subscribed and 2 wanted: 3 will finish and stop");
    assert_eq!(said(2, 0, 0), "0 of 2 replicas are subscribed; new ones start");
    assert_eq!(said(2, 0, 2), "0 of 2 replicas are subscribed; new ones start, and 2 pods of an earlier generation serve until then");
    assert_eq!(said(2, 1, 1), "1 of 2 replicas are subscribed; new ones start, and 1 pod of an earlier generation serves until then");
    assert_eq!(said(2, 2, 1), "2 of 2 replicas are subscribed; older pods finish and stop");
    // Those that stop already are not among the pods that are looked at.
    let counted = |there: i32| {
        let pods = (0..2).map(|_| pod(NEW, prepared(), running(true))).collect();
        let mut deployment = deployment(2, 2, 2, there, json!([]));
        deployment.metadata.generation = Some(8);
        verdict(&Seen { subject: subject(2, None), deployment: Some(deployment), pods, ..Seen::default() }.status()).2
    };
    assert_eq!(counted(4), "2 of 2 replicas are subscribed; the others finish and stop");
    assert_eq!(counted(2), "2 of 2 replicas are subscribed; Kubernetes has yet to count them");
}

#[test]
fn an_app_is_not_ready_until_the_deployment_controller_saw_the_newest_template() {
    let mut deployment = deployment(1, 1, 1, 1, json!([]));
    deployment.metadata.generation = Some(8);
    let seen = Seen { deployment: Some(deployment), pods: vec![pod(NEW, prepared(), running(true))], ..Seen::default() };
    assert_eq!(verdict(&seen.status()).0, "Reconciling");
}

#[test]
fn an_app_without_replicas_is_ready_and_says_so_once_its_pods_are_gone() {
    let gone = Seen { subject: subject(0, None), deployment: Some(deployment(0, 0, 0, 0, json!([]))), ..Seen::default() };
    assert_eq!(verdict(&gone.status()).1, "ScaledToZero");
    assert_eq!(condition(&gone.status(), "Available").0, "False");
    let stopping = Seen { subject: subject(0, None), deployment: Some(deployment(0, 0, 1, 1, json!([]))), ..Seen::default() };
    assert_eq!(verdict(&stopping.status()).0, "Reconciling");
}

#[test]
fn what_prepare_reported_is_repeated_while_it_waits_to_be_tried_again_and_while_it_runs_again() {
    for reason in [Reason::RegistryError, Reason::MissingReference, Reason::PrepareFailed] {
        let message = report(problem(reason));
        let waiting = failed(&message, "Error");
        let again = json!({"state": {"running": {}}, "lastState": waiting["lastState"]});
        for prepare in [waiting, again] {
            let expected = ("Reconciling", reason.to_string(), "words of the runtime".to_owned());
            assert_eq!(of_pod(pod(NEW, prepare, not_started())), expected);
        }
    }
}

#[test]
fn what_only_an_edit_can_mend_stalls_the_app() {
    for reason in [Reason::NoHandler, Reason::DigestMismatch, Reason::UnsupportedImport, Reason::Invalid] {
        let prepare = json!({"state": {"terminated": {"exitCode": 1, "message": report(problem(reason))}}});
        assert_eq!(of_pod(pod(NEW, prepare, not_started())), ("Stalled", reason.to_string(), "words of the runtime".to_owned()));
    }
}

#[test]
fn a_failed_prepare_shows_in_components_ready_too() {
    let prepare = failed(&report(problem(Reason::NoHandler)), "Error");
    let status = Seen { pods: vec![pod(NEW, prepare, not_started())], ..Seen::default() }.status();
    assert_eq!(condition(&status, "ComponentsReady"), ("False".to_owned(), "NoHandler".to_owned(), "words of the runtime".to_owned()));
}

#[test]
fn a_prepare_without_memory_says_what_to_raise() {
    let (_, reason, message) = of_pod(pod(NEW, failed("", "OOMKilled"), not_started()));
    assert_eq!(reason, "PrepareFailed");
    assert!(message.contains("spec.resources.limits.memory"), "{message}");
}

#[test]
fn a_prepare_that_ended_without_a_report_is_quoted() {
    let (_, reason, message) = of_pod(pod(NEW, failed("panicked at the disk is full", "Error"), not_started()));
    assert_eq!((reason.as_str(), message.as_str()), ("PrepareFailed", "prepare ended with exit code 1: panicked at the disk is full"));
    let (_, _, message) = of_pod(pod(NEW, failed("", "Error"), not_started()));
    assert_eq!(message, format!("prepare ended with exit code 1 without a reason; kubectl logs hello-{NEW} -c prepare may tell more"));
}

#[test]
fn an_image_of_the_runtime_that_cannot_be_pulled_is_named_with_the_same_words_whether_the_node_tries_or_waits() {
    let cause = "rpc error: code = NotFound desc = failed to pull and unpack image \"r/runtime:v1\": not found";
    let trying = json!({"state": {"waiting": {"reason": "ErrImagePull", "message": cause}}});
    let waiting = json!({"state": {"waiting": {"reason": "ImagePullBackOff", "message": format!("Back-off pulling image \"r/runtime:v1\": ErrImagePull: {cause}")}}});
    let [first, second] = [trying, waiting].map(|state| of_pod(pod(NEW, state, not_started())));
    assert_eq!(first, second);
    assert_eq!((first.0, first.1.as_str()), ("Reconciling", "ImagePullFailed"));
    assert!(
        first.2.starts_with(
            "the image of the runtime, r/runtime:v1, cannot be pulled: failed to pull and unpack image \"r/runtime:v1\": not found;"
        ),
        "{}",
        first.2
    );
}

#[test]
fn a_container_that_cannot_be_made_is_quoted() {
    let state = json!({"state": {"waiting": {"reason": "CreateContainerConfigError", "message": "container has runAsNonRoot and image will run as root"}}});
    let (_, reason, message) = of_pod(pod(NEW, state, not_started()));
    assert_eq!(reason, "RuntimeFailed");
    assert!(message.ends_with("container has runAsNonRoot and image will run as root"), "{message}");
}

#[test]
fn a_pod_that_no_node_takes_repeats_the_scheduler() {
    let mut pod = pod(NEW, not_started(), not_started());
    let scheduled = json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available: 1 Insufficient memory."}]);
    pod.status.as_mut().unwrap().conditions = serde_json::from_value(scheduled).unwrap();
    let (phase, reason, message) = of_pod(pod);
    assert_eq!((phase, reason.as_str()), ("Reconciling", "Unschedulable"));
    assert!(message.contains("spec.resources"), "{message}");
    assert!(message.ends_with("0/1 nodes are available: 1 Insufficient memory."), "{message}");
}

#[test]
fn a_running_unready_pod_is_believed_what_it_answers() {
    for reason in [Reason::RedisUnreachable, Reason::RedisAuthFailed, Reason::RedisPermission] {
        let answer = ServeStatus {
            app: "default/hello".to_owned(),
            ready: false,
            subscribed: 0,
            wanted: 3,
            reason,
            message: "words of the runtime".to_owned(),
            since: 1,
        };
        let serve = [(format!("hello-{NEW}"), answer)].into();
        let seen = Seen { pods: vec![pod(NEW, prepared(), running(false))], serve, ..Seen::default() };
        let status = seen.status();
        assert_eq!(verdict(&status), ("Reconciling", reason.to_string(), "words of the runtime".to_owned()));
        assert_eq!(condition(&status, "ComponentsReady").0, "True", "the components are not what is wrong");
    }
}

#[test]
fn a_running_unready_pod_that_does_not_answer_is_said_to_be_silent() {
    let (phase, reason, message) = of_pod(pod(NEW, prepared(), running(false)));
    assert_eq!((phase, reason.as_str()), ("Reconciling", "Progressing"));
    assert!(message.starts_with(&format!("pod hello-{NEW} runs and is not ready, and its port 8080 does not answer")), "{message}");
}

#[test]
fn nothing_that_a_component_printed_is_quoted_and_a_killed_runtime_is_said_to_be_killed() {
    let log = "{\"level\":\"ERROR\",\"message\":\"no port\"}\n{\"message\":\"Got message: secret\",\"target\":\"guest\"}\n";
    let (_, _, message) = of_pod(pod(NEW, prepared(), failed(log, "Error")));
    assert!(message.ends_with("ended with exit code 1 and is started again: no port"), "{message}");
    let mut killed = failed(log, "Error");
    killed["lastState"]["terminated"]["exitCode"] = json!(137);
    let (_, _, message) = of_pod(pod(NEW, prepared(), killed));
    assert!(message.contains("was killed (exit code 137") && !message.contains("no port"), "{message}");
}

#[test]
fn a_runtime_that_keeps_ending_is_quoted_with_the_message_of_its_last_log_line() {
    let log = "{\"level\":\"INFO\",\"message\":\"starting\"}\n{\"level\":\"ERROR\",\"message\":\"the components were compiled by another version\"}\n";
    let (_, reason, message) = of_pod(pod(NEW, prepared(), failed(log, "Error")));
    assert_eq!(reason, "RuntimeFailed");
    assert_eq!(
        message,
        format!(
            "the runtime in pod hello-{NEW} ended with exit code 1 and is started again: the components were compiled by another version"
        )
    );
    let (_, _, message) = of_pod(pod(NEW, prepared(), failed("", "OOMKilled")));
    assert!(message.contains("spec.resources.limits.memory"), "{message}");
}

#[test]
fn pods_that_the_cluster_refuses_stall_the_app_with_the_words_of_the_cluster() {
    let refused = json!([{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "pods \"hello-x\" is forbidden: exceeded quota: small"}]);
    let status = Seen { deployment: Some(deployment(1, 0, 0, 0, refused)), ..Seen::default() }.status();
    let (phase, reason, message) = verdict(&status);
    assert_eq!((phase, reason.as_str()), ("Stalled", "PodRejected"));
    assert!(message.ends_with("is forbidden: exceeded quota: small"), "{message}");
}

fn stuck() -> Value {
    json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "…"}])
}

#[test]
fn ten_minutes_without_progress_stall_the_app_and_keep_the_last_cause() {
    let pods = vec![pod(NEW, failed(&report(problem(Reason::RegistryError)), "Error"), not_started())];
    let status = Seen { deployment: Some(deployment(1, 1, 0, 1, stuck())), pods, ..Seen::default() }.status();
    let expected = "nothing has moved for ten minutes; last: RegistryError: words of the runtime";
    assert_eq!(verdict(&status), ("Stalled", "NoProgress".to_owned(), expected.to_owned()));
}

#[test]
fn a_cause_that_only_an_edit_mends_is_kept_however_long_it_lasts() {
    let pods = vec![pod(NEW, failed(&report(problem(Reason::NoHandler)), "Error"), not_started())];
    let status = Seen { deployment: Some(deployment(1, 1, 0, 1, stuck())), pods, ..Seen::default() }.status();
    assert_eq!(verdict(&status).1, "NoHandler");
}

#[test]
fn what_the_deployment_said_of_an_earlier_generation_is_not_repeated() {
    let mut deployment = deployment(1, 0, 0, 0, stuck());
    deployment.metadata.generation = Some(8);
    assert_eq!(verdict(&Seen { deployment: Some(deployment), ..Seen::default() }.status()).1, "Progressing");
}

#[test]
fn after_a_bad_edit_the_app_is_available_and_the_cause_is_that_of_the_new_pod() {
    let pods = vec![pod(NEW, failed(&report(problem(Reason::NoHandler)), "Error"), not_started()), pod(OLD, prepared(), running(true))];
    let status = Seen { deployment: Some(deployment(1, 1, 1, 2, json!([]))), pods, ..Seen::default() }.status();
    assert_eq!(verdict(&status).1, "NoHandler");
    assert_eq!(
        condition(&status, "Available"),
        ("True".to_owned(), "Subscribed".to_owned(), "1 pod is subscribed, of an earlier generation of the app".to_owned())
    );
    assert_eq!(status.ready_replicas, 0);
}

#[test]
fn a_problem_of_an_earlier_step_comes_first_and_leaves_what_serves_available() {
    let pods = vec![pod(NEW, prepared(), running(true))];
    let problem = problem(Reason::NameConflict);
    let status = Seen { problem, deployment: Some(deployment(1, 1, 1, 1, json!([]))), pods, ..Seen::default() }.status();
    assert_eq!(verdict(&status), ("Stalled", "NameConflict".to_owned(), "words of the runtime".to_owned()));
    assert_eq!(condition(&status, "Available").0, "True");
}

#[test]
fn the_most_telling_of_several_pods_is_shown() {
    let starting = pod(NEW, json!({"state": {"running": {}}}), not_started());
    let pods = vec![starting, pod(NEW, failed(&report(problem(Reason::NoHandler)), "Error"), not_started())];
    let status = Seen { subject: subject(2, None), deployment: Some(deployment(2, 2, 0, 2, json!([]))), pods, ..Seen::default() }.status();
    assert_eq!(verdict(&status).1, "NoHandler");
}

#[test]
fn what_else_other_replicas_meet_is_told_beside_the_most_telling_cause() {
    let mut second = pod(NEW, prepared(), failed("", "OOMKilled"));
    second.metadata.name = Some("hello-second".to_owned());
    let mut third = pod(NEW, failed(&report(problem(Reason::RegistryError)), "Error"), not_started());
    third.metadata.name = Some("hello-third".to_owned());
    let mut like_the_first = third.clone();
    like_the_first.metadata.name = Some("hello-fourth".to_owned());
    let pods = vec![third, like_the_first, second];
    let status = Seen { subject: subject(3, None), deployment: Some(deployment(3, 3, 0, 3, json!([]))), pods, ..Seen::default() }.status();
    let (_, reason, message) = verdict(&status);
    assert_eq!(reason, "RegistryError");
    assert!(message.starts_with("words of the runtime; another pod: RuntimeFailed: pod hello-second ran out of memory"), "{message}");
    assert_eq!(message.matches("another pod").count(), 1, "the same cause is told once: {message}");
}

#[test]
fn a_status_computed_again_later_is_the_same_and_times_change_only_with_their_condition() {
    let ready = || vec![pod(NEW, prepared(), running(true))];
    let complete = || Some(deployment(1, 1, 1, 1, json!([])));
    let first = Seen { deployment: complete(), pods: ready(), ..Seen::default() }.status();
    let later = "2026-01-01T01:00:00Z";
    let again = Seen { subject: subject(1, Some(&first)), deployment: complete(), pods: ready(), now: later, ..Seen::default() }.status();
    assert_eq!(first, again);

    let unready =
        Seen { subject: subject(1, Some(&first)), pods: vec![pod(NEW, prepared(), running(false))], now: later, ..Seen::default() }
            .status();
    let time = |status: &SpinRedisAppStatus, type_: &str| {
        status.conditions.iter().find(|condition| condition.type_ == type_).unwrap().last_transition_time.0.to_string()
    };
    assert_eq!(time(&unready, "Ready"), later);
    assert_eq!(time(&unready, "Stalled"), "2026-01-01T00:00:00Z");
}

#[test]
fn scaling_to_zero_keeps_what_is_known_of_the_components() {
    let first =
        Seen { deployment: Some(deployment(1, 1, 1, 1, json!([]))), pods: vec![pod(NEW, prepared(), running(true))], ..Seen::default() }
            .status();
    let zero = Seen { subject: subject(0, Some(&first)), deployment: Some(deployment(0, 0, 0, 0, json!([]))), ..Seen::default() }.status();
    assert_eq!(zero.components, first.components);
    assert_eq!(condition(&zero, "ComponentsReady").0, "True");
}

#[test]
fn the_components_of_a_whole_spin_app_are_those_that_its_pods_report() {
    let spec = |replicas: i32| json!({"replicas": replicas, "application": {"oci": {"reference": "r/shop:1"}}});
    let first = Seen {
        subject: subject_of(&spec(1), None),
        deployment: Some(deployment(1, 1, 1, 1, json!([]))),
        pods: vec![pod(NEW, prepared(), running(true))],
        ..Seen::default()
    }
    .status();
    assert_eq!(verdict(&first), ("Ready", "Subscribed".to_owned(), "1 of 1 replicas is subscribed to the channels of r/shop:1".to_owned()));
    assert_eq!(first.components.iter().map(|component| component.id.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    let zero = Seen { subject: subject_of(&spec(0), Some(&first)), deployment: Some(deployment(0, 0, 0, 0, json!([]))), ..Seen::default() }
        .status();
    assert_eq!(zero.components, first.components);
}

#[test]
fn an_app_that_cannot_be_parsed_still_gets_a_status() {
    let object = json!({
        "apiVersion": "spinredis.dev/v1alpha1", "kind": "SpinRedisApp",
        "metadata": {"name": "hello", "namespace": "default", "uid": "u", "generation": 4},
        "spec": {"components": "none"},
    });
    let subject = Subject::of(DynamicObject::deserialize(object).unwrap());
    assert!(subject.app.is_err());
    let status = Seen { subject, deployment: None, problem: problem(Reason::Invalid), ..Seen::default() }.status();
    assert_eq!(verdict(&status).0, "Stalled");
}

#[test]
fn a_network_policy_is_exact_or_says_where_it_is_not_and_that_says_nothing_of_ready() {
    let exact = |status: &SpinRedisAppStatus| condition(status, "NetworkPolicyExact");
    let none = Seen::default().status();
    assert!(none.conditions.iter().all(|condition| condition.type_ != "NetworkPolicyExact"), "{none:?}");
    let status = Seen { network: Network::Applied(Vec::new()), ..Seen::default() }.status();
    assert_eq!((exact(&status).0.as_str(), exact(&status).1.as_str()), ("True", "Exact"));

    let complete = || Some(deployment(1, 1, 1, 1, json!([])));
    let widened = Network::Applied(vec!["spec.a is wide".to_owned(), "spec.b is, too".to_owned()]);
    let wide =
        Seen { network: widened, deployment: complete(), pods: vec![pod(NEW, prepared(), running(true))], ..Seen::default() }.status();
    assert_eq!(verdict(&wide).0, "Ready");
    assert_eq!((exact(&wide).0.as_str(), exact(&wide).1.as_str()), ("False", "Widened"));
    assert!(exact(&wide).2.ends_with(": spec.a is wide; spec.b is, too"), "{wide:?}");
    let later = Seen { subject: subject(1, Some(&wide)), network: Network::Unchanged, ..Seen::default() }.status();
    assert_eq!(exact(&later), exact(&wide), "what is not known anew is as it was");
}
