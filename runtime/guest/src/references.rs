//! Reads the values of references: files below a folder, as the operator mounts them, with values of the command line or
//! the manifest's own file on top.
//!
//! Files are read again at each use, so a rotated Secret is seen at the next connect without a restart.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use spinredis_crds::{RefKind, Reference};

/// Where referenced values come from.
#[derive(Clone, Default)]
pub struct References {
    directory: Option<PathBuf>,
    values: BTreeMap<Reference, Vec<u8>>,
}

/// Why a referenced value could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    /// The object or its key does not exist.
    #[error("{kind} {name} or its key {key} does not exist in the namespace of the app: create it, or correct the name")]
    Missing {
        /// `Secret` or `ConfigMap`.
        kind: &'static str,
        /// Name of the object.
        name: String,
        /// Key in it.
        key: String,
    },
    /// The file exists and cannot be read.
    #[error("{reference} cannot be read: {error}")]
    Unreadable {
        /// Which value.
        reference: Reference,
        /// What the operating system says.
        error: io::Error,
    },
    /// The value must be text.
    #[error("{0} is not text (UTF-8)")]
    NotText(Reference),
}

impl References {
    /// References below a folder: `<kind>/<name>/<key>`.
    pub fn directory(path: &Path) -> Self {
        Self { directory: Some(path.to_owned()), values: BTreeMap::new() }
    }

    /// Adds values that win over files.
    pub fn with_values(mut self, values: impl IntoIterator<Item = (Reference, Vec<u8>)>) -> Self {
        self.values.extend(values);
        self
    }

    /// The bytes of a value.
    pub fn bytes(&self, reference: &Reference) -> Result<Vec<u8>, ReferenceError> {
        if let Some(value) = self.values.get(reference) {
            return Ok(value.clone());
        }
        let missing = || ReferenceError::Missing { kind: reference.kind.kind(), name: reference.name.clone(), key: reference.key.clone() };
        let Some(directory) = &self.directory else { return Err(missing()) };
        fs::read(directory.join(reference.path())).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => missing(),
            _ => ReferenceError::Unreadable { reference: reference.clone(), error },
        })
    }

    /// A value as text, exactly as it is.
    pub fn text(&self, reference: &Reference) -> Result<String, ReferenceError> {
        String::from_utf8(self.bytes(reference)?).map_err(|_| ReferenceError::NotText(reference.clone()))
    }

    /// A value as one line: the line break that `echo` and editors put at the end is not part of an address or password.
    pub fn line(&self, reference: &Reference) -> Result<String, ReferenceError> {
        let mut text = self.text(reference)?;
        text.truncate(text.trim_end_matches(['\r', '\n']).len());
        Ok(text)
    }

    /// The references that have no value here.
    pub fn missing<'a>(&self, wanted: &'a [Reference]) -> Vec<&'a Reference> {
        wanted.iter().filter(|reference| matches!(self.bytes(reference), Err(ReferenceError::Missing { .. }))).collect()
    }
}

/// One sentence that names every missing reference.
pub fn describe_missing(missing: &[&Reference]) -> String {
    let names: Vec<String> = missing.iter().map(|reference| reference.to_string()).collect();
    let objects = if missing.iter().all(|reference| reference.kind == RefKind::Secret) { "the Secret" } else { "it" };
    format!("{} does not exist in the namespace of the app: create {objects}, or correct the name in the manifest", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_again_and_a_given_value_wins() {
        let folder = tempfile::tempdir().unwrap();
        let reference = Reference::secret("redis", "password");
        let file = folder.path().join(reference.path());
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "one\n").unwrap();
        let references = References::directory(folder.path());
        assert_eq!(references.line(&reference).unwrap(), "one");
        fs::write(&file, "two").unwrap();
        assert_eq!(references.line(&reference).unwrap(), "two");
        let references = references.with_values([(reference.clone(), b"three".to_vec())]);
        assert_eq!(references.line(&reference).unwrap(), "three");
    }

    #[test]
    fn a_missing_key_is_named() {
        let error = References::default().bytes(&Reference::secret("redis", "password")).unwrap_err().to_string();
        assert!(error.contains("Secret redis") && error.contains("key password"), "{error}");
    }
}
