//! Calls what an asynchronous component may import, as a message asks for; see the README beside this crate's folder.

mod key_value;
mod net;
mod redis;

use std::{env, fs, io};

use anyhow::Result;
use protocol::{Answer, Call, failure, text};
use serde_json::{Value, json};
use spin_sdk::redis_subscriber;

#[redis_subscriber]
async fn on_message(message: Vec<u8>) -> Result<()> {
    for call in protocol::calls(&message) {
        protocol::print(&answer(&call).await);
    }
    Ok(())
}

async fn answer(call: &Call) -> Answer {
    let (interface, function) = call.name().split_once('.').unwrap_or((call.name(), ""));
    match interface {
        "variables" => match function {
            "get" => spin_sdk::variables::get(call.text(0)).await.map(Into::into).map_err(failure),
            _ => call.unknown(),
        },
        "key-value" => key_value::answer(function, call).await.map_err(failure),
        "redis" => redis::answer(function, call).await.map_err(failure),
        "http" | "tcp" | "dns" => net::answer(call).await,
        "fs" => match function {
            "read" => fs::read(call.text(0)).map(text).map_err(io_failure),
            "write" => fs::write(call.text(0), call.text(1)).map(|()| Value::Null).map_err(io_failure),
            _ => call.unknown(),
        },
        "env" => Ok(json!(env::var(call.text(0)).ok())),
        "args" => Ok(env::args().collect()),
        _ => call.unknown(),
    }
}

fn io_failure(error: io::Error) -> Value {
    json!([error.kind().to_string(), error.to_string()])
}
