//! What the store of one instance holds; all of it is dropped with the instance.

use std::sync::Arc;

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView, p1::WasiP1Ctx};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::limits::MemoryLimit;
use crate::host::{self, GuestState, Host, HostView, MAX_RESOURCES, Open};

/// What every store's data has.
pub trait CallData: Send + 'static {
    /// How much memory it may use and has used.
    fn memory(&mut self) -> &mut MemoryLimit;

    /// Gives an instance that was made before its message another environment and input.
    fn replace_wasi(&mut self, wasi: &mut WasiCtxBuilder);
}

/// The data of a component's instance.
pub struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: host::http::Hooks,
    table: ResourceTable,
    memory: MemoryLimit,
    host: Arc<Host>,
    open: Open,
}

impl State {
    /// The data of an instance that is made.
    pub fn new(wasi: WasiCtx, host: &Arc<Host>, memory: MemoryLimit) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_RESOURCES);
        let hooks = host::http::Hooks(host.clone());
        Self { wasi, http: WasiHttpCtx::new(), hooks, table, memory, host: host.clone(), open: Open::default() }
    }
}

impl CallData for State {
    fn memory(&mut self) -> &mut MemoryLimit {
        &mut self.memory
    }

    fn replace_wasi(&mut self, wasi: &mut WasiCtxBuilder) {
        self.wasi = wasi.build();
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}

impl GuestState for State {
    fn host(&mut self) -> HostView<'_> {
        HostView { host: &self.host, table: &mut self.table, open: &mut self.open }
    }
}

/// The data of a core module's instance.
pub struct ModuleState {
    /// WASI preview 1.
    pub wasi: WasiP1Ctx,
    memory: MemoryLimit,
}

impl ModuleState {
    /// The data of an instance that is made.
    pub fn new(wasi: WasiP1Ctx, memory: MemoryLimit) -> Self {
        Self { wasi, memory }
    }
}

impl CallData for ModuleState {
    fn memory(&mut self) -> &mut MemoryLimit {
        &mut self.memory
    }

    fn replace_wasi(&mut self, wasi: &mut WasiCtxBuilder) {
        self.wasi = wasi.build_p1();
    }
}
