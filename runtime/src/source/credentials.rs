//! Registry credentials: the files that `docker login` writes and Kubernetes mounts from Secrets of type
//! kubernetes.io/dockerconfigjson.

use std::{collections::BTreeMap, fs, path::Path};

use base64::{Engine, prelude::BASE64_STANDARD};
use oci_client::secrets::RegistryAuth;
use serde::Deserialize;

/// Credentials by registry, each with an optional path: `ghcr.io`, `ghcr.io/acme`.
#[derive(Default, Clone)]
pub struct Credentials {
    by_registry: BTreeMap<String, (String, String)>,
}

/// Why a credentials file could not be used. Its content is never repeated.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// Cannot be read.
    #[error("registry credentials {file} cannot be read: {error}")]
    Unreadable {
        /// Which file.
        file: String,
        /// What the operating system says.
        error: std::io::Error,
    },
    /// Not the expected JSON.
    #[error("registry credentials {file} are not a dockerconfigjson: make the Secret with `kubectl create secret docker-registry`")]
    Malformed {
        /// Which file.
        file: String,
    },
    /// The file leaves the password to a program.
    #[error(
        "registry credentials {file} name a credential helper for {registry}, which is not supported: log in without one, or write the password into a file of its own"
    )]
    Helper {
        /// Which file.
        file: String,
        /// Which registry.
        registry: String,
    },
}

#[derive(Deserialize)]
struct DockerConfig {
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

impl Credentials {
    /// Reads `NAME/.dockerconfigjson` of every folder below `directory`. A Secret that does not exist has no folder: then
    /// the registry's own refusal says what is missing.
    pub fn from_directory(directory: &Path) -> Result<Self, CredentialsError> {
        let mut credentials = Self::default();
        let mut folders: Vec<_> = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        folders.sort();
        for folder in folders {
            let file = folder.join(".dockerconfigjson");
            if file.is_file() {
                credentials.add_file(&file)?;
            }
        }
        Ok(credentials)
    }

    /// Adds the credentials of one file; those already there win.
    pub fn add_file(&mut self, file: &Path) -> Result<(), CredentialsError> {
        let name = file.display().to_string();
        let bytes = fs::read(file).map_err(|error| CredentialsError::Unreadable { file: name.clone(), error })?;
        let malformed = || CredentialsError::Malformed { file: name.clone() };
        let config: DockerConfig = serde_json::from_slice(&bytes).map_err(|_| malformed())?;
        for (registry, entry) in config.auths {
            let pair = match entry {
                Entry { username: Some(user), password: Some(password), .. } => (user, password),
                Entry { auth: Some(auth), .. } if !auth.is_empty() => {
                    let bytes = BASE64_STANDARD.decode(auth.trim()).map_err(|_| malformed())?;
                    let text = String::from_utf8(bytes).map_err(|_| malformed())?;
                    let (user, password) = text.split_once(':').ok_or_else(malformed)?;
                    (user.to_owned(), password.to_owned())
                }
                _ => return Err(CredentialsError::Helper { file: name, registry }),
            };
            self.by_registry.entry(normalized(&registry)).or_insert(pair);
        }
        Ok(())
    }

    /// What to present for a repository: the entry of the longest matching path.
    pub fn for_repository(&self, registry: &str, repository: &str) -> RegistryAuth {
        let full = format!("{registry}/{repository}/");
        self.by_registry
            .iter()
            .filter(|(prefix, _)| full.starts_with(&format!("{prefix}/")))
            .max_by_key(|(prefix, _)| prefix.len())
            .map_or(RegistryAuth::Anonymous, |(_, (user, password))| RegistryAuth::Basic(user.clone(), password.clone()))
    }
}

/// `https://index.docker.io/v1/` is how docker writes Docker Hub; everything else is a host and perhaps a path.
fn normalized(registry: &str) -> String {
    let plain = registry.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let plain = plain.trim_end_matches("/v1").trim_end_matches("/v2");
    match plain {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Credentials, CredentialsError> {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("pull");
        fs::create_dir(&secret).unwrap();
        fs::write(secret.join(".dockerconfigjson"), json).unwrap();
        Credentials::from_directory(folder.path())
    }

    #[test]
    fn the_longest_matching_path_wins() {
        let credentials = read(r#"{"auths":{"https://ghcr.io":{"username":"a","password":"1"},"ghcr.io/acme":{"auth":"Yjoy"}}}"#).unwrap();
        assert_eq!(credentials.for_repository("ghcr.io", "other/app"), RegistryAuth::Basic("a".into(), "1".into()));
        assert_eq!(credentials.for_repository("ghcr.io", "acme/app"), RegistryAuth::Basic("b".into(), "2".into()));
        assert_eq!(credentials.for_repository("ghcr.io.evil.example", "acme/app"), RegistryAuth::Anonymous);
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named_and_not_repeated() {
        let error = read("hunter2").err().unwrap().to_string();
        assert!(error.contains("pull/.dockerconfigjson") && !error.contains("hunter2"), "{error}");
        assert!(read(r#"{"auths":{"ghcr.io":{}}}"#).err().unwrap().to_string().contains("credential helper for ghcr.io"));
    }
}
