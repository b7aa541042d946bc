//! Bindings of the interfaces that guests may import, generated from the folders of `wit`.
//!
//! A function that a WIT declares without `async` is one that the guest waits for; the host's own function is async either
//! way, so that a call to Redis holds up no thread and ends with the attempt.
#![allow(missing_docs)]

/// `fermyon:spin`, without a version: the first Spin SDKs.
pub mod spin_1 {
    wasmtime::component::bindgen!({
        path: "../../wit/fermyon-spin",
        world: "imports",
        imports: { default: async | trappable },
    });
}

/// `fermyon:spin@2.0.0`: the Spin SDKs 2 to 5.
pub mod spin_2 {
    wasmtime::component::bindgen!({
        path: "../../wit/fermyon-spin-2",
        world: "imports",
        imports: { default: async | trappable },
        with: {
            "fermyon:spin/key-value.store": crate::host::key_value::Opened,
            "fermyon:spin/redis.connection": crate::host::redis::Connection,
        },
    });
}

/// `spin:variables@3.0.0`.
pub mod variables_3 {
    wasmtime::component::bindgen!({
        path: "../../wit/spin-variables-3",
        world: "imports",
        imports: { default: trappable },
    });
}

/// `spin:key-value@3.0.0`.
pub mod key_value_3 {
    wasmtime::component::bindgen!({
        path: "../../wit/spin-key-value-3",
        world: "imports",
        imports: {
            "spin:key-value/key-value.[method]store.get-keys": store | trappable,
            default: trappable,
        },
        with: { "spin:key-value/key-value.store": crate::host::key_value::Opened },
    });
}

/// `spin:redis@3.0.0`.
pub mod redis_3 {
    wasmtime::component::bindgen!({
        path: "../../wit/spin-redis-3",
        world: "imports",
        imports: { default: trappable },
        with: { "spin:redis/redis.connection": crate::host::redis::Connection },
    });
}

/// `wasi:config@0.2.0-draft-2024-09-27`.
pub mod wasi_config {
    wasmtime::component::bindgen!({
        path: "../../wit/wasi-config",
        world: "imports",
        imports: { default: async | trappable },
    });
}

/// `wasi:keyvalue@0.2.0-draft2`.
pub mod wasi_keyvalue {
    wasmtime::component::bindgen!({
        path: "../../wit/wasi-keyvalue",
        world: "imports",
        imports: { default: async | trappable },
        with: {
            "wasi:keyvalue/store.bucket": crate::host::key_value::Opened,
            "wasi:keyvalue/atomics.cas": crate::host::wasi_keyvalue::Remembered,
        },
    });
}
