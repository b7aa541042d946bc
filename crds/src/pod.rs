//! What an app adds to its pods: where they run and as whom. Nothing of it reaches the runtime, and nothing of it can take a
//! pod out of the *restricted* Pod Security Standard (kubernetes.io/docs/concepts/security/pod-security-standards).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, PodSecurityContext, SELinuxOptions, Toleration, TopologySpreadConstraint};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::kubernetes::{self, affinity, schema, tolerations, topology_spread_constraints};

/// What to add to the pods.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Pod {
    /// Labels to add. Those the operator sets itself cannot be replaced.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels")]
    #[x_kube(validation = Rule::new(
        "self.all(k, !(k in ['app.kubernetes.io/name', 'app.kubernetes.io/instance', 'app.kubernetes.io/managed-by', 'app.kubernetes.io/component']) && !k.startsWith('spinredis.dev/'))")
        .message("the labels app.kubernetes.io/name, instance, component and managed-by, and those under spinredis.dev/, are set by the operator"))]
    pub labels: BTreeMap<String, String>,
    /// Annotations to add.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "annotations")]
    #[x_kube(validation = Rule::new("self.all(k, !k.startsWith('spinredis.dev/'))")
        .message("annotations under spinredis.dev/ are set by the operator"))]
    #[x_kube(validation = Rule::new("self.all(k, !k.startsWith('container.apparmor.security.beta.kubernetes.io/'))")
        .message("the profile of AppArmor cannot be changed by an annotation: pods run with the one of their node"))]
    pub annotations: BTreeMap<String, String>,
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints of nodes that the pods tolerate. A node that is not ready or cannot be reached is left after 30 seconds, unless
    /// node.kubernetes.io/not-ready or node.kubernetes.io/unreachable is tolerated here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "tolerations")]
    pub tolerations: Vec<Toleration>,
    /// Nodes and pods that the pods are placed beside or apart from, as in a Pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "affinity")]
    pub affinity: Option<Affinity>,
    /// How evenly the pods are spread. Default: over nodes as well as it goes (maxSkew 1, kubernetes.io/hostname,
    /// ScheduleAnyway). A constraint without labelSelector counts the pods of this app.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "topology_spread_constraints")]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// Name of a PriorityClass. Default: the cluster's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub priority_class_name: Option<String>,
    /// Name of the ServiceAccount, for admission and pull secrets of the runtime's image. Default: default. Its token is not
    /// mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub service_account_name: Option<String>,
    /// User, groups and SELinux labels of the pods. Default: the user of the runtime's image, or the one OpenShift chooses.
    /// Everything else of a Pod's securityContext is fixed by the restricted Pod Security Standard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_context: Option<PodSecurity>,
}

/// What the restricted Pod Security Standard leaves open of a pod's securityContext.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PodSecurity {
    /// Numeric user; never 0, which is root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub run_as_user: Option<i64>,
    /// Numeric group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub run_as_group: Option<i64>,
    /// Group that owns the volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub fs_group: Option<i64>,
    /// When the group of volumes is changed. Default Always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["OnRootMismatch", "Always"]))]
    pub fs_group_change_policy: Option<String>,
    /// More groups of the processes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(range(min = 0, max = 2_147_483_647)), extend("x-kubernetes-list-type" = "atomic"))]
    pub supplemental_groups: Vec<i64>,
    /// SELinux labels of the processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub se_linux_options: Option<SeLinux>,
}

/// What the restricted Pod Security Standard leaves open of SELinux labels: neither user nor role, and types of containers.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SeLinux {
    /// Level, such as s0:c123,c456.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub level: Option<String>,
    /// Type of the processes.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["container_t", "container_init_t", "container_kvm_t", "container_engine_t"]))]
    pub type_: Option<String>,
}

impl From<PodSecurity> for PodSecurityContext {
    fn from(security: PodSecurity) -> Self {
        let options = |of: SeLinux| SELinuxOptions { level: of.level, type_: of.type_, ..SELinuxOptions::default() };
        Self {
            run_as_user: security.run_as_user,
            run_as_group: security.run_as_group,
            fs_group: security.fs_group,
            fs_group_change_policy: security.fs_group_change_policy,
            supplemental_groups: (!security.supplemental_groups.is_empty()).then_some(security.supplemental_groups),
            se_linux_options: security.se_linux_options.map(options),
            ..Self::default()
        }
    }
}

fn labels(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let mut map = kubernetes::label_map("");
    // The field's own text stands in its place.
    map.as_object_mut().and_then(|map| map.remove("description"));
    schema(map)
}

fn annotations(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schema(json!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": {"type": "string", "maxLength": 4096},
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_app_says_of_security_leaves_everything_else_open() {
        let security = PodSecurity { run_as_user: Some(1000), supplemental_groups: vec![7], ..PodSecurity::default() };
        let context = PodSecurityContext::from(security);
        assert_eq!((context.run_as_user, context.supplemental_groups), (Some(1000), Some(vec![7])));
        assert_eq!((context.run_as_non_root, context.seccomp_profile, context.se_linux_options), (None, None, None));
    }
}
