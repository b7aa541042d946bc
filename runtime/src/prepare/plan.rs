//! What an app consists of once its application, if it names one, is merged with what the manifest says of it. Pure.
//!
//! An entry of `components` without a source changes the application's component of that id: each field that it sets, and
//! each list that is not empty, replaces the application's; of env and variables only those of the same name.

use std::collections::BTreeMap;

use spinredis_crds::{
    Component, Connection, EnvVar, Variable,
    manifest::Manifest,
    report::shorten,
    template::{Template, TemplateError},
    variable::{Value, VariableError, Variables},
};

use crate::application::{AppComponent, Application};

/// An app, ready to be compiled.
#[derive(Debug, PartialEq)]
pub struct Plan {
    /// The Redis server of every subscription that names no other.
    pub trigger: Option<Connection>,
    /// Its components.
    pub components: Vec<Planned>,
}

/// A component, ready to be compiled.
#[derive(Debug, PartialEq)]
pub struct Planned {
    /// What it is configured with.
    pub component: Component,
    /// Its place among the application's components; none when the manifest names its source.
    pub of_application: Option<usize>,
    /// Variables that its templates may name beside its own.
    pub shared: Vec<Variable>,
    /// Whether the component sees those itself.
    pub shows_shared: bool,
    /// The servers of channels whose triggers name Redis servers of their own; `None` stands for the app's server, when another
    /// trigger has the same channel there. A channel that is not here is on the app's server alone.
    pub addresses: BTreeMap<String, Vec<Option<String>>>,
}

/// Why application and manifest do not fit.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PlanError {
    /// An entry without a source for a component that is not there.
    #[error(
        "component {id} has no source and the application has no component of that id, it has {known}: correct the id, or give a source"
    )]
    Unknown {
        /// The id.
        id: String,
        /// Those of the application.
        known: String,
    },
    /// An entry with a source for a component that is there.
    #[error("component {0} is in the application already: leave out its source to change it, or give it another id")]
    Twice(String),
    /// A required variable without a value.
    #[error("the application requires the variable {0}: add it to spec.variables with a value, or one from a Secret")]
    Required(String),
    /// A channel whose template has no value.
    #[error("the channel {channel:?} of component {component}: {error}")]
    Channel {
        /// Id of the component.
        component: String,
        /// The template.
        channel: String,
        /// Why it has no value.
        error: VariableError,
    },
    /// A template that is malformed.
    #[error("{text:?} in the application: {error}")]
    Template {
        /// The template.
        text: String,
        /// What is wrong.
        error: TemplateError,
    },
    /// Nobody says which Redis server.
    #[error(
        "neither the application nor the manifest names a Redis server: add trigger.address, for example redis://redis.default.svc:6379"
    )]
    NoServer,
}

/// Merges an application with the manifest that names it; or takes the manifest alone.
pub fn plan(manifest: &Manifest, application: Option<&Application>) -> Result<Plan, PlanError> {
    let spec = &manifest.spec;
    let Some(application) = application else {
        let own = |component: &Component| Planned {
            component: component.clone(),
            of_application: None,
            shared: spec.variables.clone(),
            shows_shared: true,
            addresses: BTreeMap::new(),
        };
        return Ok(Plan { trigger: spec.server().cloned(), components: spec.components.iter().map(own).collect() });
    };
    let shared = variables(application, &spec.variables)?;
    let mut components = Vec::new();
    for (place, component) in application.components.iter().enumerate() {
        let change = spec.components.iter().find(|entry| entry.id == component.id);
        if change.is_some_and(|entry| entry.source.is_some()) {
            return Err(PlanError::Twice(component.id.clone()));
        }
        let planned = merged(component, change, place, &shared)?;
        // A component that no trigger names is legal in Spin, and nobody calls it.
        if !planned.component.channels.is_empty() || !planned.component.patterns.is_empty() {
            components.push(planned);
        }
    }
    for entry in &spec.components {
        let known = || application.components.iter().map(|component| component.id.as_str()).collect::<Vec<_>>().join(", ");
        match (&entry.source, application.components.iter().any(|component| component.id == entry.id)) {
            (None, false) => return Err(PlanError::Unknown { id: entry.id.clone(), known: known() }),
            (Some(_), _) => components.push(Planned {
                component: entry.clone(),
                of_application: None,
                shared: shared.clone(),
                shows_shared: true,
                addresses: BTreeMap::new(),
            }),
            (None, true) => {}
        }
    }
    let trigger = server(application, spec.server(), &shared)?;
    let needs_default = components.iter().any(|planned| {
        let on_default = |channel: &String| planned.addresses.get(channel).is_none_or(|servers| servers.contains(&None));
        planned.component.channels.iter().any(on_default) || !planned.component.patterns.is_empty()
    });
    if needs_default && trigger.as_ref().is_none_or(|trigger| trigger.address.is_none() && trigger.address_from.is_none()) {
        return Err(PlanError::NoServer);
    }
    Ok(Plan { trigger, components })
}

