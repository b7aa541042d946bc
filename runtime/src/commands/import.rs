//! `spinredis import`: SpinRedisApps from a Spin manifest, on stdout or in files. Refusals go to stderr, and then nothing is
//! written.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use super::{CommandError, say};
use crate::{
    cli::ImportArgs,
    import::{self, Imported, Options},
};

pub(super) fn run(args: &ImportArgs) -> ExitCode {
    let manifest = if args.manifest.is_dir() { args.manifest.join("spin.toml") } else { args.manifest.clone() };
    let shown = manifest.display().to_string();
    let text = match fs::read_to_string(&manifest) {
        Ok(text) => text,
        Err(error) => return fail([CommandError::File { path: shown, error }]),
    };
    // A comment names the file as its folder does: the person's own folders are nobody's business.
    let name = manifest.file_name().map_or_else(|| shown.clone(), |name| name.to_string_lossy().into_owned());
    let apps = match import::import(&name, &text, &Options { image_prefix: args.image_prefix.clone() }) {
        Ok(apps) => apps,
        Err(refusals) => return fail(refusals.iter().map(|refusal| format!("{shown}:{}: {}", refusal.line, refusal.message))),
    };
    match write(&apps, args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail([error]),
    }
}

fn write(apps: &[Imported], args: &ImportArgs) -> Result<(), CommandError> {
    let Some(output) = &args.output else {
        let documents: Vec<&str> = apps.iter().map(|app| app.yaml.as_str()).collect();
        let _ = write!(std::io::stdout(), "{}", documents.join("---\n"));
        return Ok(());
    };
    let files: Vec<(PathBuf, &Imported)> = match (output.is_dir(), apps) {
        (true, _) => apps.iter().map(|app| (output.join(format!("{}.yaml", app.name)), app)).collect(),
        (false, [app]) => vec![(output.clone(), app)],
        (false, _) => return Err(CommandError::SeveralApps { count: apps.len(), path: output.display().to_string() }),
    };
    // None is written when one cannot be.
    if let Some((path, _)) = files.iter().find(|(path, _)| !args.force && path.exists()) {
        return Err(CommandError::Exists(path.display().to_string()));
    }
    for (path, app) in files {
        create(&path, &app.yaml, args.force).map_err(|error| CommandError::File { path: path.display().to_string(), error })?;
        let components = if app.components == 1 { "component" } else { "components" };
        say(format!("{}: {} with {} {components}; look it through and do what its comments say", path.display(), app.name, app.components));
    }
    Ok(())
}

fn create(path: &Path, text: &str, replace: bool) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true);
    if replace {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    options.open(path)?.write_all(text.as_bytes())
}

/// Says each sentence on stderr, so that none is taken for YAML.
fn fail(sentences: impl IntoIterator<Item = impl std::fmt::Display>) -> ExitCode {
    for sentence in sentences {
        let _ = writeln!(std::io::stderr(), "{sentence}");
    }
    ExitCode::FAILURE
}
