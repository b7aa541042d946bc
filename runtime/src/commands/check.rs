//! `spinredis check`: every finding a line, exit code 1 when there is one; then what each component at hand is. A
//! WebAssembly file can be checked alone.

use std::{fs, path::Path, process::ExitCode};

use serde_json::Value;
use spinredis_crds::{
    Reference, check,
    manifest::{Documents, ManifestError, ManifestSpec},
};

use super::{CommandError, read_manifest, say};
use crate::{
    cli::{CheckArgs, ComponentFile},
    compile::handler,
    describe::{
        DescribeError, Description, describe,
        interfaces::{Interface, Support},
    },
    source::decode::{self, DecodeError},
};

pub(super) fn run(args: &CheckArgs) -> ExitCode {
    match look(args) {
        Ok(code) => code,
        Err(error) => {
            say(error);
            ExitCode::FAILURE
        }
    }
}

fn look(args: &CheckArgs) -> Result<ExitCode, CommandError> {
    let Some(path) = args.path.as_deref().or(args.file.as_deref()) else {
        let given = args.components.iter().map(|given| Ok((given.id.clone(), file(given)?)));
        return given.collect::<Result<_, _>>().map(alone);
    };
    if let Ok(bytes) = fs::read(path)
        && is_webassembly(&bytes)
    {
        let name = path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
        return Ok(alone(vec![(name, bytes)]));
    }
    manifest(path, &args.components)
}

/// Whether a file is a component and no manifest: binary, gzip'd or as text.
fn is_webassembly(bytes: &[u8]) -> bool {
    let text = bytes.trim_ascii_start();
    bytes.starts_with(b"\0asm") || bytes.starts_with(&[0x1f, 0x8b]) || text.starts_with(b"(") || text.starts_with(b";;")
}

/// Describes components without a manifest.
fn alone(components: Vec<(String, Vec<u8>)>) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for (index, (name, bytes)) in components.into_iter().enumerate() {
        if index > 0 {
            say("");
        }
        let report = Report::of(name, bytes, None);
        if let Some(finding) = &report.finding {
            say(format!("{} {finding}", report.title));
            code = ExitCode::FAILURE;
        }
        report.print();
    }
    code
}

fn manifest(path: &Path, given: &[ComponentFile]) -> Result<ExitCode, CommandError> {
    let documents = read_manifest(path).map_err(|error| match error {
        CommandError::Manifest { path: name, error } if path.extension().is_some_and(|extension| extension == "toml") => {
            let hint = ManifestError::Shape(format!("{error}. A Spin manifest becomes one with `spinredis import {name}`"));
            CommandError::Manifest { path: name, error: hint }
        }
        other => other,
    })?;
    let findings = check::file(&documents);
    for finding in &findings {
        say(finding);
    }
    if !findings.is_empty() {
        return Ok(ExitCode::FAILURE);
    }
    let components = documents.app.pointer("/spec/components").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let known: Vec<&str> = components.iter().map(id).collect();
    if let Some(unknown) = given.iter().find(|given| !known.contains(&given.id.as_str())) {
        return Err(CommandError::UnknownComponent { given: unknown.id.clone(), known: known.join(", ") });
    }
    let mut reports = Vec::new();
    let mut elsewhere = Vec::new();
    for component in components {
        match bytes_of(component, &documents, given)? {
            Some((from, bytes)) => {
                let title = format!("{} ({from})", id(component));
                reports.push(Report::of(title, bytes, Some(reach(component))));
            }
            None => elsewhere.push(id(component)),
        }
    }
    let mut code = ExitCode::SUCCESS;
    for report in &reports {
        if let Some(finding) = &report.finding {
            say(format!("component {} {finding}", report.title));
            code = ExitCode::FAILURE;
        }
    }
    if code == ExitCode::SUCCESS {
        let warnings = check::warnings(&documents.app);
        for warning in &warnings {
            say(format!("warning: {warning}"));
        }
        let what = documents.manifest().map(|manifest| what(&manifest.spec)).unwrap_or_default();
        match warnings.len() {
            0 => say(format!("{}: is valid, nothing to find in {what}", path.display())),
            count => say(format!("{}: is valid, with {} for {what}", path.display(), counted(count, "warning"))),
        }
    }
    for report in &reports {
        say("");
        report.print();
    }
    if !elsewhere.is_empty() {
        say(format!("\nnot looked at, since check asks no registry: {} (give the file with --component ID=PATH)", elsewhere.join(", ")));
    }
    Ok(code)
}

