//! Schemas of the parts of Kubernetes' own types that an app may hold: selectors, affinity, tolerations, rules of network
//! policies. The generated ones have neither bounds nor choices, and texts that would fill the CRD ten times over; these say
//! the same to the API server in a line each. In Rust the fields have Kubernetes' own types.

use schemars::Schema;
use serde_json::{Value, json};

/// A label's value.
pub(crate) const LABEL_VALUE: &str = "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$";
/// A label's name, with or without a prefix.
pub(crate) const LABEL_NAME: &str = "^([a-z0-9][-a-z0-9.]*/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$";
/// A whole number is one without a pattern; this is the form of a share.
pub(crate) const PERCENTAGE: &str = "^(100|[0-9]{1,2})%$";
/// An address and the length of its network; whether they are right, the API server checks when the policy is made.
pub(crate) const CIDR: &str = "^[0-9a-fA-F.:]+/[0-9]{1,3}$";
/// A port's name (IANA service name).
const PORT_NAME: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

/// A schema from its JSON.
pub(crate) fn schema(value: Value) -> Schema {
    match value {
        Value::Object(fields) => fields.into(),
        _ => Schema::default(),
    }
}

/// Labels by their names.
pub(crate) fn label_map(description: &str) -> Value {
    json!({
        "description": description,
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": {"type": "string", "maxLength": 63, "pattern": LABEL_VALUE},
    })
}

fn name_of_label(description: &str) -> Value {
    json!({"description": description, "type": "string", "minLength": 1, "maxLength": 317, "pattern": LABEL_NAME})
}

fn text(most: u32) -> Value {
    json!({"type": "string", "maxLength": most})
}

fn choice(description: &str, choices: &[&str]) -> Value {
    json!({"description": description, "type": "string", "enum": choices})
}

fn list(description: &str, most: u32, items: Value) -> Value {
    // Without a list type a list is atomic.
    json!({"description": description, "type": "array", "maxItems": most, "items": items})
}

fn object(description: &str, required: &[&str], properties: Value) -> Value {
    let mut object = json!({"description": description, "type": "object", "properties": properties});
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    object
}

/// The same without a text of its own: an item is explained by its list.
fn item(required: &[&str], properties: Value) -> Value {
    let mut object = json!({"type": "object", "properties": properties});
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    object
}

// Selectors stand in the CRD a dozen times, so they are bounded and no more: the forms of names and values are what the API
// server checks of the Deployment or NetworkPolicy that they end up in.

fn requirements(description: &str, operators: &[&str]) -> Value {
    let mut key = text(317);
    key["description"] = json!("Label.");
    list(
        description,
        32,
        item(
            &["key", "operator"],
            json!({
                "key": key,
                "operator": choice("How it is compared.", operators),
                "values": list("With what.", 128, text(63)),
            }),
        ),
    )
}

fn label_selector(description: &str) -> Value {
    let mut labels = json!({"type": "object", "maxProperties": 64, "additionalProperties": text(63)});
    labels["description"] = json!("Labels with these values.");
    object(
        description,
        &[],
        json!({
            "matchExpressions": requirements("Conditions of labels.", &["In", "NotIn", "Exists", "DoesNotExist"]),
            "matchLabels": labels,
        }),
    )
}

fn node_selector_term(of_item: bool, description: &str) -> Value {
    let operators = ["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"];
    let properties = json!({
        "matchExpressions": requirements("Conditions of a node's labels.", &operators),
        "matchFields": requirements("Conditions of its fields, such as metadata.name.", &operators),
    });
    if of_item { item(&[], properties) } else { object(description, &[], properties) }
}

