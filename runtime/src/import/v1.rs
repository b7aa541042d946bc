//! Version 1 of the Spin manifest: one trigger type for the app, `[[component]]` with `[component.trigger]`.

use super::{
    component::{self, Defaults},
    model::{App, Trigger, variables},
    read::{Reader, Table, Text},
};

const KEYS: [&str; 9] =
    ["spin_manifest_version", "spin_version", "name", "version", "description", "authors", "trigger", "variables", "component"];

pub(super) fn read<'t>(reader: &mut Reader<'t>, root: &Table<'_, 't>) -> App {
    reader.only(root, &KEYS);
    let mut app = App {
        name: reader.string(root, "name"),
        version: reader.string(root, "version").map(|text| text.value).unwrap_or_default(),
        description: reader.string(root, "description").map(|text| text.value).unwrap_or_default(),
        variables: variables(reader, root),
        ..App::default()
    };
    if app.name.is_none() && !root.fields.contains_key("name") {
        reader.missing(root, "name", "`name = \"my-app\"`");
    }
    // With triggers of another type, what its components say about their channels would be reported for nothing.
    let is_redis = trigger(reader, root, &mut app);
    let Some(list) = reader.field(root, "component") else {
        reader.missing(root, "component", "a `[[component]]` for each component");
        return app;
    };
    for item in reader.items("component", list) {
        let Some(mut table) = reader.table_of("component", item) else { continue };
        let id = reader.string(&table, "id");
        if let Some(id) = &id {
            table.name = format!("component {}", id.value);
        } else if !table.fields.contains_key("id") {
            reader.missing(&table, "id", "`id = \"my-component\"`");
        }
        let Some(id) = id else { continue };
        if is_redis {
            subscription(reader, &table, &id, &mut app);
        }
        app.add(&id, component::read(reader, &table, id.clone(), Defaults::V1));
    }
    app
}

/// Reads `trigger = { type = "redis", address = "…" }` and says whether it is of type redis.
fn trigger<'t>(reader: &mut Reader<'t>, root: &Table<'_, 't>, app: &mut App) -> bool {
    const EXAMPLE: &str = "`trigger = { type = \"redis\", address = \"redis://HOST:6379\" }`";
    let Some(table) = reader.table(root, "trigger") else {
        if !root.fields.contains_key("trigger") {
            reader.missing(root, "trigger", EXAMPLE);
        }
        return false;
    };
    match reader.string(&table, "type") {
        Some(kind) if kind.value == "redis" => {}
        Some(kind) => {
            reader.refuse(kind.line, super::v2::other_trigger(&kind.value));
            return false;
        }
        None => {
            reader.missing(&table, "type", EXAMPLE);
            return false;
        }
    }
    reader.only(&table, &["type", "address"]);
    app.address = reader.string(&table, "address");
    true
}

fn subscription<'t>(reader: &mut Reader<'t>, table: &Table<'_, 't>, id: &Text, app: &mut App) {
    let Some(trigger) = reader.table(table, "trigger") else {
        if !table.fields.contains_key("trigger") {
            reader.missing(table, "trigger", "`[component.trigger]` with `channel = \"…\"`");
        }
        return;
    };
    reader.only(&trigger, &["channel", "address", "executor"]);
    if let Some(executor) = reader.table(&trigger, "executor")
        && let Some(kind) = reader.string(&executor, "type").filter(|kind| kind.value != "spin")
    {
        let message = format!("component {}: executor {}: there is only \"spin\" here: take the executor out", id.value, kind.value);
        reader.refuse(kind.line, message);
    }
    let address = reader.string(&trigger, "address");
    match reader.string(&trigger, "channel") {
        Some(channel) => app.triggers.push(Trigger { line: trigger.line, component: id.clone(), channel, address }),
        None if trigger.fields.contains_key("channel") => {}
        None => reader.missing(&trigger, "channel", "`channel = \"messages\"`"),
    }
}
