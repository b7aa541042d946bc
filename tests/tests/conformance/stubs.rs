//! The rest of Spin's platform: a component that imports it loads, and a call of it fails with a sentence.

use serde_json::json;
use spinredis_tests::{
    app::{App, assert_no_stack_trace},
    guests::source,
    redis::Redis,
};

const FAILED: &str = "spinredis_messages_failed_total";
const HANDLED: &str = "spinredis_messages_handled_total";

#[test]
fn a_call_of_what_is_not_here_fails_with_a_sentence_that_names_it() {
    let redis = Redis::start();
    for (guest, calls) in [
        ("stub.wat", [("sqlite", "connection.open", "spin:sqlite/sqlite@3.1.0"), ("llm", "infer", "fermyon:spin/llm@2.0.0")].as_slice()),
        ("stub-async.wat", &[("sqlite", "connection.open-async", "spin:sqlite/sqlite@3.1.0")]),
    ] {
        let runtime = App::new(redis.trigger(), json!([{"id": "stub", "channels": ["stub"], "source": source(guest)}])).run();
        redis.publish("stub", "nothing");
        runtime.wait_for_metric(HANDLED, &[], 1.0);
        for (number, (payload, function, interface)) in (1..).zip(calls) {
            redis.publish("stub", payload);
            let entry = runtime.wait_for_message(&format!("calls {function} of {interface}, which this runtime does not have"));
            assert_eq!((&entry["component"], &entry["reason"], &entry["level"]), (&json!("stub"), &json!("trap"), &json!("WARN")));
            runtime.wait_for_metric(FAILED, &[("reason", "trap")], f64::from(number));
        }
        redis.publish("stub", "nothing");
        runtime.wait_for_metric(HANDLED, &[], 2.0);
        assert_no_stack_trace(&runtime.log());
    }
}
