//! Whom to ask for an image: its registry as the settings describe it, and before that the registry's mirror. Also where a
//! pin takes the place of a tag.

use std::str::FromStr;

use oci_client::{Reference, secrets::RegistryAuth};
use spinredis_crds::{
    OciSource,
    registries::{RegistrySetting, split_mirror},
};

use super::{Registries, error::OciError};

/// Somebody who may have an image.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// The image as it is called there.
    pub(super) image: Reference,
    /// The digest that stands in for the manifest's tag.
    pub(super) pinned: Option<String>,
    /// Whether it speaks HTTP without TLS.
    pub(super) plain_http: bool,
    /// Certificates to trust beside those of the system, as PEM.
    pub(super) ca: Option<String>,
    /// What to present.
    pub(super) auth: RegistryAuth,
}

/// Those who are asked, in this order.
#[derive(Debug)]
pub(super) struct Endpoints {
    /// The mirror, if the registry has one.
    pub(super) mirror: Option<Endpoint>,
    /// The registry that the reference names.
    pub(super) own: Endpoint,
}

impl Endpoints {
    /// Those for the image of a source.
    pub(super) fn of(registries: &Registries, source: &OciSource) -> Result<Self, OciError> {
        let reference = || source.reference.clone();
        let malformed = |error: oci_client::ParseError| OciError::Reference { reference: reference(), error: error.to_string() };
        let image = Reference::from_str(&source.reference).map_err(malformed)?;
        let pinned = registries.pins.digest(source).map(str::to_owned);
        let image = pinned.iter().fold(image, |image, digest| image.clone_with_digest(digest.clone()));
        let setting = registries.settings.of(image.registry());
        let mirror = setting.and_then(|setting| setting.mirror.as_deref()).map(|mirror| {
            let (host, folder) = split_mirror(mirror);
            let repository = [folder, image.repository()].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
            let image = match image.digest() {
                Some(digest) => Reference::with_digest(host.to_owned(), repository, digest.to_owned()),
                None => Reference::with_tag(host.to_owned(), repository, image.tag().unwrap_or("latest").to_owned()),
            };
            Endpoint::new(registries, image, pinned.clone())
        });
        Ok(Self { mirror, own: Endpoint::new(registries, image, pinned) })
    }
}

impl Endpoint {
    fn new(registries: &Registries, image: Reference, pinned: Option<String>) -> Self {
        let setting = registries.settings.of(image.registry());
        let listed = registries.plain_http.iter().any(|host| host == image.resolve_registry());
        Self {
            pinned,
            plain_http: listed || setting.is_some_and(|setting: &RegistrySetting| setting.plain_http),
            ca: setting.and_then(|setting| setting.ca.clone()),
            auth: registries.credentials.for_repository(image.registry(), image.repository()),
            image,
        }
    }
}

#[cfg(test)]
mod tests {
    use spinredis_crds::{image::ImageName, pins::Pins, registries::RegistrySettings};

    use super::*;

    fn source(reference: &str) -> OciSource {
        OciSource { reference: reference.to_owned(), digest: None }
    }

    fn registries(mirror: &str) -> Registries {
        let of = |host: &str| RegistrySetting { host: host.to_owned(), ..RegistrySetting::default() };
        let hub = RegistrySetting { mirror: Some(mirror.to_owned()), ..of("docker.io") };
        let own = RegistrySetting { plain_http: true, ..of("mirror:5000") };
        Registries { settings: RegistrySettings(vec![hub, own]), ..Registries::default() }
    }

    #[test]
    fn a_mirror_is_asked_first_in_its_own_way_and_with_its_folder() {
        for (mirror, wanted) in
            [("mirror:5000", "mirror:5000/library/greeter:v1"), ("mirror:5000/hub/a", "mirror:5000/hub/a/library/greeter:v1")]
        {
            let endpoints = Endpoints::of(&registries(mirror), &source("greeter:v1")).unwrap();
            let mirror = endpoints.mirror.unwrap();
            assert_eq!((mirror.image.whole().as_str(), mirror.plain_http), (wanted, true));
            assert_eq!((endpoints.own.image.whole().as_str(), endpoints.own.plain_http), ("docker.io/library/greeter:v1", false));
        }
        assert!(Endpoints::of(&registries("mirror:5000"), &source("ghcr.io/acme/greeter")).unwrap().mirror.is_none());
    }

    #[test]
    fn a_pin_takes_the_place_of_the_tag_everywhere() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let pins = Pins([("greeter:v1".to_owned(), digest.clone())].into());
        let endpoints = Endpoints::of(&Registries { pins, ..registries("mirror:5000") }, &source("greeter:v1")).unwrap();
        assert_eq!(endpoints.own.image.whole(), format!("docker.io/library/greeter@{digest}"));
        assert_eq!(endpoints.mirror.unwrap().image.whole(), format!("mirror:5000/library/greeter@{digest}"));
    }

    /// A policy judges a reference by [`ImageName`]; were it read in another way here, the policy would judge another image.
    #[test]
    fn the_client_reads_references_as_the_policy_does() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let registries =
            ["", "ghcr.io/", "localhost/", "localhost:5000/", "docker.io/", "index.docker.io/", "registry:5000/", "127.0.0.1:80/", "acme/"];
        for registry in registries {
            for repository in ["greeter", "acme/greeter", "a/b/c-d__e.f", "localhost", "ghcr.io/x"] {
                for version in ["", ":v1", ":V.1_x-y", &format!("@{digest}"), &format!(":v1@{digest}")] {
                    let reference = format!("{registry}{repository}{version}");
                    let Ok(read) = Reference::from_str(&reference) else { continue };
                    let name = ImageName::of(&reference);
                    assert_eq!((read.registry(), read.repository()), (name.registry.as_str(), name.repository.as_str()), "{reference}");
                    assert_eq!(read.digest().is_some(), spinredis_crds::image::has_digest(&reference), "{reference}");
                }
            }
        }
    }
}