/// The application's variables with the manifest's values, and those that only the manifest has.
fn variables(application: &Application, given: &[Variable]) -> Result<Vec<Variable>, PlanError> {
    let mut variables = given.to_vec();
    for variable in application.variables.iter().filter(|variable| given.iter().all(|given| given.name != variable.name)) {
        let Some(default) = &variable.default else { return Err(PlanError::Required(variable.name.clone())) };
        variables.push(plain(&variable.name, default.clone()));
    }
    Ok(variables)
}

fn plain(name: &str, value: String) -> Variable {
    Variable { name: name.to_owned(), value: Some(value), value_from: None }
}

/// The default server: the manifest's address wins over the application's, which may lack the credentials it wants.
fn server(application: &Application, trigger: Option<&Connection>, shared: &[Variable]) -> Result<Option<Connection>, PlanError> {
    let mut server = trigger.cloned().unwrap_or_default();
    if server.address.is_none() && server.address_from.is_none() {
        server.address = match &application.address {
            Some(address) => Some(resolved(address, shared, |error| PlanError::Channel {
                component: "the trigger".to_owned(),
                channel: address.clone(),
                error,
            })?),
            None => return Ok(trigger.cloned()),
        };
    }
    Ok(Some(server))
}

fn merged(component: &AppComponent, change: Option<&Component>, place: usize, shared: &[Variable]) -> Result<Planned, PlanError> {
    let mut merged = change.cloned().unwrap_or_default();
    merged.id = component.id.clone();
    let mut addresses: BTreeMap<String, Vec<Option<String>>> = BTreeMap::new();
    if merged.channels.is_empty() && merged.patterns.is_empty() {
        for subscription in &component.subscriptions {
            let channel = resolved(&subscription.channel, shared, |error| PlanError::Channel {
                component: component.id.clone(),
                channel: subscription.channel.clone(),
                error,
            })?;
            let servers = addresses.entry(channel.clone()).or_default();
            if !servers.contains(&subscription.address) {
                servers.push(subscription.address.clone());
            }
            if !merged.channels.contains(&channel) {
                merged.channels.push(channel);
            }
        }
        addresses.retain(|_, servers| servers.as_slice() != [None]);
    }
    let env = component.env.iter().filter(|(name, _)| !merged.env.iter().any(|given| given.name == **name));
    let env: Vec<EnvVar> = env.map(|(name, value)| EnvVar { name: name.clone(), value: Some(value.clone()), value_from: None }).collect();
    merged.env.extend(env);
    let variables = component.variables.iter().filter(|(name, _)| !merged.variables.iter().any(|given| given.name == **name));
    let variables: Vec<Variable> = variables.map(|(name, value)| plain(name, value.clone())).collect();
    merged.variables.extend(variables);
    if merged.allowed_outbound_hosts.is_empty() {
        merged.allowed_outbound_hosts = component.allowed_outbound_hosts.clone();
    }
    if merged.key_value_stores.is_empty() {
        merged.key_value_stores = component.key_value_stores.clone();
    }
    Ok(Planned { component: merged, of_application: Some(place), shared: shared.to_vec(), shows_shared: false, addresses })
}

/// The text of a template of application variables. Values in Secrets are not read here: a channel is no secret.
fn resolved(text: &str, shared: &[Variable], failed: impl Fn(VariableError) -> PlanError) -> Result<String, PlanError> {
    let malformed = |text: &str, error| PlanError::Template { text: shorten(text, 200), error };
    let template = Template::parse(text).map_err(|error| malformed(text, error))?;
    let values: Result<BTreeMap<String, Value>, PlanError> = shared
        .iter()
        .map(|variable| {
            let value = variable.value().map_err(|error| malformed(variable.value.as_deref().unwrap_or_default(), error))?;
            Ok((variable.name.clone(), value))
        })
        .collect();
    Variables::new(values?, BTreeMap::new()).resolve(&template).map_err(failed)
}

