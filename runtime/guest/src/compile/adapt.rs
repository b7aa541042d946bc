//! Makes a component of a core module: its own type from the section that wit-bindgen wrote, and WASI preview 1 translated to
//! 0.2 by Wasmtime's adapter.

use std::panic::{AssertUnwindSafe, catch_unwind};

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_component::ComponentEncoder;

/// Why no component can be made of a core module.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("is a core WebAssembly module of which no component can be made: {0}; build it for wasm32-wasip2, or as a WASI program")]
pub struct AdaptError(String);

/// The component of a core module; `as_program` when its entry is `_start`.
pub fn to_component(module: &[u8], as_program: bool) -> Result<Vec<u8>, AdaptError> {
    let adapter = if as_program { WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER } else { WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER };
    let encode =
        || ComponentEncoder::default().module(module)?.adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, adapter)?.validate(true).encode();
    // The library believes the section that describes the module's type and panics when that contradicts itself (seen with 0.254).
    // Nothing of it is used afterwards.
    match catch_unwind(AssertUnwindSafe(encode)) {
        Ok(made) => made.map_err(|error| AdaptError(super::one_line(&format!("{error:#}")))),
        Err(_) => Err(AdaptError("the description of its type contradicts itself".to_owned())),
    }
}
