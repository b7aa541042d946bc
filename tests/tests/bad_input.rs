//! `spinredis prepare` and what strangers may hand it: components and registries that are damaged, lie, or are made to
//! exhaust whoever looks at them. Each is refused with one sentence, within a time and within a memory bound.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use spinredis_crds::manifest::sha256_digest;
use spinredis_tests::{
    app::{App, NAME, NAMESPACE, Prepared},
    guests,
};

/// How long a refusal may take; generous, since machines are busy.
const TIME: Duration = Duration::from_secs(50);
/// The most that `prepare` may hold in memory, in KiB.
const MEMORY: u64 = 700 << 10;
/// The handler that a guest needs to be compiled.
const HANDLER: &str = "fermyon:spin/inbound-redis";

fn app(source: Value) -> App {
    App::new(json!({"address": "redis://127.0.0.1:1"}), json!([{"id": "hello", "channels": ["messages"], "source": source}]))
}

fn app_of_bytes(bytes: &[u8]) -> App {
    app(json!({"configMap": {"name": "uploads", "key": "hello"}})).with("configmap/uploads/hello", bytes)
}

/// Prepares within the bounds. What ends before the first look at its memory has held little.
fn prepare(app: &App, arguments: &[&str]) -> Prepared {
    let started = Instant::now();
    let (prepared, peak) = app.prepare_measured(arguments);
    assert!(started.elapsed() < TIME, "it took {:?}:\n{}", started.elapsed(), prepared.log);
    assert!(peak < MEMORY, "it held {} MiB:\n{}", peak >> 10, prepared.log);
    prepared
}

fn assert_problem(prepared: &Prepared, reason: &str, parts: &[&str]) {
    let (found, message) = prepared.problem();
    assert_eq!(found, reason, "{message}");
    assert!(message.len() < 2_000 && !message.chars().any(char::is_control), "{message:?}");
    for part in parts {
        assert!(message.contains(part), "`{part}` in `{message}`");
    }
}

/// A component of these bytes is refused with a sentence of these parts.
fn assert_refused(bytes: &[u8], reason: &str, parts: &[&str]) {
    assert_problem(&prepare(&app_of_bytes(bytes), &[]), reason, parts);
}

// ---- Bytes ----------------------------------------------------------------------------------------------------------

#[test]
fn a_component_that_breaks_off_anywhere_is_refused() {
    let whole = guests::wasm("hello.wat");
    for end in (8..whole.len()).step_by(whole.len() / 12) {
        let prepared = prepare(&app_of_bytes(&whole[..end]), &[]);
        let (reason, message) = prepared.problem();
        // Between two sections nobody sees that something is missing, except the handler.
        assert!(
            ["PrepareFailed", "NoHandler"].contains(&reason) && message.contains("component hello"),
            "{end} bytes: {reason}, {message}"
        );
    }
    assert_refused(&whole[..whole.len() / 2], "PrepareFailed", &["component hello is not valid WebAssembly"]);
}

#[test]
fn what_is_no_webassembly_is_refused() {
    let mut random: Vec<u8> = (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    random[0] = 0x42;
    let elf = fs::read(std::env::current_exe().unwrap()).unwrap();
    let mach_o = [&[0xcf, 0xfa, 0xed, 0xfe, 7, 0, 0, 1], random.as_slice()].concat();
    let windows = [b"MZ\x90\0", random.as_slice()].concat();
    for bytes in [random.as_slice(), &elf[..200_000], &mach_o, &windows, b"#!/bin/sh\necho", b"{}"] {
        assert_refused(bytes, "PrepareFailed", &["key hello of ConfigMap uploads is not WebAssembly"]);
    }
}

#[test]
fn code_that_was_compiled_elsewhere_is_not_taken_for_a_component() {
    let app = app(guests::source("hello.wat"));
    assert_eq!(app.prepare().code, 0);
    let entries = fs::read_dir(app.prepared()).unwrap().map(|entry| entry.unwrap().path());
    let compiled = entries.into_iter().find(|path| path.extension().is_some_and(|ending| ending == "cwasm")).unwrap();
    assert_refused(&fs::read(compiled).unwrap(), "PrepareFailed", &["is not WebAssembly"]);
}

fn gzip(write: impl FnOnce(&mut GzEncoder<Vec<u8>>)) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    write(&mut gzip);
    gzip.finish().unwrap()
}

