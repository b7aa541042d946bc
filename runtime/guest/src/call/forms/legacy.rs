//! Core modules of Spin as of 2022: `handle-redis-message`, before there were components.
//!
//! The calling convention is that of wit-bindgen at that time. The host asks `canonical_abi_realloc(old, old_size, align, size)`
//! for room, writes the payload there and calls `handle-redis-message(pointer, length)`. The answer is the address of a result
//! whose first byte is 0 for success. All versions of that convention have that byte in common, and no more is needed: the
//! error is an enum that says nothing.

use std::{sync::Arc, time::Duration};

use wasmtime::{Engine, InstancePre, Linker, Memory, Module, Store, TypedFunc};
use wasmtime_wasi::{WasiCtxBuilder, p1};

use super::{Form, Outcome};
use crate::{
    call::{limits::MemoryLimit, message::Message, state::ModuleState},
    host::Host,
};

/// A core module with `handle-redis-message`.
pub struct Legacy(InstancePre<ModuleState>);

/// What is called of an instance of it.
pub struct LegacyGuest {
    memory: Memory,
    realloc: TypedFunc<(i32, i32, i32, i32), i32>,
    handle: TypedFunc<(i32, i32), i32>,
}

impl Legacy {
    pub(super) fn link(engine: &Engine, module: &Module) -> wasmtime::Result<Self> {
        let mut linker = Linker::<ModuleState>::new(engine);
        p1::add_to_linker_async(&mut linker, |state| &mut state.wasi)?;
        linker.instantiate_pre(module).map(Self)
    }
}

impl Form for Legacy {
    type Data = ModuleState;
    type Guest = LegacyGuest;

    fn data(wasi: &mut WasiCtxBuilder, _: &Arc<Host>, memory: MemoryLimit) -> ModuleState {
        ModuleState::new(wasi.build_p1(), memory)
    }

    async fn instantiate(&self, store: &mut Store<ModuleState>) -> wasmtime::Result<LegacyGuest> {
        let guest = self.0.instantiate_async(&mut *store).await?;
        // What a reactor's C library does before its first call (WASI application ABI, "reactors").
        for start in ["_initialize", "__wasm_call_ctors"] {
            if let Ok(start) = guest.get_typed_func::<(), ()>(&mut *store, start) {
                start.call_async(&mut *store, ()).await?;
                break;
            }
        }
        Ok(LegacyGuest {
            memory: guest.get_memory(&mut *store, "memory").ok_or_else(|| wasmtime::Error::msg("the module exports no memory"))?,
            realloc: guest.get_typed_func(&mut *store, "canonical_abi_realloc")?,
            handle: guest.get_typed_func(&mut *store, "handle-redis-message")?,
        })
    }

    async fn call(
        &self,
        guest: &LegacyGuest,
        store: &mut Store<ModuleState>,
        message: &Message<'_>,
        _: Duration,
    ) -> wasmtime::Result<Outcome> {
        let length = i32::try_from(message.payload.len())?;
        let payload = guest.realloc.call_async(&mut *store, (0, 0, 1, length)).await?;
        guest.memory.write(&mut *store, payload as u32 as usize, message.payload)?;
        let result = guest.handle.call_async(&mut *store, (payload, length)).await?;
        let mut failed = [0];
        guest.memory.read(&mut *store, result as u32 as usize, &mut failed)?;
        Ok(if failed == [0] { Ok(()) } else { Err("error".to_owned().into()) })
    }
}
