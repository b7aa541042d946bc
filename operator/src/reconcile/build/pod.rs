//! The pods of an app: `prepare` fetches and compiles the components, `serve` subscribes and calls them. They meet the
//! *restricted* Pod Security Standard and get no token of the Kubernetes API.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::{
    api::core::v1::{
        Capabilities, Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction, ObjectFieldSelector, PodSecurityContext, PodSpec,
        PodTemplateSpec, Probe, SeccompProfile, SecurityContext,
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};
use spinredis_crds::{
    GROUP_KEY_VARIABLE, SharingLimits,
    manifest::{FILE_NAME, Manifest},
    registries,
};

use super::{labels, resources, scheduling, volumes};
use crate::{
    names::{HEALTH_PORT, PINS_ARGUMENT, PREPARE, SERVE, SOURCES_ANNOTATION},
    reconcile::validate::Validated,
    settings::Settings,
};

/// How long after a stopping pod must have finished its messages it may still take to end.
const GRACE_AFTER_DRAIN_SECONDS: i64 = 10;
const HEALTH_PORT_NAME: &str = "health";

/// The pod template of an app, still without its own digest.
pub fn template(app: &Validated, config_map: &str, sources: Option<&str>, settings: &Settings) -> PodTemplateSpec {
    let pod = app.spec().pod.clone().unwrap_or_default();
    let (tolerations, spread) = (scheduling::tolerations(&pod), scheduling::spread(app, &pod));
    let mut annotations = pod.annotations;
    annotations.extend(sources.map(|digest| (SOURCES_ANNOTATION.to_owned(), digest.to_owned())));
    // `kubectl logs` shows what handles messages when nobody names a container.
    annotations.entry("kubectl.kubernetes.io/default-container".to_owned()).or_insert_with(|| SERVE.to_owned());
    // The operator's own labels last: nobody replaces the selector.
    let labels: BTreeMap<String, String> = pod.labels.into_iter().chain(labels(app)).collect();
    let spec = PodSpec {
        init_containers: Some(vec![prepare(app, settings)]),
        containers: vec![serve(app, settings)],
        volumes: Some(volumes::volumes(app, config_map)),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
            ..pod.security_context.map(PodSecurityContext::from).unwrap_or_default()
        }),
        automount_service_account_token: Some(false),
        // Environment variables of every Service in the namespace are not for guests to see.
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(grace_seconds(time_to_finish(app))),
        tolerations: scheduling::some(tolerations),
        topology_spread_constraints: scheduling::some(spread),
        affinity: pod.affinity,
        node_selector: (!pod.node_selector.is_empty()).then_some(pod.node_selector),
        priority_class_name: pod.priority_class_name,
        // Written out, since the API server keeps a copy in a field of the past, and would bring back a name that is left out.
        service_account_name: Some(pod.service_account_name.unwrap_or_else(|| "default".to_owned())),
        ..PodSpec::default()
    };
    PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(labels), annotations: Some(annotations), ..ObjectMeta::default() }),
        spec: Some(spec),
    }
}

/// How long a stopping pod may take for its messages: its drain, and where replicas share messages as long again as the others
/// may need to see that it leaves, since what comes until then is still its own.
fn time_to_finish(app: &Validated) -> Duration {
    let spec = app.spec();
    let until_seen = spec.effective_delivery().is_shared().then(|| SharingLimits::of(spec.sharing.as_ref()).expiry);
    spec.drain() + until_seen.unwrap_or_default()
}

/// Seconds until the kubelet kills a stopping pod: what it has to finish, a fraction rounded up, and the time to end.
fn grace_seconds(to_finish: Duration) -> i64 {
    let whole = i64::try_from(to_finish.as_secs()).unwrap_or(i64::MAX - GRACE_AFTER_DRAIN_SECONDS - 1);
    whole + i64::from(to_finish.subsec_nanos() > 0) + GRACE_AFTER_DRAIN_SECONDS
}

