//! The outside of a WebAssembly binary: what it exports and imports, read without validating or compiling it.
//!
//! Binaries come from strangers, so what is kept of one is bounded, however many names it has.

use spinredis_crds::report::shorten;
use wasmparser::{CanonicalFunction, CanonicalOption, Parser, Payload};

use super::{one_line, weight::Weights};

/// How many names of each kind are kept.
const MAX_NAMES: usize = 10_000;
/// Names shown in a message.
const SHOWN: usize = 8;
/// How much of a name is shown, in bytes.
const MAX_SHOWN_BYTES: usize = 100;
/// Components and modules inside each other. Tools make two or three levels; the compiler's memory grows with their square.
const MAX_DEPTH: usize = 64;
/// Instances, their arguments, aliases, exports and functions between components, in all instances together. The largest guests of SDKs have some thousands.
const MAX_PARTS: u64 = 1_000_000;
/// Bytes of a page of linear memory.
const PAGE: u64 = 64 << 10;
/// Custom sections whose names begin with this tell the component type of a core module (wit-bindgen writes them).
const COMPONENT_TYPE: &str = "component-type";

/// What kind of binary it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// A component.
    Component,
    /// A core module.
    Module,
}

/// The outside of a binary.
#[derive(Debug)]
pub struct Outline {
    /// Component or core module.
    pub encoding: Encoding,
    /// Names of the outermost exports.
    pub exports: Vec<String>,
    /// Names of the outermost imports; of a core module, the module names.
    pub imports: Vec<String>,
    /// Whether a core module tells its component type.
    pub has_component_type: bool,
    /// Whether a component, at any depth, uses functions of the asynchronous component model. Some languages' builds do so
    /// for synchronous handlers too.
    pub is_asynchronous: bool,
    /// The largest memory that a module in it starts with, in bytes.
    pub initial_memory: u64,
}

/// Why a binary is refused by its outside; the sentence continues "component …".
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum OutlineError {
    /// Not parseable.
    #[error("is not valid WebAssembly: {0}")]
    Malformed(String),
    /// Nothing that a tool would make.
    #[error("has more than {MAX_DEPTH} components inside each other, which no tool makes: build it again")]
    TooDeep,
    /// A component of too much, or a small one that instantiates what is in it into too much.
    #[error("has more than {MAX_PARTS} parts, those of an inner component counted for each of its instances: compose it of fewer")]
    TooManyParts,
}

/// Reads the outside of a binary.
pub fn read(wasm: &[u8]) -> Result<Outline, OutlineError> {
    let malformed = |error: wasmparser::BinaryReaderError| OutlineError::Malformed(one_line(&error.to_string()));
    let mut outline = Outline {
        encoding: Encoding::Module,
        exports: Vec::new(),
        imports: Vec::new(),
        has_component_type: false,
        is_asynchronous: false,
        initial_memory: 0,
    };
    let mut weights = Weights::default();
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.map_err(malformed)?;
        weights.take(&payload).map_err(malformed)?;
        let depth = weights.depth();
        if depth > MAX_DEPTH {
            return Err(OutlineError::TooDeep);
        }
        match payload {
            Payload::Version { encoding: wasmparser::Encoding::Component, .. } if depth == 0 => outline.encoding = Encoding::Component,
            Payload::MemorySection(section) => {
                for memory in section {
                    let memory = memory.map_err(malformed)?;
                    let page = memory.page_size_log2.map_or(PAGE, |log2| 1_u64.checked_shl(log2).unwrap_or(PAGE));
                    outline.initial_memory = outline.initial_memory.max(memory.initial.saturating_mul(page));
                }
            }
            Payload::ComponentCanonicalSection(section) => {
                for function in section {
                    outline.is_asynchronous |= is_asynchronous(&function.map_err(malformed)?);
                }
            }
            _ if depth > 0 => {}
            Payload::ComponentExportSection(section) => {
                for export in section {
                    keep(&mut outline.exports, export.map_err(malformed)?.name.name);
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section {
                    keep(&mut outline.imports, import.map_err(malformed)?.name.name);
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    keep(&mut outline.exports, export.map_err(malformed)?.name);
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    keep(&mut outline.imports, import.map_err(malformed)?.module);
                }
            }
            Payload::CustomSection(section) if section.name().starts_with(COMPONENT_TYPE) => outline.has_component_type = true,
            _ => {}
        }
    }
    if weights.total() > MAX_PARTS {
        return Err(OutlineError::TooManyParts);
    }
    Ok(outline)
}

