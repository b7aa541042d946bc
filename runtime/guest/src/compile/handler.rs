//! Finds a guest's handler from its exports, once, when it is prepared.
//!
//! A Redis handler wins over a program's entry: SDKs of some languages export both. Two Redis handlers are an error, since
//! nobody could tell which of them a message is for.

use serde::{Deserialize, Serialize};
use wasmtime::{
    Engine,
    component::{
        Component,
        types::{ComponentItem, Type},
    },
};

use super::{
    adapt::{self, AdaptError},
    outline::{self, Encoding, Outline, OutlineError},
};

/// The ways in which a guest can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HandlerKind {
    /// `fermyon:spin/inbound-redis`, of the Spin SDKs before 6: a synchronous function.
    #[serde(rename = "fermyon:spin/inbound-redis")]
    SpinSync,
    /// `spin:redis/inbound-redis@3.0.0`, of the Spin SDKs since 6: an asynchronous function.
    #[serde(rename = "spin:redis/inbound-redis@3.0.0")]
    SpinAsync,
    /// `spinredis:trigger/handler@0.1.0`, which also gets the message's context.
    #[serde(rename = "spinredis:trigger/handler@0.1.0")]
    Trigger,
    /// `handle-redis-message`, a function of a core module: Spin as of 2022.
    #[serde(rename = "handle-redis-message")]
    Legacy,
    /// `wasi:cli/run` of WASI 0.2, or a core module's `_start`: a program that reads the payload from its stdin.
    #[serde(rename = "wasi:cli/run@0.2")]
    Command,
    /// `wasi:cli/run` of WASI 0.3, whose function is asynchronous.
    #[serde(rename = "wasi:cli/run@0.3")]
    AsyncCommand,
}

impl HandlerKind {
    /// Every kind, Redis handlers first.
    pub const ALL: [HandlerKind; 6] = [
        HandlerKind::SpinSync,
        HandlerKind::SpinAsync,
        HandlerKind::Trigger,
        HandlerKind::Legacy,
        HandlerKind::Command,
        HandlerKind::AsyncCommand,
    ];

    /// Name of the exported interface or function.
    pub fn interface(self) -> &'static str {
        match self {
            HandlerKind::SpinSync => "fermyon:spin/inbound-redis",
            HandlerKind::SpinAsync => "spin:redis/inbound-redis@3.0.0",
            HandlerKind::Trigger => "spinredis:trigger/handler@0.1.0",
            HandlerKind::Legacy => "handle-redis-message",
            HandlerKind::Command => "wasi:cli/run@0.2",
            HandlerKind::AsyncCommand => "wasi:cli/run@0.3",
        }
    }

    /// Whether it is made for messages, and not a program's entry.
    fn is_redis_handler(self) -> bool {
        !matches!(self, HandlerKind::Command | HandlerKind::AsyncCommand)
    }

    /// Whether an export of this name is it.
    fn is_exported_as(self, export: &str) -> bool {
        match self {
            HandlerKind::Command | HandlerKind::AsyncCommand => {
                export.strip_prefix(self.interface()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            }
            HandlerKind::Legacy => false,
            _ => export == self.interface(),
        }
    }
}

/// A guest that can be called.
#[derive(Debug, PartialEq, Eq)]
pub struct Callable {
    /// How it is called.
    pub kind: HandlerKind,
    /// Whether it needs the engine with concurrency support: it exports or imports asynchronous functions.
    pub concurrent: bool,
    /// What is compiled: the bytes as they came, or the component that was made of a core module.
    pub wasm: Vec<u8>,
    /// The largest memory that one of its modules starts with, in bytes.
    pub initial_memory: u64,
}

/// Why a guest cannot be called.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum HandlerError {
    /// Not parseable, or nothing that a tool would make.
    #[error(transparent)]
    Malformed(#[from] OutlineError),
    /// A core module that no component can be made of.
    #[error(transparent)]
    Adapt(#[from] AdaptError),
    /// No handler among the exports.
    #[error(
        "exports no handler; it exports {found}, and one of {wanted} is wanted: build it with the Redis trigger of a Spin SDK, or as a WASI program"
    )]
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
    #[error("exports {0}, whose {1} is missing or of another type than in its WIT: build it with the Redis trigger of a Spin SDK")]
    Type(&'static str, &'static str),
}

