//! A real docker-registry on a port of its own, and component images and whole Spin apps to push to it.

use std::{collections::BTreeSet, fs, net::TcpStream, process::Command, str::FromStr};

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD},
};
use flate2::{Compression, write::GzEncoder};
use oci_client::{
    Client, Reference,
    client::{ClientConfig, ClientProtocol, Config, ImageLayer},
    secrets::RegistryAuth,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{http, ports, process::Process, tls::Identity, wait::eventually};

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
    /// A layer of type application/wasm and an empty config, as `oras push` writes it.
    OrasPush,
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
            Format::OrasPush => ("application/vnd.oci.empty.v1+json", "application/wasm"),
            Format::ContainerImage => ("application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar+gzip"),
            Format::SpinApp => ("application/vnd.fermyon.spin.application.v1+config", "application/vnd.wasm.content.layer.v1+wasm"),
        }
    }
}

/// A whole Spin app, as its spin.toml describes it. [`Registry::push_spin_app`] makes of it what `spin registry push` writes.
#[derive(Clone, Debug, Default)]
pub struct SpinApp {
    /// `application.name`.
    pub name: String,
    /// Address of the redis triggers that name none: `application.trigger.redis.address`.
    pub address: Option<String>,
    /// The app's variables as the locked app has them: `{"greeting": {"default": "hello"}, "password": {"secret": true}}`.
    pub variables: Value,
    /// The triggers as the locked app has them; see [`SpinApp::with_trigger`] for a redis one.
    pub triggers: Vec<Value>,
    /// The components.
    pub components: Vec<SpinComponent>,
}

/// A component of a [`SpinApp`].
#[derive(Clone, Debug, Default)]
pub struct SpinComponent {
    /// Its id.
    pub id: String,
    /// Its WebAssembly.
    pub wasm: Vec<u8>,
    /// Paths below its `/`, and what is there.
    pub files: Vec<(String, Vec<u8>)>,
    /// Other fields of the locked component: env, config (its variables), metadata, host_requirements, dependencies.
    pub fields: Value,
}

/// How an app is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpinPacking {
    /// A layer for the locked app and one for each file of more than 128 bytes; shorter ones are in the locked app.
    Layers,
    /// The same with one archive for the files of each component: SPIN_OCI_ARCHIVE_LAYERS.
    Archives,
    /// As Spin 1 did it: the locked app is the config, each file is a layer.
    Spin1,
}

impl SpinApp {
    /// An app with nothing in it.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Adds a component.
    pub fn with_component(mut self, id: &str, wasm: &[u8], files: &[(&str, &[u8])], fields: Value) -> Self {
        let files = files.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec())).collect();
        self.components.push(SpinComponent { id: id.to_owned(), wasm: wasm.to_vec(), files, fields });
        self
    }

    /// Adds a redis trigger, with an address of its own or the app's.
    pub fn with_trigger(mut self, component: &str, channel: &str, address: Option<&str>) -> Self {
        let mut config = json!({"component": component, "channel": channel});
        if let Some(address) = address {
            config["address"] = json!(address);
        }
        let id = format!("trigger-{}", self.triggers.len());
        self.triggers.push(json!({"id": id, "trigger_type": "redis", "trigger_config": config}));
        self
    }

    /// The layers, and the locked app that names them.
    fn pack(&self, packing: SpinPacking) -> (Vec<ImageLayer>, Value) {
        let mut layers = Vec::new();
        let mut components = Vec::new();
        for component in &self.components {
            let wasm = ImageLayer::new(component.wasm.clone(), SPIN_WASM.to_owned(), None);
            let mut source = content(&wasm, packing);
            source["content_type"] = json!("application/wasm");
            layers.push(wasm);
            let mut files = Vec::new();
            for (path, bytes) in &component.files {
                let layer = ImageLayer::new(bytes.clone(), SPIN_DATA.to_owned(), None);
                let mut file = content(&layer, packing);
                file["path"] = json!(path);
                if packing != SpinPacking::Archives && file.get("inline").is_none() {
                    layers.push(layer);
                }
                files.push(file);
            }
            if packing == SpinPacking::Archives && !component.files.is_empty() {
                layers.push(ImageLayer::new(archive(&component.files), SPIN_ARCHIVE.to_owned(), None));
            }
            let mut locked = json!({"id": component.id, "source": source, "files": files});
            for (field, value) in component.fields.as_object().into_iter().flatten() {
                locked[field] = value.clone();
            }
            components.push(locked);
        }
        let mut settings = self.address.as_ref().map_or_else(|| json!({}), |address| json!({"address": address}));
        let mut metadata = json!({"name": self.name});
        if packing != SpinPacking::Spin1 {
            metadata["triggers"] = json!({"redis": settings});
        }
        settings["type"] = json!("redis");
        metadata["trigger"] = settings;
        let mut lock = json!({"spin_lock_version": 0, "metadata": metadata, "triggers": self.triggers, "components": components});
        if self.variables.is_object() {
            lock["variables"] = self.variables.clone();
        }
        if self.components.iter().any(|component| component.fields.get("host_requirements").is_some()) {
            lock["spin_lock_version"] = json!(1);
            lock["must_understand"] = json!(["component_host_requirements"]);
        }
        let mut seen = BTreeSet::new();
        layers.retain(|layer| seen.insert(layer.sha256_digest()));
        (layers, lock)
    }
}

