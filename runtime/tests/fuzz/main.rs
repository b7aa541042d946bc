//! Fuzz targets for everything that reads what strangers wrote. Each runs for two seconds here; `make fuzz` runs each for
//! longer. A target passes when nothing panics, hangs or grows, and when what it accepts holds what it promises.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod driver;
mod mutate;
mod resp;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use spinredis::{
    application::{Content, archive, resolve},
    compile::{handler, prune},
    describe,
    import::{self, Options},
    prepare::plan,
    source::{decode, oci},
};
use spinredis_crds::{
    check,
    manifest::{Documents, Manifest},
    outbound::AllowedHosts,
    template::Template,
};

use crate::{driver::fuzz, mutate::Corpus};

/// Largest guest that is a seed, in bytes: mutations of larger ones seldom hit what is read here.
const MAX_SEED: u64 = 200 << 10;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The files of a folder with this ending; none when the folder is not there.
fn files(folder: &str, ending: &str) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(repository().join(folder)).into_iter().flatten().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|found| found == ending)).collect();
    paths.sort();
    paths.retain(|path| fs::metadata(path).is_ok_and(|file| file.len() <= MAX_SEED));
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn texts(folder: &str, ending: &str) -> Vec<String> {
    files(folder, ending).into_iter().map(|bytes| String::from_utf8(bytes).unwrap()).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whatever is said of a stranger's bytes has an end, and stands on one line.
fn assert_sentence(sentence: &str) {
    assert!(sentence.len() < 8_000, "{} bytes are no sentence: {}", sentence.len(), &sentence.chars().take(200).collect::<String>());
    assert!(!sentence.chars().any(|letter| letter == '\n' || letter == '\u{1b}'), "not one plain line: {sentence:?}");
}

// ---- Components -----------------------------------------------------------------------------------------------------

fn guests() -> Vec<Vec<u8>> {
    let written = files("tests/guests/wat", "wat").into_iter().chain(files("examples/hello", "wat"));
    let binary = written.map(|text| wat::parse_bytes(&text).unwrap().into_owned());
    let nested = "(component (component $a (core module $m (memory 1) (func (export \"f\"))) (core instance (instantiate $m)))
        (instance $i (instantiate $a)) (alias outer 0 0 (component)) (instance (instantiate 1)) (export \"wasi:cli/run@0.2.0\" (instance $i)))";
    binary.chain([wat::parse_str(nested).unwrap()]).chain(files("target/guests", "wasm")).collect()
}

#[test]
fn handler_detection() {
    let words = [
        "component-type",
        "fermyon:spin/inbound-redis",
        "handle-redis-message",
        "_start",
        "wasi:cli/run@0.3.0",
        "\0asm\x0d\0\x01\0",
        "\0asm\x01\0\0\0",
    ];
    fuzz("handler_detection", Corpus::bytes(guests(), &words), |bytes| match handler::resolve(bytes.to_vec()) {
        Ok(callable) => {
            let again = handler::find(&callable.wasm);
            assert_eq!(again, Ok(callable.kind), "what was made of it has another handler");
        }
        Err(error) => assert_sentence(&error.to_string()),
    });
}

#[test]
fn pruning_of_a_component() {
    fuzz("pruning", Corpus::bytes(guests(), &["name", "memory", "\0asm\x0d\0\x01\0", "\0asm\x01\0\0\0"]), |bytes| {
        if let Some(pruned) = prune::prune(bytes) {
            assert!(pruned.len() < bytes.len() && prune::prune(&pruned).is_none(), "nothing is left to leave out");
            assert_eq!(handler::find(&pruned), handler::find(bytes));
        }
    });
}

#[test]
fn description_of_a_component() {
    fuzz("description", Corpus::bytes(guests(), &["producers", "spin-sdk-version-", "wasi:cli/"]), |bytes| {
        match describe::describe(bytes) {
            Ok(described) => {
                assert!(described.imports.listed.len() <= 512 && described.exports.listed.len() <= 512);
                drop((described.interfaces().len(), described.producers.language(), described.producers.tools()));
            }
            Err(error) => assert_sentence(&error.to_string()),
        }
    });
}

#[test]
fn decoding_of_text_and_gzip() {
    let mut seeds = files("tests/guests/wat", "wat");
    seeds.extend(seeds.clone().iter().map(|text| gzip(text)));
    fuzz("decoding", Corpus::bytes(seeds, &["(module", "(component", "(((((((((", "\"", ";)", "(;"]), |bytes| {
        if let Err(error) = decode::wasm(bytes.to_vec()) {
            assert_sentence(&error.to_string());
        }
    });
}

// ---- Images and whole apps ------------------------------------------------------------------------------------------

const COMPONENT_IMAGE: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
    "config":{"mediaType":"application/vnd.wasm.config.v0+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},
    "layers":[{"mediaType":"application/wasm","digest":"sha256:3333333333333333333333333333333333333333333333333333333333333333","size":1024,"urls":["http://x/"],"annotations":{"a":"b"}}]}"#;
const APPLICATION_IMAGE: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
    "config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},
    "layers":[{"mediaType":"application/vnd.wasm.content.layer.v1+wasm","digest":"sha256:33","size":9223372036854775807},
              {"mediaType":"application/vnd.wasm.content.bundle.v1.tar+gzip","digest":"sha256:34","size":5},
              {"mediaType":"application/vnd.fermyon.spin.application.v1+config","digest":"sha256:35","size":700}]}"#;
const INDEX: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json",
    "manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:36","size":7,"platform":{"architecture":"amd64","os":"linux","variant":"v1"}}]}"#;

