//! fermyon:spin/key-value and fermyon:spin/redis without a version, as Spin 1 had them.

use protocol::{Answer, Call, failure, parameter, text};
use serde_json::{Value, json};

use bindings::fermyon::spin::{key_value, redis};

mod bindings {
    wit_bindgen::generate!({ world: "unversioned", path: "wit", generate_all });
}

pub fn key_value(function: &str, call: &Call) -> Answer {
    run_key_value(function, call).map_err(failure)
}

fn run_key_value(function: &str, call: &Call) -> Result<Value, key_value::Error> {
    // A number instead of a name is used as the handle of a store, as it is.
    let store = match call.value(0).as_u64() {
        Some(handle) => handle as u32,
        None => key_value::open(call.text(0))?,
    };
    Ok(match function {
        "open" => Value::Null,
        "get" => text(key_value::get(store, call.text(1))?),
        "set" => json!(key_value::set(store, call.text(1), call.text(2).as_bytes())?),
        "delete" => json!(key_value::delete(store, call.text(1))?),
        "exists" => json!(key_value::exists(store, call.text(1))?),
        "get-keys" => json!(key_value::get_keys(store)?),
        "close" => {
            key_value::close(store);
            json!(key_value::exists(store, "")?)
        }
        _ => call.unknown(),
    })
}

pub fn redis(function: &str, call: &Call) -> Answer {
    run_redis(function, call).map_err(failure)
}

fn run_redis(function: &str, call: &Call) -> Result<Value, redis::Error> {
    let address = call.text(0);
    Ok(match function {
        "publish" => json!(redis::publish(address, call.text(1), call.text(2).as_bytes())?),
        "get" => text(redis::get(address, call.text(1))?),
        "set" => json!(redis::set(address, call.text(1), call.text(2).as_bytes())?),
        "incr" => json!(redis::incr(address, call.text(1))?),
        "del" => json!(redis::del(address, &call.texts(1))?),
        "sadd" => json!(redis::sadd(address, call.text(1), &call.texts(2))?),
        "smembers" => json!(redis::smembers(address, call.text(1))?),
        "srem" => json!(redis::srem(address, call.text(1), &call.texts(2))?),
        "execute" => {
            let arguments: Vec<_> =
                call.rest(2).iter().map(|value| parameter(value, redis::RedisParameter::Int64, redis::RedisParameter::Binary)).collect();
            redis::execute(address, call.text(1), &arguments)?.into_iter().map(result).collect()
        }
        _ => call.unknown(),
    })
}

fn result(result: redis::RedisResult) -> Value {
    match result {
        redis::RedisResult::Nil => json!({"nil": null}),
        redis::RedisResult::Status(status) => json!({"status": status}),
        redis::RedisResult::Int64(number) => json!({"int64": number}),
        redis::RedisResult::Binary(bytes) => json!({"binary": text(bytes)}),
    }
}
