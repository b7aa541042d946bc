//! From the start of the process until Redis has the subscription: with prepared code, and compiling at start.

use std::path::Path;

use serde_json::json;

use super::CHANNEL;
use crate::{
    guests::Guest,
    program::{App, Process},
    report::Start,
    server::{Server, subscribers},
    stats::Rounds,
};

/// Rounds with prepared code. Compiling is measured once: it takes seconds, and so never ends by chance.
const ROUNDS: usize = 10;

/// Measures these guests.
pub fn run(binary: &Path, guests: &[Guest], folder: &Path) -> anyhow::Result<Vec<Start>> {
    guests.iter().map(|guest| one(binary, *guest, folder)).collect()
}

fn one(binary: &Path, guest: Guest, folder: &Path) -> anyhow::Result<Start> {
    let server = Server::start(false)?;
    let component = guest.component(folder)?;
    let components = [json!({"id": "guest", "channels": [CHANNEL], "source": App::source("guest.wasm")})];
    let app = App::new(binary, &server.address(), &components, &[("guest.wasm", &component)])?;
    let compiling = subscribed(&server, app.run()?)?;
    app.prepare()?;
    let mut prepared = Rounds::default();
    for _ in 0..ROUNDS {
        prepared.push(subscribed(&server, app.serve(false)?)?);
    }
    Ok(Start { guest: guest.name().to_owned(), prepared: prepared.best().unwrap_or(f64::NAN), compiling })
}

/// Milliseconds until Redis has the subscription; then the process ends, and its subscription with it.
fn subscribed(server: &Server, mut process: Process) -> anyhow::Result<f64> {
    let mut connection = server.connect()?;
    let took = process.wait_until("subscribed", || Ok(subscribers(&mut connection, CHANNEL)? > 0))?;
    drop(process);
    while subscribers(&mut connection, CHANNEL)? > 0 {}
    Ok(took.as_secs_f64() * 1e3)
}
