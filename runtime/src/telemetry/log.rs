//! Log lines on stdout, as text for a person or JSON for a collector.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::cli::LogFormat;

/// Environment variable with the filter, in the syntax of tracing-subscriber's `EnvFilter`: `debug`, `spinredis=debug,guest=off`.
pub const FILTER_VARIABLE: &str = "SPINREDIS_LOG";

/// Libraries that say nothing below `info`: the compiler's log is endless, and at debug the registry client logs the tokens
/// that registries give.
const QUIET: [&str; 6] = ["oci_client", "cranelift_codegen", "cranelift_wasm", "wasmtime", "wasmtime_internal_cranelift", "hyper_util"];

/// Starts logging. Called once, by `main`.
pub fn install(format: LogFormat, filter: Option<&str>) {
    let (filter, wrong) = match filter.map(EnvFilter::try_new) {
        None => (EnvFilter::new("info"), None),
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (EnvFilter::new("info"), Some(error)),
    };
    // Its calls are spans, which would stand before each line that a guest prints.
    let filter = "wasmtime_wasi=warn".parse().ok().into_iter().fold(filter, EnvFilter::add_directive);
    let filter = QUIET.iter().filter_map(|library| format!("{library}=info").parse().ok()).fold(filter, EnvFilter::add_directive);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stdout);
    match format {
        LogFormat::Text => builder.with_ansi(std::io::stdout().is_terminal()).init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).with_span_list(false).init(),
    }
    if let Some(error) = wrong {
        tracing::warn!(
            "{FILTER_VARIABLE} is not a filter ({error}) and `info` is used; write for example debug or spinredis=debug,guest=info"
        );
    }
}
