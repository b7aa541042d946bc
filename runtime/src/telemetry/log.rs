//! Log lines on stdout, as text for a person or JSON for a collector.
//!
//! A line about one message has the fields `app`, `component`, `channel` and `sequence`, the message's number in its
//! component; one that a guest printed has them too, and the target `guest`.

use std::{
    io::{IsTerminal, stdout},
    sync::OnceLock,
    time::Duration,
};

use tracing_subscriber::{
    EnvFilter,
    fmt::{format::Writer, time::FormatTime, time::SystemTime as Now, writer::BoxMakeWriter},
};

use super::log_writer::{LogWriter, MAX_WAITING_BYTES};
use crate::cli::LogFormat;

/// Environment variable with the filter, in the syntax of tracing-subscriber's `EnvFilter`: `debug`, `spinredis=debug,guest=off`.
pub const FILTER_VARIABLE: &str = "SPINREDIS_LOG";

/// How long the end of the process waits for a reader of the log that does not read.
const LONGEST_FLUSH: Duration = Duration::from_secs(2);

/// Libraries that say nothing below `info`: the compiler's log is endless, and at debug the registry client logs the tokens
/// that registries give.
const QUIET: [&str; 6] = ["oci_client", "cranelift_codegen", "cranelift_wasm", "wasmtime", "wasmtime_internal_cranelift", "hyper_util"];

/// The writer of a process that serves. Logging is one for the whole process, as is tracing's subscriber.
static WRITER: OnceLock<LogWriter> = OnceLock::new();

/// Who waits for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writing {
    /// Whoever logs waits until the line is written: for commands that do one thing and end.
    Waiting,
    /// Nobody waits; when the log is not read, lines are dropped and counted: for a process that serves.
    Dropping,
}

/// Writes what is still to be written when it goes out of scope, at the end of `main`.
#[must_use]
pub struct Log(());

impl Drop for Log {
    fn drop(&mut self) {
        if let Some(writer) = WRITER.get() {
            writer.flush(LONGEST_FLUSH);
        }
    }
}

/// Log lines that were dropped because nobody read the log.
pub fn dropped_lines() -> u64 {
    WRITER.get().map_or(0, LogWriter::dropped)
}

/// Starts logging. Called once, by `main`, which keeps what it returns until it ends.
pub fn install(format: LogFormat, filter: Option<&str>, writing: Writing) -> Log {
    let (filter, wrong) = match filter.map(EnvFilter::try_new) {
        None => (EnvFilter::new("info"), None),
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (EnvFilter::new("info"), Some(error)),
    };
    // Its calls are spans, which would stand before each line that a guest prints.
    let filter = "wasmtime_wasi=warn".parse().ok().into_iter().fold(filter, EnvFilter::add_directive);
    let filter = QUIET.iter().filter_map(|library| format!("{library}=info").parse().ok()).fold(filter, EnvFilter::add_directive);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer(format, writing));
    match format {
        LogFormat::Text => builder.with_ansi(stdout().is_terminal()).init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).with_span_list(false).init(),
    }
    if let Some(error) = wrong {
        tracing::warn!(
            "{FILTER_VARIABLE} is not a filter ({error}) and `info` is used; write for example debug or spinredis=debug,guest=info"
        );
    }
    Log(())
}

fn writer(format: LogFormat, writing: Writing) -> BoxMakeWriter {
    let notice = match format {
        LogFormat::Text => text_notice,
        LogFormat::Json => json_notice,
    };
    // Without its thread the log still works, and then makes whoever logs wait.
    let started = (writing == Writing::Dropping).then(|| LogWriter::start(stdout(), MAX_WAITING_BYTES, notice).ok()).flatten();
    match started {
        Some(writer) => BoxMakeWriter::new(WRITER.get_or_init(|| writer).clone()),
        None => BoxMakeWriter::new(stdout),
    }
}

fn notice(dropped: u64) -> String {
    format!("{dropped} log lines were dropped: the log was not read as fast as it was written")
}

// These lines are made by hand: the thread that writes the log cannot log.
fn text_notice(dropped: u64) -> String {
    format!("{}  WARN spinredis::telemetry::log: {}\n", now(), notice(dropped))
}

fn json_notice(dropped: u64) -> String {
    let line = serde_json::json!({
        "timestamp": now(), "level": "WARN", "message": notice(dropped), "dropped": dropped, "target": "spinredis::telemetry::log",
    });
    format!("{line}\n")
}

fn now() -> String {
    let mut text = String::new();
    let _ = Now.format_time(&mut Writer::new(&mut text));
    text
}
