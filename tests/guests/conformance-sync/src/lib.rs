//! Calls what a synchronous component may import, as a message asks for; see the README beside this crate's folder.

mod key_value;
mod net;
mod redis;
mod standard;
mod unversioned;

use anyhow::Result;
use protocol::{Answer, Call};
use spin_sdk::redis_component;

#[redis_component]
fn on_message(message: Vec<u8>) -> Result<()> {
    for call in protocol::calls(&message) {
        protocol::print(&answer(&call));
    }
    Ok(())
}

fn answer(call: &Call) -> Answer {
    let (interface, function) = call.name().split_once('.').unwrap_or((call.name(), ""));
    match interface {
        "variables" => match function {
            "get" => spin_sdk::variables::get(call.text(0)).map(Into::into).map_err(protocol::failure),
            _ => call.unknown(),
        },
        "key-value" => key_value::answer(function, call),
        "redis" => redis::answer(function, call),
        "unversioned-key-value" => unversioned::key_value(function, call),
        "unversioned-redis" => unversioned::redis(function, call),
        "http" | "tcp" | "dns" => net::answer(call),
        _ => standard::answer(call),
    }
}
