//! Which images apps may come from: what whoever runs the operator permits, whatever an app's author writes. A reference is
//! judged as it is written; mirrors and pins do not change what it means. Components from ConfigMaps are no images.

use std::{fmt, str::FromStr};

use spinredis_crds::{
    OciSource, SpinRedisAppSpec,
    image::{ImageName, has_digest},
};

use crate::registries::{is_folder, is_host};

/// What images must be like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImagePolicy {
    /// Where they may come from; empty for anywhere.
    pub allowed: Vec<AllowedRegistry>,
    /// Whether they must be named by digest.
    pub require_digest: bool,
}

/// A registry, or a folder in one: `HOST` or `HOST/FOLDER`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AllowedRegistry {
    host: String,
    folder: String,
}

/// An image that is not permitted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// From elsewhere.
    #[error(
        "{who} may not come from image {reference}: the operator allows images of {allowed} only; push it there, or have its --allowed-registry changed"
    )]
    Registry {
        /// Whose image it is.
        who: String,
        /// As in the app.
        reference: String,
        /// Where images may come from.
        allowed: String,
    },
    /// By tag.
    #[error(
        "{who} may not come from image {reference} by its tag alone: the operator requires digests; name one in digest, or write the reference as REPOSITORY@sha256:…"
    )]
    Digest {
        /// Whose image it is.
        who: String,
        /// As in the app.
        reference: String,
    },
}

/// Everything that is not permitted of an app.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(Refusal::to_string).collect::<Vec<_>>().join("; "))]
pub struct Error(pub Vec<Refusal>);

impl ImagePolicy {
    /// Judges every image of an app.
    pub fn check(&self, spec: &SpinRedisAppSpec) -> Result<(), Error> {
        let application = spec.application.iter().map(|application| ("the application".to_owned(), &application.oci));
        let components = spec.components.iter().filter_map(|one| Some((format!("component {}", one.id), one.oci()?)));
        let refused: Vec<Refusal> = application.chain(components).filter_map(|(who, source)| self.refuse(who, source)).collect();
        if refused.is_empty() { Ok(()) } else { Err(Error(refused)) }
    }

    fn refuse(&self, who: String, source: &OciSource) -> Option<Refusal> {
        let name = ImageName::of(&source.reference);
        let reference = source.reference.clone();
        if !self.allowed.is_empty() && !self.allowed.iter().any(|allowed| allowed.holds(&name)) {
            let allowed = self.allowed.iter().map(AllowedRegistry::to_string).collect::<Vec<_>>().join(", ");
            return Some(Refusal::Registry { who, reference, allowed });
        }
        let is_open = source.digest.is_none() && !has_digest(&source.reference);
        (self.require_digest && is_open).then_some(Refusal::Digest { who, reference })
    }
}

impl AllowedRegistry {
    /// Whole parts of the path only: `acme` is not `acme-evil`.
    fn holds(&self, name: &ImageName) -> bool {
        let rest = name.repository.strip_prefix(&self.folder);
        name.registry == self.host && (self.folder.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    }
}

impl FromStr for AllowedRegistry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim().trim_end_matches('/');
        let (host, folder) = text.split_once('/').unwrap_or((text, ""));
        if !is_host(host) || !(folder.is_empty() || is_folder(folder)) {
            return Err("write HOST or HOST/FOLDER without scheme and tag, for example ghcr.io/acme; Docker Hub is docker.io".to_owned());
        }
        match host == "localhost" || host.contains(['.', ':']) {
            // Docker Hub has an older name, by which nothing is judged.
            true => Ok(Self { host: ImageName::of(&format!("{host}/folder/name")).registry, folder: folder.to_owned() }),
            false => Err(format!("a reference with {host} in it means Docker Hub: write docker.io/{host}, or the whole name of the host")),
        }
    }
}

impl fmt::Display for AllowedRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.folder.is_empty() { "" } else { "/" };
        write!(f, "{}{separator}{}", self.host, self.folder)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    fn app(reference: &str, digest: Option<&str>) -> SpinRedisAppSpec {
        let mut oci = json!({"reference": reference});
        if let Some(digest) = digest {
            oci["digest"] = json!(digest);
        }
        let spec = json!({"trigger": {"address": "redis://r"}, "components": [{"id": "hello", "channels": ["c"], "source": {"oci": oci}}]});
        SpinRedisAppSpec::deserialize(spec).unwrap()
    }

    fn allowing(allowed: &[&str]) -> ImagePolicy {
        ImagePolicy { allowed: allowed.iter().map(|text| text.parse().unwrap()).collect(), require_digest: false }
    }

    #[test]
    fn an_image_of_another_registry_or_folder_is_refused_by_whole_parts_of_its_path() {
        let policy = allowing(&["ghcr.io/acme", "docker.io/library", "r:5000"]);
        for (reference, may) in [
            ("ghcr.io/acme/a:v1", true),
            ("GHCR.io/acme/a", true),
            ("ghcr.io/acme", true),
            ("ghcr.io/acme/deep/a", true),
            ("ghcr.io/acme-evil/a", false),
            ("ghcr.io/other/a", false),
            ("ghcr.io.evil.example/acme/a", false),
            ("evil.example/ghcr.io/acme/a", false),
            ("greeter", true),
            ("index.docker.io/greeter", true),
            ("acme/a", false),
            ("r:5000/any/thing", true),
            ("r/any/thing", false),
            ("r:5001/any/thing", false),
        ] {
            assert_eq!(policy.check(&app(reference, None)).is_ok(), may, "{reference}");
        }
        let sentence = policy.check(&app("evil.example/a:v1", None)).unwrap_err().to_string();
        assert!(sentence.contains("component hello") && sentence.contains("evil.example/a:v1"), "{sentence}");
        assert!(sentence.contains("ghcr.io/acme, docker.io/library, r:5000"), "{sentence}");
        assert!(allowing(&[]).check(&app("anywhere.example/a", None)).is_ok());
    }

    #[test]
    fn a_required_digest_may_stand_in_either_place() {
        let policy = ImagePolicy { require_digest: true, ..ImagePolicy::default() };
        let digest = format!("sha256:{}", "0".repeat(64));
        assert!(policy.check(&app("r.io/a:v1", Some(&digest))).is_ok());
        assert!(policy.check(&app(&format!("r.io/a@{digest}"), None)).is_ok());
        let sentence = policy.check(&app("r.io/a:v1", None)).unwrap_err().to_string();
        assert!(sentence.contains("component hello") && sentence.contains("requires digests"), "{sentence}");
    }

    #[test]
    fn the_image_of_a_whole_app_is_judged_too() {
        let mut spec = app("ghcr.io/acme/a", None);
        spec.application =
            Some(spinredis_crds::Application { oci: OciSource { reference: "evil.example/app:v1".to_owned(), digest: None } });
        let sentence = allowing(&["ghcr.io"]).check(&spec).unwrap_err().to_string();
        assert!(sentence.starts_with("the application may not come from image evil.example/app:v1"), "{sentence}");
    }

    #[test]
    fn what_could_never_match_is_refused_at_the_start() {
        for text in ["https://ghcr.io", "ghcr.io/acme:v1", "acme", "", "ghcr.io//a", "ghcr.io/Acme"] {
            assert!(text.parse::<AllowedRegistry>().is_err(), "{text}");
        }
        assert_eq!("index.docker.io/acme/".parse::<AllowedRegistry>().unwrap().to_string(), "docker.io/acme");
    }
}
