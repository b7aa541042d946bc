//! A real docker-registry on a port of its own, and component images to push to it.

use std::{fs, process::Command, str::FromStr};

use base64::{Engine, prelude::BASE64_STANDARD};
use oci_client::{
    Client, Reference,
    client::{ClientConfig, ClientProtocol, Config, ImageLayer},
    secrets::RegistryAuth,
};
use serde_json::json;
use tempfile::TempDir;

use crate::{http, ports, process::Process, wait::eventually};

/// A registry that speaks plain HTTP on the loopback address.
pub struct Registry {
    process: Process,
    host: String,
    login: Option<(String, String)>,
    _folder: TempDir,
}

/// How a component is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The CNCF's wasm OCI artifact, as `wkg oci push` writes it.
    Artifact,
    /// One layer of type application/vnd.wasm.content.layer.v1+wasm, as older tools write it.
    BareLayer,
    /// Not a component: a layer of a container image.
    ContainerImage,
    /// Not one component: a whole Spin app, as `spin registry push` writes it.
    SpinApp,
}

impl Format {
    fn media_types(self) -> (&'static str, &'static str) {
        match self {
            Format::Artifact => ("application/vnd.wasm.config.v0+json", "application/wasm"),
            Format::BareLayer => ("application/vnd.wasm.config.v1+json", "application/vnd.wasm.content.layer.v1+wasm"),
            Format::ContainerImage => ("application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar+gzip"),
            Format::SpinApp => ("application/vnd.fermyon.spin.application.v1+config", "application/vnd.wasm.content.layer.v1+wasm"),
        }
    }
}

impl Registry {
    /// A registry that asks nobody for a password.
    pub fn anonymous() -> Self {
        Self::start(None)
    }

    /// A registry that wants a user and a password.
    pub fn with_password(user: &str, password: &str) -> Self {
        Self::start(Some((user.to_owned(), password.to_owned())))
    }

    fn start(login: Option<(String, String)>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let host = format!("127.0.0.1:{}", ports::free());
        let mut config = json!({
            "version": "0.1",
            "log": {"level": "warn", "accesslog": {"disabled": true}},
            "storage": {"filesystem": {"rootdirectory": folder.path().join("data")}},
            "http": {"addr": host},
        });
        if let Some((user, password)) = &login {
            let file = folder.path().join("htpasswd");
            let made = Command::new("htpasswd").args(["-Bbn", user, password]).output();
            let made = made.unwrap_or_else(|error| panic!("htpasswd cannot be started ({error}): see tests/setup.sh"));
            fs::write(&file, made.stdout).unwrap();
            config["auth"] = json!({"htpasswd": {"realm": "tests", "path": file}});
        }
        let file = folder.path().join("config.yml");
        fs::write(&file, config.to_string()).unwrap();
        let mut process = Process::start(Command::new("docker-registry").arg("serve").arg(&file));
        let wanted = if login.is_some() { 401 } else { 200 };
        eventually("docker-registry answers", || {
            if let Some(code) = process.ended() {
                panic!("docker-registry ended with code {code}; it printed:\n{}", process.text());
            }
            match http::get(&host, "/v2/") {
                Ok((code, _)) if code == wanted => Ok(()),
                other => Err(format!("{other:?}; it printed:\n{}", process.text())),
            }
        });
        Self { process, host, login, _folder: folder }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The reference of an image here: `HOST/REPOSITORY:TAG`.
    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.host)
    }

    /// Pushes bytes as `REPOSITORY:TAG` and gives the digest of the image's manifest.
    pub fn push(&self, name: &str, bytes: &[u8], format: Format) -> String {
        push(&self.reference(name), bytes, format, self.login.as_ref().map(|(user, password)| (user.as_str(), password.as_str())))
    }

    /// Ends the registry.
    pub fn kill(&mut self) {
        self.process.kill();
    }
}

/// Pushes bytes to `HOST/REPOSITORY:TAG` over plain HTTP and gives the digest of the image's manifest.
pub fn push(reference: &str, bytes: &[u8], format: Format, login: Option<(&str, &str)>) -> String {
    let reference = Reference::from_str(reference).unwrap();
    let auth = login.map_or(RegistryAuth::Anonymous, |(user, password)| RegistryAuth::Basic(user.to_owned(), password.to_owned()));
    let (config_type, layer_type) = format.media_types();
    let layer = ImageLayer::new(bytes.to_vec(), layer_type.to_owned(), None);
    let config =
        json!({"created": "2025-01-01T00:00:00Z", "architecture": "wasm", "os": "wasip2", "layerDigests": [layer.sha256_digest()]});
    let config = Config::new(config.to_string().into_bytes(), config_type.to_owned(), None);
    let client = Client::new(ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        client.push(&reference, &[layer], config, &auth, None).await.unwrap_or_else(|error| panic!("push of {reference}: {error}"));
        client.fetch_manifest_digest(&reference, &auth).await.unwrap()
    })
}

/// The content of a Secret of type kubernetes.io/dockerconfigjson, as `kubectl create secret docker-registry` makes it.
pub fn docker_config(host: &str, user: &str, password: &str) -> String {
    let auth = BASE64_STANDARD.encode(format!("{user}:{password}"));
    json!({"auths": {host: {"username": user, "password": password, "auth": auth}}}).to_string()
}
