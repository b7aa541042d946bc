//! The part of a component that both versions of the Spin manifest write alike, and what of it is refused.

use super::{
    hosts,
    model::{Component, Host, Source},
    read::{Reader, Table, Text},
};

/// Which version's keys and defaults hold.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Defaults {
    /// Version 1: variables are called `config`, and a component without allowed_outbound_hosts may reach every Redis.
    V1,
    /// Version 2.
    V2,
}

/// Keys that say nothing about how the component runs.
const HARMLESS: [&str; 3] = ["description", "build", "exclude_files"];
const COMMON: [&str; 9] = [
    "source",
    "environment",
    "files",
    "allowed_http_hosts",
    "allowed_outbound_hosts",
    "key_value_stores",
    "sqlite_databases",
    "ai_models",
    // Refused with a sentence when it says something.
    "dependencies",
];
const V1_ONLY: [&str; 3] = ["id", "trigger", "config"];
const V2_ONLY: [&str; 5] = ["variables", "targets", "tool", "profile", "dependencies_inherit_configuration"];

/// Keys without an equivalent, and what to do instead.
const WITHOUT_EQUIVALENT: [(&str, &str); 4] = [
    ("files", "a component image holds no files; push the whole app with `spin registry push` and name it in spec.application.oci"),
    (
        "sqlite_databases",
        "there is no SQLite here; keep the data in a key-value store, or in a database that the component reaches over HTTP",
    ),
    ("ai_models", "there are no models here; let the component call one over HTTP and list its host in allowed_outbound_hosts"),
    (
        "dependencies",
        "the image must be composed already: compose it with `wac plug`, or push the whole app with `spin registry push`, which composes, and name it in spec.application.oci",
    ),
];

pub(super) fn read<'t>(reader: &mut Reader<'t>, table: &Table<'_, 't>, id: Text, defaults: Defaults) -> Option<Component> {
    let own: &[&str] = if defaults == Defaults::V1 { &V1_ONLY } else { &V2_ONLY };
    reader.only(table, &[&COMMON[..], &HARMLESS, own].concat());
    for (key, instead) in WITHOUT_EQUIVALENT {
        if let Some(field) = reader.field(table, key).filter(|field| !field.is_empty()) {
            reader.refuse(field.line, format!("component {}: {key}: {instead}", id.value));
        }
    }
    let variables = if defaults == Defaults::V1 { "config" } else { "variables" };
    let source = source(reader, table, &id);
    Some(Component {
        description: reader.string(table, "description").map(|text| text.value).unwrap_or_default(),
        variables: reader.string_map(table, variables),
        environment: reader.string_map(table, "environment"),
        hosts: hosts(reader, table, defaults),
        stores: reader.strings(table, "key_value_stores"),
        source: source?,
        id,
    })
}

fn source<'t>(reader: &mut Reader<'t>, table: &Table<'_, 't>, id: &Text) -> Option<Source> {
    const EXAMPLE: &str = "`source = \"FILE.wasm\"`";
    let Some(field) = reader.field(table, "source") else {
        reader.missing(table, "source", EXAMPLE);
        return None;
    };
    if let Some(file) = field.value.get_ref().as_str() {
        return Some(Source::File(file.to_owned()));
    }
    let path = format!("component {}: source", id.value);
    let table = reader.table_of(&path, field)?;
    if table.fields.contains_key("url") {
        reader.only(&table, &["url", "digest"]);
        return reader.string(&table, "url").map(|url| Source::Url(url.value));
    }
    reader.only(&table, &["registry", "package", "version"]);
    let registry = reader.string(&table, "registry").map(|text| text.value);
    let (package, version) = (reader.string(&table, "package"), reader.string(&table, "version"));
    let (Some(package), Some(version)) = (package, version) else {
        reader.refuse(table.line, format!("{path} must be a file, `{{ url, digest }}`, or `{{ registry, package, version }}`"));
        return None;
    };
    Some(Source::Package { registry, package: package.value, version: version.value })
}

fn hosts<'t>(reader: &mut Reader<'t>, table: &Table<'_, 't>, defaults: Defaults) -> Vec<Host> {
    let mut found: Vec<Host> =
        reader.strings(table, "allowed_outbound_hosts").into_iter().map(|entry| Host { entry, comment: None }).collect();
    for entry in reader.strings(table, "allowed_http_hosts") {
        match hosts::of_http_host(&entry) {
            Ok(hosts) => found.extend(hosts),
            Err(sentence) => reader.refuse(entry.line, format!("{}: allowed_http_hosts: {sentence}", table.name)),
        }
    }
    if defaults == Defaults::V1 && !table.fields.contains_key("allowed_outbound_hosts") {
        found.push(hosts::every_redis(table.line));
    }
    let mut seen = std::collections::BTreeSet::new();
    found.retain(|host| seen.insert(host.entry.value.clone()));
    found
}