#[test]
fn a_small_file_that_unpacks_to_a_large_one_is_refused() {
    let zeros = vec![0; 1 << 20];
    let bomb = gzip(|gzip| (0..1_000).for_each(|_| gzip.write_all(&zeros).unwrap()));
    assert!(bomb.len() < 10 << 20, "it is small");
    assert_refused(&bomb, "PrepareFailed", &["larger than 256 MiB once unpacked"]);
    let twice = gzip(|gzip| gzip.write_all(&bomb).unwrap());
    assert_refused(&twice, "PrepareFailed", &["is not WebAssembly"]);
}

// ---- Components that are made to exhaust ----------------------------------------------------------------------------

const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
const MODULE: &[u8] = b"\0asm\x01\0\0\0";

fn number(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id], number(content.len()).as_slice(), content].concat()
}

fn name(text: &str) -> Vec<u8> {
    [number(text.len()), text.as_bytes().to_vec()].concat()
}

/// An empty instance, exported under each of these names.
fn exports_of_component(names: &[String]) -> Vec<u8> {
    let exports = names.iter().flat_map(|text| [&[0], name(text).as_slice(), &[5, 0, 0]].concat());
    let exports: Vec<u8> = number(names.len()).into_iter().chain(exports).collect();
    [section(5, &[1, 1, 0]), section(11, &exports)].concat()
}

/// A program of one function with this body, and these names for its exports beside `_start` and `memory`.
fn program(body: &[u8], names: &[String]) -> Vec<u8> {
    let more = names.iter().flat_map(|text| [name(text).as_slice(), &[0, 0]].concat());
    let own = [name("_start"), vec![0, 0], name("memory"), vec![2, 0]].concat();
    let exports: Vec<u8> = number(names.len() + 2).into_iter().chain(own).chain(more).collect();
    let code = [vec![1], number(body.len()), body.to_vec()].concat();
    let sections = [section(1, &[1, 0x60, 0, 0]), section(3, &[1, 0]), section(5, &[1, 0, 1]), section(7, &exports), section(10, &code)];
    [MODULE.to_vec(), sections.concat()].concat()
}

#[test]
fn a_start_function_that_loops_is_not_run() {
    assert_eq!(prepare(&app(guests::source("bomb-start.wat")), &[]).code, 0);
    let text = r#"(module (memory (export "memory") 1) (func $loop (loop $again (br $again))) (start $loop) (func (export "_start")))"#;
    assert_eq!(prepare(&app_of_bytes(text.as_bytes()), &[]).code, 0);
}

