//! Why one pod is not ready, from its own status and, where it runs, from what it answered. The runtime's own words are
//! kept: `prepare` leaves a report as its termination message, `serve` answers at `/status`.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod, PodCondition, PodStatus};
use kube::ResourceExt;
use serde_json::Value;
use spinredis_crds::report::{PrepareReport, Problem, Reason, ServeStatus, shorten};

use crate::names::{PREPARE, SERVE};

/// How much of a text that is not the runtime's own report is repeated.
const MAX_FOREIGN_BYTES: usize = 1_000;
/// Exit code of a process that SIGKILL ended.
const KILLED: i32 = 137;

/// Whether the pod is subscribed to everything.
pub fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|ready| ready.status == "True")
}

/// Whether the pod is on its way out.
pub fn is_stopping(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Whether `serve` runs and is not ready, so that it can be asked why.
pub fn is_running_unready(pod: &Pod) -> bool {
    !is_stopping(pod)
        && container(pod, SERVE).is_some_and(|serve| !serve.ready && serve.state.as_ref().is_some_and(|state| state.running.is_some()))
}

/// What `prepare` reported when it last ended.
pub fn prepare_report(pod: &Pod) -> Option<PrepareReport> {
    serde_json::from_str(prepare_ended(pod)?.message.as_deref()?).ok()
}

/// How `prepare` ended last.
pub fn prepare_ended(pod: &Pod) -> Option<&ContainerStateTerminated> {
    last_end(container(pod, PREPARE)?)
}

/// Why the pod is not ready; `None` when it is.
pub fn diagnose(pod: &Pod, answer: Option<&ServeStatus>) -> Option<Problem> {
    if is_ready(pod) {
        return None;
    }
    let name = pod.name_any();
    let status = pod.status.clone().unwrap_or_default();
    Some(
        failed(&name, &status)
            .or_else(|| unscheduled(&name, pod))
            .or_else(|| prepare(&name, container(pod, PREPARE)?))
            .or_else(|| serve(&name, container(pod, SERVE)?, answer))
            .unwrap_or_else(|| problem(Reason::Progressing, format!("pod {name} is starting"))),
    )
}

fn problem(reason: Reason, message: String) -> Problem {
    Problem { reason, message }
}

fn condition<'a>(pod: &'a Pod, type_: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == type_)
}

fn container<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let mut all = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    all.find(|container| container.name == name)
}

/// How the container ended last: now, or before it was started again.
fn last_end(container: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    [&container.state, &container.last_state].into_iter().flatten().find_map(|state| state.terminated.as_ref())
}

/// The pod as a whole ended, as after an eviction.
fn failed(name: &str, status: &PodStatus) -> Option<Problem> {
    (status.phase.as_deref() == Some("Failed")).then(|| {
        let why = [&status.reason, &status.message].into_iter().flatten().cloned().collect::<Vec<_>>().join(": ");
        problem(Reason::RuntimeFailed, format!("pod {name} was ended by its node ({why}); another takes its place"))
    })
}

fn unscheduled(name: &str, pod: &Pod) -> Option<Problem> {
    let scheduled = condition(pod, "PodScheduled").filter(|scheduled| scheduled.status == "False")?;
    let why = scheduled.message.as_deref().unwrap_or("the scheduler gave no reason");
    Some(problem(Reason::Unschedulable, format!("no node takes pod {name} (ask for less in spec.resources, or add or free a node): {why}")))
}

/// Why a container cannot even be started.
fn cannot_start(pod: &str, container: &ContainerStatus) -> Option<Problem> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let why = waiting.message.as_deref().unwrap_or("the node gave no reason");
    match waiting.reason.as_deref()? {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "ImageInspectError"
        | "RegistryUnavailable"
        | "SignatureValidationFailed" => Some(problem(
            Reason::ImagePullFailed,
            format!(
                "the image of the runtime, {}, cannot be pulled: {}; check the runtime image that the operator was given, and that nodes may pull it",
                container.image,
                pull_error(why)
            ),
        )),
        "CreateContainerConfigError"
        | "CreateContainerError"
        | "RunContainerError"
        | "PreCreateHookError"
        | "PreStartHookError"
        | "PostStartHookError" => Some(problem(
            Reason::RuntimeFailed,
            format!("container {} of pod {pod} cannot be started, and is tried again: {}", container.name, shorten(why, MAX_FOREIGN_BYTES)),
        )),
        _ => None,
    }
}

