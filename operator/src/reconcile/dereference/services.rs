//! The Services that the hosts of an app name. A NetworkPolicy knows pods and addresses only, so an app that has one needs to
//! know what is behind them; nobody else's Services are read.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use kube::{Api, Client};

use super::Error;

/// How many are read at once.
const CONCURRENCY: usize = 4;
/// An app that names more is answered as if the rest could not be read.
const MOST_SERVICES: usize = 128;

/// Namespace and name of a Service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What is known of a Service.
#[derive(Clone, Debug, PartialEq)]
pub enum Known {
    /// There it is.
    There(Box<ServiceSpec>),
    /// There is none of that name.
    Missing,
    /// The operator may not read it, as when it watches other namespaces only.
    Forbidden,
}

/// What is known of some Services.
pub type Services = BTreeMap<ServiceName, Known>;

impl ServiceName {
    /// The Service that a host name means: `SERVICE.NAMESPACE.svc`, with or without `.cluster.local`, and the names of pods
    /// below it (kubernetes.io/docs/concepts/services-networking/dns-pod-service). Shorter names depend on who asks.
    pub fn of(host: &str) -> Option<Self> {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let host = host.strip_suffix(".cluster.local").unwrap_or(&host);
        let labels: Vec<&str> = host.strip_suffix(".svc")?.split('.').collect();
        match labels.as_slice() {
            [name, namespace] | [_, name, namespace] if labels.iter().all(|label| !label.is_empty()) => {
                Some(Self { namespace: (*namespace).to_owned(), name: (*name).to_owned() })
            }
            _ => None,
        }
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.svc", self.name, self.namespace)
    }
}

/// Which apps name which Services, as their last reconciles found: a Service that changes concerns those. Most apps name none.
#[derive(Default)]
pub struct ServiceUsers(Mutex<BTreeMap<String, BTreeSet<ServiceName>>>);

impl ServiceUsers {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, BTreeSet<ServiceName>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what an app names.
    pub fn note(&self, namespace: &str, app: &str, services: &BTreeSet<ServiceName>) {
        let app = format!("{namespace}/{app}");
        if services.is_empty() {
            self.forget(&app);
        } else {
            self.lock().insert(app, services.clone());
        }
    }

    /// Forgets an app, `namespace/name`.
    pub fn forget(&self, app: &str) {
        self.lock().remove(app);
    }

    /// Namespaces and names of the apps that name a Service.
    pub fn users_of(&self, service: &ServiceName) -> Vec<(String, String)> {
        let users = self.lock();
        let names = users.iter().filter(|(_, services)| services.contains(service)).filter_map(|(app, _)| app.split_once('/'));
        names.map(|(namespace, name)| (namespace.to_owned(), name.to_owned())).collect()
    }
}

/// Reads Services.
pub async fn services(wanted: BTreeSet<ServiceName>, client: &Client) -> Result<Services, Error> {
    let read = |wanted: ServiceName| async move {
        let api: Api<Service> = Api::namespaced(client.clone(), &wanted.namespace);
        let known = match api.get_opt(&wanted.name).await {
            Ok(Some(service)) => Known::There(Box::new(service.spec.unwrap_or_default())),
            Ok(None) => Known::Missing,
            Err(kube::Error::Api(status)) if status.code == 403 => Known::Forbidden,
            Err(source) => return Err(Error::Service { name: wanted, source }),
        };
        Ok((wanted, known))
    };
    stream::iter(wanted.into_iter().take(MOST_SERVICES)).map(read).buffer_unordered(CONCURRENCY).try_collect().await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(host: &str) -> Option<String> {
        ServiceName::of(host).map(|service| service.to_string())
    }

    #[test]
    fn a_host_name_means_a_service_however_it_ends() {
        for host in ["redis.shop.svc", "Redis.Shop.svc.cluster.local", "redis.shop.svc.cluster.local.", "redis-0.redis.shop.svc"] {
            assert_eq!(of(host).as_deref(), Some("redis.shop.svc"), "{host}");
        }
    }

    #[test]
    fn a_service_concerns_the_apps_that_name_it_until_they_no_longer_do() {
        let (users, redis) = (ServiceUsers::default(), ServiceName::of("redis.shop.svc").unwrap());
        users.note("shop", "orders", &[redis.clone()].into());
        users.note("shop", "bills", &BTreeSet::new());
        assert_eq!(users.users_of(&redis), [("shop".to_owned(), "orders".to_owned())]);
        users.note("shop", "orders", &BTreeSet::new());
        assert!(users.users_of(&redis).is_empty());
    }

    #[test]
    fn other_names_mean_none() {
        for host in ["redis", "redis.shop", "svc", ".svc", "shop.svc", "redis.example.com", "a.b.c.d.svc", ".shop.svc", "x.svc.example.com"]
        {
            assert_eq!(of(host), None, "{host}");
        }
    }
}
