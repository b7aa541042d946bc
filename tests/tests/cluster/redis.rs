//! Redis refuses, goes away and comes back: the app says so and recovers, and its pod stays the same.

use serde_json::{Value, json};
use spinredis_tests::kubernetes::{Namespace, cluster, condition, hello};

/// Name and restarts of an app's only pod.
fn pod_and_restarts(namespace: &Namespace, app: &str) -> (Value, Value) {
    let pod = namespace.pod(app);
    let serve = &pod["status"]["containerStatuses"][0];
    (pod["metadata"]["name"].clone(), serve["restartCount"].clone())
}

#[test]
fn a_wrong_password_is_named_and_its_correction_needs_no_restart() {
    let namespace = Namespace::new("wrong-password");
    let redis = &cluster().redis;
    let (user, channel) = (namespace.name(), namespace.channel("orders"));
    redis.set_user(user, "right", user);
    namespace.set_secret("redis", "password", "wrong");
    let mut manifest = hello("greeter", &redis.address(), &channel);
    manifest["spec"]["trigger"]["username"] = json!(user);
    manifest["spec"]["trigger"]["passwordFrom"] = json!({"secretKeyRef": {"name": "redis", "key": "password"}});
    namespace.apply(&manifest);
    let message = namespace.wait_for_reason("greeter", "RedisAuthFailed");
    assert!(message.contains(user) && message.contains("password of Secret redis"), "{message}");
    let before = pod_and_restarts(&namespace, "greeter");

    namespace.set_secret("redis", "password", "right");
    namespace.wait_until_ready("greeter");
    assert_eq!(pod_and_restarts(&namespace, "greeter"), before);
    assert_eq!(before.1, 0);
    namespace.assert_answers("greeter", redis, &channel);
}

#[test]
fn a_channel_that_redis_does_not_permit_is_named_and_heard_once_it_is_permitted() {
    let namespace = Namespace::new("no-permission");
    let redis = &cluster().redis;
    let (user, channel) = (namespace.name(), namespace.channel("orders"));
    redis.set_user(user, "right", "other/");
    namespace.set_secret("redis", "password", "right");
    let mut manifest = hello("greeter", &redis.address(), &channel);
    manifest["spec"]["trigger"]["username"] = json!(user);
    manifest["spec"]["trigger"]["passwordFrom"] = json!({"secretKeyRef": {"name": "redis", "key": "password"}});
    namespace.apply(&manifest);
    let message = namespace.wait_for_reason("greeter", "RedisPermission");
    assert!(message.contains(&channel), "{message}");

    redis.cli(&["ACL", "SETUSER", user, &format!("&{channel}")]);
    namespace.wait_until_ready("greeter");
    namespace.assert_answers("greeter", redis, &channel);
}

#[test]
fn when_redis_is_killed_the_app_is_unready_until_redis_is_back_and_its_pod_is_the_same() {
    let namespace = Namespace::new("redis-killed");
    let redis = namespace.start_redis();
    namespace.apply(&hello("greeter", &redis.address(), "orders"));
    namespace.wait_until_ready("greeter");
    let before = pod_and_restarts(&namespace, "greeter");

    redis.kill();
    let message = namespace.wait_for_reason("greeter", "RedisUnreachable");
    assert!(message.contains(&redis.address()), "{message}");
    assert_eq!(condition(&namespace.app("greeter"), "Available")["status"], "False");

    redis.start_again();
    namespace.wait_until_ready("greeter");
    assert_eq!(pod_and_restarts(&namespace, "greeter"), before);
    assert_eq!(before.1, 0);
    namespace.assert_answers("greeter", &redis, "orders");
}
