//! Prints `Got message: <payload>` for each Redis message, written for the Spin SDK 5.

use anyhow::Result;
use spin_sdk::redis_component;

#[redis_component]
fn on_message(message: Vec<u8>) -> Result<()> {
    println!("Got message: {}", String::from_utf8_lossy(&message));
    Ok(())
}
