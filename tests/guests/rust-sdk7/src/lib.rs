//! The matrix guest for Spin SDK 7: the asynchronous handler.

use anyhow::{Result, anyhow};
use spin_sdk::redis_subscriber;

#[redis_subscriber]
async fn on_message(message: Vec<u8>) -> Result<()> {
    behaviour::handle(&message).map_err(|error| anyhow!(error))
}
