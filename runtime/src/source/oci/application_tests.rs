//! A registry that says what a test wants it to say; the honest one is tested elsewhere, with the real program.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Router, body::Body, extract::Path, http::StatusCode, response::Response};
use serde_json::{Value, json};
use spinredis_crds::{OciSource, manifest::sha256_digest};

use super::*;
use crate::{
    application::{self, ApplicationError},
    source::oci::Registries,
};

const DATA: &str = "application/vnd.wasm.content.layer.v1+data";
const WASM: &str = "application/vnd.wasm.content.layer.v1+wasm";
const DUMMY_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// What it says: manifest and blobs. Those named in `endless` never end.
#[derive(Default, Clone)]
struct Image {
    manifest: Vec<u8>,
    blobs: BTreeMap<String, Vec<u8>>,
    endless: Vec<String>,
}

fn endless() -> Response {
    Response::new(Body::from_stream(tokio_util::io::ReaderStream::new(tokio::io::repeat(b' '))))
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": sha256_digest(bytes), "size": bytes.len()})
}

impl Image {
    fn of(config: (&str, &[u8]), layers: &[(&str, &[u8])]) -> Self {
        let described: Vec<Value> = layers.iter().map(|(media_type, bytes)| descriptor(media_type, bytes)).collect();
        let mut image = Self::described(descriptor(config.0, config.1), described);
        image.blobs = layers.iter().chain([&config]).map(|(_, bytes)| (sha256_digest(bytes), bytes.to_vec())).collect();
        image
    }

    fn described(config: Value, layers: Vec<Value>) -> Self {
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": layers,
        });
        Self { manifest: manifest.to_string().into_bytes(), ..Self::default() }
    }

    async fn serve(self) -> (Registries, OciSource) {
        let image = Arc::new(self);
        let blobs = Arc::clone(&image);
        let router = Router::new()
            .route("/v2/", axum::routing::get(|| async { "{}" }))
            .route(
                "/v2/app/manifests/{version}",
                axum::routing::get(move || async move {
                    if image.endless.iter().any(|name| name == "manifest") {
                        return endless();
                    }
                    let response = Response::builder().header("content-type", "application/vnd.oci.image.manifest.v1+json");
                    response.body(Body::from(image.manifest.clone())).unwrap()
                }),
            )
            .route(
                "/v2/app/blobs/{digest}",
                axum::routing::get(move |Path(digest): Path<String>| async move {
                    if blobs.endless.contains(&digest) {
                        return endless();
                    }
                    match blobs.blobs.get(&digest) {
                        Some(bytes) => Response::new(Body::from(bytes.clone())),
                        None => Response::builder().status(StatusCode::NOT_FOUND).body(Body::empty()).unwrap(),
                    }
                }),
            );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        tokio::spawn(async { axum::serve(listener, router).await });
        let registries = Registries { plain_http: vec![host.clone()], ..Registries::default() };
        (registries, OciSource { reference: format!("{host}/app:v1"), digest: None })
    }

    async fn pull(self) -> Result<ApplicationImage, OciError> {
        let (registries, source) = self.serve().await;
        registries.pull_application(&source).await
    }
}

fn lock(files: Value) -> Vec<u8> {
    json!({
        "spin_lock_version": 0,
        "triggers": [{"id": "t", "trigger_type": "redis", "trigger_config": {"component": "a", "channel": "c"}}],
        "components": [{"id": "a", "source": {"content_type": "application/wasm", "digest": sha256_digest(b"\0asm")}, "files": files}],
    })
    .to_string()
    .into_bytes()
}

#[tokio::test]
async fn the_locked_app_is_a_layer_or_the_config() {
    let locked = lock(json!([]));
    let layer = Image::of((DUMMY_CONFIG, b"{}"), &[(WASM, b"\0asm"), (LOCKED_APP, &locked)]);
    let config = Image::of((LOCKED_APP, &locked), &[(WASM, b"\0asm")]);
    for image in [layer, config] {
        let manifest_digest = sha256_digest(&image.manifest);
        let pulled = image.pull().await.unwrap();
        assert_eq!((pulled.lock.as_slice(), &pulled.digest), (locked.as_slice(), &manifest_digest));
        assert_eq!(pulled.layer(&sha256_digest(b"\0asm")).await.unwrap(), b"\0asm");
        assert!(matches!(pulled.layer(&sha256_digest(b"other")).await, Err(OciError::NoLayer { .. })));
    }
}

#[tokio::test]
async fn an_app_comes_with_its_wasm_and_its_files() {
    let file = b"content of the file";
    let locked = lock(json!([{"path": "texts/a.txt", "digest": sha256_digest(file)}]));
    let (registries, source) = Image::of((DUMMY_CONFIG, b"{}"), &[(WASM, b"\0asm"), (DATA, file), (LOCKED_APP, &locked)]).serve().await;
    let fetched = application::fetch(&registries, &source).await.unwrap();
    let component = &fetched.application.components[0];
    assert_eq!(fetched.wasm(component).await.unwrap(), b"\0asm");
    let out = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        fetched.write_files(out.path()).await.unwrap();
        assert_eq!(std::fs::read(application::files::folder(out.path(), "a").join("texts/a.txt")).unwrap(), file);
    }
}