/// Media types of the layers of a Spin app.
const SPIN_LOCKED_APP: &str = "application/vnd.fermyon.spin.application.v1+config";
const SPIN_WASM: &str = "application/vnd.wasm.content.layer.v1+wasm";
const SPIN_DATA: &str = "application/vnd.wasm.content.layer.v1+data";
const SPIN_ARCHIVE: &str = "application/vnd.wasm.content.bundle.v1.tar+gzip";
/// What Spin puts into the locked app itself, in bytes.
const SPIN_INLINE_BYTES: usize = 128;

/// How the locked app names a layer's content; since Spin 2 a short one is there itself, as base64 without padding.
fn content(layer: &ImageLayer, packing: SpinPacking) -> Value {
    let mut content = json!({"digest": layer.sha256_digest()});
    if packing != SpinPacking::Spin1 && layer.data.len() <= SPIN_INLINE_BYTES {
        content["inline"] = json!(BASE64_STANDARD_NO_PAD.encode(&layer.data));
    }
    content
}

/// A folder with the files as gzip'd tar.
fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    for (path, bytes) in files {
        let file = folder.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    }
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    tar.append_dir_all(".", folder.path()).unwrap();
    tar.into_inner().unwrap().finish().unwrap()
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

    /// The same images again on a port of its own that speaks TLS with that certificate.
    pub fn with_tls(&self, identity: &Identity) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let host = format!("127.0.0.1:{}", ports::free());
        let [certificate, key] = [("tls.crt", &identity.certificate), ("tls.key", &identity.key)].map(|(name, pem)| {
            let file = folder.path().join(name);
            fs::write(&file, pem).unwrap();
            file
        });
        let config = json!({
            "version": "0.1",
            "log": {"level": "warn", "accesslog": {"disabled": true}},
            "storage": {"filesystem": {"rootdirectory": self._folder.path().join("data")}},
            "http": {"addr": host, "tls": {"certificate": certificate, "key": key}},
        });
        let file = folder.path().join("config.yml");
        fs::write(&file, config.to_string()).unwrap();
        let mut process = Process::start(Command::new("docker-registry").arg("serve").arg(&file));
        eventually("docker-registry listens", || {
            if let Some(code) = process.ended() {
                panic!("docker-registry ended with code {code}; it printed:\n{}", process.text());
            }
            TcpStream::connect(&host).map(drop).map_err(|error| error.to_string())
        });
        Self { process, host, login: None, _folder: folder }
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
        push(&self.reference(name), bytes, format, self.login())
    }

    /// Pushes a whole Spin app as `REPOSITORY:TAG`, as `spin registry push` does, and gives the digest of the image's manifest.
    pub fn push_spin_app(&self, name: &str, app: &SpinApp, packing: SpinPacking) -> String {
        push_spin_app(&self.reference(name), app, packing, self.login())
    }

    fn login(&self) -> Option<(&str, &str)> {
        self.login.as_ref().map(|(user, password)| (user.as_str(), password.as_str()))
    }

    /// Ends the registry.
    pub fn kill(&mut self) {
        self.process.kill();
    }
}

/// Pushes bytes to `HOST/REPOSITORY:TAG` over plain HTTP and gives the digest of the image's manifest.
pub fn push(reference: &str, bytes: &[u8], format: Format, login: Option<(&str, &str)>) -> String {
    let (config_type, layer_type) = format.media_types();
    let layer = ImageLayer::new(bytes.to_vec(), layer_type.to_owned(), None);
    let config =
        json!({"created": "2025-01-01T00:00:00Z", "architecture": "wasm", "os": "wasip2", "layerDigests": [layer.sha256_digest()]});
    let config = Config::new(config.to_string().into_bytes(), config_type.to_owned(), None);
    push_image(reference, &[layer], config, login)
}

/// Pushes a whole Spin app to `HOST/REPOSITORY:TAG` over plain HTTP and gives the digest of the image's manifest.
pub fn push_spin_app(reference: &str, app: &SpinApp, packing: SpinPacking, login: Option<(&str, &str)>) -> String {
    let (mut layers, lock) = app.pack(packing);
    let lock = lock.to_string().into_bytes();
    let config = if packing == SpinPacking::Spin1 {
        Config::new(lock, SPIN_LOCKED_APP.to_owned(), None)
    } else {
        let layer = ImageLayer::new(lock, SPIN_LOCKED_APP.to_owned(), None);
        let labels = json!({"com.fermyon.spin.lockedAppDigest": layer.sha256_digest()});
        layers.push(layer);
        let config = json!({
            "architecture": "wasm", "os": "Wasip1", "config": {"Labels": labels}, "rootfs": {"type": "layers", "diff_ids": []},
        });
        Config::new(config.to_string().into_bytes(), "application/vnd.oci.image.config.v1+json".to_owned(), None)
    };
    push_image(reference, &layers, config, login)
}

fn push_image(reference: &str, layers: &[ImageLayer], config: Config, login: Option<(&str, &str)>) -> String {
    let reference = Reference::from_str(reference).unwrap();
    let auth = login.map_or(RegistryAuth::Anonymous, |(user, password)| RegistryAuth::Basic(user.to_owned(), password.to_owned()));
    let client = Client::new(ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        client.push(&reference, layers, config, &auth, None).await.unwrap_or_else(|error| panic!("push of {reference}: {error}"));
        client.fetch_manifest_digest(&reference, &auth).await.unwrap()
    })
}

/// The content of a Secret of type kubernetes.io/dockerconfigjson, as `kubectl create secret docker-registry` makes it.
pub fn docker_config(host: &str, user: &str, password: &str) -> String {
    let auth = BASE64_STANDARD.encode(format!("{user}:{password}"));
    json!({"auths": {host: {"username": user, "password": password, "auth": auth}}}).to_string()
}
