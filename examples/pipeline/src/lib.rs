//! A message in, a number from the key-value store, a message out: each order on one channel becomes a numbered receipt on
//! another.

use anyhow::{Context, Result, bail};
use spin_sdk::{key_value::Store, redis::Connection, redis_subscriber, variables};

/// Where the number of the last order is kept.
const LAST_ORDER: &str = "last-order";

/// Called once for each order. An error it returns makes the message a failed one, and its words a line of the log.
#[redis_subscriber]
async fn on_order(message: Vec<u8>) -> Result<()> {
    let order = String::from_utf8(message).context("an order is text")?;
    let order = order.trim();
    if order.is_empty() {
        bail!("an order says what is wanted");
    }

    let store = Store::open_default().await?;
    // One channel's messages come one after the other, so nobody counts between these two calls.
    let last = match store.get(LAST_ORDER).await? {
        Some(number) => String::from_utf8(number)?.parse::<u64>()?,
        None => 0,
    };
    let number = last + 1;
    store.set(LAST_ORDER, number.to_string()).await?;

    let redis = Connection::open(variables::get("redis_address").await?).await?;
    redis.publish(variables::get("receipts").await?, format!("receipt {number}: {}", order.to_uppercase())).await?;
    println!("order {number} has its receipt");
    Ok(())
}