#[cfg(test)]
mod tests {
    use spinredis_crds::{Ordering, WhenFull};

    use super::*;
    use crate::application::{AppSubscription, AppVariable, Content};

    fn manifest(spec: &str) -> Manifest {
        Manifest::parse(&format!("apiVersion: spinredis.dev/v1alpha1\nkind: SpinRedisApp\nmetadata: {{name: a}}\nspec: {spec}")).unwrap()
    }

    fn application() -> Application {
        let subscription =
            |channel: &str, address: Option<&str>| AppSubscription { channel: channel.into(), address: address.map(Into::into) };
        let component = AppComponent {
            id: "one".into(),
            wasm: Content::Inline(Vec::new()),
            files: Vec::new(),
            env: [("A".to_owned(), "app".to_owned()), ("B".to_owned(), "app".to_owned())].into(),
            variables: [("greeting".to_owned(), "{{ greeting }}".to_owned())].into(),
            allowed_outbound_hosts: vec!["https://{{ host }}".into()],
            key_value_stores: vec!["default".into()],
            subscriptions: vec![subscription("{{ stage }}-orders", None), subscription("other", Some("redis://other"))],
        };
        let variable =
            |name: &str, default: Option<&str>| AppVariable { name: name.into(), default: default.map(Into::into), secret: false };
        Application {
            name: "app".into(),
            address: Some("redis://app".into()),
            variables: vec![variable("stage", Some("dev")), variable("host", None), variable("greeting", Some("hi"))],
            components: vec![component],
            unsupported: Vec::new(),
        }
    }

    const OCI: &str = "application: {oci: {reference: r/a:1}}";

    #[test]
    fn an_application_brings_its_channels_and_the_manifest_its_values() {
        let manifest = manifest(&format!("{{{OCI}, variables: [{{name: host, value: h}}, {{name: stage, value: prod}}]}}"));
        let plan = plan(&manifest, Some(&application())).unwrap();
        let one = &plan.components[0];
        assert_eq!(one.component.channels, ["prod-orders", "other"]);
        assert_eq!(one.addresses, [("other".to_owned(), vec![Some("redis://other".to_owned())])].into());
        assert_eq!(plan.trigger.unwrap().address.as_deref(), Some("redis://app"));
        assert!(!one.shows_shared && one.shared.len() == 3);
    }

    #[test]
    fn what_the_manifest_says_of_a_component_wins() {
        let change = "{id: one, channels: [mine], env: [{name: A, value: manifest}], allowedOutboundHosts: ['redis://self'], timeout: 5s, \
             concurrency: 2, ordering: None, queue: {whenFull: DropNewest}, retry: {maxAttempts: 3}, deadLetter: {stream: dead}}";
        let manifest = manifest(&format!(
            "{{{OCI}, trigger: {{address: 'redis://mine'}}, variables: [{{name: host, value: h}}], components: [{change}]}}"
        ));
        let plan = plan(&manifest, Some(&application())).unwrap();
        let one = &plan.components[0].component;
        assert_eq!((one.channels.as_slice(), one.timeout.as_deref()), (["mine".to_owned()].as_slice(), Some("5s")));
        let limits = one.limits();
        assert_eq!((limits.concurrency, limits.ordering, limits.retry.max_attempts), (2, Ordering::None, 3));
        assert_eq!((limits.when_full, one.dead_letter.as_ref().unwrap().stream.as_str()), (WhenFull::DropNewest, "dead"));
        let env: Vec<_> = one.env.iter().map(|env| (env.name.as_str(), env.value.as_deref().unwrap())).collect();
        assert_eq!(env, [("A", "manifest"), ("B", "app")]);
        assert_eq!(
            (one.allowed_outbound_hosts.as_slice(), one.key_value_stores.as_slice()),
            (["redis://self".to_owned()].as_slice(), ["default".to_owned()].as_slice())
        );
        assert_eq!(plan.trigger.unwrap().address.as_deref(), Some("redis://mine"));
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let error = |spec: &str| plan(&manifest(&format!("{{{OCI}, {spec}}}")), Some(&application())).unwrap_err();
        assert_eq!(error("variables: []"), PlanError::Required("host".into()));
        let with = |entry: &str| format!("variables: [{{name: host, value: h}}], components: [{entry}]");
        assert!(matches!(error(&with("{id: two}")), PlanError::Unknown { .. }));
        assert_eq!(error(&with("{id: one, channels: [a], source: {oci: {reference: 'r/c:1'}}}")), PlanError::Twice("one".into()));
    }
}
