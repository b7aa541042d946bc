//! Variables for Spin's variables interface and `wasi:config`: how they are written, and how their values come about.
//!
//! A value that stands in the manifest is a [template](crate::template); one from a Secret or ConfigMap is taken as it is.
//! A component sees its own variables and the shared ones, and its own win. The template of one of its own may name any of
//! both, its own name meaning the shared variable (`api_key: "{{ api_key }}"` hands that on); the template of a shared one
//! names shared ones only.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{
    reference::ValueFrom,
    template::{Part, Template, TemplateError},
};

/// Longest value that templates may make, in bytes: without a limit a few short ones would fill the memory.
pub const MAX_VALUE_BYTES: usize = 1 << 20;

/// A variable; its value is given here or kept in a Secret or ConfigMap.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.value) != has(self.valueFrom)")
    .message("a variable needs exactly one of value and valueFrom"))]
pub struct Variable {
    /// Name of the variable: lower-case letters, digits and single underscores.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[a-z](_?[a-z0-9])*$"))]
    pub name: String,
    /// Its value; {{ other }} stands for the value of another variable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32768))]
    pub value: Option<String>,
    /// Its value from a Secret or ConfigMap key, taken as it is; read anew for new instances, so a change needs no restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<ValueFrom>,
}

/// What is known of a variable's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// It is this text, with nothing in it that stands for another variable.
    Text(String),
    /// It is made from this template.
    Template(Template),
    /// It is kept in a Secret or ConfigMap that was not read.
    Unread,
}

/// Why a variable has no value.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum VariableError {
    /// No such variable.
    #[error("there is no variable `{0}`: add it to variables, or correct the name")]
    Unknown(String),
    /// Its value is in a Secret or ConfigMap that was not read.
    #[error("the value of variable `{0}` is kept in a Secret or ConfigMap that was not read")]
    Unread(String),
    /// Variables that stand for each other.
    #[error("the variables {} stand for each other in a circle: give one of them a value without another in it", .0.join(" → "))]
    Circle(Vec<String>),
    /// Templates that make an endless text.
    #[error("the value of variable `{0}` gets longer than {MAX_VALUE_BYTES} bytes: put fewer other variables into it")]
    TooLong(String),
}

/// The variables that a component sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables {
    shared: BTreeMap<String, Value>,
    own: BTreeMap<String, Value>,
}

/// Where a variable is written; a name may be in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Layer {
    Shared,
    Own,
}

impl Variable {
    /// What the manifest alone says of the value.
    pub fn value(&self) -> Result<Value, TemplateError> {
        match &self.value {
            Some(text) => Template::parse(text).map(Value::Template),
            None => Ok(Value::Unread),
        }
    }
}

impl Variables {
    /// The variables of a component: those of the app, and its own, which win.
    pub fn new(shared: BTreeMap<String, Value>, own: BTreeMap<String, Value>) -> Self {
        Self { shared, own }
    }

    /// Whether there is a variable of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.own.contains_key(name) || self.shared.contains_key(name)
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let shared = self.shared.keys().filter(|name| !self.own.contains_key(*name));
        let mut names: Vec<&str> = self.own.keys().chain(shared).map(String::as_str).collect();
        names.sort_unstable();
        names.into_iter()
    }

    /// The value of a variable. For many, a [`resolver`](Self::resolver) remembers what they have in common.
    pub fn get(&self, name: &str) -> Result<String, VariableError> {
        self.resolver().get(name)
    }

    /// The text of a template, such as an entry of `allowedOutboundHosts`.
    pub fn resolve(&self, template: &Template) -> Result<String, VariableError> {
        self.resolver().resolve(template)
    }

    /// Makes values, each once.
    pub fn resolver(&self) -> Resolver<'_> {
        Resolver { variables: self, path: Vec::new(), lengths: BTreeMap::new(), texts: BTreeMap::new() }
    }

    /// The variable that a name means to a template of this layer.
    fn find(&self, layer: Layer, name: &str) -> Option<(Layer, &str)> {
        let of = |map: &'_ BTreeMap<String, Value>| map.contains_key(name);
        let found = match layer {
            Layer::Own if of(&self.own) => Layer::Own,
            _ if of(&self.shared) => Layer::Shared,
            _ => return None,
        };
        self.layer(found).get_key_value(name).map(|(name, _)| (found, name.as_str()))
    }

    fn layer(&self, layer: Layer) -> &BTreeMap<String, Value> {
        match layer {
            Layer::Shared => &self.shared,
            Layer::Own => &self.own,
        }
    }
}