/// Whether a canonical function is one of those that came with the asynchronous component model: all but lifting and lowering
/// without the option, and the three of resources.
fn is_asynchronous(function: &CanonicalFunction) -> bool {
    match function {
        CanonicalFunction::Lift { options, .. } | CanonicalFunction::Lower { options, .. } => {
            options.iter().any(|option| matches!(option, CanonicalOption::Async | CanonicalOption::Callback(_)))
        }
        CanonicalFunction::ResourceNew { .. } | CanonicalFunction::ResourceDrop { .. } | CanonicalFunction::ResourceRep { .. } => false,
        _ => true,
    }
}

fn keep(names: &mut Vec<String>, name: &str) {
    if names.len() < MAX_NAMES && !names.iter().rev().take(1).any(|last| last == name) {
        names.push(name.to_owned());
    }
}

impl Outline {
    /// Whether it has an export of this name.
    pub fn has_export(&self, name: &str) -> bool {
        self.exports.iter().any(|export| export == name)
    }

    /// The exports for a message, the first few of them.
    pub fn list_exports(&self) -> String {
        let shown: Vec<String> = self.exports.iter().take(SHOWN).map(|name| printable(name)).collect();
        match self.exports.len() {
            0 => "nothing".to_owned(),
            n if n <= SHOWN => shown.join(", "),
            n => format!("{} and {} more", shown.join(", "), n - SHOWN),
        }
    }
}

/// A name that a stranger chose, on one line and not longer than a message may be.
fn printable(name: &str) -> String {
    let start = shorten(name, MAX_SHOWN_BYTES);
    start.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(text: &str) -> Outline {
        read(&wat::parse_str(text).unwrap()).unwrap()
    }

    #[test]
    fn modules_and_components_are_told_apart() {
        assert_eq!(outline("(module)").encoding, Encoding::Module);
        assert_eq!(outline("(component (core module))").encoding, Encoding::Component);
    }

    #[test]
    fn the_largest_memory_counts_at_any_depth() {
        assert_eq!(outline("(component (core module (memory 3)) (core module (memory 2)))").initial_memory, 3 * PAGE);
        assert_eq!(outline("(component (component (core module (memory i64 200000))))").initial_memory, 200_000 * PAGE);
    }

    #[test]
    fn what_is_inside_each_other_too_often_or_doubles_too_often_is_refused() {
        let refused = |text: String| read(&wat::parse_str(text).unwrap()).unwrap_err();
        let deep = (0..MAX_DEPTH + 1).fold("(component)".to_owned(), |inner, _| format!("(component {inner})"));
        assert_eq!(refused(deep), OutlineError::TooDeep);
        let twice = |inner: String, _| format!("(component {inner} (instance (instantiate 0)) (instance (instantiate 0)))");
        let leaf = "(component (core module) (core instance (instantiate 0)))".to_owned();
        assert_eq!(refused((0..30).fold(leaf, twice)), OutlineError::TooManyParts);
    }

    #[test]
    fn names_of_exports_are_shown_on_one_line() {
        let long = "x".repeat(5_000);
        let shown = outline(&format!(r#"(module (func) (export "a\nb\1b" (func 0)) (export "{long}" (func 0)))"#)).list_exports();
        assert!(shown.starts_with("a?b?, xxx") && shown.len() < 200, "{shown}");
    }

    #[test]
    fn a_truncated_binary_is_an_error_and_no_panic() {
        let whole = wat::parse_str(r#"(component (core module (memory 3)) (instance $i) (export "a" (instance $i)))"#).unwrap();
        for end in 0..whole.len() {
            let _ = read(&whole[..end]);
        }
        assert!(read(&whole[..20]).is_err());
    }
}
