//! Checks a manifest as the API server would, without one: the structural schema, the CEL rules, and what neither can say.
//!
//! The rules are read from the generated CRD, so `spinredis check` and the API server cannot disagree about them.

mod file;
mod meaning;
mod warnings;

use std::{collections::BTreeSet, fmt, sync::LazyLock};

use kube::core::cel::{CompiledSchema, Validator, compile_schema};
use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

use crate::{address::RedisAddress, crd, documents::Documents, manifest::ManifestSpec, schema};

/// One thing that is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Path of the field, such as `spec.components[0].channels`.
    pub path: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.message),
            path => write!(f, "{path}: {}", self.message),
        }
    }
}

/// The schema and its rules; to derive and compile them takes far longer than to ask them.
static SCHEMA: LazyLock<Value> = LazyLock::new(crd::schema);
static RULES: LazyLock<CompiledSchema> = LazyLock::new(|| compile_schema(&SCHEMA));

/// Everything that is wrong with an app, in the order of its fields. Rules are only asked of an app that has the shape of
/// one, as in the API server.
pub fn app(document: &Value) -> Vec<Finding> {
    let document = &without_nulls(document.clone());
    let mut findings = schema::check(&SCHEMA, document);
    // The API server asks for it itself, so the schema does not.
    if document.pointer("/metadata/name").and_then(Value::as_str).is_none_or(str::is_empty) {
        findings.push(Finding { path: "metadata.name".to_owned(), message: "is missing and required".to_owned() });
    }
    if findings.is_empty() {
        findings = rules(document);
        findings.extend(pod_metadata(document));
        // One sentence about a string is enough.
        let told: BTreeSet<String> = findings.iter().map(|finding| finding.path.clone()).collect();
        let more = spec(document).map(|spec| [addresses(&spec), meaning::findings(&spec)].concat()).unwrap_or_default();
        findings.extend(more.into_iter().filter(|finding| !told.contains(&finding.path)));
    }
    findings
}

/// Everything that is wrong with an app and with the ConfigMaps and Secrets in its file.
pub fn file(documents: &Documents) -> Vec<Finding> {
    let mut findings = app(&documents.app);
    findings.extend(documents.findings.iter().cloned());
    if findings.is_empty() {
        findings = file::missing_keys(documents);
    }
    findings
}

/// What works in an app, and is perhaps not meant. Only of use for an app that is right otherwise.
pub fn warnings(document: &Value) -> Vec<Finding> {
    spec(&without_nulls(document.clone())).map(|spec| warnings::warnings(&spec)).unwrap_or_default()
}

/// What the runtime reads of an app that has the shape of one.
fn spec(document: &Value) -> Option<ManifestSpec> {
    ManifestSpec::deserialize(document.get("spec")?).ok()
}

/// The document without fields that are null: the API server takes those for absent.
pub(crate) fn without_nulls(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(|field| *field = without_nulls(field.take()));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = without_nulls(item.take())),
        _ => {}
    }
    value
}

/// Names of labels and annotations, whose rule would cost the API server more than it grants a CRD.
fn pod_metadata(document: &Value) -> Vec<Finding> {
    static KEY: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new("^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$").ok());
    let mut findings = Vec::new();
    for field in ["labels", "annotations", "nodeSelector"] {
        let names = document.pointer(&format!("/spec/pod/{field}")).and_then(Value::as_object).into_iter().flat_map(|fields| fields.keys());
        for name in names.filter(|name| KEY.as_ref().is_some_and(|key| !key.is_match(name))) {
            let message = format!("`{name}` is not a name that Kubernetes takes: write NAME or PREFIX/NAME, for example example.com/team");
            findings.push(Finding { path: format!("spec.pod.{field}"), message });
        }
    }
    findings
}

fn rules(document: &Value) -> Vec<Finding> {
    let Err(errors) = Validator::new().validate_compiled(&RULES, document, None) else { return Vec::new() };
    errors.into_vec().into_iter().map(|error| Finding { path: error.field_path, message: error.message }).collect()
}

