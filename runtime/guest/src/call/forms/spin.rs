//! Handlers of the Spin SDKs: synchronous before version 6, asynchronous since.

use wasmtime::{Store, component::InstancePre};

use super::Outcome;
use crate::call::{message::Message, state::State};

mod old {
    //! Bindings of `fermyon:spin/inbound-redis`. The Rust function is async so that the call runs on a fiber and may yield.
    #![allow(missing_docs)]
    wasmtime::component::bindgen!({ path: "../../wit/fermyon-spin", world: "redis-trigger", exports: { default: async } });
}

mod new {
    //! Bindings of `spin:redis/inbound-redis@3.0.0`, an async function in the component model itself.
    #![allow(missing_docs)]
    wasmtime::component::bindgen!({ path: "../../wit/spin-redis-3", world: "redis-trigger" });
}

/// An instance with the synchronous handler.
pub type SyncGuest = old::RedisTrigger;
/// An instance with the asynchronous handler.
pub type AsyncGuest = new::RedisTrigger;

/// `fermyon:spin/inbound-redis`.
pub struct Sync(old::RedisTriggerPre<State>);

impl Sync {
    pub(super) fn new(pre: InstancePre<State>) -> wasmtime::Result<Self> {
        old::RedisTriggerPre::new(pre).map(Self)
    }

    pub(super) async fn instantiate(&self, store: &mut Store<State>) -> wasmtime::Result<SyncGuest> {
        self.0.instantiate_async(store).await
    }
}

/// `spin:redis/inbound-redis@3.0.0`.
pub struct Async(new::RedisTriggerPre<State>);

impl Async {
    pub(super) fn new(pre: InstancePre<State>) -> wasmtime::Result<Self> {
        new::RedisTriggerPre::new(pre).map(Self)
    }

    pub(super) async fn instantiate(&self, store: &mut Store<State>) -> wasmtime::Result<AsyncGuest> {
        self.0.instantiate_async(store).await
    }
}

pub(super) async fn call(guest: &SyncGuest, store: &mut Store<State>, message: &Message<'_>) -> wasmtime::Result<Outcome> {
    let result = guest.fermyon_spin_inbound_redis().call_handle_message(store, message.payload).await?;
    Ok(result.map_err(|error| error.name().to_owned().into()))
}

pub(super) async fn call_async(guest: &AsyncGuest, store: &mut Store<State>, message: &Message<'_>) -> wasmtime::Result<Outcome> {
    let payload = message.payload.to_vec();
    let result =
        store.run_concurrent(async |accessor| guest.spin_redis_inbound_redis().call_handle_message(accessor, payload).await).await??;
    Ok(result.map_err(|error| in_words(error).into()))
}

/// An error of the asynchronous handler, by its name in the WIT or in the guest's own words.
fn in_words(error: new::spin::redis::redis::Error) -> String {
    use new::spin::redis::redis::Error;
    match error {
        Error::InvalidAddress => "invalid-address".to_owned(),
        Error::TooManyConnections => "too-many-connections".to_owned(),
        Error::TypeError => "type-error".to_owned(),
        Error::Other(text) => text,
    }
}
