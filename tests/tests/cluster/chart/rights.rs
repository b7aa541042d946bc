//! Who may do what on a cluster: the operator, and people by the ClusterRoles that aggregate.

use std::time::Duration;

use spinredis_tests::{
    kubernetes::{Namespace, OPERATOR, OPERATOR_NAMESPACE},
    wait::eventually_within,
};

use super::{account, assert_rights, may};

#[test]
fn the_shared_operator_may_do_what_it_needs_everywhere_and_read_no_secret() {
    let namespace = Namespace::new("chart-rights");
    assert_rights(namespace.name(), &account(OPERATOR_NAMESPACE, OPERATOR));
}

#[test]
fn viewers_may_read_apps_and_editors_may_write_them_only_where_they_are_allowed_to() {
    let namespace = Namespace::new("chart-people");
    let roles = [("viewer", "view".to_owned()), ("editor", "edit".to_owned()), ("writer", format!("{OPERATOR}-edit"))];
    for (name, role) in &roles {
        namespace.kubectl(&["create", "serviceaccount", name]);
        let who = format!("--serviceaccount={}:{name}", namespace.name());
        namespace.kubectl(&["create", "rolebinding", name, &format!("--clusterrole={role}"), &who]);
    }
    let rights = |name: &str| {
        let questions = [["list", "spinredisapps"], ["create", "spinredisapps"], ["patch", "spinredisapps/scale"]];
        questions.map(|question| may(&[&question[..], &["-n", namespace.name()]].concat(), &account(namespace.name(), name)))
    };
    // Kubernetes adds up its ClusterRoles some time after one of their parts came.
    eventually_within(Duration::from_secs(60), "view has become what its parts say", || {
        let rights = rights("viewer");
        if rights == [true, false, false] { Ok(()) } else { Err(format!("{rights:?}")) }
    });
    assert_eq!(rights("editor"), [true, false, false], "whoever may create an app can use any Secret of the namespace");
    assert_eq!(rights("writer"), [true, true, true]);
}
