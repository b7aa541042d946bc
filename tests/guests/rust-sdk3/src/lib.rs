//! The matrix guest for Spin SDK 3: the synchronous handler, built to a core module that says what component it is.

use anyhow::{Result, anyhow};
use spin_sdk::redis_component;

#[redis_component]
fn on_message(message: Vec<u8>) -> Result<()> {
    behaviour::handle(&message).map_err(|error| anyhow!(error))
}
