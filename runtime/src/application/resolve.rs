//! From a locked app to an [`Application`]: refuses, each with a sentence, what this runtime has no equivalent of.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use serde::Deserialize;
use serde_json::Value;
use spinredis_crds::{manifest::sha256_digest, report::shorten, template::is_name};

use super::{
    AppComponent, AppFile, AppSubscription, AppVariable, Application, Content, MAX_COMPONENTS, MAX_FILES, MAX_LOCK_BYTES, MAX_TRIGGERS,
    MAX_VARIABLES,
    locked::{Header, LockedApp, LockedComponent, LockedContent, LockedTrigger, OneOrMany, RedisTrigger},
};

/// The trigger type that this runtime is for.
const REDIS: &str = "redis";
/// What a host must know: fields that [`resolve`] judges.
const UNDERSTOOD: [&str; 2] = ["host_requirements", "component_host_requirements"];
/// How much of a name that an app's author chose is repeated, in bytes.
const MAX_NAME_BYTES: usize = 100;
/// Longest name of a variable, as in a `SpinRedisApp`, in bytes.
const MAX_VARIABLE_NAME_BYTES: usize = 64;
/// Longest channel and address of a trigger, in bytes.
const MAX_CHANNEL_BYTES: usize = 2_048;
/// Longest path of a file, and longest part of one, in bytes: what Linux takes, less room for the folder it is put into.
const MAX_PATH_BYTES: (usize, usize) = (2_048, 255);

/// What an app asks for and cannot be had here; the sentence continues "image … cannot run here: …".
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Too large.
    #[error("its locked app is larger than 4 MiB: put its files into layers, as `spin registry push` does")]
    TooLarge,
    /// Not the JSON of a locked app.
    #[error("its locked app is malformed ({0}): push it again with `spin registry push`")]
    Malformed(String),
    /// A version from the future.
    #[error("its locked app has spin_lock_version {0}, and 0 and 1 are known: push it with a Spin that writes one of them")]
    Version(u64),
    /// A field from the future.
    #[error("its locked app must be understood in {0}, which this version of spinredis does not know: do without what asks for it")]
    MustUnderstand(String),
    /// A feature of the host.
    #[error("{owner} requires the host feature {features}, which is not there: remove what asks for it from its spin.toml")]
    HostRequirement {
        /// The app or a component.
        owner: String,
        /// Names of the features.
        features: String,
    },
    /// Too many of something.
    #[error("it has {found} {what}, and at most {limit} are taken: make several apps of it")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many it has.
        found: usize,
        /// The bound.
        limit: usize,
    },
    /// An id that cannot be used in names of metrics, folders and objects.
    #[error("component id {0} is not a DNS label: use at most 63 lower-case letters, digits and dashes, with none at either end")]
    ComponentId(String),
    /// A variable's name that Spin itself would not take.
    #[error(
        "its variable {0} has no name that a template could use: names are at most 64 lower-case letters, digits and single underscores"
    )]
    VariableName(String),
    /// Two components of one id.
    #[error("two of its components have the id {0}: give each its own")]
    DuplicateComponent(String),
    /// Components that are not composed.
    #[error(
        "component {component} depends on components that are not composed into it ({dependencies}): push the app without --compose=false, or compose it with `wac plug`"
    )]
    Dependencies {
        /// Id of the component.
        component: String,
        /// What it depends on.
        dependencies: String,
    },
    /// A trigger of another kind.
    #[error("component {component} has a trigger of type {kind}, and only redis triggers are run: make a redis app of its own of the rest")]
    TriggerType {
        /// Type of the trigger.
        kind: String,
        /// Id of its component.
        component: String,
    },
    /// A trigger that a Redis trigger cannot be.
    #[error("redis trigger {trigger} is malformed ({error}): it takes component, channel and address")]
    Trigger {
        /// Id of the trigger.
        trigger: String,
        /// What is wrong.
        error: String,
    },
    /// A trigger for nobody.
    #[error("trigger {trigger} names component {component}, which the app does not have: correct its name")]
    UnknownComponent {
        /// Id of the trigger.
        trigger: String,
        /// Id that it names.
        component: String,
    },
    /// Nothing to do.
    #[error("it has no redis trigger, so nothing would ever be called: add one to its spin.toml")]
    NoRedisTrigger,
    /// A file outside the component's folder, or one that no file system takes.
    #[error("component {component} has a file with the path {path}, which is not a plain relative path: rename it")]
    FilePath {
        /// Id of the component.
        component: String,
        /// The path.
        path: String,
    },
    /// Two files in one place.
    #[error("component {component} has two files in the place of {path}: leave one out")]
    DuplicateFile {
        /// Id of the component.
        component: String,
        /// The path.
        path: String,
    },
    /// Content that is somewhere else.
    #[error("{what} of component {component} is not in the image: push the app with `spin registry push`, which packs it")]
    Elsewhere {
        /// Id of the component.
        component: String,
        /// The WebAssembly or a file.
        what: String,
    },
    /// Content that is something else.
    #[error("{what} of component {component} does not have the digest that the locked app gives it: push the app again")]
    Digest {
        /// Id of the component.
        component: String,
        /// The WebAssembly or a file.
        what: String,
    },
    /// A digest that no layer has.
    #[error("component {component} needs a layer {digest}, which the image does not have: push the app again")]
    NoLayer {
        /// Id of the component.
        component: String,
        /// The digest.
        digest: String,
    },
}

