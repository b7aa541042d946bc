//! fermyon:spin/redis@2.0.0.

use protocol::{Answer, Call, failure, optional, parameter, text};
use serde_json::{Value, json};
use spin_sdk::redis::{Connection, Error, RedisParameter, RedisResult};

pub fn answer(function: &str, call: &Call) -> Answer {
    run(function, call).map_err(failure)
}

fn run(function: &str, call: &Call) -> Result<Value, Error> {
    if function == "open-many" {
        let opened: Result<Vec<Connection>, Error> = (0..call.number(1)).map(|_| Connection::open(call.text(0))).collect();
        return Ok(json!(opened?.len()));
    }
    let connection = Connection::open(call.text(0))?;
    Ok(match function {
        "open" => Value::Null,
        "publish" => json!(connection.publish(call.text(1), &call.text(2).as_bytes().to_vec())?),
        "get" => optional(connection.get(call.text(1))?),
        "set" => json!(connection.set(call.text(1), &call.text(2).as_bytes().to_vec())?),
        "incr" => json!(connection.incr(call.text(1))?),
        "del" => json!(connection.del(&call.texts(1))?),
        "sadd" => json!(connection.sadd(call.text(1), &call.texts(2))?),
        "smembers" => json!(connection.smembers(call.text(1))?),
        "srem" => json!(connection.srem(call.text(1), &call.texts(2))?),
        "execute" => {
            let arguments: Vec<_> =
                call.rest(2).iter().map(|value| parameter(value, RedisParameter::Int64, RedisParameter::Binary)).collect();
            connection.execute(call.text(1), &arguments)?.into_iter().map(result).collect()
        }
        _ => call.unknown(),
    })
}

fn result(result: RedisResult) -> Value {
    match result {
        RedisResult::Nil => json!({"nil": null}),
        RedisResult::Status(status) => json!({"status": status}),
        RedisResult::Int64(number) => json!({"int64": number}),
        RedisResult::Binary(bytes) => json!({"binary": text(bytes)}),
    }
}
