//! Several servers: an app that has two, and a failover, when the name in the manifest leads to another server, which was a replica of the
//! first.

use serde_json::json;
use spinredis_tests::{
    app::{App, NAME, NAMESPACE},
    guests,
    proxy::Proxy,
    redis::Redis,
    registry::{Registry, SpinApp, SpinPacking},
    wait::eventually,
};

use super::replicas::{Replicas, shared};

/// Waits until a server has everything of the one it follows.
fn follow(follower: &Redis, leader: &Redis) {
    follower.command::<String>(&["REPLICAOF", "127.0.0.1", &leader.port().to_string()]);
    eventually("the follower has caught up", || {
        let info: String = follower.command(&["INFO", "replication"]);
        if info.contains("master_link_status:up") { Ok(()) } else { Err(info) }
    });
}

fn wait_for_members(replicas: &Replicas) {
    for replica in replicas.all() {
        replica.ready();
        replica.wait_for_metric("spinredis_sharing_members", &[], 3.0);
    }
}

fn publish(redis: &Redis, from: u64, to: u64) {
    redis.publish_each((from..to).map(|number| (["c.a", "c.b", "c.c", "c.d"][number as usize % 4], format!("W0001 {number}"))));
}

/// A whole Spin app whose component gets one channel of two servers.
fn on_two_servers(one: &Redis, other: &Redis, concurrency: u32) -> App {
    let app = SpinApp { address: Some(one.address()), ..SpinApp::new("shop") }
        .with_component("c", &guests::wasm("dispatch.wat"), &[], json!({}))
        .with_trigger("c", "c.one", None)
        .with_trigger("c", "c.one", Some(&other.address()));
    let registry = Registry::anonymous();
    registry.push_spin_app("acme/shop:v1", &app, SpinPacking::Layers);
    let spec = json!({
        "application": {"oci": {"reference": registry.reference("acme/shop:v1")}},
        "components": [{"id": "c", "ordering": "None", "concurrency": concurrency}],
        "delivery": "Shared",
        "drain": "20s",
        "sharing": {"expiry": "5s"},
    });
    let metadata = json!({"name": NAME, "namespace": NAMESPACE});
    let manifest = json!({"apiVersion": "spinredis.dev/v1alpha1", "kind": "SpinRedisApp", "metadata": metadata, "spec": spec});
    let app = App::from_text(&manifest.to_string());
    let prepared = app.prepare_with(&["--plain-http", registry.host()]);
    assert_eq!(prepared.code, 0, "{}", prepared.log);
    app
}

#[test]
fn an_app_on_two_servers_shares_the_messages_of_each() {
    let (one, mut other) = (Redis::start(), Redis::start());
    let mut replicas = Replicas::prepared(on_two_servers(&one, &other, 8));
    let pods = replicas.add(3);
    let publish = |redis: &Redis, from: u64, to: u64| redis.publish_all("c.one", (from..to).map(|number| format!("W0001 {number}")));
    publish(&one, 0, 1_000);
    publish(&other, 1_000, 2_000);
    replicas.stop(&pods[..1]);
    replicas.accounts(2_000).assert_exact();
    // Without one of them the other's messages are shared as before.
    other.kill();
    replicas.all().for_each(|replica| drop(replica.unready()));
    publish(&one, 2_000, 3_000);
    replicas.accounts(3_000).assert_exact();
    other.start_again();
    replicas.all().for_each(|replica| replica.ready());
    publish(&other, 3_000, 4_000);
    replicas.accounts(4_000).assert_exact();
}

#[test]
fn what_cannot_be_begun_while_its_server_is_away_holds_up_nothing_of_the_other_even_with_one_worker() {
    let (one, mut other) = (Redis::start(), Redis::start());
    let mut replicas = Replicas::prepared(on_two_servers(&one, &other, 1));
    replicas.add(2);
    let of = |replicas: &Replicas, is_of_one: bool| replicas.handled().iter().filter(|one| (one.number >= 300) == is_of_one).count();
    other.publish_all("c.one", (0..300).map(|number| format!("W0100 {number}")));
    eventually("the messages have come", || if of(&replicas, false) > 2 { Ok(()) } else { Err("none".to_owned()) });
    other.kill();
    replicas.all().for_each(|replica| drop(replica.unready()));
    one.publish_all("c.one", (300..340).map(|number| format!("W0001 {number}")));
    eventually("the other server's messages are handled", || match of(&replicas, true) {
        40 => Ok(()),
        handled => Err(handled.to_string()),
    });
    assert!(of(&replicas, false) < 250, "there was nothing that could have held them up");
    other.start_again();
    replicas.accounts(340).assert_exact();
}

/// A server, one that follows it, a proxy before the first, and three replicas behind it that have handled a thousand messages.
fn with_a_follower() -> (Redis, Redis, Proxy, Replicas) {
    let (first, second) = (Redis::start(), Redis::start());
    follow(&second, &first);
    let proxy = Proxy::before(first.port());
    let mut replicas = Replicas::of(&shared(proxy.trigger(), json!({"concurrency": 8})));
    replicas.add(3);
    publish(&first, 0, 1_000);
    replicas.accounts(1_000).assert_exact();
    (first, second, proxy, replicas)
}

#[test]
fn after_a_failover_all_share_what_the_new_server_delivers() {
    let (mut first, second, proxy, replicas) = with_a_follower();
    // The first server dies.
    proxy.lead_to(second.port());
    first.kill();
    replicas.all().for_each(|replica| drop(replica.unready()));
    second.command::<String>(&["REPLICAOF", "NO", "ONE"]);
    wait_for_members(&replicas);
    publish(&second, 1_000, 2_000);
    replicas.accounts(2_000).assert_exact();
    // It comes back, and is the leader again by plan: its clients are sent away from the other.
    first.start_again();
    follow(&first, &second);
    proxy.lead_to(first.port());
    second.command::<String>(&["REPLICAOF", "127.0.0.1", &first.port().to_string()]);
    first.command::<String>(&["REPLICAOF", "NO", "ONE"]);
    proxy.cut();
    replicas.all().for_each(|replica| drop(replica.unready()));
    wait_for_members(&replicas);
    publish(&first, 2_000, 3_000);
    replicas.accounts(3_000).assert_exact();
}

#[test]
fn a_connection_that_stays_with_a_server_that_is_no_leader_any_more_costs_nothing() {
    let (first, second, proxy, replicas) = with_a_follower();
    // Only what the replicas ask the group goes to the new leader; what is published there reaches the old one's subscribers too.
    proxy.lead_to(second.port());
    second.command::<String>(&["REPLICAOF", "NO", "ONE"]);
    follow(&first, &second);
    let _: u64 = first.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    let known: Vec<String> = second.command(&["HKEYS", &control(&second)]);
    eventually("all have asked the new leader", || {
        let now: Vec<String> = second.command(&["HKEYS", &control(&second)]);
        let new = now.iter().filter(|field| field.starts_with("m:") && !known.contains(field)).count();
        if new == 3 { Ok(()) } else { Err(format!("{known:?} and then {now:?}\n{}", replicas.logs())) }
    });
    wait_for_members(&replicas);
    publish(&second, 1_000, 2_000);
    replicas.accounts(2_000).assert_exact();
}

fn control(redis: &Redis) -> String {
    redis.command::<Vec<String>>(&["KEYS", "spinredis:tests/app:*"]).remove(0)
}