/// Reads and judges a locked app.
pub fn resolve(lock: &[u8]) -> Result<Application, Refusal> {
    if lock.len() as u64 > MAX_LOCK_BYTES {
        return Err(Refusal::TooLarge);
    }
    let malformed = |error: serde_json::Error| Refusal::Malformed(said(&error));
    let header: Header = serde_json::from_slice(lock).map_err(malformed)?;
    if header.spin_lock_version > 1 {
        return Err(Refusal::Version(header.spin_lock_version));
    }
    let unknown = names(header.must_understand.iter().filter(|field| !UNDERSTOOD.contains(&field.as_str())));
    if !unknown.is_empty() {
        return Err(Refusal::MustUnderstand(unknown));
    }
    let app: LockedApp = serde_json::from_slice(lock).map_err(malformed)?;
    required("the app", &app.host_requirements)?;
    bounded("components", app.components.len(), MAX_COMPONENTS)?;
    bounded("triggers", app.triggers.len(), MAX_TRIGGERS)?;
    bounded("variables", app.variables.len(), MAX_VARIABLES)?;
    if let Some(wrong) = app.variables.keys().find(|name| !is_name(name) || name.len() > MAX_VARIABLE_NAME_BYTES) {
        return Err(Refusal::VariableName(name(wrong)));
    }
    bounded("files", app.components.iter().map(|component| component.files.len()).sum(), MAX_FILES)?;
    let address = default_address(&app);
    let mut subscriptions = subscriptions(app.triggers)?;
    let mut unsupported = Vec::new();
    let mut components: Vec<AppComponent> = Vec::new();
    for locked in app.components {
        warn(&locked, &mut unsupported);
        let component = component(locked, &mut subscriptions)?;
        if components.iter().any(|other| other.id == component.id) {
            return Err(Refusal::DuplicateComponent(component.id));
        }
        components.push(component);
    }
    if let Some((component, left)) = subscriptions.pop_first() {
        let trigger = left.into_iter().next().map(|(trigger, _)| trigger).unwrap_or_default();
        return Err(Refusal::UnknownComponent { trigger: name(&trigger), component: name(&component) });
    }
    let variables = app.variables.into_iter();
    let variables = variables.map(|(name, locked)| AppVariable { name, default: locked.default, secret: locked.secret }).collect();
    Ok(Application { name: app.metadata.name, address, variables, components, unsupported })
}

/// The address of Redis triggers that name none. `triggers` replaced `trigger` in Spin 2, which still writes both.
fn default_address(app: &LockedApp) -> Option<String> {
    let settings = match (&app.metadata.triggers, &app.metadata.trigger) {
        (Some(by_type), _) => by_type.get(REDIS)?,
        (None, Some(only)) if only.get("type").and_then(Value::as_str) == Some(REDIS) => only,
        _ => return None,
    };
    settings.get("address").and_then(Value::as_str).filter(|address| !address.is_empty()).map(str::to_owned)
}