/// Makes the values of variables. A value is measured before it is made, so that nothing is copied for one that is wrong.
#[derive(Debug)]
pub struct Resolver<'a> {
    variables: &'a Variables,
    path: Vec<Node<'a>>,
    lengths: BTreeMap<Node<'a>, Result<usize, VariableError>>,
    texts: BTreeMap<Node<'a>, String>,
}

type Node<'a> = (Layer, &'a str);

impl<'a> Resolver<'a> {
    /// The value of a variable.
    pub fn get(&mut self, name: &str) -> Result<String, VariableError> {
        self.length(name)?;
        let node = self.node(None, name)?;
        self.text(node)
    }

    /// The text of a template.
    pub fn resolve(&mut self, template: &Template) -> Result<String, VariableError> {
        self.length_of(template)?;
        let mut text = String::new();
        for part in template.parts() {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Variable(name) => text.push_str(&self.get(name)?),
            }
        }
        Ok(text)
    }

    /// The length of a variable's value in bytes, in which values that were not read count nothing.
    pub fn length(&mut self, name: &str) -> Result<usize, VariableError> {
        let node = self.node(None, name)?;
        self.measure(node)
    }

    /// The length of a template's text in bytes, in which values that were not read count nothing.
    pub fn length_of(&mut self, template: &Template) -> Result<usize, VariableError> {
        let mut length = 0;
        for part in template.parts() {
            length += match part {
                Part::Text(part) => part.len(),
                Part::Variable(name) => self.length(name)?,
            };
        }
        Ok(length)
    }

    /// The variable that a name means: to a component, or in the template of another variable, where its own name means the
    /// shared one.
    fn node(&self, of: Option<Node<'_>>, name: &str) -> Result<Node<'a>, VariableError> {
        let layer = match of {
            Some((_, own)) if own == name => Layer::Shared,
            Some((layer, _)) => layer,
            None => Layer::Own,
        };
        self.variables.find(layer, name).ok_or_else(|| VariableError::Unknown(name.to_owned()))
    }

    fn value(&self, (layer, name): Node<'a>) -> Option<&'a Value> {
        self.variables.layer(layer).get(name)
    }

    fn measure(&mut self, node: Node<'a>) -> Result<usize, VariableError> {
        if let Some(known) = self.lengths.get(&node) {
            return known.clone();
        }
        if let Some(start) = self.path.iter().position(|step| *step == node) {
            let names = self.path[start..].iter().chain([&node]).map(|(_, name)| (*name).to_owned());
            return Err(VariableError::Circle(names.collect()));
        }
        let length = match self.value(node) {
            None => Err(VariableError::Unknown(node.1.to_owned())),
            Some(Value::Unread) => Ok(0),
            Some(Value::Text(text)) => Ok(text.len()),
            Some(Value::Template(template)) => {
                self.path.push(node);
                let length = self.measure_template(node, template);
                self.path.pop();
                length
            }
        };
        self.lengths.insert(node, length.clone());
        length
    }

    fn measure_template(&mut self, node: Node<'a>, template: &'a Template) -> Result<usize, VariableError> {
        let mut length = 0;
        for part in template.parts() {
            length += match part {
                Part::Text(part) => part.len(),
                Part::Variable(name) => {
                    let part = self.node(Some(node), name)?;
                    self.measure(part)?
                }
            };
            if length > MAX_VALUE_BYTES {
                return Err(VariableError::TooLong(node.1.to_owned()));
            }
        }
        Ok(length)
    }

    /// The value of a variable that was measured, so that there is no circle.
    fn text(&mut self, node: Node<'a>) -> Result<String, VariableError> {
        if let Some(text) = self.texts.get(&node) {
            return Ok(text.clone());
        }
        let text = match self.value(node) {
            None => return Err(VariableError::Unknown(node.1.to_owned())),
            Some(Value::Unread) => return Err(VariableError::Unread(node.1.to_owned())),
            Some(Value::Text(text)) => text.clone(),
            Some(Value::Template(template)) => {
                let mut text = String::new();
                for part in template.parts() {
                    match part {
                        Part::Text(part) => text.push_str(part),
                        Part::Variable(name) => text.push_str(&self.text(self.node(Some(node), name)?)?),
                    }
                }
                text
            }
        };
        self.texts.insert(node, text.clone());
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, &str)]) -> BTreeMap<String, Value> {
        entries.iter().map(|(name, text)| ((*name).to_owned(), Value::Template(Template::parse(text).unwrap()))).collect()
    }

    fn variables(shared: &[(&str, &str)], own: &[(&str, &str)]) -> Variables {
        Variables::new(map(shared), map(own))
    }

    #[test]
    fn a_components_own_variable_wins_and_may_hand_the_shared_one_on() {
        let both = variables(
            &[("key", "k"), ("host", "h"), ("url", "{{ host }}")],
            &[("host", "own"), ("key", "<{{ key }}>"), ("x", "{{ url }}")],
        );
        let value = |name: &str| both.get(name).unwrap();
        assert_eq!((value("host").as_str(), value("key").as_str()), ("own", "<k>"));
        assert_eq!(value("x"), "h", "a shared template knows shared variables only");
        assert_eq!(both.names().collect::<Vec<_>>(), ["host", "key", "url", "x"]);
        assert_eq!(both.resolve(&Template::parse("https://{{ host }}:{{ x }}").unwrap()).unwrap(), "https://own:h");
    }

    #[test]
    fn text_that_was_read_is_no_template() {
        let own = [("a".to_owned(), Value::Text("{{ b }}".to_owned())), ("b".to_owned(), Value::Unread)];
        let variables = Variables::new(BTreeMap::new(), own.into());
        assert_eq!(variables.get("a").unwrap(), "{{ b }}");
        assert_eq!(variables.get("b"), Err(VariableError::Unread("b".to_owned())));
    }

    #[test]
    fn a_circle_is_named_and_an_unknown_variable_too() {
        let shared = variables(&[("a", "{{ b }}"), ("b", "{{ c }}"), ("c", "{{ b }}")], &[]);
        assert!(shared.get("a").unwrap_err().to_string().contains("the variables b → c → b stand for each other"));
        assert_eq!(variables(&[("a", "{{ a }}")], &[]).get("a"), Err(VariableError::Circle(vec!["a".to_owned(), "a".to_owned()])));
        assert_eq!(variables(&[], &[("a", "{{ a }}")]).get("a"), Err(VariableError::Unknown("a".to_owned())));
        assert_eq!(variables(&[], &[]).get("a"), Err(VariableError::Unknown("a".to_owned())));
    }

    #[test]
    fn templates_that_double_one_another_end_in_a_sentence_and_not_in_the_memory() {
        let names: Vec<String> = (0..128).map(|number| format!("v{number}")).collect();
        let mut own = map(&[("v0", "0123456789")]);
        for pair in names.windows(2) {
            own.insert(pair[1].clone(), Value::Template(Template::parse(&format!("{{{{ {0} }}}}{{{{ {0} }}}}", pair[0])).unwrap()));
        }
        let variables = Variables::new(BTreeMap::new(), own);
        assert!(matches!(variables.get("v127"), Err(VariableError::TooLong(_))));
        assert_eq!(variables.get("v16").unwrap().len(), 10 << 16);
        assert_eq!(variables.resolver().length("v3"), Ok(80));
    }
}
