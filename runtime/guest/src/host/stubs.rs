//! The rest of Spin's platform: interfaces that SDKs import whether a component uses them or not.
//!
//! They link, so that the component loads, and a call of one fails with a sentence that names it.

use wasmtime::{
    Engine, StoreContextMut,
    component::{Component, Linker, LinkerInstance, ResourceType, Val, types, types::ComponentItem},
};

/// A handle of an interface that is not here; there never is one.
struct Absent;

/// Interfaces that are here, by their names without a version where all versions are.
const PRESENT: [&str; 17] = [
    "fermyon:spin/config",
    "fermyon:spin/key-value",
    "fermyon:spin/redis",
    "fermyon:spin/redis-types",
    "fermyon:spin/inbound-redis",
    "fermyon:spin/variables@2.0.0",
    "fermyon:spin/key-value@2.0.0",
    "fermyon:spin/redis@2.0.0",
    "spin:variables/variables@3.0.0",
    "spin:key-value/key-value@3.0.0",
    "spin:redis/redis@3.0.0",
    "wasi:config/store@0.2.0-draft-2024-09-27",
    "wasi:config/store@0.2.0-rc.1",
    "wasi:config/runtime@0.2.0-draft",
    "wasi:keyvalue/store@0.2.0-draft2",
    "wasi:keyvalue/atomics@0.2.0-draft2",
    "wasi:keyvalue/batch@0.2.0-draft2",
];

/// Whether an imported interface belongs to the platform and is not here.
pub fn is_stub(interface: &str) -> bool {
    if PRESENT.contains(&interface) {
        return false;
    }
    let version = interface.split_once('@').map_or("", |(_, version)| version);
    interface.starts_with("fermyon:spin/")
        || interface.starts_with("spin:")
        || interface.starts_with("wasi:otel/")
        || (interface.starts_with("wasi:") && version.starts_with("0.3.0-rc"))
}

/// Defines the functions and resources of every stub that a component imports.
pub fn add_to_linker<T: 'static>(linker: &mut Linker<T>, engine: &Engine, component: &Component) -> wasmtime::Result<()> {
    let imports = component.component_type();
    for (name, import) in imports.imports(engine) {
        if let ComponentItem::ComponentInstance(instance) = import.ty
            && is_stub(name)
        {
            define(&mut linker.instance(name)?, engine, name, &instance)?;
        }
    }
    Ok(())
}

fn define<T: 'static>(
    linker: &mut LinkerInstance<'_, T>,
    engine: &Engine,
    interface: &str,
    instance: &types::ComponentInstance,
) -> wasmtime::Result<()> {
    for (name, export) in instance.exports(engine) {
        match export.ty {
            ComponentItem::ComponentFunc(function) => {
                let sentence = format!("the component calls {} of {interface}, which this runtime does not have", plain(name));
                if function.async_() {
                    linker.func_new_concurrent(name, move |_, _, _, _| {
                        let sentence = sentence.clone();
                        Box::pin(async move { Err(wasmtime::Error::msg(sentence)) })
                    })?;
                } else {
                    let absent = move |_: StoreContextMut<'_, T>, _, _: &[Val], _: &mut [Val]| Err(wasmtime::Error::msg(sentence.clone()));
                    linker.func_new(name, absent)?;
                }
            }
            ComponentItem::Resource(_) => linker.resource(name, ResourceType::host::<Absent>(), |_, _| Ok(()))?,
            _ => {}
        }
    }
    Ok(())
}

/// A function's name as a person knows it: `[static]connection.open` is `connection.open`.
fn plain(name: &str) -> &str {
    name.rsplit_once(']').map_or(name, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_the_platform_is_told_from_what_is_here_and_from_strangers() {
        for stub in
            ["fermyon:spin/llm@2.0.0", "spin:sqlite/sqlite@3.1.0", "fermyon:spin/mysql@2.0.0", "wasi:http/handler@0.3.0-rc-2026-01-06"]
        {
            assert!(is_stub(stub), "{stub}");
        }
        for other in ["fermyon:spin/redis@2.0.0", "spin:redis/redis@3.0.0", "wasi:http/types@0.2.6", "wasi:nn/graph@0.2.0", "acme:own/api"]
        {
            assert!(!is_stub(other), "{other}");
        }
    }
}
