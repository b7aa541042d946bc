//! The matrix guest without an SDK: a WASI command. The payload comes on stdin, the context in the environment, and the
//! exit code is the outcome.

use std::{
    env,
    io::{self, Read},
    process::ExitCode,
};

const CONTEXT: [&str; 6] =
    ["SPINREDIS_CHANNEL", "SPINREDIS_PATTERN", "SPINREDIS_ADDRESS", "SPINREDIS_ATTEMPT", "SPINREDIS_RECEIVED_MS", "SPINREDIS_DEADLINE_MS"];

fn main() -> ExitCode {
    let mut payload = Vec::new();
    if let Err(error) = io::stdin().read_to_end(&mut payload) {
        eprintln!("the payload cannot be read: {error}");
        return ExitCode::FAILURE;
    }
    if payload == b"context" {
        for name in CONTEXT {
            println!("{name}={}", env::var(name).unwrap_or_default());
        }
        return ExitCode::SUCCESS;
    }
    match behaviour::handle(&payload) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
