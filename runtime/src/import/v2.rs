//! Version 2 of the Spin manifest: `[application]`, `[[trigger.redis]]` and `[component.ID]`.

use super::{
    component::{self, Defaults},
    model::{App, Trigger, variables},
    read::{At, Field, Reader, Table, Text},
};

const KEYS: [&str; 5] = ["spin_manifest_version", "application", "variables", "trigger", "component"];
const APPLICATION: [&str; 7] = ["name", "version", "description", "authors", "targets", "trigger", "tool"];

pub(super) fn read<'t>(reader: &mut Reader<'t>, root: &Table<'_, 't>) -> App {
    reader.only(root, &KEYS);
    let mut app = App { variables: variables(reader, root), ..App::default() };
    application(reader, root, &mut app);
    if let Some(components) = reader.table(root, "component") {
        for (id, field) in reader.fields(&components) {
            let Some(table) = reader.table_of(&format!("component {id}"), field) else { continue };
            let id = At { value: id, line: field.line };
            app.add(&id, component::read(reader, &table, id.clone(), Defaults::V2));
        }
    }
    let Some(triggers) = reader.table(root, "trigger") else {
        if !root.fields.contains_key("trigger") {
            reader.missing(root, "trigger", "a `[[trigger.redis]]` for each channel of a component");
        }
        return app;
    };
    for (kind, field) in reader.fields(&triggers) {
        let items = reader.items(&format!("trigger.{kind}"), field);
        for item in items {
            if kind == "redis" {
                trigger(reader, item, &mut app);
            } else {
                reader.refuse(item.line, other_trigger(&kind));
            }
        }
    }
    app
}

/// What is said of a trigger of another type.
pub(super) fn other_trigger(kind: &str) -> String {
    format!(
        "trigger {kind}: SpinRedisApp serves Redis triggers only; leave what this trigger calls in a Spin app of its own and take it out of this one"
    )
}

fn application<'t>(reader: &mut Reader<'t>, root: &Table<'_, 't>, app: &mut App) {
    let Some(table) = reader.table(root, "application") else {
        if !root.fields.contains_key("application") {
            reader.missing(root, "application", "`[application]` with `name = \"my-app\"`");
        }
        return;
    };
    reader.only(&table, &APPLICATION);
    app.name = reader.string(&table, "name");
    if app.name.is_none() && !table.fields.contains_key("name") {
        reader.missing(&table, "name", "`name = \"my-app\"`");
    }
    app.version = reader.string(&table, "version").map(|text| text.value).unwrap_or_default();
    app.description = reader.string(&table, "description").map(|text| text.value).unwrap_or_default();
    let Some(settings) = reader.table(&table, "trigger") else { return };
    for (kind, field) in reader.fields(&settings) {
        if kind != "redis" {
            reader.refuse(
                field.line,
                format!("application.trigger.{kind}: these settings are for triggers that are not served here: take them out"),
            );
        } else if let Some(redis) = reader.table_of("application.trigger.redis", field) {
            reader.only(&redis, &["address"]);
            app.address = reader.string(&redis, "address");
        }
    }
}

fn trigger<'t>(reader: &mut Reader<'t>, item: Field<'_, 't>, app: &mut App) {
    let Some(table) = reader.table_of("trigger.redis", item) else { return };
    reader.only(&table, &["id", "component", "components", "dependencies", "channel", "address"]);
    for key in ["components", "dependencies"] {
        if let Some(field) = reader.field(&table, key).filter(|field| !field.is_empty()) {
            reader.refuse(
                field.line,
                format!("trigger.redis.{key}: a Redis trigger here calls one component; name it in `component` and take `{key}` out"),
            );
        }
    }
    let address = reader.string(&table, "address");
    let component = component_of(reader, &table, app);
    let channel = reader.string(&table, "channel");
    if channel.is_none() && !table.fields.contains_key("channel") {
        reader.missing(&table, "channel", "`channel = \"messages\"`");
    }
    if let (Some(component), Some(channel)) = (component, channel) {
        app.triggers.push(Trigger { line: table.line, component, channel, address });
    }
}

/// The component a trigger calls: its id, or a whole component written in its place.
fn component_of<'t>(reader: &mut Reader<'t>, table: &Table<'_, 't>, app: &mut App) -> Option<Text> {
    let Some(field) = reader.field(table, "component") else {
        reader.missing(table, "component", "`component = \"ID\"`");
        return None;
    };
    if field.value.get_ref().is_str() {
        return reader.string_of("trigger.redis.component", field);
    }
    let inline = reader.table_of("trigger.redis.component", field)?;
    // It has no id of its own: it gets the trigger's, and else a number.
    let number = app.components.iter().filter(|component| component.id.value.starts_with("inline-")).count() + 1;
    let id = reader.string(table, "id").map_or_else(|| format!("inline-{number}"), |text| text.value);
    let id = At { value: id, line: field.line };
    app.add(&id, component::read(reader, &inline, id.clone(), Defaults::V2));
    Some(id)
}
