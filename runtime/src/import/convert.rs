//! From a Spin app to SpinRedisApps: names, images, channels, and whose address is whose. What cannot be said is refused.

use std::collections::BTreeSet;

use spinredis_crds::outbound::AllowedHosts;

use super::{
    Options, Refusal,
    address::{self, Address},
    model::{App, Component, Source, Trigger},
    names::{self, MAX_APP, MAX_ID},
    read::Text,
    templates::{self, is_template},
};

/// Stands for a registry that the person has to name.
const NO_REGISTRY: &str = "REGISTRY";

/// A SpinRedisApp as it is written.
#[derive(Debug)]
pub(super) struct SpinRedisApp {
    pub(super) name: String,
    pub(super) description: String,
    /// What a person should know of it as a whole.
    pub(super) notes: Vec<String>,
    pub(super) address: Address,
    pub(super) variables: Vec<Variable>,
    /// Key-value stores beside `default`.
    pub(super) stores: Vec<String>,
    pub(super) components: Vec<OutComponent>,
}

/// A variable shared by all components.
#[derive(Debug)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) description: String,
    /// None: it comes from the Secret.
    pub(super) value: Option<String>,
}

/// A component as it is written.
#[derive(Debug)]
pub(super) struct OutComponent {
    pub(super) id: String,
    pub(super) notes: Vec<String>,
    pub(super) channels: Vec<String>,
    pub(super) reference: String,
    pub(super) source_notes: Vec<String>,
    /// What brings the component into the registry, to be copied into a shell.
    pub(super) commands: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) variables: Vec<(String, String)>,
    pub(super) hosts: Vec<(String, Option<&'static str>)>,
    pub(super) stores: Vec<String>,
}

/// A trigger as it can be written: a component's channel at a server.
struct Subscription {
    component: String,
    channel: String,
    address: Address,
}

/// One app for each Redis server of the triggers, in their order.
pub(super) fn apps(app: &App, refusals: &mut Vec<Refusal>, options: &Options) -> Vec<SpinRedisApp> {
    let name = app.name.as_ref().and_then(|name| app_name(name, refusals));
    variables_and_stores(app, refusals);
    let ids: Vec<Option<String>> = component_ids(app, refusals);
    // Everything is looked at before the first None ends a trigger's way, so that all its refusals are listed.
    let subscription = |trigger: &Trigger| {
        let (address, channel) = (address_of(app, trigger, refusals), channel_of(app, trigger, refusals));
        Some(Subscription { component: component_of(app, trigger, refusals)?, channel: channel?, address: address? })
    };
    let subscriptions: Vec<Subscription> = app.triggers.iter().filter_map(subscription).collect();
    if app.triggers.is_empty() && refusals.is_empty() {
        refusals.push(Refusal::new(1, "no trigger here is a Redis trigger: there is nothing to import"));
    }
    let mut servers: Vec<Address> = Vec::new();
    for subscription in &subscriptions {
        if !servers.contains(&subscription.address) {
            servers.push(subscription.address.clone());
        }
    }
    let (Some(name), false) = (name, servers.is_empty()) else { return Vec::new() };
    let several = servers.len() > 1;
    let converter = Converter { app, options, ids: &ids, name: &name };
    let build = |(index, server): (usize, &Address)| {
        let of_server: Vec<&Subscription> = subscriptions.iter().filter(|subscription| subscription.address == *server).collect();
        let own_name = if index == 0 { name.clone() } else { format!("{name}-{}", index + 1) };
        let mut result = converter.build(own_name, server.clone(), &of_server);
        if several {
            result.notes.push(format!(
                "The triggers of the Spin app name {} Redis servers, and a SpinRedisApp has one: this is app {} of {}.",
                servers.len(),
                index + 1,
                servers.len()
            ));
        }
        result
    };
    servers.iter().enumerate().map(build).collect()
}

fn app_name(name: &Text, refusals: &mut Vec<Refusal>) -> Option<String> {
    let label = names::label(&name.value, MAX_APP);
    if label.is_none() {
        let message = format!(
            "the app's name `{}` must become at most {MAX_APP} lower-case letters, digits and dashes: give it such a name",
            name.value
        );
        refusals.push(Refusal::new(name.line, message));
    }
    label
}

/// The id each component will have; those that are none, or the same as another's, are refused.
fn component_ids(app: &App, refusals: &mut Vec<Refusal>) -> Vec<Option<String>> {
    let mut taken: Vec<(String, &str)> = Vec::new();
    let mut ids = Vec::new();
    for component in &app.components {
        let (id, line) = (component.id.value.as_str(), component.id.line);
        let label = names::label(id, MAX_ID);
        let message = match &label {
            None => Some(format!("the id `{id}` must become at most {MAX_ID} lower-case letters, digits and dashes: give it such an id")),
            Some(label) => taken
                .iter()
                .find(|(other, _)| other == label)
                .map(|(_, other)| format!("the components `{other}` and `{id}` would both be called {label}: give one another id")),
        };
        taken.extend(label.clone().map(|label| (label, id)));
        refusals.extend(message.map(|message| Refusal::new(line, message)));
        ids.push(label);
    }
    ids
}

