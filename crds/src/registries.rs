//! What operator and runtime tell each other of registries: how to reach them, whom to trust, which mirror to ask first.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{image::ImageName, manifest::ManifestSpec};

/// File name of the registries in the ConfigMap of an app's manifest.
pub const FILE_NAME: &str = "registries.json";

/// How to reach a registry.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RegistrySetting {
    /// `HOST` or `HOST:PORT`, as references name it; Docker Hub is `docker.io`.
    pub host: String,
    /// It speaks HTTP without TLS.
    #[serde(default, rename = "plainHTTP", skip_serializing_if = "std::ops::Not::not")]
    pub plain_http: bool,
    /// Certificates of authorities to trust beside those of the system, as PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// Who is asked first: `HOST` or `HOST:PORT`, perhaps with a folder for the repositories.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<String>,
}

/// The registries, each host once.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(transparent)]
pub struct RegistrySettings(pub Vec<RegistrySetting>);

impl RegistrySettings {
    /// Reads what [`to_text`](Self::to_text) wrote.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// JSON, the same for the same settings.
    pub fn to_text(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// What is known of a host.
    pub fn of(&self, host: &str) -> Option<&RegistrySetting> {
        self.0.iter().find(|setting| setting.host.eq_ignore_ascii_case(host))
    }

    /// Those that the images of an app may come from, mirrors included: a setting for other registries rolls no pods of it.
    pub fn for_app(&self, spec: &ManifestSpec) -> Self {
        let application = spec.application.iter().map(|application| &application.oci);
        let components = spec.components.iter().filter_map(|component| component.oci());
        let mut hosts: BTreeSet<String> = application.chain(components).map(|source| ImageName::of(&source.reference).registry).collect();
        let mirrors = hosts.iter().filter_map(|host| self.of(host)?.mirror.as_deref()).map(|mirror| split_mirror(mirror).0.to_owned());
        hosts.extend(mirrors.collect::<Vec<_>>());
        Self(self.0.iter().filter(|setting| hosts.contains(&setting.host)).cloned().collect())
    }
}

/// A mirror's host, and the folder that its repositories are in; empty when there is none.
pub fn split_mirror(mirror: &str) -> (&str, &str) {
    mirror.split_once('/').unwrap_or((mirror, ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Manifest;

    fn setting(host: &str, mirror: Option<&str>) -> RegistrySetting {
        RegistrySetting { host: host.to_owned(), mirror: mirror.map(str::to_owned), ..RegistrySetting::default() }
    }

    #[test]
    fn an_app_gets_the_settings_of_its_own_registries_and_of_their_mirrors() {
        let all = [("docker.io", Some("mirror.example.com/hub")), ("ghcr.io", None), ("mirror.example.com", None), ("other.io", None)];
        let all = RegistrySettings(all.map(|(host, mirror)| setting(host, mirror)).into());
        let app = "{apiVersion: spinredis.dev/v1alpha1, kind: SpinRedisApp, metadata: {name: a}, spec: {components: [
            {id: a, channels: [c], source: {oci: {reference: 'acme/a:v1'}}}]}}";
        let spec = Manifest::parse(app).unwrap().spec;
        let hosts = |settings: &RegistrySettings| settings.0.iter().map(|setting| setting.host.clone()).collect::<Vec<_>>();
        assert_eq!(hosts(&all.for_app(&spec)), ["docker.io", "mirror.example.com"]);
        let of_config_map = app.replace("oci: {reference: 'acme/a:v1'}", "configMap: {name: a, key: b}");
        assert_eq!(all.for_app(&Manifest::parse(&of_config_map).unwrap().spec).0, []);
        assert_eq!(RegistrySettings::parse(&all.to_text()).unwrap(), all);
    }
}
