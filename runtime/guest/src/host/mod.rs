//! What guests may import beyond plain WASI: one folder for each interface, and what they share.
//!
//! Everything a component may use is in its [`Host`], made once; [`Open`] is what one call has open of it. The functions
//! here are called by guests, so whatever they hold is bounded.

pub mod assemble;
pub mod bindings;
pub mod http;
pub mod key_value;
pub mod network;
pub mod redis;
pub mod settings;
pub mod sockets;
pub mod stubs;
mod variables;
pub mod wasi_keyvalue;

use std::sync::Arc;

use spinredis_crds::{Connection as ConnectionSpec, address::RedisAddress};
use wasmtime::{
    Engine,
    component::{Component, HasData, Linker, ResourceTable},
};
use wasmtime_wasi::WasiView;
use wasmtime_wasi_http::WasiHttpView;

use crate::{
    connect::{ConnectError, Endpoint},
    references::References,
};
use key_value::{Handles, Stores};
use settings::{Settings, SettingsError, SettingsSource};

/// How many things of all kinds (streams, requests, stores, …) one call may have at once.
pub const MAX_RESOURCES: usize = 10_000;

/// What one component may use, shared by all its calls.
pub struct Host {
    /// `namespace/name` of the app, for log lines.
    pub app: String,
    /// Id of the component, for log lines.
    pub component: String,
    /// Environment, variables and allowed hosts, as of now.
    pub settings: SettingsSource,
    /// Key-value stores.
    pub stores: Stores,
    /// Outbound Redis connections.
    pub connections: Arc<redis::pool::Pool>,
    /// The trigger's connection, whose certificates are also used for outbound connections to the same server.
    pub trigger: Option<ConnectionSpec>,
    /// Values of references.
    pub references: Arc<References>,
    /// Outgoing HTTP.
    pub http: http::Client,
}

impl Host {
    /// The settings as of now.
    pub fn settings(&self) -> Result<Arc<Settings>, SettingsError> {
        self.settings.now()
    }

    /// How to connect to an address that the guest gave.
    fn endpoint(&self, address: RedisAddress) -> Result<Endpoint, ConnectError> {
        let own = self.trigger.as_ref().filter(|trigger| {
            Endpoint::address(trigger, "trigger", &self.references)
                .is_ok_and(|(_, own)| own.host == address.host && own.port == address.port)
        });
        Endpoint::of_address(address, own.and_then(|trigger| trigger.tls.as_ref()), &self.references)
    }
}

/// What one call has open of its [`Host`].
#[derive(Default)]
pub struct Open {
    /// Key-value stores and buckets.
    stores: usize,
    /// Stores of the interface that knows them by number.
    handles: Handles,
    /// Outbound Redis connections.
    connections: usize,
}

/// What the interfaces need of a store's data.
pub trait GuestState: WasiView + WasiHttpView + Send + 'static {
    /// The host as this call sees it.
    fn host(&mut self) -> HostView<'_>;
}

/// A host as one call sees it.
pub struct HostView<'a> {
    /// What is shared.
    pub host: &'a Arc<Host>,
    /// What the guest holds.
    pub table: &'a mut ResourceTable,
    /// How much of it.
    pub open: &'a mut Open,
}

/// Tells the bindings that they get a [`HostView`].
pub struct HasHost;

impl HasData for HasHost {
    type Data<'a> = HostView<'a>;
}

/// Defines every interface that a component may import: WASI, Spin's, and stubs for those of its imports that belong to
/// Spin's platform and are not here. `concurrent` engines also have the asynchronous ones.
pub fn add_to_linker<T: GuestState>(
    linker: &mut Linker<T>,
    engine: &Engine,
    component: &Component,
    concurrent: bool,
) -> wasmtime::Result<()> {
    use bindings::{key_value_3, redis_3, spin_1, spin_2, variables_3, wasi_config, wasi_keyvalue};
    // One definition serves every 0.2 version: the linker matches semver-compatible names.
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    spin_1::Imports::add_to_linker::<_, HasHost>(linker, T::host)?;
    spin_2::Imports::add_to_linker::<_, HasHost>(linker, T::host)?;
    wasi_config::Imports::add_to_linker::<_, HasHost>(linker, T::host)?;
    wasi_keyvalue::Imports::add_to_linker::<_, HasHost>(linker, T::host)?;
    variables::add_drafts_to_linker(linker)?;
    if concurrent {
        wasmtime_wasi::p3::add_to_linker(linker)?;
        wasmtime_wasi_http::p3::add_to_linker(linker)?;
        variables_3::Imports::add_to_linker::<_, HasHost>(linker, T::host)?;
        key_value_3::Imports::add_to_linker::<_, HasHost>(linker, T::host)?;
        redis_3::Imports::add_to_linker::<_, HasHost>(linker, T::host)?;
    }
    stubs::add_to_linker(linker, engine, component)
}
