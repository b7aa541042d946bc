//! The command line. Each option can be given in the environment too, which is how the chart does it.

use clap::{Parser, ValueEnum};

use crate::{
    Options,
    settings::{PullPolicy, Settings, Variable},
};

/// Runs Redis-triggered WebAssembly apps (SpinRedisApp) on Kubernetes.
#[derive(Parser, Debug)]
#[command(version)]
pub struct Args {
    /// Namespace to watch; may be repeated or hold a comma-separated list. Without it all namespaces are watched.
    #[arg(long = "namespace", env = "SPINREDIS_NAMESPACES", value_delimiter = ',', value_name = "NAMESPACE")]
    pub namespaces: Vec<String>,
    /// Image of the runtime, with tag or digest.
    #[arg(long, env = "SPINREDIS_RUNTIME_IMAGE", value_name = "IMAGE")]
    pub runtime_image: String,
    /// When nodes pull the image of the runtime; without it Kubernetes' own rule holds.
    #[arg(long, env = "SPINREDIS_RUNTIME_IMAGE_PULL_POLICY", value_name = "POLICY")]
    pub runtime_image_pull_policy: Option<PullPolicy>,
    /// Registry that speaks HTTP without TLS, as HOST or HOST:PORT; may be repeated or hold a comma-separated list.
    #[arg(long = "plain-http-registry", env = "SPINREDIS_PLAIN_HTTP_REGISTRIES", value_delimiter = ',', value_name = "HOST")]
    pub plain_http_registries: Vec<String>,
    /// Environment variable of the pods of apps, as NAME=VALUE, such as those of OpenTelemetry; may be repeated.
    #[arg(long = "runtime-env", value_name = "NAME=VALUE")]
    pub runtime_env: Vec<Variable>,
    /// Address of /healthz, /readyz and /metrics.
    #[arg(long, env = "SPINREDIS_LISTEN", default_value = ":8080", value_name = "ADDR")]
    pub listen: String,
    /// Form of the log lines.
    #[arg(long, env = "SPINREDIS_LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// What to log: a level, or targets with levels, as in info,kube=warn.
    #[arg(long, env = "SPINREDIS_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,
    /// Name of the operator's own pod, as events show it.
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    pub pod_name: Option<String>,
}

/// Form of the log lines.
#[derive(ValueEnum, Clone, Copy, Debug)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object for each line.
    Json,
}

impl Args {
    /// What the operator runs with. Empty entries of lists, such as those of an empty variable, are left out.
    pub fn into_options(self) -> Options {
        Options {
            settings: Settings {
                runtime_image: self.runtime_image,
                runtime_image_pull_policy: self.runtime_image_pull_policy,
                plain_http_registries: without_empty(self.plain_http_registries),
                runtime_environment: self.runtime_env.into_iter().map(|Variable { name, value }| (name, value)).collect(),
            },
            namespaces: without_empty(self.namespaces),
            listen: self.listen,
            pod_name: self.pod_name,
        }
    }
}

/// Sorted and without repetition, so that the order of a list changes no pod template.
fn without_empty(mut list: Vec<String>) -> Vec<String> {
    list.iter_mut().for_each(|entry| *entry = entry.trim().to_owned());
    list.retain(|entry| !entry.is_empty());
    list.sort();
    list.dedup();
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_may_be_repeated_or_separated_by_commas_and_their_order_does_not_matter() {
        let args = Args::parse_from([
            "operator",
            "--runtime-image",
            "r",
            "--namespace",
            "b,a",
            "--namespace",
            "c",
            "--plain-http-registry",
            "",
            "--plain-http-registry",
            "x:5000",
            "--runtime-env",
            "OTEL_EXPORTER_OTLP_HEADERS=a=b,c=d",
        ]);
        let options = args.into_options();
        assert_eq!(options.namespaces, ["a", "b", "c"]);
        assert_eq!(options.settings.plain_http_registries, ["x:5000"]);
        assert_eq!(options.settings.runtime_environment["OTEL_EXPORTER_OTLP_HEADERS"], "a=b,c=d");
    }
}
