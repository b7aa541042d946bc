//! The matrix guest for the handler of this project. Beside what all do, `context` prints what came with the message, and
//! `error` and `retry` return the two kinds of error.

wit_bindgen::generate!({ world: "trigger", path: "../../../wit/spinredis-trigger" });

use exports::spinredis::trigger::handler::{Error, Guest, Message};

struct Handler;

export!(Handler);

impl Guest for Handler {
    fn handle(message: Message) -> Result<(), Error> {
        match message.payload.as_slice() {
            b"context" => print_context(&message),
            b"retry" => return Err(Error::Retry("asked to fail".to_owned())),
            payload => return behaviour::handle(payload).map_err(|error| Error::Reject(error.to_owned())),
        }
        Ok(())
    }
}

fn print_context(message: &Message) {
    println!("channel={}", message.channel);
    println!("pattern={}", message.pattern.as_deref().unwrap_or_default());
    println!("address={}", message.address);
    println!("attempt={}", message.attempt);
    println!("received-ms={}", message.received_ms);
    println!("deadline-ms={}", message.deadline_ms);
}
