//! What no rule of a schema can say of an app whose shape is right: whether the names in it are names of something, and
//! whether the little languages in its strings can be read.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use crate::{
    dispatch::DeadLetter,
    manifest::ManifestSpec,
    outbound::Entry,
    store::DEFAULT_STORE,
    template::Template,
    variable::{Resolver, Value, Variable, VariableError, Variables},
};

/// Longest entry of `allowedOutboundHosts` with the values of its variables: what the schema allows without.
const MAX_HOST_BYTES: usize = 1024;

/// Everything that is wrong with the meaning of an app.
pub(super) fn findings(spec: &ManifestSpec) -> Vec<Finding> {
    let mut reader = Reader { spec, circles: BTreeSet::new(), findings: Vec::new() };
    let shared = values(&spec.variables);
    let of_all = Variables::new(shared.clone(), BTreeMap::new());
    reader.variables("spec.variables", &spec.variables, &mut of_all.resolver(), &of_all);
    for (index, component) in spec.components.iter().enumerate() {
        let at = format!("spec.components[{index}]");
        let variables = Variables::new(shared.clone(), values(&component.variables));
        let mut resolver = variables.resolver();
        reader.variables(&format!("{at}.variables"), &component.variables, &mut resolver, &variables);
        for (index, entry) in component.allowed_outbound_hosts.iter().enumerate() {
            reader.host(format!("{at}.allowedOutboundHosts[{index}]"), entry, &mut resolver, &variables);
        }
        for (index, store) in component.key_value_stores.iter().enumerate() {
            reader.store(format!("{at}.keyValueStores[{index}]"), store);
        }
        if let Some(letters) = &component.dead_letter {
            reader.dead_letter(format!("{at}.deadLetter.stream"), letters);
        }
    }
    reader.findings
}

/// What the manifest alone says of some variables; a template that cannot be read is a finding of its own.
fn values(variables: &[Variable]) -> BTreeMap<String, Value> {
    variables.iter().map(|variable| (variable.name.clone(), variable.value().unwrap_or(Value::Unread))).collect()
}

struct Reader<'a> {
    spec: &'a ManifestSpec,
    /// The circles that were told, each by its sorted names.
    circles: BTreeSet<BTreeSet<String>>,
    findings: Vec<Finding>,
}

impl Reader<'_> {
    fn say(&mut self, path: String, message: impl ToString) {
        self.findings.push(Finding { path, message: message.to_string() });
    }

    fn variables(&mut self, at: &str, list: &[Variable], resolver: &mut Resolver<'_>, known: &Variables) {
        for (index, variable) in list.iter().enumerate() {
            let at = format!("{at}[{index}].value");
            let template = match variable.value() {
                Err(error) => {
                    self.say(at, error);
                    continue;
                }
                Ok(Value::Template(template)) => template,
                Ok(_) => continue,
            };
            if self.names(&at, &template, known) {
                continue;
            }
            match resolver.length(&variable.name) {
                // Each circle once, at the first of its variables.
                Err(VariableError::Circle(names))
                    if names.contains(&variable.name) && self.circles.insert(names.iter().cloned().collect()) =>
                {
                    self.say(at, VariableError::Circle(names));
                }
                Err(VariableError::TooLong(name)) if name == variable.name => self.say(at, VariableError::TooLong(name)),
                // What is wrong with a variable that this one names is told there.
                _ => {}
            }
        }
    }

    /// Tells each variable of a template that is not there, and whether there is one. The app of `application` may bring it.
    fn names(&mut self, at: &str, template: &Template, known: &Variables) -> bool {
        if self.spec.application.is_some() {
            return false;
        }
        let missing: BTreeSet<&str> = template.variables().filter(|name| !known.contains(name)).collect();
        for name in &missing {
            self.say(at.to_owned(), VariableError::Unknown((*name).to_owned()));
        }
        !missing.is_empty()
    }

    fn host(&mut self, at: String, text: &str, resolver: &mut Resolver<'_>, known: &Variables) {
        let template = match Template::parse(text) {
            Ok(template) => template,
            Err(error) => return self.say(at, error),
        };
        if self.names(&at, &template, known) {
            return;
        }
        // What values from elsewhere make of it is known in the pod only.
        match resolver.length_of(&template) {
            Ok(length) if length > MAX_HOST_BYTES => {
                self.say(at, format!("gets longer than {MAX_HOST_BYTES} bytes with its variables: write one host in each entry"));
            }
            Ok(_) => {
                if let Some(error) = resolver.resolve(&template).ok().and_then(|entry| Entry::parse(&entry).err()) {
                    self.say(at, error);
                }
            }
            Err(_) => {}
        }
    }

    /// A message that failed for good must not come to where messages are taken from to be handled again: it would go round for
    /// ever.
    fn dead_letter(&mut self, at: String, letters: &DeadLetter) {
        let others = self.spec.components.iter().filter_map(|component| component.dead_letter.as_ref());
        let mut same_server = others.filter(|other| other.connection == letters.connection);
        if let Some(other) = same_server.find(|other| other.redrive_stream() == letters.stream) {
            self.say(
                at,
                format!("is where messages of stream `{}` go to be handled again: name a stream that does not end so", other.stream),
            );
        }
    }

    fn store(&mut self, at: String, name: &str) {
        if name == DEFAULT_STORE || self.spec.key_value_stores.iter().any(|store| store.name == name) {
            return;
        }
        self.say(
            at,
            format!("there is no store `{name}`: add it to spec.keyValueStores, or name `{DEFAULT_STORE}`, the trigger's own Redis"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Manifest;

    #[test]
    fn dead_letters_do_not_go_to_where_messages_are_taken_from_to_be_handled_again() {
        let found = |connection: &str| {
            let text = format!(
                "apiVersion: spinredis.dev/v1alpha1\nkind: SpinRedisApp\nmetadata: {{name: a}}\nspec:\n  components:\n  \
                 - {{id: a, deadLetter: {{stream: 'dead:redrive'}}}}\n  - {{id: b, deadLetter: {{stream: dead{connection}}}}}"
            );
            findings(&Manifest::parse(&text).unwrap().spec).iter().map(Finding::to_string).collect::<Vec<_>>()
        };
        let same = found("");
        assert_eq!(same.len(), 1, "{same:#?}");
        assert!(same[0].starts_with("spec.components[0].deadLetter.stream: is where messages of stream `dead` go"), "{same:#?}");
        assert_eq!(found(", connection: {address: 'redis://other'}"), [""; 0], "on another server");
    }
}
