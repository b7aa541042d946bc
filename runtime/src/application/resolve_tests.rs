//! The testdata read whole, and one refusal after the other by changing a single place of it.

use serde_json::{Value, json};

use super::*;

const V0: &str = include_str!("testdata/v0.json");
const V1: &str = include_str!("testdata/v1.json");

fn subscription(channel: &str, address: Option<&str>) -> AppSubscription {
    AppSubscription { channel: channel.to_owned(), address: address.map(str::to_owned) }
}

fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

#[test]
fn a_locked_app_of_spin_1_is_read_whole() {
    let app = resolve(V0.as_bytes()).unwrap();
    assert_eq!(app.name, "orders");
    assert_eq!(app.address.as_deref(), Some("redis://redis.example.com:6379"));
    let variable = |name: &str, default: Option<&str>, secret| AppVariable { name: name.into(), default: default.map(Into::into), secret };
    assert_eq!(app.variables, [variable("greeting", Some("hello"), false), variable("password", None, true)]);
    let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<BTreeMap<_, _>>();
    let component = AppComponent {
        id: "greeter".to_owned(),
        wasm: Content::Blob { digest: digest('1') },
        files: vec![AppFile { path: "texts/en.txt".to_owned(), content: Content::Blob { digest: digest('2') } }],
        env: pairs(&[("LANGUAGE", "en")]),
        variables: pairs(&[("greeting", "{{ greeting }}, world"), ("password", "{{ password }}")]),
        allowed_outbound_hosts: [
            "http://api.example.com",
            "https://api.example.com",
            "http://localhost:8080",
            "https://localhost:8080",
            "http://self",
        ]
        .map(str::to_owned)
        .to_vec(),
        key_value_stores: Vec::new(),
        subscriptions: vec![subscription("messages", None)],
    };
    assert_eq!(app.components, [component]);
    assert!(app.unsupported.is_empty());
}

#[test]
fn a_component_gets_the_subscriptions_of_all_its_triggers_each_once() {
    let app = resolve(V1.as_bytes()).unwrap();
    assert_eq!(app.address.as_deref(), Some("redis://{{ redis_host }}:6379"));
    let [split, join, library] = &app.components[..] else { panic!("{:?}", app.components) };
    assert_eq!(
        split.subscriptions,
        [subscription("in", None), subscription("in-{{ redis_host }}", Some("rediss://other.example.com:6380"))]
    );
    assert_eq!(join.subscriptions, [subscription("parts", None)]);
    assert!(library.subscriptions.is_empty(), "a component without a trigger is never called");
}

#[test]
fn what_is_inlined_is_read_with_and_without_padding() {
    let app = resolve(V1.as_bytes()).unwrap();
    let hello = Content::Inline(b"hello".to_vec());
    let files: Vec<(&str, &Content)> = app.components[0].files.iter().map(|file| (file.path.as_str(), &file.content)).collect();
    assert_eq!(files, [("hello.txt", &hello), ("padded/hello.txt", &hello)]);
    assert_eq!(app.components[2].wasm, Content::Inline(b"\0asm\x0d\0\x01\0".to_vec()));
}

#[test]
fn databases_and_models_are_warned_of() {
    let app = resolve(V1.as_bytes()).unwrap();
    let [databases, models] = &app.unsupported[..] else { panic!("{:?}", app.unsupported) };
    assert!(databases.contains("component split is granted the SQLite databases default"), "{databases}");
    assert!(models.contains("AI models llama2-chat"), "{models}");
}

#[test]
fn every_host_over_http_is_what_allow_all_meant() {
    assert_eq!(hosts_of_http_hosts(&["a".to_owned(), "insecure:allow-all".to_owned()]), ["http://*:*", "https://*:*", "http://self"]);
}

#[test]
fn a_default_address_is_optional_and_an_empty_one_is_none() {
    let with = |metadata: Value| resolve(&edited("/metadata", metadata)).unwrap().address;
    assert_eq!(with(json!({})), None);
    assert_eq!(with(json!({"trigger": {"type": "redis", "address": ""}})), None);
    assert_eq!(with(json!({"trigger": {"type": "http", "address": "redis://other"}})), None);
    assert_eq!(with(json!({"triggers": {}, "trigger": {"type": "redis", "address": "redis://other"}})), None);
}

#[test]
fn optional_host_features_are_done_without() {
    assert!(resolve(&edited("/host_requirements", json!({"local_service_chaining": "optional", "future": "optional"}))).is_ok());
}

/// The first testdata with one place changed or added.
fn edited(pointer: &str, value: Value) -> Vec<u8> {
    let mut lock: Value = serde_json::from_str(V0).unwrap();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match lock.pointer_mut(parent).unwrap() {
        Value::Array(list) if key == "-" => list.push(value),
        Value::Array(list) => list[key.parse::<usize>().unwrap()] = value,
        object => object[key] = value,
    }
    lock.to_string().into_bytes()
}

