//! Prints `Got message: <payload>` for each Redis message.

use anyhow::Result;
use spin_sdk::redis_subscriber;

/// Called once for each message. What it prints becomes log lines of the app; an error it returns is a failed message.
#[redis_subscriber]
async fn on_message(message: Vec<u8>) -> Result<()> {
    println!("Got message: {}", String::from_utf8_lossy(&message));
    Ok(())
}
