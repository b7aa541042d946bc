//! A Redis in the cluster: a Deployment and a Service, spoken to with redis-cli in its pod.

use std::fs;

use super::{Registries, kubectl, kubectl_with};
use crate::guests::repository;

/// A Redis in a namespace.
pub struct Redis {
    namespace: String,
}

impl Redis {
    /// Starts one, or finds it there, and waits until it answers.
    pub(super) fn start(namespace: &str, registries: &Registries) -> Self {
        let manifest = fs::read_to_string(repository().join("tests/cluster/redis.yaml")).unwrap();
        let image = format!("image: {}@{}", registries.image("spinredis-test-redis"), registries.digest("spinredis-test-redis"));
        let manifest = manifest.replace("image: spinredis-test-redis", &image);
        kubectl_with(&["apply", "-n", namespace, "-f", "-"], &manifest);
        let redis = Self { namespace: namespace.to_owned() };
        redis.wait_until_it_runs();
        redis
    }

    fn wait_until_it_runs(&self) {
        kubectl(&["rollout", "status", "deployment/redis", "-n", &self.namespace, "--timeout=120s"]);
    }

    /// Its address for `spec.trigger`.
    pub fn address(&self) -> String {
        format!("redis://redis.{}.svc:6379", self.namespace)
    }

    /// A command of redis-cli.
    pub fn cli(&self, words: &[&str]) -> String {
        let exec = ["exec", "-n", &self.namespace, "deployment/redis", "--", "redis-cli"];
        let answer = kubectl(&[&exec, words].concat()).trim().to_owned();
        let is_error = ["ERR ", "WRONGPASS ", "NOPERM ", "NOAUTH ", "Could not connect"].iter().any(|sign| answer.starts_with(sign));
        assert!(!is_error, "redis-cli {}: {answer}", words.join(" "));
        answer
    }

    /// Publishes a message and gives the number of subscribers that got it.
    pub fn publish(&self, channel: &str, message: &str) -> u64 {
        let answer = self.cli(&["PUBLISH", channel, message]);
        answer.parse().unwrap_or_else(|_| panic!("PUBLISH {channel}: {answer}"))
    }

    /// Makes a user who may subscribe to channels that begin with a prefix, or changes its password.
    pub fn set_user(&self, name: &str, password: &str, channel_prefix: &str) {
        let (password, channels) = (format!(">{password}"), format!("&{channel_prefix}*"));
        self.cli(&["ACL", "SETUSER", name, "reset", "on", &password, &channels, "+subscribe", "+psubscribe", "+ping"]);
    }

    /// Ends its pod as a crash would, and keeps it from coming back.
    pub fn kill(&self) {
        kubectl(&["scale", "deployment/redis", "-n", &self.namespace, "--replicas=0"]);
        kubectl(&["delete", "pods", "-n", &self.namespace, "-l", "app.kubernetes.io/name=redis", "--force", "--grace-period=0"]);
    }

    /// Starts it again: another pod, with another IP address, behind the same Service.
    pub fn start_again(&self) {
        kubectl(&["scale", "deployment/redis", "-n", &self.namespace, "--replicas=1"]);
        self.wait_until_it_runs();
    }
}
