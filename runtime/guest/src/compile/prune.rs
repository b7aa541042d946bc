//! Leaves out of a component what nothing in it can reach: exports of core modules that no part of it names, and the names of
//! functions, which only a debugger reads.
//!
//! The libraries of an interpreter export thousands of functions, each with a name that Wasmtime stores, and hashes whenever it maps the
//! code. A core module inside a component is invisible from outside, so an export of it that no alias and no other module's import names
//! might as well not be there. All else is copied byte for byte. A component of which anything is not understood stays as it is.

use std::collections::{BTreeSet, HashMap, HashSet};

use wasm_encoder::{Encode, ExportKind, ExportSection, Section};
use wasmparser::{
    BinaryReaderError, ComponentAlias, ComponentExport, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind,
    ComponentTypeRef, ExportSectionReader, ExternalKind, Instance, Parser, Payload, Validator, WasmFeatures,
};
use wasmtime::{Engine, component::Component};

/// Sections that are components or modules of their own.
const MODULE_SECTION: u8 = 1;
const COMPONENT_SECTION: u8 = 4;
/// The custom section with names of functions, locals and so on.
const NAMES: &str = "name";

/// Compiles a component without what nothing in it can reach.
pub fn compile(engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Component> {
    // Without the export a function may not be referred to in code any longer (`ref.func`); and of a component that does not compile
    // the errors of the whole are the ones to tell.
    let pruned = prune(wasm).and_then(|pruned| Component::new(engine, pruned).ok());
    pruned.map_or_else(|| Component::new(engine, wasm), Ok)
}

/// The component without what nothing in it can reach; `None` if it has to stay as it is.
pub fn prune(wasm: &[u8]) -> Option<Vec<u8>> {
    let reach = Reach::read(wasm).ok()??;
    write(wasm, &reach).ok()?
}

/// A core module by its place among all core modules, however deep.
type ModuleId = usize;

/// What of the core modules can be reached.
#[derive(Default)]
struct Reach<'a> {
    modules: Vec<Module<'a>>,
    /// Instances of the first module that are the argument of that name to an instantiation of the last.
    given: BTreeSet<(ModuleId, &'a str, ModuleId)>,
}

#[derive(Default)]
struct Module<'a> {
    /// Names that an alias takes from an instance of it.
    aliased: HashSet<&'a str>,
    /// What it imports: field names by module names.
    imports: HashMap<&'a str, HashSet<&'a str>>,
    /// Whether it gets to where its instances are not seen from here.
    escapes: bool,
}

/// A core instance of a component.
#[derive(Clone, Copy)]
enum CoreInstance {
    /// Of a module whose code is here.
    Of(ModuleId),
    /// Of a module from outside, or put together of single items.
    Other,
}

/// A component or module that is being read.
#[derive(Default)]
struct Open {
    /// The core modules by their index; `None` where the code is not here.
    modules: Vec<Option<ModuleId>>,
    instances: Vec<CoreInstance>,
}