/// The handler that a guest exports.
pub fn find(wasm: &[u8]) -> Result<HandlerKind, HandlerError> {
    resolve(wasm.to_vec()).map(|callable| callable.kind)
}

/// Finds the handler of a guest, and makes a component of a core module that needs it.
pub fn resolve(wasm: Vec<u8>) -> Result<Callable, HandlerError> {
    let outline = outline::read(&wasm)?;
    match outline.encoding {
        Encoding::Component => component(wasm, &outline),
        Encoding::Module => module(wasm, &outline),
    }
}

fn module(wasm: Vec<u8>, outline: &Outline) -> Result<Callable, HandlerError> {
    let is_legacy = outline.has_export(HandlerKind::Legacy.interface());
    let is_program = outline.has_export("_start");
    let adapted = |wasm: &[u8], as_program| -> Result<Callable, HandlerError> {
        let wasm = adapt::to_component(wasm, as_program)?;
        let outline = outline::read(&wasm)?;
        component(wasm, &outline)
    };
    match (is_legacy, outline.has_component_type) {
        (true, true) => match adapted(&wasm, is_program) {
            Ok(callable) if callable.kind.is_redis_handler() => {
                Err(HandlerError::Several(format!("{}, {}", HandlerKind::Legacy.interface(), callable.kind.interface())))
            }
            _ => Ok(legacy(wasm, outline)),
        },
        (true, false) => Ok(legacy(wasm, outline)),
        (false, true) => adapted(&wasm, is_program),
        (false, false) if is_program => adapted(&wasm, true),
        (false, false) => Err(none(outline)),
    }
}

fn legacy(wasm: Vec<u8>, outline: &Outline) -> Callable {
    Callable { kind: HandlerKind::Legacy, concurrent: false, wasm, initial_memory: outline.initial_memory }
}

fn component(wasm: Vec<u8>, outline: &Outline) -> Result<Callable, HandlerError> {
    let exported = |kind: &HandlerKind| outline.exports.iter().any(|name| kind.is_exported_as(name));
    let (redis, programs): (Vec<HandlerKind>, Vec<HandlerKind>) =
        HandlerKind::ALL.into_iter().filter(exported).partition(|kind| kind.is_redis_handler());
    let kind = match (redis.as_slice(), programs.as_slice()) {
        ([kind], _) => *kind,
        // A program for both versions of WASI: the older one is the one that every program of its language has.
        ([], [kind, ..]) => *kind,
        ([], []) => return Err(none(outline)),
        (several, _) => return Err(HandlerError::Several(names(several))),
    };
    let concurrent = outline.is_asynchronous
        || matches!(kind, HandlerKind::SpinAsync | HandlerKind::AsyncCommand)
        || outline.imports.iter().any(|name| is_async(name));
    Ok(Callable { kind, concurrent, wasm, initial_memory: outline.initial_memory })
}

/// Whether an imported interface has asynchronous functions.
fn is_async(import: &str) -> bool {
    let Some((interface, version)) = import.split_once('@') else { return false };
    (interface.starts_with("wasi:") && version.starts_with("0.3")) || (interface.starts_with("spin:") && version.starts_with(['3', '4']))
}

fn none(outline: &Outline) -> HandlerError {
    HandlerError::None { found: outline.list_exports(), wanted: names(&HandlerKind::ALL) }
}

fn names(kinds: &[HandlerKind]) -> String {
    kinds.iter().map(|kind| kind.interface()).collect::<Vec<_>>().join(", ")
}