fn address_of(app: &App, trigger: &Trigger, refusals: &mut Vec<Refusal>) -> Option<Address> {
    match trigger.address.as_ref().or(app.address.as_ref()) {
        Some(text) => address::read(app, text, refusals),
        None => {
            let message = format!(
                "the trigger of component {} has no address, and the app has none for all: write `address = \"redis://HOST:6379\"`",
                trigger.component.value
            );
            refusals.push(Refusal::new(trigger.line, message));
            None
        }
    }
}

/// The channel of a trigger; variables in it are replaced by their defaults.
fn channel_of(app: &App, trigger: &Trigger, refusals: &mut Vec<Refusal>) -> Option<String> {
    let text = &trigger.channel;
    let default = |name: &str| {
        let variable = app.variables.iter().find(|variable| variable.name.value == name)?;
        variable.default.clone().filter(|default| !variable.secret && !is_template(default))
    };
    let message = match templates::resolve(&text.value, default) {
        Ok(channel) if (1..=512).contains(&channel.chars().count()) => return Some(channel),
        Ok(_) => "the channel must have 1 to 512 characters".to_owned(),
        Err(_) => {
            format!("the channel `{}` has a variable without a default, and channels are fixed here: write the channel's name", text.value)
        }
    };
    refusals.push(Refusal::new(text.line, message));
    None
}

fn component_of(app: &App, trigger: &Trigger, refusals: &mut Vec<Refusal>) -> Option<String> {
    let Text { value: id, line } = &trigger.component;
    // A component that could not be read has its own refusal.
    if !app.components.iter().any(|component| component.id.value == *id) && !app.unread.contains(id) {
        refusals.push(Refusal::new(*line, format!("the trigger calls component `{id}`, which is not in this file")));
        return None;
    }
    Some(id.clone())
}

/// Refuses names and templates that the API would not take.
fn variables_and_stores(app: &App, refusals: &mut Vec<Refusal>) {
    let known: BTreeSet<&str> = app.variables.iter().map(|variable| variable.name.value.as_str()).collect();
    let mut refuse = |line: usize, message: String| refusals.push(Refusal::new(line, message));
    for name in app.variables.iter().map(|variable| &variable.name).filter(|name| !names::is_variable(&name.value)) {
        refuse(name.line, format!("variable `{}`: names are lower_snake_case with at most 64 letters: rename it", name.value));
    }
    let literal = |variable: &&super::model::Variable| !variable.secret && variable.default.as_deref().is_some_and(is_template);
    for name in app.variables.iter().filter(literal).map(|variable| &variable.name) {
        refuse(
            name.line,
            format!(
                "variable `{}`: its default has `{{{{`, which Spin takes as it is and which is a template here: leave it out",
                name.value
            ),
        );
    }
    for component in &app.components {
        let id = &component.id.value;
        let own = shadowing(component);
        let templates = component.variables.iter().map(|(_, value)| value).chain(component.hosts.iter().map(|host| &host.entry));
        for text in templates {
            let used = match templates::names(&text.value) {
                Ok(used) => used,
                Err(wrong) => {
                    refuse(text.line, format!("component {id}: `{}` {wrong}: close the template", text.value));
                    continue;
                }
            };
            for name in used {
                if !known.contains(name) {
                    refuse(text.line, format!("component {id} uses the variable `{name}`, which [variables] does not have: add it there"));
                } else if own.contains(name) {
                    // Here a component's own variable hides the app's of the same name; in Spin a template never sees it.
                    let message = format!(
                        "component {id} uses the app's variable `{name}` and has one of that name with another value: rename one of them"
                    );
                    refuse(text.line, message);
                }
            }
        }
        for (name, value) in component.variables.iter().filter(|(name, _)| !names::is_variable(name)) {
            refuse(value.line, format!("component {id}: variable `{name}`: names are lower_snake_case with at most 64 letters: rename it"));
        }
        for host in component.hosts.iter().map(|host| &host.entry).filter(|host| !is_template(&host.value)) {
            if let Err(error) = AllowedHosts::parse(&[&host.value]) {
                refuse(host.line, format!("component {id}: allowed_outbound_hosts: {error}"));
            }
        }
        for store in component.stores.iter().filter(|store| !names::is_store(&store.value)) {
            let message = format!(
                "component {id}: key-value store `{}`: names are lower-case letters, digits, dashes and underscores, at most 63: rename it",
                store.value
            );
            refuse(store.line, message);
        }
        for (name, value) in component.environment.iter().filter(|(name, _)| name.is_empty() || name.contains('=') || name.len() > 256) {
            refuse(value.line, format!("component {id}: environment variable `{name}`: names have no `=` and 1 to 256 letters: rename it"));
        }
    }
}

/// Names of a component's variables that have another value than the app's variable of that name.
fn shadowing(component: &Component) -> BTreeSet<&str> {
    component.variables.iter().filter(|(name, value)| !is_same(name, &value.value)).map(|(name, _)| name.as_str()).collect()
}

