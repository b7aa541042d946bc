//! The matrix guest for Spin SDK 5: the synchronous handler, as most existing apps have it.

use anyhow::{Result, anyhow};
use spin_sdk::redis_component;

#[redis_component]
fn on_message(message: Vec<u8>) -> Result<()> {
    behaviour::handle(&message).map_err(|error| anyhow!(error))
}