fn prepare(app: &Validated, settings: &Settings) -> Container {
    let mut args = vec![PREPARE.to_owned()];
    args.extend(options(&[("app", &format!("{}/{FILE_NAME}", volumes::APP)), ("refs", volumes::REFS)]));
    if !app.spec().image_pull_secrets.is_empty() {
        args.extend(options(&[("pull-secrets", volumes::PULL_SECRETS)]));
    }
    args.extend(options(&[("out", volumes::COMPONENTS), ("termination-message", "/dev/termination-log"), ("log-format", "json")]));
    if let Some(key) = super::pins_key(app) {
        args.extend([PINS_ARGUMENT.to_owned(), format!("{}/{key}", volumes::PINS)]);
    }
    if !settings.registries.for_app(&Manifest::of(app).spec).0.is_empty() {
        args.extend(options(&[("registries", &format!("{}/{}", volumes::APP, registries::FILE_NAME))]));
    }
    for host in &settings.plain_http_registries {
        args.extend(options(&[("plain-http", host)]));
    }
    Container {
        args: Some(args),
        resources: Some(resources::of_prepare(app)),
        volume_mounts: Some(volumes::mounts_of_prepare(app)),
        // What prepare found, or why it failed, in the form that status reads.
        termination_message_policy: Some("File".to_owned()),
        ..container(PREPARE, settings)
    }
}

fn serve(app: &Validated, settings: &Settings) -> Container {
    let mut args = vec![SERVE.to_owned()];
    args.extend(options(&[
        ("app", &format!("{}/{FILE_NAME}", volumes::APP)),
        ("refs", volumes::REFS),
        ("components", volumes::COMPONENTS),
        ("listen", &format!(":{HEALTH_PORT}")),
        ("log-format", "json"),
    ]));
    Container {
        args: Some(args),
        env: Some(environment_of_serve(app, settings)),
        ports: Some(vec![ContainerPort {
            name: Some(HEALTH_PORT_NAME.to_owned()),
            container_port: i32::from(HEALTH_PORT),
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]),
        // Asked every second: the old pod goes, and messages are no longer handled twice, as soon as this one is subscribed.
        readiness_probe: Some(probe("/readyz", 1)),
        // Never depends on Redis: a restart would not bring Redis back.
        liveness_probe: Some(probe("/healthz", 10)),
        resources: Some(resources::of_serve(app)),
        volume_mounts: Some(volumes::mounts_of_serve()),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..container(SERVE, settings)
    }
}

/// The pod's own name, what replicas that share messages sign with, and what whoever runs the operator adds.
fn environment_of_serve(app: &Validated, settings: &Settings) -> Vec<EnvVar> {
    let pod_name = ObjectFieldSelector { api_version: Some("v1".to_owned()), field_path: "metadata.name".to_owned() };
    let pod_name = EnvVar {
        name: "POD_NAME".to_owned(),
        value: None,
        value_from: Some(EnvVarSource { field_ref: Some(pod_name), ..EnvVarSource::default() }),
    };
    let of_value = |name: &str, value: &str| EnvVar { name: name.to_owned(), value: Some(value.to_owned()), value_from: None };
    // Nobody who sees only Redis can guess it, every pod of the app has the same, and an app made anew has another.
    let group_key = app.spec().effective_delivery().is_shared().then(|| of_value(GROUP_KEY_VARIABLE, app.uid()));
    let given = settings.runtime_environment.iter().map(|(name, value)| of_value(name, value));
    std::iter::once(pod_name).chain(group_key).chain(given).collect()
}

/// What both containers have in common. The image's own numeric user is used: OpenShift chooses one itself.
fn container(name: &str, settings: &Settings) -> Container {
    Container {
        name: name.to_owned(),
        image: Some(settings.runtime_image.clone()),
        image_pull_policy: settings.runtime_image_pull_policy.map(|policy| policy.as_str().to_owned()),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

fn options(pairs: &[(&str, &str)]) -> Vec<String> {
    pairs.iter().flat_map(|(name, value)| [format!("--{name}"), (*value).to_owned()]).collect()
}

fn probe(path: &str, period_seconds: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(HEALTH_PORT_NAME.to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        timeout_seconds: Some(period_seconds.min(5)),
        failure_threshold: Some(3),
        ..Probe::default()
    }
}
