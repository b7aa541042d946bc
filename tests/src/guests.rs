//! Where guests are: WebAssembly as text in the repository, and what `tests/guests/build.sh` built.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

/// The root of the repository.
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// The text of `examples/hello/hello.wat` or of a guest of `tests/guests/wat`, by its file name.
pub fn wat(name: &str) -> String {
    let folder = if name == "hello.wat" { "examples/hello" } else { "tests/guests/wat" };
    let path = repository().join(folder).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The same guest as binary WebAssembly.
pub fn wasm(name: &str) -> Vec<u8> {
    wat::parse_str(wat(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A guest that `tests/guests/build.sh` built, by its name there.
pub fn built(name: &str) -> Vec<u8> {
    let path = repository().join("target/guests").join(format!("{name}.wasm"));
    fs::read(&path).unwrap_or_else(|error| panic!("{} ({error}): run tests/guests/build.sh first", path.display()))
}

/// A component's source: a key of the ConfigMap `guests`, in which every [`App`](crate::app::App) finds all WAT guests.
pub fn source(key: &str) -> Value {
    json!({"configMap": {"name": "guests", "key": key}})
}

/// File names of the guests of `tests/guests/wat`, and `hello.wat`.
pub(crate) fn wat_names() -> Vec<String> {
    let entries = fs::read_dir(repository().join("tests/guests/wat")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.chain(["hello.wat".to_owned()]).collect()
}