fn pod_affinity_term(of_item: bool, description: &str) -> Value {
    let mut topology_key = text(317);
    topology_key["description"] = json!("Label of nodes that says what a place is, such as kubernetes.io/hostname.");
    let properties = json!({
        "labelSelector": label_selector("Which pods."),
        "matchLabelKeys": list("Labels whose values those pods share.", 32, text(317)),
        "mismatchLabelKeys": list("Labels whose values they do not share.", 32, text(317)),
        "namespaceSelector": label_selector("Their namespaces, by labels."),
        "namespaces": list("Their namespaces; without any the app's own.", 64, text(63)),
        "topologyKey": topology_key,
    });
    if of_item { item(&["topologyKey"], properties) } else { object(description, &["topologyKey"], properties) }
}

fn weight() -> Value {
    json!({"description": "How much it counts, 1 to 100.", "type": "integer", "minimum": 1, "maximum": 100})
}

fn pod_affinity(description: &str) -> Value {
    object(
        description,
        &[],
        json!({
            "preferredDuringSchedulingIgnoredDuringExecution": list("What is better, and by how much.", 32, item(
                &["podAffinityTerm", "weight"],
                json!({"podAffinityTerm": pod_affinity_term(false, "Which pods, and what a place is."), "weight": weight()}),
            )),
            "requiredDuringSchedulingIgnoredDuringExecution": list("What must be so.", 32, pod_affinity_term(true, "")),
        }),
    )
}

/// `affinity` of a pod.
pub(crate) fn affinity(_: &mut schemars::SchemaGenerator) -> Schema {
    let terms = list("Terms of which one must be met.", 32, node_selector_term(true, ""));
    let mut affinity = item(
        &[],
        json!({
            "nodeAffinity": object("Nodes that the pods prefer or need.", &[], json!({
                "preferredDuringSchedulingIgnoredDuringExecution": list("What is better, and by how much.", 32, item(
                    &["preference", "weight"],
                    json!({"preference": node_selector_term(false, "Which nodes."), "weight": weight()}),
                )),
                "requiredDuringSchedulingIgnoredDuringExecution":
                    object("What must be so.", &["nodeSelectorTerms"], json!({"nodeSelectorTerms": terms})),
            })),
            "podAffinity": pod_affinity("Pods that the pods are placed beside."),
            "podAntiAffinity": pod_affinity("Pods that the pods are placed apart from."),
        }),
    );
    affinity["nullable"] = json!(true);
    schema(affinity)
}

/// `tolerations` of a pod.
pub(crate) fn tolerations(_: &mut schemars::SchemaGenerator) -> Schema {
    let mut toleration = item(
        &[],
        json!({
            "effect": choice("Effect of the taint; without it every effect.", &["NoSchedule", "PreferNoSchedule", "NoExecute"]),
            "key": name_of_label("Name of the taint; without it every taint, which needs operator: Exists."),
            "operator": choice("Exists: whatever the taint's value is. Equal (the default): it must be value.", &["Exists", "Equal"]),
            "tolerationSeconds": {
                "description": "How long a taint of effect NoExecute is tolerated; without it for ever.",
                "type": "integer",
                "format": "int64",
            },
            "value": {"description": "Value of the taint.", "type": "string", "maxLength": 63, "pattern": LABEL_VALUE},
        }),
    );
    toleration["x-kubernetes-validations"] = json!([
        {
            "rule": "has(self.key) || (has(self.operator) && self.operator == 'Exists')",
            "message": "a toleration without a key needs operator: Exists, and tolerates every taint then",
        },
        {
            "rule": "!has(self.operator) || self.operator != 'Exists' || !has(self.value) || self.value == ''",
            "message": "a toleration with operator: Exists has no value: leave the value out, or write operator: Equal",
        },
        {
            "rule": "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            "message": "tolerationSeconds needs effect: NoExecute, since only such taints end pods",
        },
    ]);
    schema(json!({"type": "array", "maxItems": 32, "x-kubernetes-list-type": "atomic", "items": toleration}))
}