/// What the rules for an address cannot say, such as a port above 65535.
fn addresses(spec: &ManifestSpec) -> Vec<Finding> {
    let wrong = |(path, connection): (String, &crate::Connection)| {
        let error = RedisAddress::parse(connection.address.as_deref()?).err()?;
        Some(Finding { path: format!("{path}.address"), message: error.to_string() })
    };
    spec.connections().into_iter().filter_map(wrong).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: &str = r"
apiVersion: spinredis.dev/v1alpha1
kind: SpinRedisApp
metadata: {name: hello}
spec:
  trigger: {address: 'redis://redis', tls: {clientCertificateFrom: {secretName: client}}}
  components:
  - id: hello
    channels: [messages, other]
    patterns: ['mess*', 'x.*']
    source: {configMap: {name: guests, key: hello.wat}}
    variables: [{name: token, valueFrom: {secretKeyRef: {name: api, key: token}}}]
  keyValueStores: [{name: cache}, {name: default, prefix: ''}]
";

    fn found(app: &str, objects: &str) -> Vec<String> {
        let documents = Documents::parse(&format!("{objects}\n---\n{app}")).unwrap();
        file(&documents).iter().map(Finding::to_string).collect()
    }

    fn app() -> String {
        APP.replace("redis://", "rediss://")
    }

    #[test]
    fn keys_that_an_object_in_the_same_file_lacks_are_named_with_those_it_has() {
        let objects = "
{apiVersion: v1, kind: ConfigMap, metadata: {name: guests}, data: {goodbye.wat: (component)}, binaryData: {a.wasm: AGFzbQ==}}
---
{apiVersion: v1, kind: Secret, metadata: {name: client}, stringData: {tls.crt: x}}
---
{apiVersion: v1, kind: Secret, metadata: {name: api}}";
        assert_eq!(
            found(&app(), objects),
            [
                "spec.components[0].source.configMap: ConfigMap guests in this file has no key hello.wat; it has a.wasm, goodbye.wat",
                "spec.components[0].variables[0].valueFrom.secretKeyRef: Secret api in this file has no key token; it has no keys",
                "spec.trigger.tls.clientCertificateFrom: Secret client in this file has no key tls.key; it has tls.crt",
            ]
        );
        assert_eq!(found(&app(), "kind: Pod"), [""; 0], "an object that is not in the file may have any key");
    }

    #[test]
    fn values_beside_an_app_that_kubernetes_would_refuse_are_named_and_not_repeated() {
        let objects = "
{apiVersion: v1, kind: ConfigMap, metadata: {name: guests}, data: {hello.wat: (component), port: 6379, empty: }}
---
{apiVersion: v1, kind: Secret, metadata: {name: api}, data: {token: 'canary!'}}";
        let found = found(&app(), objects);
        assert_eq!(found.len(), 3, "{found:#?}");
        assert!(found[0].starts_with("ConfigMap guests, data.empty: must be a string, and is empty"), "{found:#?}");
        assert!(found[1].starts_with("ConfigMap guests, data.port: must be a string, and is a number"), "{found:#?}");
        assert!(found[2].starts_with("Secret api, data.token: is not base64") && !found[2].contains("canary"), "{found:#?}");
    }

    #[test]
    fn what_works_and_is_perhaps_not_meant_is_a_warning() {
        let documents = Documents::parse(&app()).unwrap();
        assert_eq!(file(&documents), []);
        let warnings: Vec<String> = warnings(&documents.app).iter().map(Finding::to_string).collect();
        assert_eq!(warnings.len(), 3, "{warnings:#?}");
        assert!(warnings[0].starts_with("spec.components[0]: gets each message of channel `messages` twice"), "{warnings:#?}");
        assert!(warnings[1].starts_with("spec.keyValueStores[0]: no component opens store `cache`"), "{warnings:#?}");
        assert!(warnings[2].starts_with("spec.keyValueStores[1]: no component opens store `default`"), "{warnings:#?}");
    }
}