#[test]
fn ten_gigabytes_of_memory_are_refused_and_not_reserved() {
    let prepared = prepare(&app(guests::source("memory-10g.wat")), &[]);
    assert_problem(&prepared, "Invalid", &["component hello starts with a memory of", "memoryLimit"]);
    let tables = (0..50).map(|_| "(table 10000000 funcref)").collect::<String>();
    let text = format!(r#"(module {tables} (memory (export "memory") 1) (func (export "_start")))"#);
    prepare(&app_of_bytes(text.as_bytes()), &[]);
}

#[test]
fn a_million_exports_are_refused() {
    let names: Vec<String> = (0..1_000_000).map(|n| format!("a:b/f{n}")).collect();
    let component = |names: &[String]| [COMPONENT.to_vec(), exports_of_component(names)].concat();
    assert_refused(&component(&names), "PrepareFailed", &["component hello has more than 1000000 parts"]);
    assert_refused(&component(&names[..900_000]), "NoHandler", &["a:b/f0", "and 9992 more"]);
    let with_handler: Vec<String> = [HANDLER.to_owned()].into_iter().chain(names[..900_000].to_vec()).collect();
    assert_refused(&component(&with_handler), "PrepareFailed", &["exceeds limit"]);
    assert_refused(&program(&[0, 0x0b], &names), "NoHandler", &["no component can be made", "exports count exceeds limit"]);
}

#[test]
fn names_of_exports_cannot_make_a_message_long_or_steer_a_terminal() {
    let names = ["line\nbreak".to_owned(), "\u{1b}[2J".to_owned(), "x".repeat(90_000)];
    assert_refused(&[COMPONENT.to_vec(), exports_of_component(&names)].concat(), "NoHandler", &["line?break, ?[2J, xxx"]);
}

#[test]
fn components_inside_each_other_are_refused_beyond_what_tools_make() {
    let deep = (0..10_000).fold(COMPONENT.to_vec(), |inner, _| [COMPONENT.to_vec(), section(4, &inner)].concat());
    let deep = [deep, exports_of_component(&[HANDLER.to_owned()])].concat();
    assert_refused(&deep, "PrepareFailed", &["component hello has more than 64 components inside each other"]);
}

#[test]
fn a_component_that_doubles_with_each_instance_is_refused() {
    let twice = |inner: String, _| format!("(component {inner} (instance (instantiate 0)) (instance (instantiate 0)))");
    let leaf = "(component (core module) (core instance (instantiate 0)))".to_owned();
    let huge = (0..30).fold(leaf, twice);
    let text = format!(r#"(component {huge} (instance $huge (instantiate 0)) (instance $i) (export "{HANDLER}" (instance $i)))"#);
    assert_refused(text.as_bytes(), "PrepareFailed", &["component hello has more than 1000000 parts", "for each of its instances"]);
}

#[test]
fn a_function_that_is_larger_than_any_is_refused() {
    let body = [vec![0], vec![1; 8_000_000], vec![0x0b]].concat();
    assert_refused(&program(&body, &[]), "NoHandler", &["function body size", "exceeds limit"]);
}

#[test]
fn a_component_that_takes_too_long_to_compile_is_refused() {
    // Thousands of locals, each changed in thousands of loops: what joins where grows with the product.
    let local = |n: usize| number(n % 5_000);
    let blocks = (0..60_000).flat_map(|n| {
        let (from, to) = (local(n), local(n * 7));
        [&[0x03, 0x40, 0x20], from.as_slice(), &[0x41, 7, 0x6a, 0x22], to.as_slice(), &[0x0d, 0, 0x0b]].concat()
    });
    let body: Vec<u8> = [vec![1], number(5_000), vec![0x7f]].concat().into_iter().chain(blocks).chain([0x0b]).collect();
    let prepared = prepare(&app_of_bytes(&program(&body, &[])), &["--compile-timeout", "1s"]);
    assert_problem(&prepared, "PrepareFailed", &["component hello cannot be compiled: it is not done within 1 s"]);
}

#[test]
fn deeply_nested_text_is_refused() {
    for text in ["(".repeat(1_000_000), "(component ".repeat(100_000), format!("(module (func {}", "(block ".repeat(100_000))] {
        assert_refused(text.as_bytes(), "PrepareFailed", &["not valid WebAssembly text"]);
    }
}

// ---- Registries that lie --------------------------------------------------------------------------------------------

/// What a registry answers to a path.
struct Answer {
    status: u16,
    headers: String,
    body: Vec<u8>,
    /// Whether the body is sent again and again, without an end.
    is_endless: bool,
}

impl Answer {
    fn of(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: String::new(), body: body.into(), is_endless: false }
    }

    fn endless(status: u16) -> Self {
        Self { is_endless: true, ..Self::of(status, vec![b' '; 1 << 16]) }
    }
}

/// A registry that answers what a test says, and nothing of what a registry should.
fn registry(answer: impl Fn(&str, &str) -> Answer + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let (answer, own) = (Arc::new(answer), host.clone());
    // Ends with the process of the tests.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (answer, own) = (answer.clone(), own.clone());
            thread::spawn(move || serve(stream.unwrap(), |path| answer(path, &own)));
        }
    });
    host
}

