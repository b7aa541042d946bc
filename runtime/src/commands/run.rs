//! `spinredis run`: prepare into a private folder, then serve from it. The same code as in a pod, in one process.

use std::{collections::BTreeMap, path::PathBuf};

use serde_json::Value;
use spinredis_crds::{check, manifest::Manifest};

use super::{CommandError, read_manifest, serve, values};
use crate::{
    cli::RunArgs,
    compile::{bounded::Bounds, engine::Engines},
    prepare::{self, PrepareError},
    references::References,
    source::{Sources, credentials::Credentials, oci::Registries},
};

pub(super) fn run(args: &RunArgs) -> Result<(), CommandError> {
    let mut documents = read_manifest(&args.file)?;
    if let Some(address) = &args.address {
        replace_address(&mut documents.app, address);
    }
    let path = || args.file.display().to_string();
    let mut findings = check::app(&documents.app);
    findings.extend(documents.findings.iter().cloned());
    if !findings.is_empty() {
        let text: Vec<String> = findings.iter().map(ToString::to_string).collect();
        return Err(CommandError::Findings { path: path(), count: findings.len(), findings: text.join("; ") });
    }
    let manifest = documents.manifest().map_err(|error| CommandError::Manifest { path: path(), error })?;
    let mut references = args.refs.as_deref().map_or_else(References::default, References::directory);
    references = references.with_values(documents.objects).with_values(values::given(&args.references)?);
    let mut credentials = Credentials::default();
    if let Some(file) = &args.docker_config {
        credentials.add_file(file)?;
    }
    let sources = Sources {
        references: references.clone(),
        registries: Registries { credentials, plain_http: args.plain_http.clone(), ..Registries::default() },
        files: component_files(args, &manifest)?,
    };
    let folder =
        tempfile::tempdir().map_err(|error| CommandError::System { what: "making a temporary folder", error: error.to_string() })?;
    let engines = Engines::to_compile();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandError::System { what: "starting threads", error: error.to_string() })?;
    runtime.block_on(prepare::prepare(&manifest, &sources, &engines, Bounds::default(), folder.path())).1.map_err(on_a_laptop)?;
    drop(runtime);
    drop(engines);
    serve::serve(&manifest, references, folder.path(), args.listen.as_deref())
}

/// What is created in a cluster is given on the command line here.
fn on_a_laptop(error: PrepareError) -> CommandError {
    match error {
        PrepareError::MissingReferences { names, .. } => CommandError::NoValue(names),
        other => other.into(),
    }
}

/// Puts another address into the manifest before it is checked, so that the same rules hold for it.
fn replace_address(app: &mut Value, address: &str) {
    let Some(spec) = app.get_mut("spec").and_then(Value::as_object_mut) else { return };
    // An app with `application` may have none.
    let trigger = spec.entry("trigger").or_insert_with(|| Value::Object(serde_json::Map::new()));
    if let Some(trigger) = trigger.as_object_mut() {
        trigger.remove("addressFrom");
        trigger.insert("address".to_owned(), Value::from(address));
    }
}

fn component_files(args: &RunArgs, manifest: &Manifest) -> Result<BTreeMap<String, PathBuf>, CommandError> {
    let known = || manifest.spec.components.iter().map(|component| component.id.as_str()).collect::<Vec<_>>();
    for given in &args.components {
        if !known().contains(&given.id.as_str()) {
            return Err(CommandError::UnknownComponent { given: given.id.clone(), known: known().join(", ") });
        }
    }
    Ok(args.components.iter().map(|given| (given.id.clone(), given.path.clone())).collect())
}