/// What was looked at: `2 components`, or `the application`, whose own components are known when it is fetched.
fn what(spec: &ManifestSpec) -> String {
    match (&spec.application, spec.components.len()) {
        (None, count) => counted(count, "component"),
        (Some(_), 0) => "the application".to_owned(),
        (Some(_), count) => format!("the application and {}", counted(count, "component")),
    }
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn id(component: &Value) -> &str {
    component.get("id").and_then(Value::as_str).unwrap_or_default()
}

fn file(given: &ComponentFile) -> Result<Vec<u8>, CommandError> {
    fs::read(&given.path).map_err(|error| CommandError::File { path: given.path.display().to_string(), error })
}

/// Where a component's bytes are and what they are, when they are at hand: a file that was named, or a ConfigMap beside the
/// app.
fn bytes_of(component: &Value, documents: &Documents, given: &[ComponentFile]) -> Result<Option<(String, Vec<u8>)>, CommandError> {
    if let Some(given) = given.iter().find(|given| given.id == id(component)) {
        return Ok(Some((given.path.display().to_string(), file(given)?)));
    }
    let text = |pointer: &str| component.pointer(pointer).and_then(Value::as_str);
    let (Some(name), Some(key)) = (text("/source/configMap/name"), text("/source/configMap/key")) else { return Ok(None) };
    let reference = Reference::config_map(name, key);
    Ok(documents.objects.get(&reference).map(|bytes| (reference.to_string(), bytes.clone())))
}

/// What the manifest lets a component reach.
fn reach(component: &Value) -> Vec<String> {
    let list = |field: &str| {
        let items = component.get(field).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
    };
    let stores = list("keyValueStores").into_iter().map(|store| format!("key-value store {store}"));
    list("allowedOutboundHosts").into_iter().chain(stores).collect()
}

/// Why a component at hand cannot be used; the sentence continues "component ID …".
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Describe(#[from] DescribeError),
}

/// What is printed of a component.
struct Report {
    title: String,
    /// What is wrong with it; the sentence continues the title.
    finding: Option<String>,
    lines: Vec<(&'static str, String)>,
}

impl Report {
    /// Looks at a component. `reach` is what its manifest allows it, if there is a manifest.
    fn of(title: String, bytes: Vec<u8>, reach: Option<Vec<String>>) -> Self {
        let looked_at = decode::wasm(bytes).map_err(Unusable::from).and_then(|wasm| Ok((describe(&wasm)?, handler::find(&wasm))));
        let (description, handler) = match looked_at {
            Ok(looked_at) => looked_at,
            Err(error) => return Self { title, finding: Some(error.to_string()), lines: Vec::new() },
        };
        let (found, finding) = match handler {
            Ok(kind) => (kind.interface().to_owned(), None),
            Err(error) => ("none".to_owned(), Some(error.to_string())),
        };
        let mut lines = vec![("handler", found), ("size", size(description.bytes))];
        lines.extend(description.producers.language().map(|language| ("language", language)));
        let tools = description.producers.tools();
        if !tools.is_empty() {
            lines.push(("made by", tools.join(", ")));
        }
        let interfaces = description.interfaces();
        lines.extend(imports(&description, &interfaces).into_iter().map(|line| ("imports", line)));
        match reach {
            Some(reach) if reach.is_empty() => lines.push(("may reach", "nothing".to_owned())),
            reach => lines.extend(reach.into_iter().flatten().map(|entry| ("may reach", entry))),
        }
        lines.extend(warnings(&interfaces).into_iter().map(|line| ("warning", line)));
        Self { title, finding, lines }
    }

    /// Prints it with the names of the lines in a column of their own, each once.
    fn print(&self) {
        if self.lines.is_empty() {
            return;
        }
        say(&self.title);
        let mut last = "";
        for (name, line) in &self.lines {
            say(format!("  {:10} {line}", if *name == last && *name != "warning" { "" } else { name }));
            last = name;
        }
    }
}

/// Imports by package: `wasi:cli@0.2.6  environment, exit`.
fn imports(description: &Description, interfaces: &[Interface<'_>]) -> Vec<String> {
    let mut packages: Vec<(&str, Vec<&str>)> = Vec::new();
    for interface in interfaces {
        match packages.iter_mut().find(|(package, _)| *package == interface.package) {
            Some((_, names)) => names.push(interface.name),
            None => packages.push((&interface.package, vec![interface.name])),
        }
    }
    let width = packages.iter().map(|(package, _)| package.len()).max().unwrap_or_default();
    let mut lines: Vec<String> =
        packages.iter().map(|(package, names)| format!("{package:width$}  {}", names.join(", ")).trim_end().to_owned()).collect();
    if lines.is_empty() {
        lines.push("nothing".to_owned());
    }
    if description.imports.more > 0 {
        lines.push(format!("and {} more", description.imports.more));
    }
    lines
}

fn warnings(interfaces: &[Interface<'_>]) -> Vec<String> {
    let names = |support: Support| {
        let with = interfaces.iter().filter(|interface| interface.support == support);
        with.map(|interface| format!("{} {}", interface.package, interface.name).trim_end().to_owned()).collect::<Vec<_>>().join(", ")
    };
    let mut warnings = Vec::new();
    let stubs = names(Support::Stub);
    if !stubs.is_empty() {
        warnings.push(format!("there is nothing behind these imports here, and a call of them fails: {stubs}"));
    }
    let unknown = names(Support::Unknown);
    if !unknown.is_empty() {
        warnings
            .push(format!("nothing here has these imports, so the component will be refused unless they are composed into it: {unknown}"));
    }
    warnings
}

/// A size for a person: `512 B`, `143.2 KiB`, `24.0 MiB`.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 3] = ["KiB", "MiB", "GiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_for_people() {
        assert_eq!((size(5), size(1024), size(25_165_824)), ("5 B".into(), "1.0 KiB".into(), "24.0 MiB".into()));
    }

    #[test]
    fn webassembly_is_told_from_a_manifest() {
        assert!(is_webassembly(b"\0asm\x0d") && is_webassembly(b"\n (component)") && is_webassembly(b"\x1f\x8b"));
        assert!(!is_webassembly(b"apiVersion: v1") && !is_webassembly(b"") && !is_webassembly(b"# (x)"));
    }

    #[test]
    fn stubs_and_unknown_imports_are_warned_of() {
        let names = ["fermyon:spin/llm@2.0.0", "wasi:cli/stdout@0.2.6", "acme:a/b"];
        let interfaces: Vec<Interface<'_>> = names.iter().map(|name| Interface::of(name, false)).collect();
        let warnings = warnings(&interfaces);
        assert_eq!(warnings.len(), 2);
        assert!(warnings[0].ends_with(": fermyon:spin@2.0.0 llm") && warnings[1].ends_with(": acme:a b"), "{warnings:?}");
    }
}
