//! Memory of a process with many idle components, each of which has handled a message.

use std::{path::Path, thread, time::Duration};

use anyhow::ensure;
use serde_json::json;

use crate::{guests::Guest, program::App, report::Memory, server::Server};

/// How long the components may take with their messages.
const LOOKS: u32 = 600;
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// Measures one process for each number of components.
pub fn run(binary: &Path, numbers: &[usize], folder: &Path) -> anyhow::Result<Vec<Memory>> {
    numbers.iter().map(|number| one(binary, *number, folder)).collect()
}

fn one(binary: &Path, number: usize, folder: &Path) -> anyhow::Result<Memory> {
    let server = Server::start(false)?;
    let components: Vec<_> = (0..number)
        .map(|place| {
            let channels = [format!("channel-{place}")];
            // A thousand components with eight places each would be more than a process may have.
            json!({"id": format!("c{place}"), "channels": channels, "source": App::source("guest.wasm"), "concurrency": 1})
        })
        .collect();
    let app = App::new(binary, &server.address(), &components, &[("guest.wasm", &Guest::Sdk17.component(folder)?)])?;
    app.prepare()?;
    let mut process = app.serve(true)?;
    let mut connection = server.connect()?;
    process.wait_until("subscribed to every channel", || {
        let channels: Vec<String> = redis::cmd("PUBSUB").arg("CHANNELS").query(&mut connection)?;
        Ok(channels.len() == number)
    })?;
    for place in 0..number {
        redis::cmd("PUBLISH").arg(format!("channel-{place}")).arg("hello").query::<u64>(&mut connection)?;
    }
    let mut handled = 0.0;
    for _ in 0..LOOKS {
        handled = process.metrics()?.sum("messages_handled_total");
        if handled >= number as f64 {
            break;
        }
        thread::sleep(BETWEEN_LOOKS);
    }
    ensure!(handled >= number as f64, "only {handled} of {number} components have handled their message");
    Ok(Memory { components: number, anonymous: process.anonymous()? as f64 })
}
