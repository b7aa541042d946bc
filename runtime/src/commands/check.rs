//! `spinredis check`: every finding a line, exit code 1 when there is one.

use std::process::ExitCode;

use super::{read_manifest, say};
use crate::cli::CheckArgs;

pub(super) fn run(args: &CheckArgs) -> ExitCode {
    let documents = match read_manifest(&args.file) {
        Ok(documents) => documents,
        Err(error) => {
            say(error);
            return ExitCode::FAILURE;
        }
    };
    let findings = spinredis_crds::check::app(&documents.app);
    for finding in &findings {
        say(finding);
    }
    if !findings.is_empty() {
        return ExitCode::FAILURE;
    }
    let count = documents.manifest().map(|manifest| manifest.spec.components.len()).unwrap_or_default();
    say(format!("{}: is valid, nothing to find in {count} {}", args.file.display(), if count == 1 { "component" } else { "components" }));
    ExitCode::SUCCESS
}