/// Subscriptions by component, each with its trigger's id.
type Subscriptions = BTreeMap<String, Vec<(String, AppSubscription)>>;

fn subscriptions(triggers: Vec<LockedTrigger>) -> Result<Subscriptions, Refusal> {
    let mut subscriptions = Subscriptions::new();
    for LockedTrigger { id, trigger_type, trigger_config, trigger_dependencies } in triggers {
        if trigger_type != REDIS {
            let component = trigger_config.get("component").and_then(Value::as_str).unwrap_or("without a name");
            return Err(Refusal::TriggerType { kind: name(&trigger_type), component: name(component) });
        }
        let wrong = |error: String| Refusal::Trigger { trigger: name(&id), error };
        let RedisTrigger { component, components, channel, address, .. } =
            RedisTrigger::deserialize(trigger_config).map_err(|error| wrong(said(&error)))?;
        if !trigger_dependencies.is_empty() {
            return Err(wrong(format!("it wants components around its own: {}", names(trigger_dependencies.keys()))));
        }
        if channel.is_empty() {
            return Err(wrong("its channel is empty".to_owned()));
        }
        if channel.len() > MAX_CHANNEL_BYTES || address.as_ref().is_some_and(|address| address.len() > MAX_CHANNEL_BYTES) {
            return Err(wrong(format!("its channel or address is longer than {MAX_CHANNEL_BYTES} bytes")));
        }
        let others = components.into_values().flat_map(|ids| match ids {
            OneOrMany::One(id) => vec![id],
            OneOrMany::Many(ids) => ids,
        });
        let mut called: Vec<String> = component.into_iter().chain(others).collect();
        let Some(component) = called.pop().filter(|_| called.is_empty()) else {
            return Err(wrong(format!("it must name one component, and names {}", called.len())));
        };
        let address = address.filter(|address| !address.is_empty());
        subscriptions.entry(component).or_default().push((id, AppSubscription { channel, address }));
    }
    if subscriptions.is_empty() { Err(Refusal::NoRedisTrigger) } else { Ok(subscriptions) }
}

fn component(locked: LockedComponent, subscriptions: &mut Subscriptions) -> Result<AppComponent, Refusal> {
    let id = locked.id;
    if !is_dns_label(&id) {
        return Err(Refusal::ComponentId(name(&id)));
    }
    required(&format!("component {id}"), &locked.host_requirements)?;
    let dependencies = names(locked.dependencies.keys().chain(locked.trigger_dependencies.keys()));
    if !dependencies.is_empty() {
        return Err(Refusal::Dependencies { component: id, dependencies });
    }
    bounded("variables in one component", locked.config.len(), MAX_VARIABLES)?;
    let wasm = content(locked.source, &id, || "the WebAssembly".to_owned())?;
    let mut files: Vec<AppFile> = Vec::with_capacity(locked.files.len());
    for file in locked.files {
        if !is_plain_relative(&file.path) {
            return Err(Refusal::FilePath { component: id, path: name(&file.path) });
        }
        let content = content(file.content, &id, || format!("file {}", name(&file.path)))?;
        files.push(AppFile { path: file.path, content });
    }
    check_places(&id, &files)?;
    let mut own: Vec<AppSubscription> = Vec::new();
    for (_, subscription) in subscriptions.remove(&id).unwrap_or_default() {
        if !own.contains(&subscription) {
            own.push(subscription);
        }
    }
    let mut allowed_outbound_hosts = locked.metadata.allowed_outbound_hosts;
    allowed_outbound_hosts.extend(hosts_of_http_hosts(&locked.metadata.allowed_http_hosts));
    Ok(AppComponent {
        id,
        wasm,
        files,
        env: locked.env,
        variables: locked.config,
        allowed_outbound_hosts,
        key_value_stores: locked.metadata.key_value_stores,
        subscriptions: own,
    })
}

