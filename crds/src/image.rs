//! What an image reference means: its registry and its repository, with what a person may leave out filled in. The runtime
//! asks exactly that registry, so a policy that judges these two judges what is really pulled.

use std::fmt;

/// Registry of a reference that names none.
const DEFAULT_REGISTRY: &str = "docker.io";
/// The same registry under its older name.
const DEFAULT_REGISTRY_BEFORE: &str = "index.docker.io";
/// Where that registry keeps repositories without a folder.
const DEFAULT_FOLDER: &str = "library";

/// Registry and repository of an image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageName {
    /// `HOST` or `HOST:PORT`, lower-case.
    pub registry: String,
    /// `FOLDER/NAME`, without tag and digest.
    pub repository: String,
}

impl ImageName {
    /// Reads a reference: `greeter`, `acme/greeter:v1`, `ghcr.io/acme/greeter@sha256:…`. What is malformed is refused by those
    /// who pull it; here it has a registry and a repository all the same.
    ///
    /// Source of the rule: the distribution project's `reference.ParseNormalizedNamed`.
    pub fn of(reference: &str) -> Self {
        let name = reference.split_once('@').map_or(reference, |(name, _)| name);
        let folder_ends = name.rfind('/').map_or(0, |slash| slash + 1);
        let name = name[folder_ends..].find(':').map_or(name, |colon| &name[..folder_ends + colon]);
        let is_host = |part: &str| part.contains(['.', ':']) || part == "localhost";
        let (registry, repository) = name.split_once('/').filter(|(first, _)| is_host(first)).unwrap_or((DEFAULT_REGISTRY, name));
        let registry = if registry == DEFAULT_REGISTRY_BEFORE { DEFAULT_REGISTRY } else { registry };
        let repository = match registry == DEFAULT_REGISTRY && !repository.contains('/') {
            true => format!("{DEFAULT_FOLDER}/{repository}"),
            false => repository.to_owned(),
        };
        Self { registry: registry.to_ascii_lowercase(), repository }
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)
    }
}

/// Whether a reference names its image by digest, so that it can mean no other image tomorrow.
pub fn has_digest(reference: &str) -> bool {
    reference.contains('@')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reference_leaves_out_is_filled_in() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for (reference, wanted) in [
            ("greeter", "docker.io/library/greeter"),
            ("greeter:v1", "docker.io/library/greeter"),
            ("acme/greeter:v1", "docker.io/acme/greeter"),
            ("index.docker.io/greeter", "docker.io/library/greeter"),
            ("docker.io/acme/greeter", "docker.io/acme/greeter"),
            ("ghcr.io/acme/deep/greeter:v1", "ghcr.io/acme/deep/greeter"),
            ("GHCR.io/acme/greeter", "ghcr.io/acme/greeter"),
            ("localhost/greeter", "localhost/greeter"),
            ("registry:5000/greeter", "registry:5000/greeter"),
            ("registry:5000/acme/greeter:v1", "registry:5000/acme/greeter"),
            (&format!("registry:5000/greeter:v1@{digest}"), "registry:5000/greeter"),
            (&format!("greeter@{digest}"), "docker.io/library/greeter"),
        ] {
            assert_eq!(ImageName::of(reference).to_string(), wanted, "{reference}");
        }
    }
}
