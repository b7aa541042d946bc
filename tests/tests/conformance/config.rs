//! `wasi:config/store`: the same variables under another interface.

use serde_json::{Value, json};
use spinredis_tests::redis::Redis;

use crate::{
    calls::{Guests, SYNC},
    variables::{values, variables_of_every_origin},
};

#[test]
fn each_variable_is_a_value_of_the_configuration() {
    let redis = Redis::start();
    let guests = Guests::run(&redis, &variables_of_every_origin(&redis));
    for (name, value) in values() {
        assert_eq!(guests.value(SYNC, json!(["config.get", name])), value, "{name}");
    }
    for name in ["unknown", "", "Not-a-variable"] {
        assert_eq!(guests.value(SYNC, json!(["config.get", name])), Value::Null, "{name}");
    }
    assert_eq!(guests.value(SYNC, json!(["config.get-all"])), json!(values()));
}

#[test]
fn a_component_without_variables_has_an_empty_configuration() {
    let redis = Redis::start();
    let guests = Guests::with(&redis, json!({}));
    assert_eq!(guests.value(SYNC, json!(["config.get-all"])), json!([]));
}