/// Checks that a component's handler has the type it will be called with.
pub fn check_type(engine: &Engine, component: &Component, kind: HandlerKind) -> Result<(), HandlerError> {
    let function = match kind {
        HandlerKind::SpinSync | HandlerKind::SpinAsync => "handle-message",
        HandlerKind::Trigger => "handle",
        HandlerKind::Legacy | HandlerKind::Command | HandlerKind::AsyncCommand => return Ok(()),
    };
    let wrong = HandlerError::Type(kind.interface(), function);
    let exports = component.component_type();
    let Some(ComponentItem::ComponentInstance(interface)) = exports.get_export(engine, kind.interface()).map(|export| export.ty) else {
        return Err(wrong);
    };
    let Some(ComponentItem::ComponentFunc(function)) = interface.get_export(engine, function).map(|export| export.ty) else {
        return Err(wrong);
    };
    let takes: Vec<Type> = function.params().map(|(_, parameter)| parameter).collect();
    let gives: Vec<Type> = function.results().collect();
    let ([Type::Result(result)], [parameter]) = (gives.as_slice(), takes.as_slice()) else { return Err(wrong) };
    let takes_bytes = matches!(parameter, Type::List(list) if list.ty() == Type::U8);
    let right = match (kind, result.ok(), result.err()) {
        (HandlerKind::SpinSync, None, Some(Type::Enum(_))) | (HandlerKind::SpinAsync, None, Some(Type::Variant(_))) => takes_bytes,
        (HandlerKind::Trigger, None, Some(Type::Variant(_))) => matches!(parameter, Type::Record(_)),
        _ => false,
    };
    if right { Ok(()) } else { Err(wrong) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find_in(text: &str) -> Result<HandlerKind, HandlerError> {
        find(&wat::parse_str(text).unwrap())
    }

    fn exporting(names: &[&str]) -> String {
        let exports: Vec<String> = names.iter().map(|name| format!(r#"(export "{name}" (instance $i))"#)).collect();
        format!("(component (instance $i) {})", exports.join(" "))
    }

    #[test]
    fn each_handler_of_a_component_is_found_by_its_interface() {
        for kind in [HandlerKind::SpinSync, HandlerKind::SpinAsync, HandlerKind::Trigger] {
            assert_eq!(find_in(&exporting(&[kind.interface()])), Ok(kind));
        }
        for (export, kind) in [("wasi:cli/run@0.2.6", HandlerKind::Command), ("wasi:cli/run@0.3.0", HandlerKind::AsyncCommand)] {
            assert_eq!(find_in(&exporting(&[export])), Ok(kind));
        }
    }

    #[test]
    fn a_redis_handler_wins_over_a_program() {
        assert_eq!(find_in(&exporting(&["wasi:cli/run@0.2.0", "fermyon:spin/inbound-redis"])), Ok(HandlerKind::SpinSync));
        let both = r#"(module (memory (export "memory") 1) (func (export "_start")) (func (export "handle-redis-message") (param i32 i32) (result i32) i32.const 0))"#;
        assert_eq!(find_in(both), Ok(HandlerKind::Legacy));
    }

    #[test]
    fn a_program_that_is_a_core_module_becomes_a_component() {
        let module = wat::parse_str(r#"(module (memory (export "memory") 1) (func (export "_start")))"#).unwrap();
        let callable = resolve(module.clone()).unwrap();
        assert_eq!((callable.kind, callable.concurrent), (HandlerKind::Command, false));
        assert_ne!(callable.wasm, module);
        assert_eq!(resolve(callable.wasm).unwrap().kind, HandlerKind::Command);
    }

    #[test]
    fn no_handler_or_two_are_named() {
        let error = find_in(&exporting(&["acme:things/api"])).unwrap_err().to_string();
        assert!(error.contains("acme:things/api") && error.contains("fermyon:spin/inbound-redis"), "{error}");
        assert!(matches!(
            find_in(&exporting(&["fermyon:spin/inbound-redis", "spin:redis/inbound-redis@3.0.0"])),
            Err(HandlerError::Several(_))
        ));
        assert!(matches!(find_in("(module)"), Err(HandlerError::None { .. })));
    }

    #[test]
    fn exports_of_inner_components_do_not_count() {
        let inner = r#"(component (component (instance $i) (export "fermyon:spin/inbound-redis" (instance $i))) (core module))"#;
        assert!(matches!(find_in(inner), Err(HandlerError::None { .. })));
    }

    #[test]
    fn asynchronous_imports_choose_the_concurrent_engine() {
        for (import, concurrent) in [("spin:redis/redis@3.0.0", true), ("wasi:clocks/types@0.3.0", true), ("wasi:io/poll@0.2.6", false)] {
            let text =
                format!(r#"(component (import "{import}" (instance)) (instance $i) (export "fermyon:spin/inbound-redis" (instance $i)))"#);
            assert_eq!(resolve(wat::parse_str(text).unwrap()).unwrap().concurrent, concurrent, "{import}");
        }
    }
}
