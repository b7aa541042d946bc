//! The registries that the cluster's pods pull from, and what is in them.

use std::{env, str::FromStr};

use oci_client::{
    Client, Reference,
    client::{ClientConfig, ClientProtocol},
    secrets::RegistryAuth,
};

use crate::registry::{self, Format, SpinApp, SpinPacking};

/// Two registries that speak plain HTTP.
pub struct Registries {
    /// `HOST:PORT` of one without a password; the product's own images are there too.
    pub open: String,
    /// One with a password.
    pub private: Login,
}

/// A registry with a password.
pub struct Login {
    /// `HOST:PORT`.
    pub host: String,
    /// User.
    pub user: String,
    /// Password.
    pub password: String,
}

impl Registries {
    pub(super) fn from_environment() -> Self {
        let variable = |name: &str| {
            env::var(name).ok().filter(|value| !value.is_empty()).unwrap_or_else(|| {
                panic!("{name} is not set: run tests/run.sh, or `make cluster` and then eval \"$(tests/cluster/people.sh env)\"")
            })
        };
        variable("KUBECONFIG");
        Self {
            open: variable("REGISTRY"),
            private: Login {
                host: variable("PRIVATE_REGISTRY"),
                user: variable("PRIVATE_REGISTRY_USER"),
                password: variable("PRIVATE_REGISTRY_PASSWORD"),
            },
        }
    }

    /// Reference of an image of the product, as `tests/images.sh push` prints it.
    pub fn image(&self, name: &str) -> String {
        format!("{}/{name}:{}", self.open, env::var("TAG").unwrap_or_else(|_| "test".to_owned()))
    }

    /// Digest of an image of the product.
    pub(super) fn digest(&self, name: &str) -> String {
        let image = self.image(name);
        let reference = Reference::from_str(&image).unwrap();
        let client = Client::new(ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let digest = runtime.block_on(client.fetch_manifest_digest(&reference, &RegistryAuth::Anonymous));
        digest.unwrap_or_else(|error| {
            panic!(
                "{image} ({error}): run `TAG=test tests/images.sh`, then the same with `push {}`, and redis-image.sh likewise",
                self.open
            )
        })
    }

    /// Pushes a component to the registry without a password; gives its reference and digest.
    pub fn push(&self, name: &str, wasm: &[u8]) -> (String, String) {
        let reference = format!("{}/{name}", self.open);
        let digest = registry::push(&reference, wasm, Format::Artifact, None);
        (reference, digest)
    }

    /// Pushes a component to the registry with a password; gives its reference and digest.
    pub fn push_private(&self, name: &str, wasm: &[u8]) -> (String, String) {
        let reference = format!("{}/{name}", self.private.host);
        let login = Some((self.private.user.as_str(), self.private.password.as_str()));
        let digest = registry::push(&reference, wasm, Format::Artifact, login);
        (reference, digest)
    }

    /// Pushes a whole Spin app to the registry with a password; gives its reference and digest.
    pub fn push_spin_app_private(&self, name: &str, app: &SpinApp) -> (String, String) {
        let reference = format!("{}/{name}", self.private.host);
        let login = Some((self.private.user.as_str(), self.private.password.as_str()));
        let digest = registry::push_spin_app(&reference, app, SpinPacking::Archives, login);
        (reference, digest)
    }
}