/// `topologySpreadConstraints` of a pod.
pub(crate) fn topology_spread_constraints(_: &mut schemars::SchemaGenerator) -> Schema {
    let at_least_one = |description: &str| json!({"description": description, "type": "integer", "minimum": 1});
    let mut constraint = item(
        &["maxSkew", "topologyKey", "whenUnsatisfiable"],
        json!({
            "labelSelector": label_selector("Pods that are counted. Default: the pods of this app."),
            "matchLabelKeys": list(
                "Labels whose values the counted pods share with this one, such as pod-template-hash.",
                32,
                text(317),
            ),
            "maxSkew": at_least_one("By how many pods two places may differ."),
            "minDomains": at_least_one("How many places there must be at least; only with whenUnsatisfiable: DoNotSchedule."),
            "nodeAffinityPolicy": choice("Whether nodes that nodeSelector and affinity exclude count as places.", &["Honor", "Ignore"]),
            "nodeTaintsPolicy": choice("Whether nodes with taints that the pods do not tolerate count as places.", &["Honor", "Ignore"]),
            "topologyKey": name_of_label("Label of nodes that says what a place is, such as topology.kubernetes.io/zone."),
            "whenUnsatisfiable":
                choice("What happens to a pod that has no such place: it waits, or goes where it fits best.", &["DoNotSchedule", "ScheduleAnyway"]),
        }),
    );
    constraint["x-kubernetes-validations"] = json!([{
        "rule": "!has(self.minDomains) || self.whenUnsatisfiable == 'DoNotSchedule'",
        "message": "minDomains needs whenUnsatisfiable: DoNotSchedule",
    }]);
    schema(json!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["topologyKey", "whenUnsatisfiable"],
        "items": constraint,
    }))
}

/// A number of pods, or a share of them.
pub(crate) fn pods_or_percentage(_: &mut schemars::SchemaGenerator) -> Schema {
    schema(json!({"x-kubernetes-int-or-string": true, "nullable": true, "minimum": 0, "maxLength": 4, "pattern": PERCENTAGE}))
}

/// A list of `NetworkPolicyEgressRule`.
pub(crate) fn egress_rules(_: &mut schemars::SchemaGenerator) -> Schema {
    let network = json!({"type": "string", "maxLength": 64, "pattern": CIDR});
    let mut cidr = network.clone();
    cidr["description"] = json!("The network, such as 10.1.0.0/16.");
    let mut peer = item(
        &[],
        json!({
            "ipBlock": object("A network.", &["cidr"], json!({
                "cidr": cidr,
                "except": list("Networks inside it that are left out.", 32, network),
            })),
            "namespaceSelector": label_selector("Namespaces of the pods, by their labels; without it the app's own."),
            "podSelector": label_selector("Pods, by their labels; without it all of those namespaces."),
        }),
    );
    peer["x-kubernetes-validations"] = json!([{
        "rule": "has(self.ipBlock) != (has(self.namespaceSelector) || has(self.podSelector))",
        "message": "name either an ipBlock, or pods with podSelector and namespaceSelector",
    }]);
    let mut port = item(
        &[],
        json!({
            "endPort": {"description": "Last port of a range that begins with port.", "type": "integer", "minimum": 1, "maximum": 65535},
            "port": {
                "description": "Number or name of a port; without it every port.",
                "x-kubernetes-int-or-string": true,
                "minimum": 1,
                "maximum": 65535,
                "maxLength": 15,
                "pattern": PORT_NAME,
            },
            "protocol": choice("Default TCP.", &["TCP", "UDP", "SCTP"]),
        }),
    );
    port["x-kubernetes-validations"] =
        json!([{"rule": "!has(self.endPort) || has(self.port)", "message": "endPort needs port, the first of the range"}]);
    let rule = item(
        &[],
        json!({
            "ports": list("Ports; without any every port.", 32, port),
            "to": list("Networks and pods; without any every address.", 32, peer),
        }),
    );
    schema(json!({"type": "array", "maxItems": 32, "x-kubernetes-list-type": "atomic", "items": rule}))
}
