//! Finds a component's handler from its exports, once, when it is prepared.

use serde::{Deserialize, Serialize};
use wasmparser::{Parser, Payload};
use wasmtime::{
    Engine,
    component::{
        Component,
        types::{ComponentItem, Type},
    },
};

/// The interfaces through which a component can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HandlerKind {
    /// `fermyon:spin/inbound-redis`, of the Spin SDKs before 6: a synchronous function.
    #[serde(rename = "fermyon:spin/inbound-redis")]
    SpinSync,
    /// `spin:redis/inbound-redis@3.0.0`, of the Spin SDKs since 6: an asynchronous function.
    #[serde(rename = "spin:redis/inbound-redis@3.0.0")]
    SpinAsync,
}

impl HandlerKind {
    const ALL: [HandlerKind; 2] = [HandlerKind::SpinSync, HandlerKind::SpinAsync];

    /// Full name of the exported interface.
    pub fn interface(self) -> &'static str {
        match self {
            HandlerKind::SpinSync => "fermyon:spin/inbound-redis",
            HandlerKind::SpinAsync => "spin:redis/inbound-redis@3.0.0",
        }
    }
}

/// Why a component cannot be called.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum HandlerError {
    /// A core module.
    #[error(
        "is a core WebAssembly module, not a component: build it for wasm32-wasip2, or make a component of it with `wasm-tools component new`"
    )]
    CoreModule,
    /// Not parseable.
    #[error("is not a valid WebAssembly component: {0}")]
    Malformed(String),
    /// No handler among the exports.
    #[error("exports no Redis handler; it exports {found}, and one of {wanted} is wanted: build it with the Redis trigger of a Spin SDK")]
    None {
        /// What it exports.
        found: String,
        /// What it could export.
        wanted: String,
    },
    /// More than one handler.
    #[error("exports several Redis handlers, {0}: keep one of them")]
    Several(String),
    /// A handler that cannot be called.
    #[error(
        "exports {0}, whose handle-message is missing or not func(message: list<u8>) -> result<_, error>: build it with the Redis trigger of a Spin SDK"
    )]
    Type(&'static str),
}

/// The handler that a component exports.
pub fn find(wasm: &[u8]) -> Result<HandlerKind, HandlerError> {
    let exports = exports(wasm)?;
    let found: Vec<HandlerKind> = HandlerKind::ALL.into_iter().filter(|kind| exports.iter().any(|name| name == kind.interface())).collect();
    match found.as_slice() {
        [kind] => Ok(*kind),
        [] => Err(HandlerError::None { found: list(&exports), wanted: list(&HandlerKind::ALL.map(|kind| kind.interface().to_owned())) }),
        several => Err(HandlerError::Several(list(&several.iter().map(|kind| kind.interface().to_owned()).collect::<Vec<_>>()))),
    }
}

/// Checks that a handler has the type it will be called with.
pub fn check_type(engine: &Engine, component: &Component, kind: HandlerKind) -> Result<(), HandlerError> {
    let wrong = HandlerError::Type(kind.interface());
    let exports = component.component_type();
    let Some(ComponentItem::ComponentInstance(interface)) = exports.get_export(engine, kind.interface()).map(|export| export.ty) else {
        return Err(wrong);
    };
    let Some(ComponentItem::ComponentFunc(function)) = interface.get_export(engine, "handle-message").map(|export| export.ty) else {
        return Err(wrong);
    };
    let takes: Vec<Type> = function.params().map(|(_, parameter)| parameter).collect();
    let gives: Vec<Type> = function.results().collect();
    match (takes.as_slice(), gives.as_slice()) {
        ([Type::List(list)], [Type::Result(result)]) if list.ty() == Type::U8 && result.ok().is_none() => match (kind, result.err()) {
            (HandlerKind::SpinSync, Some(Type::Enum(_))) | (HandlerKind::SpinAsync, Some(Type::Variant(_))) => Ok(()),
            _ => Err(wrong),
        },
        _ => Err(wrong),
    }
}

/// Names of the exports of the outermost component.
fn exports(wasm: &[u8]) -> Result<Vec<String>, HandlerError> {
    let malformed = |error: wasmparser::BinaryReaderError| HandlerError::Malformed(error.to_string());
    let mut depth = 0_u32;
    let mut names = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.map_err(malformed)? {
            Payload::Version { encoding: wasmparser::Encoding::Module, .. } if depth == 0 => return Err(HandlerError::CoreModule),
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    names.push(export.map_err(malformed)?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(names)
}

fn list(names: &[String]) -> String {
    const SHOWN: usize = 8;
    match names.len() {
        0 => "nothing".to_owned(),
        n if n <= SHOWN => names.join(", "),
        n => format!("{} and {} more", names[..SHOWN].join(", "), n - SHOWN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find_in(text: &str) -> Result<HandlerKind, HandlerError> {
        find(&wat::parse_str(text).unwrap())
    }

    #[test]
    fn each_handler_is_found_by_its_interface() {
        for kind in HandlerKind::ALL {
            let component = format!(r#"(component (instance $i) (export "{}" (instance $i)))"#, kind.interface());
            assert_eq!(find_in(&component), Ok(kind));
        }
    }

    #[test]
    fn no_handler_or_two_are_named() {
        let error = find_in(r#"(component (instance $i) (export "acme:things/api" (instance $i)))"#).unwrap_err().to_string();
        assert!(error.contains("acme:things/api") && error.contains("fermyon:spin/inbound-redis"), "{error}");
        let two = r#"(component (instance $i) (export "fermyon:spin/inbound-redis" (instance $i)) (export "spin:redis/inbound-redis@3.0.0" (instance $i)))"#;
        assert!(matches!(find_in(two), Err(HandlerError::Several(_))));
    }

    #[test]
    fn exports_of_inner_components_do_not_count() {
        let inner = r#"(component (component (instance $i) (export "fermyon:spin/inbound-redis" (instance $i))) (core module))"#;
        assert!(matches!(find_in(inner), Err(HandlerError::None { .. })));
        assert_eq!(find_in("(module)"), Err(HandlerError::CoreModule));
    }
}
