//! Our own handler, which gets the message's context.

use std::time::Duration;

use wasmtime::{Store, component::InstancePre};

use super::{Outcome, Refusal};
use crate::call::{message, message::Message, state::State};

mod bindings {
    //! Bindings of `spinredis:trigger/handler@0.1.0`.
    #![allow(missing_docs)]
    wasmtime::component::bindgen!({ path: "../../wit/spinredis-trigger", world: "trigger", exports: { default: async } });
}

use bindings::spinredis::trigger::types;

/// An instance with the handler.
pub type TriggerGuest = bindings::Trigger;

/// `spinredis:trigger/handler@0.1.0`.
pub struct Trigger(bindings::TriggerPre<State>);

impl Trigger {
    pub(super) fn new(pre: InstancePre<State>) -> wasmtime::Result<Self> {
        bindings::TriggerPre::new(pre).map(Self)
    }

    pub(super) async fn instantiate(&self, store: &mut Store<State>) -> wasmtime::Result<TriggerGuest> {
        self.0.instantiate_async(store).await
    }
}

pub(super) async fn call(
    guest: &TriggerGuest,
    store: &mut Store<State>,
    message: &Message<'_>,
    timeout: Duration,
) -> wasmtime::Result<Outcome> {
    let message = types::Message {
        payload: message.payload.to_vec(),
        channel: message.channel.to_string(),
        pattern: message.pattern.map(str::to_owned),
        address: message.address.to_owned(),
        received_ms: message.received_ms(),
        attempt: message.attempt,
        deadline_ms: message::deadline_ms(timeout),
    };
    let result = guest.spinredis_trigger_handler().call_handle(store, &message).await?;
    Ok(result.map_err(|error| match error {
        types::Error::Retry(text) => Refusal { message: text, retry: true },
        types::Error::Reject(text) => Refusal { message: text, retry: false },
    }))
}
