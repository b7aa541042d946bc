//! Makes a component of a core module: its own type from the section that wit-bindgen wrote, and WASI preview 1 translated to
//! 0.2 by Wasmtime's adapter.

use std::panic::{AssertUnwindSafe, catch_unwind};

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wasmparser::{BinaryReader, Parser, Payload};
use wit_component::ComponentEncoder;
use wit_parser::{
    Resolve,
    decoding::{decode, decode_world},
};

/// Why no component can be made of a core module.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("is a core WebAssembly module of which no component can be made: {0}; build it for wasm32-wasip2, or as a WASI program")]
pub struct AdaptError(String);

/// The component of a core module; `as_program` when its entry is `_start`.
pub fn to_component(module: &[u8], as_program: bool) -> Result<Vec<u8>, AdaptError> {
    let adapter = if as_program { WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER } else { WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER };
    let encode = || match has_packages_in_a_circle(module) {
        true => None,
        false => Some(adapted(module, adapter)),
    };
    // The library believes the section that describes the module's type and panics when that contradicts itself (seen with 0.254).
    // Nothing of it is used afterwards.
    match catch_unwind(AssertUnwindSafe(encode)) {
        Ok(Some(made)) => made.map_err(|error| AdaptError(super::one_line(&error))),
        Ok(None) => Err(AdaptError("packages that its type is described with need each other in a circle".to_owned())),
        Err(_) => Err(AdaptError("the description of its type contradicts itself".to_owned())),
    }
}

fn adapted(module: &[u8], adapter: &[u8]) -> Result<Vec<u8>, String> {
    let encoder =
        ComponentEncoder::default().module(module).and_then(|encoder| encoder.adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, adapter));
    encoder.and_then(|encoder| encoder.validate(true).encode()).map_err(|error| format!("{error:#}"))
}

/// Whether a section that describes the module's type has packages that need each other in a circle: the library follows that without an end
/// (seen with 0.254), which a process does not survive.
fn has_packages_in_a_circle(module: &[u8]) -> bool {
    let sections = Parser::new(0).parse_all(module).map_while(Result::ok).filter_map(|payload| match payload {
        Payload::CustomSection(section) if section.name().starts_with("component-type") => Some(section.data()),
        _ => None,
    });
    sections.filter_map(packages).any(|resolve| is_in_a_circle(&resolve))
}

/// What one such section describes; what does not read is told by the library.
fn packages(section: &[u8]) -> Option<Resolve> {
    // The older of its two forms has a head: 3, an encoding, and the name of a world.
    let wit = match section {
        [3, ..] => {
            let mut reader = BinaryReader::new(section, 0);
            reader.read_u8().and_then(|_| reader.read_u8()).ok()?;
            reader.read_string().ok()?;
            &section[reader.original_position()..]
        }
        _ => return decode_world(section).ok().map(|(resolve, _)| resolve),
    };
    decode(wit).ok().map(|decoded| decoded.resolve().clone())
}

fn is_in_a_circle(resolve: &Resolve) -> bool {
    let mut left: Vec<_> = resolve.packages.iter().map(|(package, _)| package).collect();
    // Those that need nothing that is left go, again and again.
    loop {
        let (needing, free): (Vec<_>, Vec<_>) =
            left.iter().copied().partition(|package| resolve.package_direct_deps(*package).any(|other| left.contains(&other)));
        if needing.is_empty() || free.is_empty() {
            return !needing.is_empty();
        }
        left = needing;
    }
}

#[cfg(test)]
mod tests {
    use wit_parser::{Type, TypeDefKind};

    use super::*;

    #[test]
    fn packages_that_need_each_other_are_a_circle_and_those_that_need_one_another_in_turn_are_none() {
        let mut resolve = Resolve::default();
        for (package, types) in
            [("a", "type first = u32;"), ("b", "use test:a/i.{first};"), ("c", "use test:b/i.{first}; type last = u32;")]
        {
            resolve.push_source("test.wit", &format!("package test:{package}; interface i {{ {types} }}")).unwrap();
        }
        assert!(!is_in_a_circle(&resolve));
        // No text can say it: of `a`, a type becomes one of `c`.
        let of = |name: &str| resolve.types.iter().find(|(_, found)| found.name.as_deref() == Some(name)).unwrap().0;
        let (first, last) = (of("first"), of("last"));
        resolve.types[first].kind = TypeDefKind::Type(Type::Id(last));
        assert!(is_in_a_circle(&resolve));
    }
}
