//! Everything at once, for as long as `CHAOS_SECONDS` says: replicas that come, go, die and stand still, connections that are cut, a Redis that
//! forgets. Run by `make chaos`.

use std::{
    env,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::json;
use spinredis_tests::redis::Redis;

use super::replicas::{Replicas, let_it_run, load, rate, shared, soon_missed};

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

#[test]
#[ignore = "long: make chaos"]
fn sharing_chaos() {
    let seed = number("CHAOS_SEED", rand::random::<u32>().into());
    let time = Duration::from_secs(number("CHAOS_SECONDS", 120));
    let mut random = StdRng::seed_from_u64(seed);
    println!("seed {seed}, {time:?}, {} messages a second", rate());
    let redis = Redis::start();
    let mut replicas = Replicas::of(&soon_missed(shared(redis.trigger(), json!({"concurrency": 8}))));
    replicas.add(4);
    let load = load(&redis, rate(), 1);
    let (begun, mut deaths, mut faults) = (Instant::now(), 0_usize, 0);
    while begun.elapsed() < time {
        let_it_run(Duration::from_millis(random.random_range(300..1_500)));
        let pods = replicas.pods();
        let pod = pods[random.random_range(0..pods.len())].clone();
        faults += 1;
        // Never more deaths at a time than the others survive: what all who have it lose is lost.
        match random.random_range(0..8) {
            0 | 1 => drop(replicas.add(1)),
            2 | 3 if pods.len() > 3 => replicas.stop(&[pod]),
            4 if pods.len() > 3 => {
                replicas.kill(&pod);
                deaths += 1;
                let_it_run(Duration::from_millis(2_500));
            }
            5 if pods.len() > 3 => {
                replicas.signal(&pod, "STOP");
                let_it_run(Duration::from_millis(if random.random_bool(0.1) { 30_000 } else { random.random_range(500..5_000) }));
                replicas.signal(&pod, "CONT");
                deaths += 1;
                let_it_run(Duration::from_millis(2_500));
            }
            6 => cut(&redis, &pod),
            7 => drop(redis.command::<String>(&["SCRIPT", "FLUSH"])),
            _ => {}
        }
    }
    replicas.all().for_each(|replica| replica.ready());
    let published = load.finish().messages;
    let accounts = replicas.accounts(published);
    println!("{published} messages, {faults} faults of which {deaths} crashes or pauses: {accounts}");
    assert!(accounts.lost.is_empty(), "{accounts}");
    // A beat and a half of a replica's share for each crash, on a machine that is busy with all of them.
    assert!(accounts.twice.len() <= deaths * rate() as usize / 4, "{accounts}");
}

fn cut(redis: &Redis, pod: &str) {
    let clients: String = redis.command(&["CLIENT", "LIST", "TYPE", "pubsub"]);
    let line = clients.lines().find(|line| line.contains(&format!("/{pod} ")));
    if let Some(id) = line.and_then(|line| line.split(' ').find_map(|word| word.strip_prefix("id="))) {
        let _: u64 = redis.command(&["CLIENT", "KILL", "ID", id]);
    }
}