#[test]
fn each_refusal_is_a_sentence_that_names_what_is_wrong() {
    let trigger = |config: Value| json!({"id": "t", "trigger_type": "redis", "trigger_config": config});
    let file = |path: &str| json!({"path": path, "inline": ""});
    let cases: Vec<(&str, Value, &[&str])> = vec![
        ("/spin_lock_version", json!(2), &["spin_lock_version 2", "0 and 1"]),
        ("/spin_lock_version", json!(null), &["malformed", "spin registry push"]),
        ("/must_understand", json!(["host_requirements", "teleport"]), &["understood in teleport,"]),
        ("/host_requirements", json!({"gpu": "required"}), &["the app requires the host feature gpu"]),
        (
            "/components/0/host_requirements",
            json!({"local_service_chaining": "required"}),
            &["component greeter requires the host feature local_service_chaining"],
        ),
        ("/triggers", json!([]), &["no redis trigger"]),
        (
            "/triggers/-",
            json!({"id": "w", "trigger_type": "http", "trigger_config": {"component": "web", "route": "/"}}),
            &["component web has a trigger of type http"],
        ),
        ("/triggers/-", trigger(json!({"component": "nobody", "channel": "c"})), &["trigger t names component nobody"]),
        ("/triggers/-", trigger(json!({"component": "greeter"})), &["redis trigger t is malformed", "channel"]),
        ("/triggers/-", trigger(json!({"component": "greeter", "channel": ""})), &["its channel is empty"]),
        ("/triggers/-", trigger(json!({"channel": "c"})), &["must name one component"]),
        ("/triggers/-", trigger(json!({"channel": "c", "components": {"a": ["x", "y"]}})), &["must name one component"]),
        (
            "/triggers/-",
            trigger(json!({"component": "greeter", "channel": "c", "pattern": "p*"})),
            &["pattern", "component, channel and address"],
        ),
        ("/triggers/0/trigger_dependencies", json!({"middleware": []}), &["components around its own: middleware"]),
        ("/components/0/dependencies", json!({"acme:text/upper": {}}), &["component greeter depends on", "acme:text/upper", "wac plug"]),
        ("/components/0/trigger_dependencies", json!({"middleware": []}), &["component greeter depends on", "middleware"]),
        ("/components/0/id", json!("Greeter_1"), &["component id Greeter_1 is not a DNS label"]),
        ("/components/0/id", json!(""), &["not a DNS label"]),
        ("/components/0/id", json!("a".repeat(64)), &["not a DNS label"]),
        (
            "/components/0/source",
            json!({"content_type": "application/wasm"}),
            &["the WebAssembly of component greeter is not in the image"],
        ),
        ("/components/0/source", json!({"digest": "sha256:12"}), &["the WebAssembly of component greeter does not have the digest"]),
        ("/components/0/source", json!({"inline": "AGFzbQ", "digest": digest('4')}), &["does not have the digest"]),
        ("/components/0/source", json!({"inline": "!"}), &["malformed", "not base64"]),
        ("/components/0/files/-", json!({"path": "a", "source": "file:///tmp/a"}), &["file a of component greeter is not in the image"]),
        ("/components/0/files/-", file("/etc/passwd"), &["path /etc/passwd", "plain relative path"]),
        ("/components/0/files/-", file("a/../b"), &["path a/../b"]),
        ("/components/0/files/-", file("a//b"), &["path a//b"]),
        ("/components/0/files/-", file("."), &["path ."]),
        ("/components/0/files/-", file(""), &["plain relative path"]),
        ("/components/0/files/-", file("nul\0"), &["plain relative path"]),
        ("/components/0/files/-", file("texts/en.txt"), &["two files in the place of texts/en.txt"]),
        ("/components/0/files/-", file("texts"), &["two files in the place of texts"]),
        ("/components/0/files/-", file("texts/en.txt/more"), &["two files in the place of texts/en.txt"]),
        ("/metadata", json!("text"), &["malformed"]),
    ];
    for (pointer, value, parts) in cases {
        let sentence = resolve(&edited(pointer, value.clone())).expect_err(&format!("{pointer} {value}")).to_string();
        for part in parts {
            assert!(sentence.contains(part), "{pointer} {value}: {sentence}");
        }
        assert!(!sentence.contains(char::is_control) && sentence.len() < 500, "{sentence:?}");
    }
}

#[test]
fn what_there_is_too_much_of_is_counted() {
    let lock: Value = serde_json::from_str(V0).unwrap();
    let component = |index: usize| {
        let mut component = lock["components"][0].clone();
        component["id"] = json!(format!("c{index}"));
        component
    };
    let many = |count: usize| edited("/components", (0..count).map(component).collect());
    assert_eq!(resolve(&many(65)), Err(Refusal::TooMany { what: "components", found: 65, limit: 64 }));
    let files: Value = (0..=MAX_FILES).map(|index| json!({"path": format!("f{index}"), "inline": ""})).collect();
    assert!(matches!(resolve(&edited("/components/0/files", files)), Err(Refusal::TooMany { what: "files", .. })));
    let triggers: Value = (0..=MAX_TRIGGERS).map(|_| lock["triggers"][0].clone()).collect();
    assert!(matches!(resolve(&edited("/triggers", triggers)), Err(Refusal::TooMany { what: "triggers", .. })));
}

#[test]
fn two_components_of_one_id_are_refused() {
    let lock: Value = serde_json::from_str(V0).unwrap();
    let twice = edited("/components/-", lock["components"][0].clone());
    assert_eq!(resolve(&twice), Err(Refusal::DuplicateComponent("greeter".to_owned())));
}

#[test]
fn what_is_no_locked_app_at_all_is_refused_in_bounded_time() {
    for bytes in [b"".to_vec(), b"{}".to_vec(), b"[".repeat(1 << 20), V0.as_bytes()[..V0.len() / 2].to_vec(), vec![0xff; 100]] {
        assert!(matches!(resolve(&bytes), Err(Refusal::Malformed(_))));
    }
    assert_eq!(resolve(&vec![b' '; (MAX_LOCK_BYTES + 1) as usize]), Err(Refusal::TooLarge));
}

#[test]
fn what_an_author_wrote_is_repeated_on_one_line_and_cut() {
    let sentence = resolve(&edited("/components/0/id", json!("a\n\u{1b}[31m".repeat(100)))).unwrap_err().to_string();
    assert!(!sentence.contains(char::is_control) && sentence.contains('…') && sentence.len() < 400, "{sentence:?}");
}
