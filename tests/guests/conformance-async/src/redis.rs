//! spin:redis/redis@3.0.0.

use protocol::{Call, optional, parameter, text};
use serde_json::{Value, json};
use spin_sdk::redis::{Connection, Error, RedisParameter, RedisResult};

pub async fn answer(function: &str, call: &Call) -> Result<Value, Error> {
    if function == "open-many" {
        let mut opened = Vec::new();
        for _ in 0..call.number(1) {
            opened.push(Connection::open(call.text(0)).await?);
        }
        return Ok(json!(opened.len()));
    }
    let connection = Connection::open(call.text(0)).await?;
    Ok(match function {
        "open" => Value::Null,
        "publish" => json!(connection.publish(call.text(1), call.text(2)).await?),
        "get" => optional(connection.get(call.text(1)).await?),
        "set" => json!(connection.set(call.text(1), call.text(2)).await?),
        "incr" => json!(connection.incr(call.text(1)).await?),
        "del" => json!(connection.del(call.texts(1)).await?),
        "sadd" => json!(connection.sadd(call.text(1), call.texts(2)).await?),
        "smembers" => json!(connection.smembers(call.text(1)).await?),
        "srem" => json!(connection.srem(call.text(1), call.texts(2)).await?),
        "execute" => {
            let arguments =
                call.rest(2).iter().map(|value| parameter(value, RedisParameter::Int64, RedisParameter::Binary)).collect::<Vec<_>>();
            connection.execute(call.text(1), arguments).await?.into_iter().map(result).collect()
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
