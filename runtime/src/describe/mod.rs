//! What can be read from WebAssembly without running or compiling it: what it imports and exports, how large it is, and
//! which languages and tools made it. `spinredis check` shows it.
//!
//! The bytes may be anybody's: one pass, lists and nesting are bounded, and names are made safe to print.

pub mod interfaces;
pub mod producers;

use wasmparser::{Encoding, KnownCustom, Parser, Payload};

use interfaces::Interface;
use producers::Producers;

/// Imports and exports that are listed; the rest is counted.
const MAX_NAMES: usize = 512;
/// Imports and exports that are looked at; a module may import thousands of functions of one other.
const MAX_LOOKED_AT: usize = 1 << 14;
/// Components and modules inside each other. Tools make two or three levels.
const MAX_DEPTH: usize = 64;
/// Characters of a name that are kept.
const MAX_NAME: usize = 160;

/// What a WebAssembly file says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// Whether it is a core module and not a component.
    pub is_module: bool,
    /// Size, in bytes.
    pub bytes: u64,
    /// What it needs from outside: interfaces of a component, modules of a core module; each once, in its own order.
    pub imports: Names,
    /// What it offers.
    pub exports: Names,
    /// Languages and tools, of inner modules too.
    pub producers: Producers,
}

/// A list of names with an end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The first names, each once.
    pub listed: Vec<String>,
    /// How many more entries there are.
    pub more: usize,
    looked_at: usize,
}

/// Why bytes cannot be described; the sentence continues "FILE …".
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DescribeError {
    /// Not parseable.
    #[error("is not valid WebAssembly: {0}")]
    Malformed(String),
    /// Nothing that a tool would make.
    #[error("has more than {MAX_DEPTH} components inside each other, which no tool makes: it is not looked at further")]
    TooDeep,
}

/// Describes a component or core module in binary form.
pub fn describe(wasm: &[u8]) -> Result<Description, DescribeError> {
    let malformed = |error: wasmparser::BinaryReaderError| DescribeError::Malformed(printable(&error.to_string()));
    let mut description = Description { bytes: wasm.len() as u64, ..Description::default() };
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.map_err(malformed)? {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => description.is_module = true,
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    description.imports.add(import.map_err(malformed)?.name.name);
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    description.exports.add(export.map_err(malformed)?.name.name);
                }
            }
            Payload::ImportSection(section) if depth == 0 => {
                for import in section.into_imports() {
                    description.imports.add(import.map_err(malformed)?.module);
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let name = export.map_err(malformed)?.name;
                    description.producers.add_export(name);
                    if depth == 0 {
                        description.exports.add(name);
                    }
                }
            }
            Payload::CustomSection(section) => {
                if let KnownCustom::Producers(fields) = section.as_known() {
                    description.producers.add_section(fields);
                }
            }
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(DescribeError::TooDeep);
        }
    }
    Ok(description)
}

impl Description {
    /// The imports, each taken apart and judged.
    pub fn interfaces(&self) -> Vec<Interface<'_>> {
        self.imports.listed.iter().map(|name| Interface::of(name, self.is_module)).collect()
    }
}

impl Names {
    fn add(&mut self, name: &str) {
        self.looked_at += 1;
        if self.listed.len() >= MAX_NAMES || self.looked_at > MAX_LOOKED_AT {
            self.more += 1;
            return;
        }
        let name = printable(name);
        if !self.listed.contains(&name) {
            self.listed.push(name);
        }
    }
}

/// A name that a terminal shows as it is: without control characters, and of bounded length.
fn printable(name: &str) -> String {
    let mut shown: String = name.chars().take(MAX_NAME).map(|letter| if letter.is_control() { '?' } else { letter }).collect();
    if shown.len() < name.len() && name.chars().nth(MAX_NAME).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Description {
        describe(&wat::parse_str(text).unwrap()).unwrap()
    }

    #[test]
    fn a_component_says_what_it_imports_and_exports() {
        let described = of(r#"(component
            (import "wasi:cli/stdout@0.2.6" (instance))
            (import "fermyon:spin/redis@2.0.0" (instance))
            (component (import "acme:inner/one" (instance)))
            (core module (import "env" "f" (func)) (export "inner" (memory 0)) (memory 0))
            (instance $i) (export "fermyon:spin/inbound-redis" (instance $i)))"#);
        assert_eq!(described.imports.listed, ["wasi:cli/stdout@0.2.6", "fermyon:spin/redis@2.0.0"]);
        assert_eq!(described.exports.listed, ["fermyon:spin/inbound-redis"]);
        assert!(!described.is_module);
    }

    #[test]
    fn a_core_module_says_which_modules_it_imports() {
        let described = of(r#"(module (import "wasi" "a" (func)) (import "wasi" "b" (func)) (func) (export "_start" (func 2)))"#);
        assert!(described.is_module);
        assert_eq!((described.imports.listed, described.exports.listed), (vec!["wasi".to_owned()], vec!["_start".to_owned()]));
    }

    #[test]
    fn languages_and_tools_are_listed_once_over_all_modules() {
        let described = of(r#"(component
            (core module (@producers (language "Rust" "") (processed-by "rustc" "1.96.0 (abc 2026-01-01)")))
            (core module (@producers (language "Rust" "") (processed-by "rustc" "1.96.0 (abc 2026-01-01)")) (func) (export "spin-sdk-version-5-2-0" (func 0))))"#);
        assert_eq!(described.producers.language().as_deref(), Some("Rust"));
        assert_eq!(described.producers.tools(), ["spin-sdk 5.2.0", "rustc 1.96.0"]);
    }

    #[test]
    fn malicious_lists_and_nesting_are_bounded() {
        let exports: String = (0..5000).map(|n| format!("(export \"f{n}\" (func 0))")).collect();
        let described = of(&format!("(module (func) {exports})"));
        assert_eq!((described.exports.listed.len(), described.exports.more), (MAX_NAMES, 5000 - MAX_NAMES));
        let deep = "(component ".repeat(100) + &")".repeat(100);
        assert_eq!(describe(&wat::parse_str(deep).unwrap()), Err(DescribeError::TooDeep));
        assert!(matches!(describe(b"\0asm\x01\0\0\0\xff"), Err(DescribeError::Malformed(_))));
    }

    #[test]
    fn names_cannot_steer_a_terminal() {
        let described = of(r#"(module (func) (export "\1b[2Jgone" (func 0)))"#);
        assert_eq!(described.exports.listed, ["?[2Jgone"]);
    }
}
