//! Step one: read the ConfigMap keys that components come from, so that a changed component rolls its app out.
//!
//! Only a digest of them leaves this step. A ConfigMap or key that does not exist is no error here: `prepare` names it.
//! Other references are none of the operator's business, and Secrets never are. For an app with a NetworkPolicy the
//! [`services`] that its hosts name are read too.

mod services;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client, ResourceExt, core::PartialObjectMeta};
use spinredis_crds::{SpinRedisApp, manifest::sha256_digest};

use crate::{
    names::{short_digest, words},
    watched::Watched,
};

pub use services::{Known, ServiceName, ServiceUsers, Services, services};

/// Why what an app names could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A ConfigMap that a component comes from.
    #[error("ConfigMap {name}, which a component comes from, cannot be read: {}", words(source))]
    ConfigMap {
        /// Its name.
        name: String,
        /// What went wrong.
        source: kube::Error,
    },
    /// A Service that a NetworkPolicy is to allow.
    #[error("Service {name}, which the app connects to, cannot be read: {}", words(source))]
    Service {
        /// Its name.
        name: ServiceName,
        /// What went wrong.
        source: kube::Error,
    },
}

/// The digest of each key of a ConfigMap.
type Keys = BTreeMap<String, String>;

/// The keys of ConfigMaps by namespace and name, with the resource version they were read at: a component may have a
/// megabyte, and an app whose pods start is reconciled many times.
#[derive(Default)]
pub struct Cache(Mutex<HashMap<(String, String), (String, Keys)>>);

impl Cache {
    fn get(&self, namespace: &str, name: &str, version: &str) -> Option<Keys> {
        let cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cache.get(&(namespace.to_owned(), name.to_owned())).filter(|(cached, _)| cached == version).map(|(_, keys)| keys.clone())
    }

    fn put(&self, namespace: &str, name: &str, version: String, keys: Keys) {
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cache.insert((namespace.to_owned(), name.to_owned()), (version, keys));
    }

    fn forget(&self, namespace: &str, name: &str) {
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cache.remove(&(namespace.to_owned(), name.to_owned()));
    }
}

/// A digest of every ConfigMap key that a component of the app comes from; `None` when none does.
pub async fn sources(app: &SpinRedisApp, cache: &Cache, watched: &Watched, client: &Client) -> Result<Option<String>, Error> {
    let namespace = app.metadata.namespace.as_deref().unwrap_or_default();
    let mut wanted: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for source in app.spec.components.iter().filter_map(|component| component.config_map()) {
        wanted.entry(&source.name).or_default().push(&source.key);
    }
    let mut text = String::new();
    for (name, mut keys) in wanted {
        let found =
            read(namespace, name, cache, watched, client).await.map_err(|source| Error::ConfigMap { name: name.to_owned(), source })?;
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            let digest = found.get(key).map_or("absent", String::as_str);
            text += &format!("{name}/{key} {digest}\n");
        }
    }
    Ok((!text.is_empty()).then(|| short_digest(text.as_bytes())))
}

async fn read(namespace: &str, name: &str, cache: &Cache, watched: &Watched, client: &Client) -> Result<Keys, kube::Error> {
    let version = match watched.sources.find(namespace, name).and_then(|known| known.resource_version()) {
        Some(version) => version,
        // One that the watch has not shown, or that carries an app's label.
        None => {
            let metadata: Api<PartialObjectMeta<ConfigMap>> = Api::namespaced(client.clone(), namespace);
            let Some(version) = metadata.get_opt(name).await?.and_then(|found| found.metadata.resource_version) else {
                cache.forget(namespace, name);
                return Ok(Keys::new());
            };
            version
        }
    };
    if let Some(keys) = cache.get(namespace, name, &version) {
        return Ok(keys);
    }
    let Some(found) = Api::<ConfigMap>::namespaced(client.clone(), namespace).get_opt(name).await? else { return Ok(Keys::new()) };
    let version = found.metadata.resource_version.clone().unwrap_or(version);
    let keys = digests(&found);
    cache.put(namespace, name, version, keys.clone());
    Ok(keys)
}

fn digests(config_map: &ConfigMap) -> Keys {
    let text = config_map.data.iter().flatten().map(|(key, value)| (key.clone(), sha256_digest(value.as_bytes())));
    let binary = config_map.binary_data.iter().flatten().map(|(key, value)| (key.clone(), sha256_digest(&value.0)));
    text.chain(binary).collect()
}
