//! Environment variables and arguments, which WASI gives to guests of any kind.

use serde_json::{Value, json};
use spinredis_tests::redis::Redis;

use crate::calls::{BOTH, Guests, app};

#[test]
fn environment_and_arguments_reach_the_guest() {
    let redis = Redis::start();
    let component = json!({
        "env": [
            {"name": "MODE", "value": "fast = furious"},
            {"name": "EMPTY", "value": ""},
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "api", "key": "token"}}},
            {"name": "REGION", "valueFrom": {"configMapKeyRef": {"name": "site", "key": "region"}}},
        ],
        "args": ["--verbose", "zwei Wörter"],
    });
    let app = app(redis.trigger(), component, json!({})).with("secret/api/token", "sesame").with("configmap/site/region", "north");
    let guests = Guests::run(&redis, &app);
    for guest in BOTH {
        for (name, value) in [
            ("MODE", json!("fast = furious")),
            ("EMPTY", json!("")),
            ("TOKEN", json!("sesame")),
            ("REGION", json!("north")),
            ("HOME", Value::Null),
            ("PATH", Value::Null),
        ] {
            assert_eq!(guests.value(guest, json!(["env", name])), value, "{guest} {name}");
        }
        assert_eq!(guests.value(guest, json!(["args"])), json!([guest, "--verbose", "zwei Wörter"]));
    }
}