/// One request and its answer. Whoever asks may hang up in the middle.
fn serve(mut stream: TcpStream, answer: impl Fn(&str) -> Answer) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let request = lines.next()?.ok()?;
    while !lines.next()?.ok()?.is_empty() {}
    let Answer { status, headers, body, is_endless } = answer(request.split(' ').nth(1)?);
    let length = if is_endless { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    write!(stream, "HTTP/1.1 {status} Answer\r\n{headers}{length}Connection: close\r\n\r\n").ok()?;
    stream.write_all(&body).ok()?;
    if is_endless {
        loop {
            stream.write_all(&body).ok()?;
        }
    }
    stream.shutdown(std::net::Shutdown::Write).ok()?;
    // Until the other side has read it all: closing earlier might cut the answer off.
    stream.read(&mut [0]).ok().map(drop)
}

fn descriptor(media_type: &str, bytes: &[u8], size: i64) -> Value {
    json!({"mediaType": media_type, "digest": sha256_digest(bytes), "size": size})
}

fn manifest(config: &Value, layers: &[Value]) -> String {
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    json!({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers}).to_string()
}

/// The manifest of a component's image whose layer announces a size.
fn component_manifest(layer: &[u8], size: i64) -> String {
    manifest(&descriptor("application/vnd.wasm.config.v0+json", b"{}", 2), &[descriptor("application/wasm", layer, size)])
}

/// Prepares a component from a registry.
fn prepare_from(host: &str) -> Prepared {
    prepare(&app(json!({"oci": {"reference": format!("{host}/app:v1")}})), &["--plain-http", host])
}

/// Prepares a whole app from a registry.
fn prepare_app_from(host: &str) -> Prepared {
    let manifest = json!({
        "apiVersion": "spinredis.dev/v1alpha1", "kind": "SpinRedisApp", "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {"trigger": {"address": "redis://127.0.0.1:1"}, "application": {"oci": {"reference": format!("{host}/app:v1")}}},
    });
    prepare(&App::from_text(&manifest.to_string()), &["--plain-http", host])
}

/// A registry with one manifest that gives every blob this answer.
fn registry_of(manifest: String, blob: impl Fn() -> Answer + Send + Sync + 'static) -> String {
    registry(move |path, _| match path {
        "/v2/" => Answer::of(200, "{}"),
        path if path.contains("/manifests/") => Answer::of(200, manifest.clone()),
        _ => blob(),
    })
}

#[test]
fn a_manifest_that_does_not_end_is_refused() {
    let host = registry(|path, _| if path == "/v2/" { Answer::of(200, "{}") } else { Answer::endless(200) });
    assert_problem(&prepare_from(&host), "RegistryError", &[&host, "its manifest is larger than 4 MiB"]);
}

#[test]
fn a_layer_that_does_not_end_is_refused_at_its_announced_size() {
    let host = registry_of(component_manifest(b"layer", 100_000), || Answer::endless(200));
    assert_problem(&prepare_from(&host), "RegistryError", &[&host, "more bytes than the image's manifest announces"]);
}

#[test]
fn sizes_that_are_lies_are_refused() {
    for size in [i64::MAX, (256 << 20) + 1, -1] {
        let host = registry_of(component_manifest(b"layer", size), || Answer::endless(200));
        assert_problem(&prepare_from(&host), "PrepareFailed", &["is larger than 256 MiB"]);
    }
    let smaller = registry_of(component_manifest(b"layer", 4), || Answer::of(200, "layer"));
    assert_problem(&prepare_from(&smaller), "RegistryError", &["more bytes than the image's manifest announces"]);
    let other = registry_of(component_manifest(b"layer", 5), || Answer::of(200, "other"));
    assert_problem(&prepare_from(&other), "RegistryError", &["what it sent is damaged"]);
    let shorter = registry_of(component_manifest(b"layer", 200 << 20), || Answer::of(200, "lay"));
    assert_problem(&prepare_from(&shorter), "RegistryError", &["what it sent is damaged"]);
}