#[test]
fn manifest_of_an_image() {
    let words = [
        "application/wasm",
        "application/vnd.fermyon.spin.application.v1+config",
        "\"layers\":[",
        "\"size\":-1,",
        "null",
        "\\u0000",
        "[[[[",
    ];
    fuzz("image_manifest", Corpus::text([COMPONENT_IMAGE, APPLICATION_IMAGE, INDEX], &words), |bytes| {
        if let Err(error) = oci::announced(bytes, "registry.example.com/app:v1") {
            assert_sentence(&error.to_string());
        }
    });
}

/// A manifest that runs the whole app of an image.
const RUNS_AN_APP: &str = "apiVersion: spinredis.dev/v1alpha1\nkind: SpinRedisApp\nmetadata: {name: a}\nspec: {trigger: {address: 'redis://r'}, application: {oci: {reference: r/a:1}}, variables: [{name: redis_host, value: '{{ token }}'}]}";
/// Variables that name each other.
const CYCLES: &str = r#"{"spin_lock_version":0,"variables":{"a":{"default":"{{ b }}{{ b }}"},"b":{"default":"{{ a }}"},"redis_host":{"default":"{{ redis_host }}"}},
    "triggers":[{"id":"t","trigger_type":"redis","trigger_config":{"component":"c","channel":"{{ a }}-{{ token }}"}}],
    "components":[{"id":"c","source":{"content_type":"application/wasm","inline":"AGFzbQ=="},"config":{"x":"{{ a }}"},"env":{"A":"b"}}]}"#;

#[test]
fn locked_app() {
    let mut seeds = texts("runtime/src/application/testdata", "json");
    assert!(!seeds.is_empty(), "there are no seeds");
    seeds.push(CYCLES.to_owned());
    let words = [
        "{{ a }}",
        "{{",
        "\"default\":",
        "\"must_understand\":[\"x\"],",
        "\"..\"",
        "\"/\"",
        "null",
        "[[[[[[[[",
        "{\"a\":",
        "\"inline\":\"AA==\",",
    ];
    let manifest = Manifest::parse(RUNS_AN_APP).unwrap();
    fuzz("locked_app", Corpus::text(seeds, &words), move |bytes| match resolve::resolve(bytes) {
        Ok(application) => {
            for file in application.components.iter().flat_map(|component| &component.files) {
                let plain = Path::new(&file.path).components().all(|part| matches!(part, std::path::Component::Normal(_)));
                assert!(plain && !file.path.is_empty(), "{:?} is no path below a folder", file.path);
                if let Content::Blob { digest } = &file.content {
                    assert_eq!(digest.len(), "sha256:".len() + 64);
                }
            }
            if let Err(error) = plan::plan(&manifest, Some(&application)) {
                assert_sentence(&error.to_string());
            }
        }
        Err(refusal) => assert_sentence(&refusal.to_string()),
    });
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

#[test]
fn archive_of_files() {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, bytes) in [("a/b.txt", b"content".as_slice()), ("c", &[7; 2_000]), (&"long/".repeat(60), b"")] {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, bytes).unwrap();
    }
    let words = [
        "../",
        "/etc",
        "77777777777",
        "././@LongLink",
        "ustar  ",
        "\0\0\0\0\0\0\0\0",
        "GNU.sparse.realsize=99999999999",
        "30 path=../../up\n",
    ];
    let whole = tar.into_inner().unwrap();
    let corpus = Corpus::bytes(vec![gzip(&whole), whole], &words);
    fuzz("archive", corpus, |bytes| {
        // What is mutated is the archive or what is compressed to one; a checksum that is wrong would hide the rest.
        let archive = if bytes.starts_with(&[0x1f, 0x8b]) { bytes.to_vec() } else { gzip(&with_checksums(bytes)) };
        let mut files = 0;
        let read = archive::each_file(&archive, |_| {
            files += 1;
            Ok(())
        });
        assert!(files <= 10_000);
        if let Err(error) = read {
            assert_sentence(&error.to_string());
        }
    });
}