#[tokio::test]
async fn another_manifest_than_the_wanted_one_is_refused() {
    let (registries, mut source) = Image::of((LOCKED_APP, &lock(json!([]))), &[(WASM, b"\0asm")]).serve().await;
    source.digest = Some(sha256_digest(b"wanted"));
    assert!(matches!(registries.pull_application(&source).await, Err(OciError::DigestMismatch { .. })));
}

#[tokio::test]
async fn a_component_image_is_no_app_and_an_app_is_no_component_image() {
    let component = Image::of((DUMMY_CONFIG, b"{}"), &[("application/wasm", b"\0asm")]);
    let error = component.pull().await.unwrap_err().to_string();
    assert!(error.contains("not a whole Spin app") && error.contains("[application/wasm]"), "{error}");
    let (registries, source) = Image::of((DUMMY_CONFIG, b"{}"), &[(WASM, b"\0asm"), (LOCKED_APP, &lock(json!([])))]).serve().await;
    let error = registries.pull(&source).await.unwrap_err().to_string();
    assert!(error.contains("whole Spin app") && error.contains("application.oci"), "{error}");
}

#[tokio::test]
async fn a_layer_that_does_not_end_is_left_at_its_announced_size() {
    let mut image = Image::of((LOCKED_APP, &lock(json!([]))), &[(WASM, b"\0asm")]);
    image.endless.push(sha256_digest(b"\0asm"));
    let pulled = image.pull().await.unwrap();
    let error = pulled.layer(&sha256_digest(b"\0asm")).await.unwrap_err().to_string();
    assert!(error.contains("more bytes than the image's manifest announces"), "{error}");
}

#[tokio::test]
async fn a_manifest_that_does_not_end_is_left_at_its_bound() {
    let mut image = Image::of((LOCKED_APP, &lock(json!([]))), &[(WASM, b"\0asm")]);
    image.endless.push("manifest".to_owned());
    let error = image.pull().await.unwrap_err().to_string();
    assert!(error.contains("its manifest is larger than 4 MiB"), "{error}");
}

#[tokio::test]
async fn a_manifest_without_the_digest_of_its_reference_is_refused() {
    let (registries, mut source) = Image::of((LOCKED_APP, &lock(json!([]))), &[(WASM, b"\0asm")]).serve().await;
    let digest = sha256_digest(b"another");
    source.reference = source.reference.replace(":v1", &format!("@{digest}"));
    let error = registries.pull_application(&source).await.unwrap_err().to_string();
    assert!(error.contains("damaged") && error.contains(&digest), "{error}");
}

#[tokio::test]
async fn other_bytes_than_the_digest_says_are_refused() {
    let mut image = Image::of((LOCKED_APP, &lock(json!([]))), &[(WASM, b"\0asm")]);
    image.blobs.insert(sha256_digest(b"\0asm"), b"evil".to_vec());
    let pulled = image.pull().await.unwrap();
    let error = pulled.layer(&sha256_digest(b"\0asm")).await.unwrap_err().to_string();
    assert!(error.contains("damaged"), "{error}");
}

#[tokio::test]
async fn a_manifest_that_announces_too_much_is_refused_before_anything_is_pulled() {
    let config = || json!({"mediaType": LOCKED_APP, "digest": sha256_digest(b"lock"), "size": 4});
    let layer = |index: usize, size: i64| json!({"mediaType": DATA, "digest": sha256_digest(&index.to_le_bytes()), "size": size});
    let sentence = async |config: Value, layers: Vec<Value>| Image::described(config, layers).pull().await.unwrap_err().to_string();

    let many = sentence(config(), (0..=MAX_LAYERS).map(|index| layer(index, 1)).collect()).await;
    assert!(many.contains("has 1025 layers, and at most 1024 are read"), "{many}");
    let large = sentence(config(), vec![layer(0, (256 << 20) + 1)]).await;
    assert!(large.contains("layer sha256:") && large.contains("at most 268435456"), "{large}");
    let negative = sentence(config(), vec![layer(0, -1)]).await;
    assert!(negative.contains("-1 bytes"), "{negative}");
    let together = sentence(config(), vec![layer(0, 200 << 20), layer(1, 200 << 20)]).await;
    assert!(together.contains("all layers together"), "{together}");
    let mut locked = config();
    locked["size"] = json!(5 << 20);
    let locked = sentence(locked, vec![]).await;
    assert!(locked.contains("the locked app") && locked.contains("at most 4194304"), "{locked}");
}

#[tokio::test]
async fn a_layer_that_is_missing_is_named_before_anything_is_compiled() {
    let missing = sha256_digest(b"not there");
    let locked = lock(json!([{"path": "a", "digest": missing}]));
    let (registries, source) = Image::of((LOCKED_APP, &locked), &[(WASM, b"\0asm")]).serve().await;
    let error = application::fetch(&registries, &source).await.unwrap_err();
    assert!(matches!(&error, ApplicationError::Refused { .. }), "{error}");
    assert!(error.to_string().contains(&missing) && error.to_string().contains(&source.reference), "{error}");
}