#[test]
fn an_image_of_endlessly_many_layers_is_refused() {
    let layers: Vec<Value> =
        (0..20_000_u32).map(|n| descriptor("application/vnd.wasm.content.layer.v1+data", &n.to_le_bytes(), 1)).collect();
    let config = descriptor("application/vnd.fermyon.spin.application.v1+config", b"{}", 2);
    let host = registry_of(manifest(&config, &layers), || Answer::endless(200));
    assert_problem(&prepare_app_from(&host), "PrepareFailed", &["20000 layers, and at most 1024 are read"]);
    let wasm = vec![descriptor("application/wasm", b"layer", 5); 20_000];
    let host = registry_of(manifest(&descriptor("application/vnd.wasm.config.v0+json", b"{}", 2), &wasm), || Answer::endless(200));
    assert_problem(&prepare_from(&host), "PrepareFailed", &["not a component image", "exactly one"]);
}

#[test]
fn endless_words_about_an_error_are_not_listened_to() {
    for status in [401, 403, 404, 500] {
        let host = registry_of(component_manifest(b"layer", 5), move || Answer::endless(status));
        assert_problem(&prepare_from(&host), "RegistryError", &[&host]);
    }
}

#[test]
fn a_token_that_does_not_end_is_refused() {
    for status in [200, 500] {
        let host = registry(move |path, host| match path {
            path if path.starts_with("/token") => Answer::endless(status),
            _ => Answer {
                headers: format!("WWW-Authenticate: Bearer realm=\"http://{host}/token\",service=\"registry\"\r\n"),
                ..Answer::of(401, "")
            },
        });
        assert_problem(&prepare_from(&host), "RegistryError", &[&host]);
    }
}

#[test]
fn a_registry_that_sends_from_one_place_to_the_next_is_left() {
    let host = registry(|path, _| match path {
        "/v2/" => Answer::of(200, "{}"),
        path => Answer { headers: format!("Location: {path}x\r\n"), ..Answer::of(307, "") },
    });
    assert_problem(&prepare_from(&host), "RegistryError", &[&host]);
}

// ---- Whole apps -----------------------------------------------------------------------------------------------------

/// A registry with a whole app of this locked app.
fn registry_of_app(variables: &Value, channel: &str) -> String {
    let locked = json!({
        "spin_lock_version": 0, "variables": variables,
        "triggers": [{"id": "t", "trigger_type": "redis", "trigger_config": {"component": "a", "channel": channel}}],
        "components": [{"id": "a", "source": {"content_type": "application/wasm", "digest": sha256_digest(b"\0asm")}}],
    })
    .to_string();
    let config = descriptor("application/vnd.fermyon.spin.application.v1+config", locked.as_bytes(), locked.len() as i64);
    let wasm = descriptor("application/vnd.wasm.content.layer.v1+wasm", b"\0asm", 4);
    registry_of(manifest(&config, &[wasm]), move || Answer::of(200, locked.clone()))
}

#[test]
fn variables_of_an_app_that_name_each_other_in_a_circle_are_refused() {
    let host =
        registry_of_app(&json!({"a": {"default": "{{ b }}"}, "b": {"default": "{{ c }}"}, "c": {"default": "{{ a }}"}}), "x-{{ a }}");
    assert_problem(&prepare_app_from(&host), "Invalid", &["component a", "{{ a }}", "a → b → c → a"]);
}

#[test]
fn variables_of_an_app_that_name_each_other_in_a_long_row_are_refused() {
    let row = |of: &dyn Fn(usize) -> String, length: usize| -> Value {
        (0..length).map(|n| (format!("v{n}"), json!({"default": of(n + 1)}))).collect::<serde_json::Map<_, _>>().into()
    };
    let host = registry_of_app(&row(&|next| format!("{{{{ v{next} }}}}"), 60_000), "{{ v0 }}");
    assert_problem(&prepare_app_from(&host), "PrepareFailed", &["60000 variables"]);
    let host = registry_of_app(&row(&|next| format!("{{{{ v{next} }}}}{{{{ v{next} }}}}x"), 64), "{{ v0 }}");
    let prepared = prepare_app_from(&host);
    let (_, message) = prepared.problem();
    assert!(message.contains("v63") || message.contains("v64") || message.contains("v0"), "{message}");
}
