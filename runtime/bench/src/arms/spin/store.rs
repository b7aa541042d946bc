//! One call as Spin makes it: a store with WASI and the platform's interfaces, an instance, the handler.

use anyhow::Context;
use wasmtime::{
    Engine, ResourceLimiter, Store, StoreContextMut,
    component::{Component, Linker, ResourceTable, ResourceType, Val, types::ComponentItem},
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView, p2::pipe::SinkOutputStream};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView};

mod bindings {
    //! Bindings of `fermyon:spin/inbound-redis`.
    #![allow(missing_docs)]
    wasmtime::component::bindgen!({ path: "../../wit/fermyon-spin", world: "redis-trigger", exports: { default: async } });
}

/// A guest with its imports resolved.
pub struct Callable {
    engine: Engine,
    guest: bindings::RedisTriggerPre<State>,
}

impl Callable {
    /// Compiles and links a component that exports `fermyon:spin/inbound-redis`.
    pub fn new(component: &[u8]) -> anyhow::Result<Self> {
        let engine = super::engine::engine()?;
        let component = Component::new(&engine, component)?;
        let linker = linker(&engine, &component)?;
        let guest = bindings::RedisTriggerPre::new(linker.instantiate_pre(&component)?)?;
        Ok(Self { engine, guest })
    }

    /// Handles one message in a fresh instance.
    pub async fn call(&self, payload: &[u8]) -> anyhow::Result<()> {
        let mut store = Store::new(&self.engine, State::new());
        store.limiter(|state| &mut state.memory);
        store.epoch_deadline_async_yield_and_update(1);
        store.set_epoch_deadline(1);
        let guest = self.guest.instantiate_async(&mut store).await?;
        let result = guest.fermyon_spin_inbound_redis().call_handle_message(&mut store, payload).await?;
        result.map_err(|error| anyhow::anyhow!("{}", error.name())).context("the handler returned an error")
    }
}

struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: NoHttp,
    table: ResourceTable,
    memory: MemoryCount,
}

impl State {
    fn new() -> Self {
        // What guests print goes nowhere, so that no arm is measured with a terminal.
        let wasi = WasiCtx::builder().stdout(SinkOutputStream).stderr(SinkOutputStream).build();
        Self { wasi, http: WasiHttpCtx::new(), hooks: NoHttp, table: ResourceTable::new(), memory: MemoryCount(0) }
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

/// Counts memory and refuses none, as Spin does without a limit.
struct MemoryCount(usize);

impl ResourceLimiter for MemoryCount {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        self.0 += desired.saturating_sub(current);
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, _desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(true)
    }
}

/// WASI is there; the rest of what SDKs import links, and fails when it is called.
fn linker(engine: &Engine, component: &Component) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::<State>::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    for (interface, import) in component.component_type().imports(engine) {
        let ComponentItem::ComponentInstance(instance) = import.ty else { continue };
        // These are linked above, by names that need not match to the letter.
        if interface.starts_with("wasi:") && !interface.contains("draft") && !interface.contains("-rc") {
            continue;
        }
        let mut stub = linker.instance(interface)?;
        for (name, export) in instance.exports(engine) {
            let absent = || wasmtime::Error::msg("this interface is not in the benchmark");
            match export.ty {
                ComponentItem::ComponentFunc(function) if function.async_() => {
                    stub.func_new_concurrent(name, move |_, _, _, _| Box::pin(async move { Err(absent()) }))?;
                }
                ComponentItem::ComponentFunc(_) => {
                    stub.func_new(name, move |_: StoreContextMut<'_, State>, _, _: &[Val], _: &mut [Val]| Err(absent()))?;
                }
                ComponentItem::Resource(_) => stub.resource(name, ResourceType::host::<Absent>(), |_, _| Ok(()))?,
                _ => {}
            }
        }
    }
    Ok(linker)
}

/// A handle of an interface that is not here; there never is one.
struct Absent;

type Answer = Result<(http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

/// No guest of the benchmark sends a request.
struct NoHttp;

impl WasiHttpHooks for NoHttp {
    fn send_request(
        &mut self,
        _request: http::Request<WasiBody>,
        _options: Option<RequestOptions>,
        _processed: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Answer> + Send> {
        Box::new(async { Err(Error::HttpRequestDenied) })
    }
}
