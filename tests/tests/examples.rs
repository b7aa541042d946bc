//! Every example is checked, and run against a real Redis as its comments say.

use std::{fs, path::PathBuf, process::Command};

use serde_json::{Value, json};
use spinredis_crds::manifest::Documents;
use spinredis_tests::{
    app::run_command,
    guests::repository,
    redis::Redis,
    runtime::{Runtime, binary},
};

fn example(name: &str) -> PathBuf {
    repository().join("examples").join(name)
}

/// The app of an example, as JSON.
fn app(name: &str) -> Value {
    Documents::parse(&fs::read_to_string(example(name).join("app.yaml")).unwrap()).unwrap().app
}

/// Runs an example with its own manifest at another Redis.
fn run(name: &str, redis: &Redis, args: &[&str]) -> Runtime {
    let mut command = run_command(&example(name).join("app.yaml"));
    let runtime = Runtime::start(command.args(["--address", &redis.address()]).args(args));
    runtime.ready();
    runtime
}

/// Publishes to the channel that the example's first component lists and expects `Got message: …` from it.
fn assert_answers(name: &str, redis: &Redis, runtime: &Runtime) {
    let app = app(name);
    let component = &app["spec"]["components"][0];
    redis.publish(component["channels"][0].as_str().unwrap(), "hello from a test");
    runtime.wait_for_guest(component["id"].as_str().unwrap(), "Got message: hello from a test");
}

#[test]
fn every_example_passes_the_check_and_names_the_same_redis() {
    let folders = fs::read_dir(repository().join("examples")).unwrap().map(|entry| entry.unwrap().path());
    let manifests: Vec<PathBuf> = folders.map(|folder| folder.join("app.yaml")).filter(|file| file.is_file()).collect();
    assert!(manifests.len() >= 3, "{manifests:?}");
    for file in manifests {
        let output = Command::new(binary()).arg("check").arg("-f").arg(&file).output().unwrap();
        assert!(output.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&output.stdout));
        let name = file.parent().unwrap().file_name().unwrap().to_str().unwrap();
        let app = app(name);
        assert_eq!(app["spec"]["trigger"]["address"], "redis://redis.default.svc:6379", "{name}");
        assert_eq!(app["metadata"]["name"], name, "an example is named after its folder");
    }
}

#[test]
fn hello_answers_with_the_component_as_text() {
    let redis = Redis::start();
    let file = example("hello").join("hello.wat");
    let runtime = run("hello", &redis, &["--component", &format!("hello={}", file.display())]);
    assert_answers("hello", &redis, &runtime);
}

#[test]
fn hello_answers_with_the_component_built_from_rust() {
    let redis = Redis::start();
    let file = repository().join("target/guests/hello.wasm");
    assert!(file.is_file(), "{} is not there: run tests/guests/build.sh first", file.display());
    let runtime = run("hello", &redis, &["--component", &format!("hello={}", file.display())]);
    assert_answers("hello", &redis, &runtime);
}

#[test]
fn configmap_answers_with_nothing_but_its_file() {
    let redis = Redis::start();
    let runtime = run("configmap", &redis, &[]);
    assert_answers("configmap", &redis, &runtime);
}

#[test]
fn the_config_map_holds_the_component_of_hello() {
    let text = fs::read_to_string(example("configmap").join("app.yaml")).unwrap();
    let documents = Documents::parse(&text).unwrap();
    let hello = fs::read(example("hello").join("hello.wat")).unwrap();
    let source = &documents.app["spec"]["components"][0]["source"]["configMap"];
    let reference = format!("configmap/{}/{}", source["name"].as_str().unwrap(), source["key"].as_str().unwrap()).parse().unwrap();
    assert!(documents.objects[&reference] == hello, "copy examples/hello/hello.wat into examples/configmap/app.yaml");
}

#[test]
fn password_signs_in_with_its_secret() {
    let redis = Redis::builder()
        .line("user default on nopass ~* &* +@all")
        .line("user greeter on >change-me resetchannels &greetings +subscribe")
        .start();
    let file = example("hello").join("hello.wat");
    let runtime = run("password", &redis, &["--component", &format!("greeter={}", file.display())]);
    assert_answers("password", &redis, &runtime);
    let clients: String = redis.command(&["CLIENT", "LIST"]);
    assert!(clients.lines().any(|line| line.contains(" user=greeter ")), "{clients}");
    assert!(!runtime.log().contains("change-me"));
}

#[test]
fn password_takes_its_component_from_the_config_map_of_configmap() {
    let reference = |name: &str| app(name)["spec"]["components"][0]["source"]["configMap"].clone();
    assert_eq!(reference("password"), reference("configmap"));
    assert_ne!(reference("password"), json!(null));
}
