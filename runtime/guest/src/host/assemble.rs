//! Makes the [`Host`] of each component of an app from what `prepare` left: stores and servers are shared between components,
//! everything else is a component's own.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use spinredis_crds::{Connection, manifest::Manifest};

use super::{
    Host, http,
    key_value::{Store, Stores},
    network::Network,
    redis::{pool::Pool, server::Server},
    settings::SettingsSource,
};
use crate::{
    compile::artifact::{Entry, Index},
    connect::Endpoint,
    references::References,
};

/// The store that needs no declaration.
const DEFAULT_STORE: &str = "default";

/// What the hosts of an app's components share.
pub struct Hosts {
    app: String,
    trigger: Option<Connection>,
    stores: Arc<BTreeMap<String, Arc<Store>>>,
    references: Arc<References>,
    health_port: Option<u16>,
}

impl Hosts {
    /// The shared part. `health_port` is the port that no component may reach.
    pub fn new(manifest: &Manifest, index: &Index, references: Arc<References>, health_port: Option<u16>) -> Self {
        let mut servers: Vec<(Connection, Arc<Server>)> = Vec::new();
        let mut stores = BTreeMap::new();
        let declared = manifest.spec.key_value_stores.iter().map(|store| store.name.as_str());
        for name in declared.chain([DEFAULT_STORE]).collect::<BTreeSet<_>>() {
            let own = manifest.key_value_store(name).and_then(|store| store.connection.clone());
            let field = own.as_ref().map_or_else(|| "trigger".to_owned(), |_| format!("keyValueStores[{name}].connection"));
            let Some(connection) = own.or_else(|| index.trigger.clone()) else { continue };
            let known = servers.iter().find(|(known, _)| *known == connection).map(|(_, server)| server.clone());
            let server = known.unwrap_or_else(|| {
                let server = Arc::new(Server::new(connection.clone(), field, references.clone()));
                servers.push((connection, server.clone()));
                server
            });
            stores.insert(name.to_owned(), Arc::new(Store::new(server, manifest.key_value_prefix(name))));
        }
        Self { app: manifest.full_name(), trigger: index.trigger.clone(), stores: Arc::new(stores), references, health_port }
    }

    /// The host of one component.
    pub fn host(&self, entry: &Entry) -> Arc<Host> {
        let component = &entry.component;
        // What `self` means is read once: an address in a Secret that moves needs a restart to be `self` again.
        let own = self.trigger.as_ref().and_then(|trigger| Endpoint::address(trigger, "trigger", &self.references).ok());
        let network = Network::new(&component.id, own.map(|(_, address)| (address.host, address.port)), self.health_port);
        Arc::new(Host {
            app: self.app.clone(),
            component: component.id.clone(),
            settings: SettingsSource::new(component, entry.shared.clone(), entry.shows_shared, network, self.references.clone()),
            stores: Stores { known: self.stores.clone(), allowed: Arc::new(component.key_value_stores.iter().cloned().collect()) },
            connections: Arc::new(Pool::default()),
            trigger: self.trigger.clone(),
            references: self.references.clone(),
            http: http::Client::default(),
        })
    }
}
