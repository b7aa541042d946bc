//! spin:key-value/key-value@3.0.0.

use protocol::{Call, optional};
use serde_json::{Value, json};
use spin_sdk::key_value::{Error, Store};

pub async fn answer(function: &str, call: &Call) -> Result<Value, Error> {
    if function == "open-many" {
        let mut opened = Vec::new();
        for _ in 0..call.number(1) {
            opened.push(Store::open(call.text(0)).await?);
        }
        return Ok(json!(opened.len()));
    }
    let store = Store::open(call.text(0)).await?;
    Ok(match function {
        "open" => Value::Null,
        "get" => optional(store.get(call.text(1)).await?),
        "set" => json!(store.set(call.text(1), call.text(2)).await?),
        "delete" => json!(store.delete(call.text(1)).await?),
        "exists" => json!(store.exists(call.text(1)).await?),
        "get-keys" => json!(store.get_keys().await.collect().await?),
        "get-first-key" => {
            // Leaves the rest of the stream unread, and the result too.
            let mut keys = store.get_keys().await;
            json!(keys.next().await)
        }
        _ => call.unknown(),
    })
}
