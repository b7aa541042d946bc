//! Log lines on stdout, as text for a person or JSON for a collector.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::cli::LogFormat;

/// Environment variable with the filter, in the syntax of tracing-subscriber's `EnvFilter`: `debug`, `spinredis=debug,guest=off`.
pub const FILTER_VARIABLE: &str = "SPINREDIS_LOG";

/// Starts logging. Called once, by `main`.
pub fn install(format: LogFormat, filter: Option<&str>) {
    let filter = filter.and_then(|text| EnvFilter::try_new(text).ok()).unwrap_or_else(|| EnvFilter::new("info"));
    // At debug this library logs the tokens that registries give.
    let filter = match "oci_client=info".parse() {
        Ok(directive) => filter.add_directive(directive),
        Err(_) => filter,
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stdout);
    match format {
        LogFormat::Text => builder.with_ansi(std::io::stdout().is_terminal()).init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).with_span_list(false).init(),
    }
}