/// Puts the right checksum into what may be the header of an entry.
fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut tar = bytes.to_vec();
    for block in tar.chunks_exact_mut(512).filter(|block| block[257..262] == *b"ustar") {
        let sum: u32 = block.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) }).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    tar
}

// ---- What people write ----------------------------------------------------------------------------------------------

#[test]
fn spin_manifest() {
    let words = [
        "{{ a }}",
        "[[trigger.redis]]\n",
        "[component.",
        "\"\"\"",
        "= {",
        "[[[[[[",
        "insecure:allow-all",
        "redis://:pw@h",
        "'",
        "\u{202e}",
    ];
    fuzz("spin_manifest", Corpus::text(texts("tests/imports", "toml"), &words), |bytes| {
        match import::import("spin.toml", &text(bytes), &Options::default()) {
            Ok(apps) => {
                for app in apps {
                    let documents =
                        Documents::parse(&app.yaml).unwrap_or_else(|error| panic!("{error} in what was written:\n{}", app.yaml));
                    let findings = check::app(&documents.app);
                    assert!(findings.is_empty(), "{findings:?} in what was written:\n{}", app.yaml);
                }
            }
            Err(refusals) => {
                assert!(!refusals.is_empty() && refusals.iter().all(|refusal| refusal.line > 0 && !refusal.message.contains('\n')))
            }
        }
    });
}

#[test]
fn manifest_of_an_app() {
    let seeds = texts("tests/manifests/valid", "yaml").into_iter().chain(texts("tests/manifests/invalid", "yaml"));
    let words = ["&a [*a, *a]", "*a", "<<: *a", "!!binary ", "? ", "---\n", "|\n", "9223372036854775808", "{{ a }}", "[[[[[["];
    fuzz("manifest", Corpus::text(seeds, &words), |bytes| match Documents::parse(&text(bytes)) {
        Ok(documents) => {
            let findings = check::file(&documents);
            let read = documents.manifest();
            assert!(!findings.is_empty() || read.is_ok(), "what has no finding cannot be read: {read:?}");
        }
        Err(error) => drop(error.to_string()),
    });
}

#[test]
fn allowed_outbound_hosts() {
    let seeds = [
        "https://example.com",
        "*://*.example.com:*",
        "redis://10.1.0.0/16:6379",
        "*://[fd00::1/64]:8080..8090",
        "http://self",
        "tcp://127.0.0.1:1..65535",
    ];
    fuzz(
        "allowed_outbound_hosts",
        Corpus::text(seeds, &["://", "*", "[", "]", "..", ":", "::ffff:", "/33", "@", "self.alt", "é", "\0"]),
        |bytes| match AllowedHosts::parse(&[text(bytes)]) {
            Ok(allowed) => {
                for (scheme, host) in
                    [("https", "example.com"), ("redis", "10.1.2.3"), ("tcp", "[fd00::1]"), ("http", text(bytes).as_str())]
                {
                    let _ = (allowed.allows(scheme, host, 8080), allowed.allows_self(scheme));
                }
                for address in ["10.1.2.3", "::1", "::ffff:169.254.169.254"] {
                    let address = address.parse().unwrap();
                    let _ = (allowed.allows_ip(&["redis", "rediss"], address, 6379), allowed.lists_literally(address));
                }
            }
            Err(error) => drop(error.to_string()),
        },
    );
}

#[test]
fn template() {
    let seeds = ["https://{{ host }}:{{port}}/x", "{{ a }}{{ b_1 }}", "plain } }} text"];
    fuzz("template", Corpus::text(seeds, &["{{", "}}", "{{ a }}", "_", " ", "é"]), |bytes| {
        let text = text(bytes);
        let Ok(template) = Template::parse(&text) else { return };
        let same = template.resolve(|name| Some(format!("{{{{{name}}}}}"))).unwrap();
        let squeeze = |text: &str| text.split_whitespace().collect::<String>();
        assert_eq!(squeeze(&same), squeeze(&text), "text was lost");
    });
}