/// Where bytes are. Those in the locked app win over a layer with the same digest.
fn content(locked: LockedContent, component: &str, what: impl Fn() -> String) -> Result<Content, Refusal> {
    match (locked.inline, locked.digest) {
        (Some(bytes), Some(digest)) if sha256_digest(&bytes) != digest => {
            Err(Refusal::Digest { component: component.to_owned(), what: what() })
        }
        (Some(bytes), _) => Ok(Content::Inline(bytes)),
        (None, Some(digest)) if is_sha256(&digest) => Ok(Content::Blob { digest }),
        (None, Some(_)) => Err(Refusal::Digest { component: component.to_owned(), what: what() }),
        (None, None) => Err(Refusal::Elsewhere { component: component.to_owned(), what: what() }),
    }
}

/// Refuses two files of one path, and a file where another one needs a folder.
fn check_places(component: &str, files: &[AppFile]) -> Result<(), Refusal> {
    let mut paths = BTreeSet::new();
    let taken = |path: &str| Refusal::DuplicateFile { component: component.to_owned(), path: name(path) };
    for file in files {
        if !paths.insert(file.path.as_str()) {
            return Err(taken(&file.path));
        }
    }
    for path in &paths {
        let mut folder = *path;
        while let Some((parent, _)) = folder.rsplit_once('/') {
            if paths.contains(parent) {
                return Err(taken(parent));
            }
            folder = parent;
        }
    }
    Ok(())
}

/// `allowed_http_hosts` in the syntax of `allowed_outbound_hosts`, as Spin itself converts it: `insecure:allow-all`, `self`,
/// or hosts that are reached with and without TLS.
fn hosts_of_http_hosts(hosts: &[String]) -> Vec<String> {
    if hosts.iter().any(|host| host == "insecure:allow-all") {
        return ["http://*:*", "https://*:*", "http://self"].map(str::to_owned).to_vec();
    }
    let one = |host: &String| {
        let bare = host.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
        match bare {
            "self" => vec!["http://self".to_owned()],
            host => vec![format!("http://{host}"), format!("https://{host}")],
        }
    };
    hosts.iter().flat_map(one).collect()
}

/// Says what a component is granted in vain.
fn warn(component: &LockedComponent, unsupported: &mut Vec<String>) {
    for (what, granted) in [("SQLite databases", &component.metadata.databases), ("AI models", &component.metadata.ai_models)] {
        if !granted.is_empty() {
            let (component, granted) = (name(&component.id), names(granted.iter()));
            unsupported.push(format!("component {component} is granted the {what} {granted}, which are not there: its calls to them fail"));
        }
    }
}

/// This runtime has none of the features that a host may be required to have.
fn required(owner: &str, requirements: &BTreeMap<String, Value>) -> Result<(), Refusal> {
    let features = names(requirements.iter().filter(|(_, need)| need.as_str() != Some("optional")).map(|(feature, _)| feature));
    if features.is_empty() { Ok(()) } else { Err(Refusal::HostRequirement { owner: owner.to_owned(), features }) }
}

fn bounded(what: &'static str, found: usize, limit: usize) -> Result<(), Refusal> {
    if found > limit { Err(Refusal::TooMany { what, found, limit }) } else { Ok(()) }
}

fn is_dns_label(id: &str) -> bool {
    let inner = id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    (1..=63).contains(&id.len()) && inner && !id.starts_with('-') && !id.ends_with('-')
}

fn is_sha256(digest: &str) -> bool {
    let hex = digest.strip_prefix("sha256:").unwrap_or_default();
    hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn is_plain_relative(path: &str) -> bool {
    let (longest, longest_part) = MAX_PATH_BYTES;
    let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && part.len() <= longest_part;
    path.len() <= longest && !path.contains('\0') && path.split('/').all(plain)
}

/// A name that an app's author chose, on one line and not longer than a message may be.
fn name(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    shorten(&plain, MAX_NAME_BYTES)
}

/// What the JSON reader says; it repeats words of the app.
fn said(error: &serde_json::Error) -> String {
    let text = error.to_string();
    shorten(&text.replace(char::is_control, "\u{fffd}"), 2 * MAX_NAME_BYTES)
}

/// The first of several names.
fn names<'a>(all: impl Iterator<Item = &'a String>) -> String {
    let mut list = String::new();
    for (index, text) in all.enumerate() {
        if index == 8 {
            list.push_str(", …");
            break;
        }
        let _ = write!(list, "{}{}", if index == 0 { "" } else { ", " }, name(text));
    }
    list
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
