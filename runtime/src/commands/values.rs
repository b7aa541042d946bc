//! The values of `--ref`, read where it says they are.

use std::{collections::BTreeMap, fs};

use spinredis_crds::Reference;

use super::CommandError;
use crate::cli::{ReferenceValue, ValueSource};

/// Each referenced value.
pub(super) fn given(given: &[String]) -> Result<BTreeMap<Reference, Vec<u8>>, CommandError> {
    given
        .iter()
        .map(|text| {
            let value: ReferenceValue = text.parse().map_err(CommandError::Reference)?;
            let bytes = match &value.source {
                ValueSource::File(path) => {
                    fs::read(path).map_err(|error| CommandError::File { path: path.display().to_string(), error })?
                }
                ValueSource::Variable(variable) => std::env::var(variable)
                    .map_err(|_| CommandError::UnsetVariable { reference: value.reference.to_string(), variable: variable.clone() })?
                    .into_bytes(),
            };
            Ok((value.reference.clone(), bytes))
        })
        .collect()
}
