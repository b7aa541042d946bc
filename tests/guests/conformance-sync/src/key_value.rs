//! fermyon:spin/key-value@2.0.0.

use protocol::{Answer, Call, failure, optional};
use serde_json::{Value, json};
use spin_sdk::key_value::{Error, Store};

pub fn answer(function: &str, call: &Call) -> Answer {
    run(function, call).map_err(failure)
}

fn run(function: &str, call: &Call) -> Result<Value, Error> {
    if function == "open-many" {
        let opened: Result<Vec<Store>, Error> = (0..call.number(1)).map(|_| Store::open(call.text(0))).collect();
        return Ok(json!(opened?.len()));
    }
    let store = Store::open(call.text(0))?;
    Ok(match function {
        "open" => Value::Null,
        "get" => optional(store.get(call.text(1))?),
        "set" => json!(store.set(call.text(1), call.text(2).as_bytes())?),
        "delete" => json!(store.delete(call.text(1))?),
        "exists" => json!(store.exists(call.text(1))?),
        "get-keys" => json!(store.get_keys()?),
        _ => call.unknown(),
    })
}
