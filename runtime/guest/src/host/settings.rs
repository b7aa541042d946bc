//! What a component is configured with: environment, variables and allowed hosts, with the values of Secrets and ConfigMaps
//! in their places.
//!
//! Values are read again for new instances, at most once a second, so a changed Secret needs no restart.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use spinredis_crds::{
    Component as ComponentSpec, ValueFrom, Variable,
    outbound::{AllowedHosts, OutboundError},
    template::{Template, TemplateError},
    variable::{Value, VariableError, Variables},
};

use super::network::Network;
use crate::references::{ReferenceError, References};

/// How long values from files are used before they are read again.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// Why a component has no settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A referenced value cannot be had.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// A variable has no value.
    #[error("{field}: {error}")]
    Variable {
        /// Where it is needed.
        field: String,
        /// Why it has none.
        error: VariableError,
    },
    /// A template is malformed.
    #[error("{field}: {error}")]
    Template {
        /// Where it stands.
        field: String,
        /// What is wrong.
        error: TemplateError,
    },
    /// An allowed host is malformed.
    #[error("allowedOutboundHosts: {0}")]
    Outbound(#[from] OutboundError),
}

/// The settings of a component at some moment.
#[derive(Debug, Default)]
pub struct Settings {
    /// Environment variables.
    pub env: Vec<(String, String)>,
    /// Spin's variables.
    pub variables: BTreeMap<String, String>,
    /// Where it may connect to.
    pub network: Arc<Network>,
}

impl Settings {
    fn is_same(&self, other: &Self) -> bool {
        self.env == other.env && self.variables == other.variables && self.network.allows_the_same(&other.network)
    }
}

/// Where a component's settings come from.
pub struct SettingsSource {
    spec: ComponentSpec,
    shared: Vec<Variable>,
    shows_shared: bool,
    network: Network,
    references: Arc<References>,
    has_references: bool,
    cached: Mutex<Option<(Instant, Arc<Settings>)>>,
}

impl SettingsSource {
    /// Settings of a component. `shared` are variables that its templates may name; it sees them itself when
    /// `shows_shared`. `network` says everything about the network but which hosts are allowed.
    pub fn new(spec: &ComponentSpec, shared: Vec<Variable>, shows_shared: bool, network: Network, references: Arc<References>) -> Self {
        let has_references = spec.env.iter().any(|variable| variable.value_from.is_some())
            || spec.variables.iter().chain(&shared).any(|variable| variable.value_from.is_some());
        Self { spec: spec.clone(), shared, shows_shared, network, references, has_references, cached: Mutex::new(None) }
    }

    /// The settings, from memory when they were read a moment ago.
    pub fn now(&self) -> Result<Arc<Settings>, SettingsError> {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((read, settings)) = &*cached
            && (!self.has_references || read.elapsed() < FRESH_FOR)
        {
            return Ok(settings.clone());
        }
        let read = self.read()?;
        // The same values are the same settings: instances that were made with them go on.
        let settings = match cached.take() {
            Some((_, settings)) if settings.is_same(&read) => settings,
            _ => Arc::new(read),
        };
        *cached = Some((Instant::now(), settings.clone()));
        Ok(settings)
    }

    /// The text of a template, with the values of now.
    pub fn resolve(&self, text: &str) -> Result<String, SettingsError> {
        let field = || format!("{text:?}");
        let template = Template::parse(text).map_err(|error| SettingsError::Template { field: field(), error })?;
        self.variables()?.resolve(&template).map_err(|error| SettingsError::Variable { field: field(), error })
    }

    fn read(&self) -> Result<Settings, SettingsError> {
        let env = self.spec.env.iter().map(|variable| {
            Ok((variable.name.clone(), self.text(variable.value.as_ref(), variable.value_from.as_ref())?.unwrap_or_default()))
        });
        let env = env.collect::<Result<_, SettingsError>>()?;
        let variables = self.variables()?;
        let visible = self.spec.variables.iter().chain(self.shared.iter().filter(|_| self.shows_shared));
        let values = visible.map(|variable| {
            let name = &variable.name;
            let value = variables.get(name).map_err(|error| SettingsError::Variable { field: format!("variables[{name}]"), error })?;
            Ok((name.clone(), value))
        });
        let values = values.collect::<Result<_, SettingsError>>()?;
        let allowed = AllowedHosts::parse(&self.hosts(&variables)?)?;
        Ok(Settings { env, variables: values, network: Arc::new(self.network.allowing(allowed)) })
    }

    /// A value of the manifest, or of the Secret or ConfigMap that it names.
    fn text(&self, value: Option<&String>, from: Option<&ValueFrom>) -> Result<Option<String>, ReferenceError> {
        match from.and_then(|from| from.reference()) {
            Some(reference) => self.references.text(&reference).map(Some),
            None => Ok(value.cloned()),
        }
    }

    fn variables(&self) -> Result<Variables, SettingsError> {
        let values = |variables: &[Variable]| -> Result<BTreeMap<String, Value>, SettingsError> {
            let value = |variable: &Variable| match variable.value_from.as_ref().and_then(|from| from.reference()) {
                Some(reference) => Ok(Value::Text(self.references.text(&reference)?)),
                None => variable.value().map_err(|error| SettingsError::Template { field: format!("variables[{}]", variable.name), error }),
            };
            variables.iter().map(|variable| Ok((variable.name.clone(), value(variable)?))).collect()
        };
        Ok(Variables::new(values(&self.shared)?, values(&self.spec.variables)?))
    }

    fn hosts(&self, variables: &Variables) -> Result<Vec<String>, SettingsError> {
        let field = "allowedOutboundHosts".to_owned();
        let hosts = self.spec.allowed_outbound_hosts.iter().map(|entry| {
            let template = Template::parse(entry).map_err(|error| SettingsError::Template { field: field.clone(), error })?;
            variables.resolve(&template).map_err(|error| SettingsError::Variable { field: field.clone(), error })
        });
        hosts.collect()
    }
}
