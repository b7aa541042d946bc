//! The values: what the schema refuses, that it knows all of them, and that the README describes them.

use std::{collections::BTreeSet, fs};

use serde_json::{Value, json};
use spinredis_tests::chart::{documented, folder, refused, table};

#[test]
fn wrong_values_are_refused_with_their_place_and_often_a_sentence() {
    for (values, said) in [
        (json!({"replica": 2}), "additional properties 'replica' not allowed"),
        (json!({"image": {"tags": "x"}}), "at '/image': additional properties 'tags' not allowed"),
        (json!({"replicas": "2"}), "at '/replicas': got string, want integer"),
        (json!({"runtime": {"requireDigest": "yes"}}), "at '/runtime/requireDigest': got string, want boolean"),
        (json!({"runtime": {"registries": [{"host": "https://x"}]}}), "at '/runtime/registries/0/host'"),
        (json!({"runtime": {"allowedRegistries": ["https://ghcr.io"]}}), "at '/runtime/allowedRegistries/0'"),
        (json!({"runtime": {"image": {"digest": "sha256:1"}}}), "at '/runtime/image/digest'"),
        (json!({"runtime": {"env": {"SPINREDIS_GROUP_KEY": "x"}}}), "invalid propertyName 'SPINREDIS_GROUP_KEY'"),
        (json!({"rollout": {"maxUnfinishedApps": -1}}), "at '/rollout/maxUnfinishedApps'"),
        (json!({"watchNamespaces": ["A"]}), "at '/watchNamespaces/0'"),
        (json!({"watchNamespaces": "a"}), "at '/watchNamespaces': got string, want array"),
        (json!({"log": {"format": "xml"}}), "at '/log/format'"),
        (json!({"env": {"SPINREDIS_LOG": "debug"}}), "invalid propertyName 'SPINREDIS_LOG'"),
        (json!({"podSecurityContext": {"runAsUser": 0}}), "at '/podSecurityContext/runAsUser'"),
        (json!({"podSecurityContext": {"runAsNonRoot": false}}), "additional properties 'runAsNonRoot' not allowed"),
        (json!({"networkPolicy": {"apiServerCIDRs": ["10.0.0.1"]}}), "at '/networkPolicy/apiServerCIDRs/0'"),
        (
            json!({"runtime": {"registries": [{"host": "x", "plainHTTP": true, "caConfigMap": "c"}]}}),
            "x has both plainHTTP and caConfigMap: without TLS no authority is asked, so take one of them away",
        ),
        (json!({"runtime": {"registries": [{"host": "x"}, {"host": "x"}]}}), "runtime.registries names x twice: write all settings"),
        (
            json!({"watchNamespaces": ["a", "b"], "tests": {"namespace": "c"}}),
            "tests.namespace is c, whose apps this release does not run: name one of watchNamespaces (a, b), or leave it empty",
        ),
        (json!({"serviceAccount": {"create": false}}), "name the ServiceAccount that is there in serviceAccount.name"),
        (
            json!({"watchNamespaces": ["a"], "crds": {"enabled": false}, "rbac": {"aggregateToEdit": true}}),
            "rbac.aggregateToEdit needs a ClusterRole",
        ),
    ] {
        let answer = refused(&values);
        assert!(answer.contains(said), "{values}: {answer}");
    }
}

/// Calls `found` with the path and value of each schema that describes an object.
fn each_object<'a>(path: &str, schema: &'a Value, found: &mut impl FnMut(&str, &'a Value)) {
    if schema["type"] == "object" {
        found(path, schema);
    }
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        each_object(&format!("{path}/{name}"), inner, found);
    }
    if schema["items"].is_object() {
        each_object(&format!("{path}/items"), &schema["items"], found);
    }
}

#[test]
fn the_schema_knows_every_value_and_closes_every_object_that_is_not_kubernetes_own() {
    let schema: Value = serde_json::from_str(&fs::read_to_string(folder().join("values.schema.json")).unwrap()).unwrap();
    let values: Value = serde_saphyr::from_str(&values_text()).unwrap();
    fn known(path: &str, values: &Value, schema: &Value, root: &Value) {
        let schema = match schema["$ref"].as_str() {
            Some(reference) => root.pointer(reference.trim_start_matches('#')).unwrap(),
            None => schema,
        };
        let Some(properties) = schema["properties"].as_object() else { return };
        for (name, value) in values.as_object().into_iter().flatten() {
            let inner = properties.get(name).unwrap_or_else(|| panic!("the schema does not know {path}{name}"));
            known(&format!("{path}{name}."), value, inner, root);
        }
        // Nothing can be set that values.yaml does not show.
        for name in properties.keys().filter(|_| values.as_object().is_some_and(|values| !values.is_empty())) {
            assert!(values.get(name).is_some() || name == "global" || path == "resources.", "values.yaml does not show {path}{name}");
        }
    }
    known("", &values, &schema, &schema);
    let open = ["/affinity", "/global"];
    let is_kubernetes_own = |path: &str| open.contains(&path) || path.ends_with("/items");
    let mut check = |path: &str, object: &Value| {
        let closed = !object["additionalProperties"].is_null();
        assert!(closed || is_kubernetes_own(path), "{path} takes anything");
    };
    each_object("", &schema, &mut check);
    for (name, definition) in schema["definitions"].as_object().unwrap() {
        each_object(name, definition, &mut check);
    }
}

fn values_text() -> String {
    fs::read_to_string(folder().join("values.yaml")).unwrap()
}

/// The paths of all values but those inside of one that has a comment of its own.
fn leaves(path: &str, value: &Value, documented: &BTreeSet<String>, found: &mut Vec<String>) {
    match value.as_object() {
        Some(inner) if !documented.contains(path) => {
            for (name, value) in inner {
                leaves(&if path.is_empty() { name.clone() } else { format!("{path}.{name}") }, value, documented, found);
            }
        }
        _ => found.push(path.to_owned()),
    }
}

#[test]
fn the_readme_has_every_value_with_its_comment() {
    let text = values_text();
    let documented: BTreeSet<String> = documented(&text).into_iter().map(|value| value.path).collect();
    let mut all = Vec::new();
    leaves("", &serde_saphyr::from_str(&text).unwrap(), &documented, &mut all);
    let without: Vec<&String> = all.iter().filter(|path| !documented.contains(*path)).collect();
    assert!(without.is_empty(), "values.yaml has no comment that begins with `# --` above {without:?}");

    let (begin, end) = ("<!-- Made of values.yaml by `make chart-docs`. -->\n", "<!-- End of values. -->");
    let file = folder().join("README.md");
    let readme = fs::read_to_string(&file).unwrap();
    let (before, rest) = readme.split_once(begin).expect("README.md has no place for the table");
    let (_, after) = rest.split_once(end).expect("README.md does not say where the table ends");
    let current = format!("{before}{begin}{}{end}{after}", table(&text));
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        fs::write(file, current).unwrap();
    } else {
        assert!(readme == current, "the table in {} is not up to date: make chart-docs", file.display());
    }
}
