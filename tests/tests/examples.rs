//! Every example is checked, and run against a real Redis as its comments say.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use ::redis::Client;
use serde_json::{Value, json};
use spinredis_crds::manifest::Documents;
use spinredis_tests::{
    app::run_command,
    guests::repository,
    redis::Redis,
    registry::{Registry, SpinApp, SpinPacking},
    runtime::{Runtime, binary},
    wait::PATIENCE,
};
use tempfile::TempDir;

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

/// The component of an example, built by `tests/guests/build.sh`, as `--component` takes it.
fn built(component: &str, guest: &str) -> String {
    let file = repository().join("target/guests").join(format!("{guest}.wasm"));
    assert!(file.is_file(), "{} is not there: run tests/guests/build.sh first", file.display());
    format!("{component}={}", file.display())
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
    assert!(manifests.len() >= 8, "{manifests:?}");
    for file in manifests {
        let output = Command::new(binary()).arg("check").arg("-f").arg(&file).output().unwrap();
        assert!(output.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&output.stdout));
        let name = file.parent().unwrap().file_name().unwrap().to_str().unwrap();
        let app = app(name);
        assert_eq!(app["spec"]["trigger"]["address"], "redis://redis.default.svc:6379", "{name}");
        assert_eq!(app["metadata"]["name"], name, "an example is named after its folder");
        let readme = fs::read_to_string(example(name).join("README.md")).unwrap_or_default();
        assert!(readme.starts_with(&format!("# {name}: ")), "examples/{name}/README.md says what it is");
        let list = fs::read_to_string(repository().join("examples/README.md")).unwrap();
        assert!(list.contains(&format!("[{name}]({name})")), "examples/README.md lists {name}");
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
    let runtime = run("hello", &redis, &["--component", &built("hello", "hello")]);
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

// ---- Other languages -------------------------------------------------------------------------------------------------

const FAILED: &str = "spinredis_messages_failed_total";

#[test]
fn javascript_greets_whoever_the_message_names() {
    let redis = Redis::start();
    let runtime = run("javascript", &redis, &["--component", &built("greeter", "example-javascript")]);
    redis.publish("visitors", r#"{"name": "Ada"}"#);
    runtime.wait_for_guest("greeter", "Hello, Ada!");
    redis.publish("visitors", r#"{"name": "Žofie 👋"}"#);
    runtime.wait_for_guest("greeter", "Hello, Žofie 👋!");
    redis.publish("visitors", "Ada");
    runtime.wait_for_metric(FAILED, &[("reason", "guest_error")], 1.0);
    assert!(runtime.guest_lines("greeter").iter().any(|line| line.starts_with("not JSON: ")));
}

#[test]
fn python_adds_up_an_order() {
    let redis = Redis::start();
    let mut command = run_command(&example("python").join("app.yaml"));
    let runtime = Runtime::start(command.args(["--address", &redis.address(), "--component", &built("orders", "example-python")]));
    // Python is compiled first, which takes longer than any other wait on a machine that has much else to do.
    let deadline = Instant::now() + 4 * PATIENCE;
    while !runtime.log().contains("component is prepared") && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(50));
    }
    runtime.ready();
    redis.publish("orders", r#"[{"price": 2.5, "count": 2}, {"price": 1, "count": 1}]"#);
    runtime.wait_for_guest("orders", "3 items for 6.00 EUR");
    redis.publish("orders", "two coffees");
    runtime.wait_for_metric(FAILED, &[("reason", "guest_error")], 1.0);
}

#[test]
fn command_counts_what_is_on_its_stdin() {
    let redis = Redis::start();
    let runtime = run("command", &redis, &["--component", &built("wc", "example-command")]);
    redis.publish("notes.today", "to be\nor not to be\n");
    runtime.wait_for_guest("wc", "2 lines, 6 words, 19 bytes on notes.today");
    redis.publish("notes.empty", "");
    runtime.wait_for_guest("wc", "the message is empty");
    runtime.wait_for_metric(FAILED, &[("reason", "guest_error")], 1.0);
}

// ---- Key-value and outbound Redis ------------------------------------------------------------------------------------

/// Publishes an order and gives the receipt that comes back.
fn receipt(redis: &Redis, order: &str) -> String {
    let mut connection = Client::open(redis.address()).unwrap().get_connection().unwrap();
    let mut receipts = connection.as_pubsub();
    receipts.set_read_timeout(Some(PATIENCE)).unwrap();
    receipts.subscribe("receipts").unwrap();
    redis.publish("orders", order);
    receipts.get_message().unwrap().get_payload().unwrap()
}

#[test]
fn pipeline_numbers_orders_and_publishes_receipts() {
    let redis = Redis::start();
    let mut command = run_command(&example("pipeline").join("app.yaml"));
    command.args(["--address", &redis.address(), "--ref", "configmap/pipeline/redis-address=env:REDIS"]);
    command.args(["--component", &built("pipeline", "pipeline")]).env("REDIS", redis.address());
    let runtime = Runtime::start(&mut command);
    runtime.ready();
    assert_eq!(receipt(&redis, "two coffees"), "receipt 1: TWO COFFEES");
    assert_eq!(receipt(&redis, "a tea"), "receipt 2: A TEA");
    assert_eq!(redis.command::<String>(&["GET", "default/pipeline/default/last-order"]), "2");
    redis.publish("orders", " ");
    runtime.wait_for_metric(FAILED, &[("reason", "guest_error")], 1.0);
    runtime.wait_for_line("an order says what is wanted");
}

// ---- A whole Spin app ------------------------------------------------------------------------------------------------

/// The image that `spin registry push` would make of examples/spin-app/spin.toml.
fn spin_app() -> SpinApp {
    let component = |guest: &str| fs::read(repository().join("target/guests").join(format!("{guest}.wasm"))).unwrap();
    let pipeline = json!({
        "config": {"redis_address": "{{ redis_address }}", "receipts": "receipts"},
        "metadata": {"allowed_outbound_hosts": ["{{ redis_address }}"], "key_value_stores": ["default"]},
    });
    let app = SpinApp {
        address: Some("redis://localhost:6379".into()),
        variables: json!({"greeting": {"default": "Hello"}, "redis_address": {}}),
        ..SpinApp::new("spin-app")
    };
    app.with_component("greeter", &component("example-javascript"), &[], json!({"config": {"greeting": "{{ greeting }}"}}))
        .with_component("pipeline", &component("pipeline"), &[], pipeline)
        .with_trigger("greeter", "visitors", None)
        .with_trigger("pipeline", "orders", None)
}

/// A manifest with another Redis in the place of the one it names, in a folder of its own.
fn with_redis(text: &str, named: &str, redis: &Redis) -> TempDir {
    assert!(text.contains(named), "{text}");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("app.yaml"), text.replace(named, &redis.address())).unwrap();
    folder
}

#[test]
fn spin_app_runs_from_its_image() {
    let (redis, registry) = (Redis::start(), Registry::anonymous());
    registry.push_spin_app("spin-app:v1", &spin_app(), SpinPacking::Layers);
    let text = fs::read_to_string(example("spin-app").join("app.yaml")).unwrap();
    let text = text.replace("registry.example.com/spin-app:v1", &registry.reference("spin-app:v1"));
    let folder = with_redis(&text, "redis://redis.default.svc:6379", &redis);
    let mut command = run_command(&folder.path().join("app.yaml"));
    let runtime = Runtime::start(command.args(["--plain-http", registry.host()]));
    runtime.ready();
    redis.publish("visitors", r#"{"name": "Ada"}"#);
    runtime.wait_for_guest("greeter", "Welcome, Ada!");
    assert_eq!(receipt(&redis, "two coffees"), "receipt 1: TWO COFFEES");
}

#[test]
fn spin_app_is_imported_and_runs_from_its_components() {
    let redis = Redis::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("imported.yaml");
    let mut import = Command::new(binary());
    import.arg("import").arg(example("spin-app").join("spin.toml")).args(["--image-prefix", "registry.example.com", "-o"]).arg(&file);
    let output = import.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let folder = with_redis(&fs::read_to_string(&file).unwrap(), "redis://localhost:6379", &redis);
    let mut command = run_command(&folder.path().join("app.yaml"));
    command.args(["--component", &built("greeter", "example-javascript"), "--component", &built("pipeline", "pipeline")]);
    command.args(["--ref", "secret/spin-app/redis_address=env:REDIS"]).env("REDIS", redis.address());
    let runtime = Runtime::start(&mut command);
    runtime.ready();
    redis.publish("visitors", r#"{"name": "Ada"}"#);
    runtime.wait_for_guest("greeter", "Hello, Ada!");
    assert_eq!(receipt(&redis, "two coffees"), "receipt 1: TWO COFFEES");
}
