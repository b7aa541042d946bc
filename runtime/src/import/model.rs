//! A Spin app as both versions of the manifest describe it.

use toml::de::DeTable;

use super::{
    read::{At, Reader, Table, Text},
    v1, v2,
};

/// A Spin app with Redis triggers.
#[derive(Debug, Default)]
pub(super) struct App {
    pub(super) name: Option<Text>,
    pub(super) version: String,
    pub(super) description: String,
    /// The address of triggers that name none.
    pub(super) address: Option<Text>,
    pub(super) variables: Vec<Variable>,
    pub(super) components: Vec<Component>,
    /// Ids of components that were refused as a whole.
    pub(super) unread: Vec<String>,
    pub(super) triggers: Vec<Trigger>,
}

/// A variable of the application.
#[derive(Debug)]
pub(super) struct Variable {
    pub(super) name: Text,
    pub(super) description: String,
    pub(super) default: Option<String>,
    pub(super) secret: bool,
}

/// A component.
#[derive(Debug)]
pub(super) struct Component {
    pub(super) id: Text,
    pub(super) description: String,
    pub(super) source: Source,
    pub(super) variables: Vec<(String, Text)>,
    pub(super) environment: Vec<(String, Text)>,
    pub(super) hosts: Vec<Host>,
    pub(super) stores: Vec<Text>,
}

/// Where Spin takes a component from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// A file beside the manifest.
    File(String),
    /// A URL.
    Url(String),
    /// A package of a registry, in the terms of the wasm-pkg tools: `NAMESPACE:NAME` at a version.
    Package { registry: Option<String>, package: String, version: String },
}

/// An entry of allowedOutboundHosts, with what a person should know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    pub(super) entry: Text,
    pub(super) comment: Option<&'static str>,
}

/// A component's subscription to a channel.
#[derive(Debug)]
pub(super) struct Trigger {
    pub(super) line: usize,
    /// Id of the component as the manifest writes it.
    pub(super) component: Text,
    pub(super) channel: Text,
    /// Its own address, if it is another than the app's.
    pub(super) address: Option<Text>,
}

/// Which version of the manifest a file is written in.
enum Version {
    One,
    Two,
}

impl App {
    /// Adds a component, or remembers that it could not be read.
    pub(super) fn add(&mut self, id: &Text, component: Option<Component>) {
        match component {
            Some(component) => self.components.push(component),
            None => self.unread.push(id.value.clone()),
        }
    }

    /// Reads a manifest of either version. None when not even the version is known: then nothing else would make sense.
    pub(super) fn read<'t>(reader: &mut Reader<'t>, document: &DeTable<'t>) -> Option<Self> {
        let root = Table { name: String::new(), line: 1, fields: document };
        match version(reader, &root)? {
            Version::One => Some(v1::read(reader, &root)),
            Version::Two => Some(v2::read(reader, &root)),
        }
    }
}

fn version<'t>(reader: &mut Reader<'t>, root: &Table<'_, 't>) -> Option<Version> {
    let key = if root.fields.contains_key("spin_manifest_version") { "spin_manifest_version" } else { "spin_version" };
    let Some(field) = reader.field(root, key) else {
        reader.refuse(1, "this is no Spin manifest: it has neither `spin_manifest_version = 2` nor `spin_manifest_version = \"1\"`");
        return None;
    };
    let value = field.value.get_ref();
    match (value.as_str(), value.as_integer().map(|number| number.as_str())) {
        (Some("1"), _) => Some(Version::One),
        (_, Some("2")) if key == "spin_manifest_version" => Some(Version::Two),
        _ => {
            reader.refuse(field.line, format!("{key} must be 2, or \"1\" in quotes: no other version of the manifest is known"));
            None
        }
    }
}

/// Reads `[variables]`, which both versions write alike.
pub(super) fn variables<'t>(reader: &mut Reader<'t>, root: &Table<'_, 't>) -> Vec<Variable> {
    let Some(table) = reader.table(root, "variables") else { return Vec::new() };
    let mut variables = Vec::new();
    for (name, field) in reader.fields(&table) {
        let Some(entry) = reader.table_of(&format!("variables.{name}"), field) else { continue };
        reader.only(&entry, &["default", "required", "secret", "description"]);
        let default = reader.string(&entry, "default");
        let required = reader.boolean(&entry, "required");
        if default.is_none() && !required && !entry.fields.contains_key("default") {
            reader.refuse(field.line, format!("variable {name} has neither `default` nor `required = true`: give it one of them"));
        }
        variables.push(Variable {
            name: At { value: name, line: field.line },
            description: reader.string(&entry, "description").map(|text| text.value).unwrap_or_default(),
            default: default.map(|text| text.value),
            secret: reader.boolean(&entry, "secret"),
        });
    }
    variables
}