/// Whether a component's variable is only the app's, as in `token = "{{ token }}"`: components see that one anyway.
fn is_same(name: &str, value: &str) -> bool {
    value.trim().strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}")).is_some_and(|inner| inner.trim() == name)
}

/// What is the same for all apps made of one Spin app.
struct Converter<'a> {
    app: &'a App,
    options: &'a Options,
    ids: &'a [Option<String>],
    /// Name of the first app, which images and the Secret are named after.
    name: &'a str,
}

impl Converter<'_> {
    fn build(&self, name: String, address: Address, subscriptions: &[&Subscription]) -> SpinRedisApp {
        let mut result = SpinRedisApp {
            description: self.app.description.clone(),
            notes: Vec::new(),
            address,
            variables: self.variables(),
            stores: Vec::new(),
            components: Vec::new(),
            name,
        };
        let original = self.app.name.as_ref().map_or("", |name| &name.value);
        if original != self.name {
            result.notes.push(format!("The Spin app is called {original}: names in Kubernetes are lower-case with dashes."));
        }
        for (component, id) in self.app.components.iter().zip(self.ids) {
            let Some(id) = id else { continue };
            let mut channels: Vec<String> = Vec::new();
            for subscription in subscriptions.iter().filter(|subscription| subscription.component == component.id.value) {
                if !channels.contains(&subscription.channel) {
                    channels.push(subscription.channel.clone());
                }
            }
            match channels.is_empty() {
                false => result.components.push(self.component(component, id, channels)),
                true if self.app.triggers.iter().all(|trigger| trigger.component.value != component.id.value) => {
                    result.notes.push(format!("Component {} has no trigger, so it is not here.", component.id.value));
                }
                true => {}
            }
        }
        for store in result.components.iter().flat_map(|component| &component.stores) {
            if store != "default" && !result.stores.contains(store) {
                result.stores.push(store.clone());
            }
        }
        result
    }

    fn variables(&self) -> Vec<Variable> {
        let variable = |variable: &super::model::Variable| Variable {
            name: variable.name.value.clone(),
            description: variable.description.clone(),
            value: variable.default.clone().filter(|_| !variable.secret),
        };
        self.app.variables.iter().map(variable).collect()
    }

    fn component(&self, component: &Component, id: &str, channels: Vec<String>) -> OutComponent {
        let mut notes = Vec::new();
        if !component.description.is_empty() {
            notes.push(component.description.clone());
        }
        if component.id.value != id {
            notes.push(format!("Called {} in the Spin app: ids are lower-case with dashes.", component.id.value));
        }
        let (reference, source_notes, commands) = self.image(component, id);
        let variables = component.variables.iter().filter(|(name, value)| !is_same(name, &value.value));
        let mut stores: Vec<String> = component.stores.iter().map(|store| store.value.clone()).collect();
        stores.sort();
        stores.dedup();
        OutComponent {
            id: id.to_owned(),
            notes,
            channels,
            reference,
            source_notes,
            commands,
            env: component.environment.iter().map(|(name, value)| (name.clone(), value.value.clone())).collect(),
            variables: variables.map(|(name, value)| (name.clone(), value.value.clone())).collect(),
            hosts: component.hosts.iter().map(|host| (host.entry.value.clone(), host.comment)).collect(),
            stores,
        }
    }

    /// The image a component is to be pulled from, what to know of it, and the commands that push it.
    fn image(&self, component: &Component, id: &str) -> (String, Vec<String>, Vec<String>) {
        if let Source::Package { registry: Some(registry), package, version } = &component.source {
            let note = "The package as the wasm-pkg tools lay it out in a registry; look there if it is not found.";
            return (format!("{registry}/{}:{}", package.replace(':', "/"), names::tag(version)), vec![note.to_owned()], Vec::new());
        }
        let prefix = self.options.image_prefix.as_deref();
        let image = if id == self.name { id.to_owned() } else { format!("{}-{id}", self.name) };
        let reference = format!("{}/{image}:{}", prefix.unwrap_or(NO_REGISTRY), names::tag(&self.app.version));
        let mut notes = Vec::new();
        if prefix.is_none() {
            notes.push(format!("Put your registry in place of {NO_REGISTRY}, here and in the command, and push the component:"));
        } else {
            notes.push("Push the component:".to_owned());
        }
        let fetched = format!("{id}.wasm");
        let (fetch, file) = match &component.source {
            Source::File(file) => (None, file.clone()),
            Source::Url(url) => (Some(format!("curl -fLo {fetched} {}", quoted(url))), fetched),
            Source::Package { package, version, .. } => {
                (Some(format!("wkg get {} -o {fetched}", quoted(&format!("{package}@{version}")))), fetched)
            }
        };
        let push = format!("wkg oci push {} {}", quoted(&reference), quoted(&file));
        (reference, notes, fetch.into_iter().chain([push]).collect())
    }
}

/// A word for a shell, which takes it for one word and nothing else.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:@%+=".contains(&byte);
    match !word.is_empty() && !word.starts_with('-') && word.bytes().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}
