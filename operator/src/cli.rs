//! The command line. Each option can be given in the environment too, which is how the chart does it.

use std::collections::BTreeSet;

use clap::{ArgAction, Parser, ValueEnum};

use spinredis_crds::registries::RegistrySettings;

use crate::{
    Options,
    election::{Candidacy, decide::Timing},
    names::OPERATOR,
    policy::{AllowedRegistry, ImagePolicy},
    registries, rolls,
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
    /// File with a list of registries (YAML or JSON), each {host, plainHTTP, caFile, mirror}: whether it speaks plain HTTP, the
    /// authorities to trust beside those of the system (PEM), and a HOST or HOST/FOLDER that is asked first.
    #[arg(long, env = "SPINREDIS_REGISTRIES", value_name = "FILE", value_parser = registries::read)]
    pub registries: Option<RegistrySettings>,
    /// Registry that images of apps may come from, as HOST or HOST/FOLDER; may be repeated or hold a comma-separated list.
    /// Without it they may come from anywhere.
    #[arg(long = "allowed-registry", env = "SPINREDIS_ALLOWED_REGISTRIES", value_name = "HOST[/FOLDER]", value_parser = allowed_registries)]
    pub allowed_registries: Vec<AllowedRegistries>,
    /// Refuse apps whose images are named by tag alone.
    #[arg(long, env = "SPINREDIS_REQUIRE_DIGEST", action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true")]
    pub require_digest: bool,
    /// How many apps roll at once after an upgrade or a change of settings; 0 for any number. An author's edit never waits.
    #[arg(long, env = "SPINREDIS_MAX_UNFINISHED_APPS", value_name = "N", default_value_t = rolls::DEFAULT_MOST)]
    pub max_unfinished_apps: usize,
    /// Environment variable of the pods of apps, as NAME=VALUE, such as those of OpenTelemetry; may be repeated.
    #[arg(long = "runtime-env", value_name = "NAME=VALUE")]
    pub runtime_env: Vec<Variable>,
    /// Share a Lease with other replicas of the operator: one of them leads and reconciles, the others wait.
    #[arg(
        long,
        env = "SPINREDIS_LEADER_ELECTION",
        value_name = "BOOL",
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_value_t = false,
        default_missing_value = "true"
    )]
    pub leader_election: bool,
    /// Name of the Lease.
    #[arg(long, env = "SPINREDIS_LEASE_NAME", default_value = OPERATOR, value_name = "NAME")]
    pub lease_name: String,
    /// Namespace of the Lease; without it the operator's own.
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE")]
    pub lease_namespace: Option<String>,
    /// How many apps are reconciled at once.
    #[arg(long, env = "SPINREDIS_RECONCILES", default_value_t = 8, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub reconciles: u16,
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
        // The process number tells replicas apart that run on one machine outside a cluster.
        let identity = self.pod_name.clone().unwrap_or_else(|| format!("{OPERATOR}-{}", std::process::id()));
        let candidacy = Candidacy {
            lease: self.lease_name,
            namespace: self.lease_namespace.filter(|namespace| !namespace.is_empty()),
            identity,
            timing: Timing::default(),
        };
        Options {
            settings: Settings {
                runtime_image: self.runtime_image,
                runtime_image_pull_policy: self.runtime_image_pull_policy,
                plain_http_registries: without_empty(self.plain_http_registries),
                registries: self.registries.unwrap_or_default(),
                image_policy: ImagePolicy { allowed: sorted(self.allowed_registries), require_digest: self.require_digest },
                max_unfinished_apps: self.max_unfinished_apps,
                runtime_environment: self.runtime_env.into_iter().map(|Variable { name, value }| (name, value)).collect(),
            },
            namespaces: without_empty(self.namespaces),
            listen: self.listen,
            pod_name: self.pod_name,
            candidacy: self.leader_election.then_some(candidacy),
            reconciles: self.reconciles,
        }
    }
}

/// What one `--allowed-registry` holds.
type AllowedRegistries = Vec<AllowedRegistry>;

fn allowed_registries(text: &str) -> Result<AllowedRegistries, String> {
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(str::parse).collect()
}

fn sorted(lists: Vec<AllowedRegistries>) -> Vec<AllowedRegistry> {
    let all: BTreeSet<AllowedRegistry> = lists.into_iter().flatten().collect();
    all.into_iter().collect()
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
    fn leader_election_is_off_unless_it_is_asked_for_in_one_of_its_forms() {
        let candidacy = |arguments: &[&str]| {
            let args = [&["operator", "--runtime-image", "r", "--pod-name", "operator-1"], arguments].concat();
            Args::parse_from(args).into_options().candidacy
        };
        assert_eq!(candidacy(&[]), None);
        assert_eq!(candidacy(&["--leader-election=false"]), None);
        for asked in [["--leader-election", "--lease-namespace=n"], ["--leader-election=true", "--lease-namespace=n"]] {
            let found = candidacy(&asked).unwrap();
            assert_eq!((found.lease.as_str(), found.identity.as_str(), found.namespace.as_deref()), (OPERATOR, "operator-1", Some("n")));
        }
    }

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
            "--allowed-registry",
            "ghcr.io/acme, docker.io",
            "--allowed-registry",
            "",
            "--require-digest",
        ]);
        let options = args.into_options();
        assert_eq!(options.namespaces, ["a", "b", "c"]);
        assert_eq!(options.settings.plain_http_registries, ["x:5000"]);
        let policy = options.settings.image_policy;
        assert_eq!(policy.allowed.iter().map(ToString::to_string).collect::<Vec<_>>(), ["docker.io", "ghcr.io/acme"]);
        assert!(policy.require_digest && options.settings.max_unfinished_apps == 5);
        assert_eq!(options.settings.runtime_environment["OTEL_EXPORTER_OTLP_HEADERS"], "a=b,c=d");
    }
}