/// The cause in what a node says of a failed pull; it is the same text whether the node tries or waits, so that the status
/// does not change with each try.
fn pull_error(message: &str) -> String {
    let cause = message.split_once("ErrImagePull: ").map_or(message, |(_, cause)| cause);
    let cause = cause.rsplit_once(" desc = ").map_or(cause, |(_, cause)| cause);
    shorten(cause.trim(), MAX_FOREIGN_BYTES)
}

fn prepare(pod: &str, container: &ContainerStatus) -> Option<Problem> {
    if let Some(problem) = cannot_start(pod, container) {
        return Some(problem);
    }
    match last_end(container) {
        // Done; what comes next is a matter of `serve`.
        Some(ended) if ended.exit_code == 0 => None,
        Some(ended) => Some(prepare_failed(pod, ended)),
        None => Some(problem(Reason::Progressing, format!("pod {pod} is preparing its components"))),
    }
}

fn prepare_failed(pod: &str, ended: &ContainerStateTerminated) -> Problem {
    if ended.reason.as_deref() == Some("OOMKilled") {
        let message = "a component could not be compiled for want of memory; raise spec.prepare.resources.limits.memory, or \
                       spec.resources.limits.memory where prepare takes it from there (at least 512Mi), or the limit that the \
                       namespace or the node sets";
        return problem(Reason::PrepareFailed, message.to_owned());
    }
    let text = ended.message.as_deref().unwrap_or_default().trim();
    let silent =
        || format!("prepare ended with exit code {} without a reason; kubectl logs {pod} -c {PREPARE} may tell more", ended.exit_code);
    match serde_json::from_str::<PrepareReport>(text) {
        Ok(report) => report.problem.unwrap_or_else(|| problem(Reason::PrepareFailed, silent())),
        Err(_) if text.is_empty() => problem(Reason::PrepareFailed, silent()),
        Err(_) => problem(Reason::PrepareFailed, format!("prepare ended with exit code {}: {}", ended.exit_code, last_words(text))),
    }
}

fn serve(pod: &str, container: &ContainerStatus, answer: Option<&ServeStatus>) -> Option<Problem> {
    if let Some(problem) = cannot_start(pod, container) {
        return Some(problem);
    }
    match answer {
        Some(answer) if !answer.ready => return Some(problem(answer.reason, answer.message.clone())),
        Some(_) => return Some(problem(Reason::Progressing, format!("pod {pod} is subscribed; its node has yet to see it"))),
        None => {}
    }
    let Some(ended) = last_end(container).filter(|ended| ended.exit_code != 0) else {
        let is_running = container.state.as_ref().is_some_and(|state| state.running.is_some());
        return is_running.then(|| {
            let message = format!(
                "pod {pod} runs and is not ready, and its port 8080 does not answer the operator (it just started, or a network policy is in \
                 the way); kubectl logs {pod} -c {SERVE} tells why"
            );
            problem(Reason::Progressing, message)
        });
    };
    if ended.reason.as_deref() == Some("OOMKilled") {
        let message = format!(
            "pod {pod} ran out of memory while it handled messages; raise spec.resources.limits.memory, or lower memoryLimit of the components"
        );
        return Some(problem(Reason::RuntimeFailed, message));
    }
    if ended.exit_code == KILLED {
        let message = format!(
            "the runtime in pod {pod} was killed (exit code {KILLED}: for want of memory, by hand, or since it did not answer its liveness probe or \
             did not end in time) and is started again; kubectl logs {pod} -c {SERVE} --previous may tell more"
        );
        return Some(problem(Reason::RuntimeFailed, message));
    }
    let text = ended.message.as_deref().map(last_words).filter(|text| !text.is_empty());
    let why = text.unwrap_or_else(|| format!("kubectl logs {pod} -c {SERVE} --previous may tell more"));
    Some(problem(
        Reason::RuntimeFailed,
        format!("the runtime in pod {pod} ended with exit code {} and is started again: {why}", ended.exit_code),
    ))
}

/// The last line of a log that no component printed, or of it what a person reads: what components print may be anybody's data.
fn last_words(text: &str) -> String {
    let entries: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    // The first line of a log that was cut may be a part of what a component printed, so it counts only where no line is an entry.
    let last = if entries.is_empty() { text.trim().lines().last().unwrap_or_default() } else { "" };
    let line = entries.into_iter().rev().find(|entry| entry["target"] != "guest");
    let field = |name: &str| line.as_ref().and_then(|line| line.pointer(name)).and_then(Value::as_str).map(str::to_owned);
    shorten(&field("/message").or_else(|| field("/fields/message")).unwrap_or_else(|| last.to_owned()), MAX_FOREIGN_BYTES)
}
