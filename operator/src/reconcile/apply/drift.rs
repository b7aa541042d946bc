//! Whether a live object already says everything that is wanted of it. The API server adds defaults and others add fields of
//! their own; those are no drift. A field that is no longer wanted shows in the digest annotation instead.

use serde_json::{Map, Value};

/// Whether `live` holds all of `wanted`.
pub fn covers(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => wanted.iter().all(|(name, wanted)| field(live, name, wanted)),
        (Value::Array(live), Value::Array(wanted)) if wanted.iter().all(Value::is_object) => {
            wanted.iter().all(|wanted| live.iter().any(|live| covers(live, wanted)))
        }
        // The API server leaves out what is empty or zero.
        (Value::Null, wanted) => is_empty(wanted),
        (live, wanted) => live == wanted,
    }
}

fn field(live: &Map<String, Value>, name: &str, wanted: &Value) -> bool {
    let live = live.get(name).unwrap_or(&Value::Null);
    match (name, live, wanted) {
        ("requests" | "limits", Value::Object(live), Value::Object(wanted)) => {
            wanted.iter().all(|(name, wanted)| live.get(name).is_some_and(|live| same_quantity(live, wanted)))
        }
        _ => covers(live, wanted),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

/// The API server writes quantities its own way: `1000m` becomes `1`.
fn same_quantity(live: &Value, wanted: &Value) -> bool {
    match (live.as_str().and_then(amount), wanted.as_str().and_then(amount)) {
        (Some(live), Some(wanted)) => (live - wanted).abs() <= wanted.abs() * 1e-9,
        _ => live == wanted,
    }
}

/// A quantity as a number; `None` when it is none.
pub fn amount(quantity: &str) -> Option<f64> {
    let unit_at = quantity.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(quantity.len());
    let (number, unit) = quantity.split_at(unit_at);
    let factor = match unit {
        "" => 1.0,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        _ => return None,
    };
    number.parse::<f64>().ok().map(|number| number * factor)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_of_the_api_server_and_additions_of_others_are_no_drift() {
        let live = json!({"spec": {"replicas": 1, "paused": false, "containers": [{"name": "sidecar"}, {"name": "serve", "args": ["a"], "terminationMessagePath": "/dev/termination-log"}]}});
        assert!(covers(&live, &json!({"spec": {"replicas": 1, "containers": [{"name": "serve", "args": ["a"]}]}})));
    }

    #[test]
    fn a_changed_a_missing_and_a_reordered_value_are_drift() {
        let live = json!({"replicas": 2, "args": ["a", "b"]});
        for wanted in [json!({"replicas": 1}), json!({"args": ["b", "a"]}), json!({"args": ["a"]}), json!({"image": "x"})] {
            assert!(!covers(&live, &wanted), "{wanted}");
        }
    }

    #[test]
    fn what_the_api_server_leaves_out_because_it_is_empty_is_no_drift() {
        assert!(covers(&json!({"refs": {}}), &json!({"refs": {"sources": []}, "surge": 0})));
        assert!(covers(&json!({"key": "a"}), &json!({"key": "a", "value": ""})));
    }

    #[test]
    fn a_quantity_may_be_written_in_another_way() {
        let live = json!({"limits": {"cpu": "1", "memory": "1Gi"}});
        assert!(covers(&live, &json!({"limits": {"cpu": "1000m", "memory": "1024Mi"}})));
        assert!(!covers(&live, &json!({"limits": {"cpu": "999m"}})));
    }
}
