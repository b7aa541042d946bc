//! References to Secrets that are not there.

use serde_json::json;
use spinredis_tests::kubernetes::{Namespace, cluster, hello};

#[test]
fn a_missing_key_of_a_secret_is_named_and_its_creation_is_enough() {
    let namespace = Namespace::new("missing-key");
    let redis = &cluster().redis;
    let (user, channel) = (namespace.name(), namespace.channel("orders"));
    redis.set_user(user, "right", user);
    namespace.set_secret("redis", "another-key", "right");
    let mut manifest = hello("greeter", &redis.address(), &channel);
    manifest["spec"]["trigger"]["username"] = json!(user);
    manifest["spec"]["trigger"]["passwordFrom"] = json!({"secretKeyRef": {"name": "redis", "key": "password"}});
    namespace.apply(&manifest);
    let message = namespace.wait_for_reason("greeter", "MissingReference");
    assert!(message.contains("key password of Secret redis"), "{message}");

    namespace.set_secret("redis", "password", "right");
    namespace.wait_until_ready("greeter");
    namespace.assert_answers("greeter", redis, &channel);
}