impl<'a> Reach<'a> {
    /// Reads a component. `None` when an index in it makes no sense, or it is a core module.
    fn read(wasm: &'a [u8]) -> Result<Option<Self>, BinaryReaderError> {
        let mut reach = Self::default();
        // What was wrong must not become right by leaving it out. Functions are validated when they are compiled.
        let mut validator = Validator::new_with_features(WasmFeatures::all());
        let mut open: Vec<Open> = Vec::new();
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload?;
            validator.payload(&payload)?;
            if reach.take(&payload, &mut open)?.is_none() {
                return Ok(None);
            }
        }
        reach.follow();
        Ok(Some(reach))
    }

    /// Takes the next piece.
    fn take(&mut self, payload: &Payload<'a>, open: &mut Vec<Open>) -> Result<Option<()>, BinaryReaderError> {
        match payload {
            Payload::Version { encoding: wasmparser::Encoding::Component, .. } => open.push(Open::default()),
            Payload::Version { encoding: wasmparser::Encoding::Module, .. } => {
                let Some(around) = open.last_mut() else { return Ok(None) };
                around.modules.push(Some(self.modules.len()));
                self.modules.push(Module::default());
                open.push(Open::default());
            }
            Payload::End(_) => drop(open.pop()),
            Payload::ImportSection(section) => {
                let Some(module) = self.modules.last_mut() else { return Ok(None) };
                for import in section.clone().into_imports() {
                    let import = import?;
                    module.imports.entry(import.module).or_default().insert(import.name);
                }
            }
            Payload::InstanceSection(section) => {
                for instance in section.clone() {
                    let instance = match instance? {
                        Instance::FromExports(_) => CoreInstance::Other,
                        Instance::Instantiate { module_index, args } => {
                            let Some(module) = module_at(open, 0, module_index) else { return Ok(None) };
                            for argument in args {
                                let Some(given) = instance_at(open, argument.index) else { return Ok(None) };
                                self.give(given, argument.name, module);
                            }
                            module.map_or(CoreInstance::Other, CoreInstance::Of)
                        }
                    };
                    let Some(here) = open.last_mut() else { return Ok(None) };
                    here.instances.push(instance);
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section.clone() {
                    if self.alias(&alias?, open).is_none() {
                        return Ok(None);
                    }
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section.clone() {
                    if matches!(import?.ty, ComponentTypeRef::Module(_)) {
                        define(open, None);
                    }
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section.clone() {
                    let ComponentExport { kind, index, .. } = export?;
                    if kind == ComponentExternalKind::Module {
                        let Some(module) = module_at(open, 0, index) else { return Ok(None) };
                        self.escape(module);
                        define(open, module);
                    }
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section.clone() {
                    let passed: Vec<(ComponentExternalKind, u32)> = match instance? {
                        ComponentInstance::Instantiate { args, .. } => args.iter().map(|passed| (passed.kind, passed.index)).collect(),
                        ComponentInstance::FromExports(exports) => exports.iter().map(|passed| (passed.kind, passed.index)).collect(),
                    };
                    for (_, index) in passed.into_iter().filter(|(kind, _)| *kind == ComponentExternalKind::Module) {
                        let Some(module) = module_at(open, 0, index) else { return Ok(None) };
                        self.escape(module);
                    }
                }
            }
            Payload::UnknownSection { .. } => return Ok(None),
            _ => {}
        }
        Ok(Some(()))
    }

    fn alias(&mut self, alias: &ComponentAlias<'a>, open: &mut [Open]) -> Option<()> {
        match alias {
            ComponentAlias::CoreInstanceExport { instance_index, name, .. } => {
                if let CoreInstance::Of(module) = instance_at(open, *instance_index)? {
                    self.modules.get_mut(module)?.aliased.insert(name);
                }
            }
            ComponentAlias::Outer { kind: ComponentOuterAliasKind::CoreModule, count, index } => {
                let module = module_at(open, *count, *index)?;
                define(open, module);
            }
            ComponentAlias::InstanceExport { kind: ComponentExternalKind::Module, .. } => define(open, None),
            _ => {}
        }
        Some(())
    }

    /// An instance is the argument `name` to an instantiation.
    fn give(&mut self, instance: CoreInstance, name: &'a str, module: Option<ModuleId>) {
        match (instance, module) {
            (CoreInstance::Of(giver), Some(taker)) => drop(self.given.insert((giver, name, taker))),
            (CoreInstance::Of(giver), None) => self.escape(Some(giver)),
            (CoreInstance::Other, _) => {}
        }
    }

    fn escape(&mut self, module: Option<ModuleId>) {
        if let Some(module) = module.and_then(|module| self.modules.get_mut(module)) {
            module.escapes = true;
        }
    }

    /// What a module imports of an instance that it is given is reached in that instance.
    fn follow(&mut self) {
        for (giver, name, taker) in std::mem::take(&mut self.given) {
            let fields = self.modules.get(taker).and_then(|taker| taker.imports.get(name)).cloned().unwrap_or_default();
            if let Some(giver) = self.modules.get_mut(giver) {
                giver.aliased.extend(fields);
            }
        }
    }
}

/// The core module of an index, `outward` components away.
fn module_at(open: &[Open], outward: u32, index: u32) -> Option<Option<ModuleId>> {
    let place = open.len().checked_sub(1)?.checked_sub(outward as usize)?;
    open.get(place)?.modules.get(index as usize).copied()
}

fn instance_at(open: &[Open], index: u32) -> Option<CoreInstance> {
    open.last()?.instances.get(index as usize).copied()
}

fn define(open: &mut [Open], module: Option<ModuleId>) {
    if let Some(here) = open.last_mut() {
        here.modules.push(module);
    }
}

/// A component or module that is being written.
struct Written {
    bytes: Vec<u8>,
    /// `None` for a component.
    module: Option<ModuleId>,
}

/// Writes what can be reached. `None` when that is all of it.
fn write(wasm: &[u8], reach: &Reach) -> Result<Option<Vec<u8>>, BinaryReaderError> {
    let mut open: Vec<Written> = Vec::new();
    let mut modules = 0;
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload?;
        match &payload {
            Payload::Version { encoding, range, .. } => {
                let module = (*encoding == wasmparser::Encoding::Module).then_some(modules);
                modules += usize::from(module.is_some());
                let Some(header) = wasm.get(range.clone()) else { return Ok(None) };
                open.push(Written { bytes: header.to_vec(), module });
            }
            Payload::End(_) => {
                let Some(done) = open.pop() else { return Ok(None) };
                let Some(around) = open.last_mut() else { return Ok((done.bytes.len() < wasm.len()).then_some(done.bytes)) };
                section(&mut around.bytes, if done.module.is_some() { MODULE_SECTION } else { COMPONENT_SECTION }, &done.bytes);
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {}
            _ => {
                let Some(here) = open.last_mut() else { return Ok(None) };
                match (&payload, here.module.and_then(|module| reach.modules.get(module))) {
                    (Payload::CustomSection(custom), Some(_)) if custom.name() == NAMES => {}
                    (Payload::ExportSection(exports), Some(module)) if !module.escapes => {
                        let Some(exports) = reached(exports, &module.aliased)? else { return Ok(None) };
                        exports.append_to(&mut here.bytes);
                    }
                    _ => {
                        // Functions come one by one after the section that they are part of.
                        if let Some((id, range)) = payload.as_section() {
                            let Some(contents) = wasm.get(range) else { return Ok(None) };
                            section(&mut here.bytes, id, contents);
                        }
                    }
                }
            }
        }
    }
    Ok(None)
}

fn section(bytes: &mut Vec<u8>, id: u8, contents: &[u8]) {
    bytes.push(id);
    contents.encode(bytes);
}

/// The exports of these names; `None` when one is of a kind that only drafts of WebAssembly have.
fn reached(exports: &ExportSectionReader<'_>, names: &HashSet<&str>) -> Result<Option<ExportSection>, BinaryReaderError> {
    let mut reached = ExportSection::new();
    for export in exports.clone() {
        let export = export?;
        if names.contains(export.name) {
            let kind = match export.kind {
                ExternalKind::Func => ExportKind::Func,
                ExternalKind::Table => ExportKind::Table,
                ExternalKind::Memory => ExportKind::Memory,
                ExternalKind::Global => ExportKind::Global,
                ExternalKind::Tag => ExportKind::Tag,
                ExternalKind::FuncExact => return Ok(None),
            };
            reached.export(export.name, kind, export.index);
        }
    }
    Ok(Some(reached))
}

#[cfg(test)]
#[path = "prune_tests.rs"]
mod tests;
