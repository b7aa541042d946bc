//! Manifests of apps, and what their status says.

use serde_json::{Value, json};

/// A `SpinRedisApp` with one replica.
pub fn app(name: &str, trigger: Value, components: Value) -> Value {
    json!({
        "apiVersion": "spinredis.dev/v1alpha1",
        "kind": "SpinRedisApp",
        "metadata": {"name": name},
        "spec": {"trigger": trigger, "components": components},
    })
}

/// A component with one channel.
pub fn component(id: &str, channel: &str, source: Value) -> Value {
    json!({"id": id, "channels": [channel], "source": source})
}

/// A source: an image.
pub fn oci(reference: &str) -> Value {
    json!({"oci": {"reference": reference}})
}

/// An app whose only component, `hello`, comes from the ConfigMap `guests`, listens to one channel and prints
/// `Got message: …`.
pub fn hello(name: &str, address: &str, channel: &str) -> Value {
    app(name, json!({"address": address}), json!([component("hello", channel, crate::guests::source("hello.wat"))]))
}

/// A condition of an app, as long as it is about the app's newest generation; else null.
pub fn condition(app: &Value, type_: &str) -> Value {
    if app["status"]["observedGeneration"] != app["metadata"]["generation"] {
        return Value::Null;
    }
    let conditions = app["status"]["conditions"].as_array();
    conditions.into_iter().flatten().find(|condition| condition["type"] == type_).cloned().unwrap_or_default()
}

/// The reason of the condition Ready.
pub fn reason_of(app: &Value) -> String {
    condition(app, "Ready")["reason"].as_str().unwrap_or_default().to_owned()
}
