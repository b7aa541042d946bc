//! How much a component becomes once every instance in it is made, found without making any.
//!
//! A component that instantiates another twice, which instantiates a third twice, doubles with each step: a few hundred bytes
//! stand for more than any machine holds, and the compiler writes all of it out. So the parts are counted first, those of an
//! instantiated component once for each time.

use wasmparser::{
    BinaryReaderError, ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind, ComponentTypeRef, Instance,
    Payload,
};

/// What cannot be known: a component that is an import, or comes out of an instance. No tool writes these.
const UNKNOWN: u64 = u64::MAX;

/// Counts while a binary is read from its beginning to its end.
#[derive(Default)]
pub(super) struct Weights {
    /// The components and modules that are open, the outermost first.
    open: Vec<Open>,
    /// Parts of the outermost component, known when it ends.
    total: u64,
}

#[derive(Default)]
struct Open {
    is_component: bool,
    /// Parts so far.
    parts: u64,
    /// The parts of each component that can be instantiated here, by index.
    components: Vec<u64>,
}

impl Weights {
    /// Components and modules inside each other at this place.
    pub(super) fn depth(&self) -> usize {
        self.open.len().saturating_sub(1)
    }

    /// Parts of all instances of the outermost component; what is not known counts as more than there can be.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Takes the next piece of the binary.
    pub(super) fn take(&mut self, payload: &Payload<'_>) -> Result<(), BinaryReaderError> {
        match payload {
            Payload::Version { encoding, .. } => {
                self.open.push(Open { is_component: *encoding == wasmparser::Encoding::Component, ..Open::default() });
            }
            Payload::End(_) => {
                let Some(done) = self.open.pop() else { return Ok(()) };
                match self.open.last_mut() {
                    Some(around) if done.is_component => around.components.push(done.parts),
                    Some(_) => {}
                    None => self.total = done.parts,
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section.clone() {
                    let parts = match instance? {
                        ComponentInstance::Instantiate { component_index, args } => {
                            self.component(0, component_index).saturating_add(args.len() as u64)
                        }
                        ComponentInstance::FromExports(exports) => exports.len() as u64,
                    };
                    self.add(parts.saturating_add(1));
                }
            }
            Payload::InstanceSection(section) => {
                for instance in section.clone() {
                    self.add(
                        1 + match instance? {
                            Instance::Instantiate { args, .. } => args.len() as u64,
                            Instance::FromExports(exports) => exports.len() as u64,
                        },
                    );
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section.clone() {
                    match alias? {
                        ComponentAlias::Outer { kind: ComponentOuterAliasKind::Component, count, index } => {
                            let parts = self.component(count, index);
                            self.define(parts);
                        }
                        ComponentAlias::InstanceExport { kind: ComponentExternalKind::Component, .. } => self.define(UNKNOWN),
                        _ => {}
                    }
                    self.add(1);
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section.clone() {
                    if matches!(import?.ty, ComponentTypeRef::Component(_)) {
                        self.define(UNKNOWN);
                    }
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section.clone() {
                    let export = export?;
                    if export.kind == ComponentExternalKind::Component {
                        let parts = self.component(0, export.index);
                        self.define(parts);
                    }
                    self.add(1);
                }
            }
            Payload::ComponentCanonicalSection(section) => self.add(u64::from(section.count())),
            _ => {}
        }
        Ok(())
    }

    /// The parts of a component by its index, `outward` components away. A wrong index is the validator's to complain of.
    fn component(&self, outward: u32, index: u32) -> u64 {
        let place = self.open.len().checked_sub(1 + outward as usize);
        let open = place.and_then(|place| self.open.get(place));
        open.and_then(|open| open.components.get(index as usize)).copied().unwrap_or_default()
    }

    fn define(&mut self, parts: u64) {
        if let Some(open) = self.open.last_mut() {
            open.components.push(parts);
        }
    }

    fn add(&mut self, parts: u64) {
        if let Some(open) = self.open.last_mut() {
            open.parts = open.parts.saturating_add(parts);
        }
    }
}

#[cfg(test)]
mod tests {
    use wasmparser::Parser;

    use super::*;

    fn weight(text: &str) -> u64 {
        let wasm = wat::parse_str(text).unwrap();
        let mut weights = Weights::default();
        for payload in Parser::new(0).parse_all(&wasm) {
            weights.take(&payload.unwrap()).unwrap();
        }
        weights.total()
    }

    #[test]
    fn what_is_instantiated_counts_each_time() {
        let leaf = "(component (core module) (core instance (instantiate 0)))";
        assert_eq!(weight(leaf), 1);
        let twice = |inner: &str| format!("(component {inner} (instance (instantiate 0)) (instance (instantiate 0)))");
        assert_eq!(weight(&twice(leaf)), 4);
        assert_eq!(weight(&twice(&twice(leaf))), 10);
        assert_eq!(weight(&format!("(component {leaf} {leaf})")), 0, "what is never instantiated costs nothing");
    }

    #[test]
    fn components_from_outside_count_as_what_they_are() {
        let leaf = "(component (core module) (core instance (instantiate 0)))";
        let alias = format!(
            "(component $top {leaf} (component (alias outer $top 0 (component)) (instance (instantiate 0))) (instance (instantiate 1)))"
        );
        assert_eq!(weight(&alias), 4);
        assert_eq!(weight(r#"(component (import "c" (component)) (instance (instantiate 0)))"#), UNKNOWN);
    }
}
