//! The script on a real Redis: each operation, who is removed and who is not, what is forgotten, and that the model the simulation runs on
//! says the same.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "../simulation/script_model.rs"]
mod script_model;
mod server;

use std::{
    thread,
    time::{Duration, Instant},
};

use redis::Value;
use script_model::ScriptModel;
use server::{EXPIRY, Markers, Replica, Server, evaluate, eventually};
use spinredis_sharing::{
    script::{Operation, TEXT},
    wire::{Departure, Marker, NoMarker, Place, Report, Standing},
};

fn names(marker: &Marker) -> Vec<&str> {
    marker.members.iter().map(|member| &*member.id).collect()
}

fn report(epoch: u64) -> Report {
    Report { seen_epoch: epoch, seen: [(1, 9)].into(), ..Report::default() }
}

#[test]
fn members_join_and_leave_and_each_change_is_told_once() {
    let mut server = Server::start();
    let (mut a, b) = (Replica::new("a", "c"), Replica::new("b", "c"));
    let mut listener = server.subscriber();
    let mut markers = Markers::of(&mut listener, &server.place.clone());
    let first = server.call(&a, Operation::Join);
    assert_eq!((first.standing, first.records.len(), first.records[0].is_member), (Standing::Known, 1, true));
    assert_eq!(first.birth.split('-').count(), 2);
    let told = markers.next();
    assert_eq!((names(&told), told.before.len(), told.epoch, told.sets.len()), (vec!["a"], 0, first.epoch, 0));
    server.call(&b, Operation::Join);
    let told = markers.next();
    assert_eq!((names(&told), told.before.len(), told.epoch), (vec!["a", "b"], 1, first.epoch + 1));
    a.report = report(told.epoch);
    server.call(&a, Operation::Beat);
    server.call(&a, Operation::Join);
    let left = server.call(&a, Operation::Leave);
    assert_eq!(left.report("a"), Some(&a.report));
    assert_eq!(left.records.iter().map(|record| record.is_member).collect::<Vec<_>>(), [false, true]);
    // Neither the beat nor the second joining told anything.
    let told = markers.next();
    assert_eq!((names(&told), told.before.len(), told.departed.len()), (vec!["b"], 2, 0));
    server.call(&a, Operation::Final);
    let told = markers.next();
    assert_eq!((told.departed[0].how, told.departed[0].report.clone()), (Departure::Final, a.report.clone()));
    assert_eq!(server.call(&Replica { birth: first.birth, ..a }, Operation::Beat).standing, Standing::Unknown);
    server.call(&b, Operation::Gave);
    let told = markers.next();
    assert_eq!((told.members.len(), told.departed[0].how), (0, Departure::Gave));
}

#[test]
fn one_that_is_cut_off_is_announced_once_also_when_it_leaves() {
    let mut server = Server::start();
    let (mut a, b) = (Replica::new("a", "c"), Replica::new("b", "c"));
    let mut listener = server.subscriber();
    let mut markers = Markers::of(&mut listener, &server.place.clone());
    server.call(&a, Operation::Join);
    server.call(&b, Operation::Join);
    server.call(&a, Operation::Leave);
    a.report = report(3);
    let reply = server.call(&a, Operation::Cut);
    assert!(reply.records[0].is_cut && !reply.records[0].is_member && !reply.records[1].is_cut);
    server.call(&a, Operation::Cut);
    server.call(&a, Operation::Final);
    let told: Vec<Marker> = (0..5).map(|_| markers.next()).collect();
    assert_eq!((told[2].departed.len(), told[3].departed[0].how, told[3].departed[0].report.clone()), (0, Departure::Cut, a.report));
    assert_eq!(told[4].departed[0].how, Departure::Final);
}

#[test]
fn one_that_is_silent_is_removed_by_whoever_calls_next() {
    let mut server = Server::start();
    let (mut a, mut b) = (Replica::new("a", "c"), Replica::new("b", "c"));
    b.report = report(5);
    let mut listener = server.subscriber();
    let mut markers = Markers::of(&mut listener, &server.place.clone());
    server.call(&a, Operation::Join);
    a.birth = server.call(&b, Operation::Join).birth;
    b.birth.clone_from(&a.birth);
    let begin = Instant::now();
    let reply = eventually(|| Some(server.call(&a, Operation::Beat)).filter(|reply| reply.records.len() == 1));
    assert!(begin.elapsed() >= EXPIRY - Duration::from_millis(50), "it was removed after {:?}", begin.elapsed());
    assert_eq!(reply.report("b"), None);
    let told = [markers.next(), markers.next(), markers.next()];
    assert_eq!((told[2].departed[0].how, told[2].departed[0].report.clone()), (Departure::Died, b.report.clone()));
    assert_eq!(server.call(&b, Operation::Beat).standing, Standing::Unknown);
    // It is nobody's death when one says last that it has finished, and nobody knows it any more.
    assert_eq!(server.call(&b, Operation::Final).standing, Standing::Unknown);
}

#[test]
fn what_one_that_died_had_in_hand_of_the_messages_that_are_tried_is_told_and_forgotten() {
    let mut server = Server::start();
    let (a, b, c) = (Replica::new("a", "c"), Replica::new("b", "c"), Replica::new("c", "c"));
    for replica in [&a, &b, &c] {
        server.call(replica, Operation::Join);
    }
    let mut listener = server.subscriber();
    let mut markers = Markers::of(&mut listener, &server.place.clone());
    let key = server.place.key.clone();
    for (field, value) in [("t:b", "7.1.3,7.1f.4"), ("t:c", "7.1.9\nmember x s"), ("t:a", "7.1.5"), ("t:stranger", "7.1.6")] {
        server.run(&["HSET", &key, field, value]);
    }
    let told = |server: &mut Server| server.call(&a, Operation::Beat).records.len();
    eventually(|| Some(()).filter(|()| told(&mut server) == 1));
    let mut departed = Vec::new();
    while departed.len() < 2 {
        departed.append(&mut markers.next().departed);
    }
    let places = [Place { epoch: 7, class: 1, position: 3 }, Place { epoch: 7, class: 0x1f, position: 4 }];
    let trying = |id: &str| departed.iter().find(|departed| &*departed.id == id).unwrap().trying.clone();
    assert_eq!((trying("b"), trying("c")), (places.into(), [].into()));
    let fields = server.get_all(&["HKEYS", &key]);
    assert_eq!(fields.iter().filter(|field| field.starts_with("t:")).collect::<Vec<_>>(), ["t:a"]);
}

#[test]
fn nobody_is_dead_because_the_server_stood_still_or_its_clock_was_moved() {
    let mut server = Server::start();
    let (a, b) = (Replica::new("a", "c"), Replica::new("b", "c"));
    server.call(&a, Operation::Join);
    server.call(&b, Operation::Join);
    server.signal("STOP");
    thread::sleep(EXPIRY * 2);
    server.signal("CONT");
    assert_eq!(server.call(&a, Operation::Beat).records.len(), 2);
    // As if the clock had been an hour ahead or behind so far: all times in the hash are moved.
    for hour in [3_600_000_i64, -3_600_000] {
        let key = server.place.key.clone();
        for field in ["m:a", "m:b"] {
            let value = server.hash(field);
            let (beat, rest) = value.split_once(' ').unwrap();
            let moved = format!("{} {rest}", beat.parse::<i64>().unwrap() + hour);
            server.run(&["HSET", &key, field, &moved]);
        }
        let last = server.hash("last").parse::<i64>().unwrap() + hour;
        server.run(&["HSET", &key, "last", &last.to_string()]);
        let reply = server.call(&a, Operation::Beat);
        assert_eq!(reply.records.len(), 2, "{hour}");
        assert!(reply.records.iter().all(|record| record.silent_ms < 1_000), "{reply:?}");
    }
}

#[test]
fn after_a_flushall_members_join_again_and_the_dead_are_found() {
    let mut server = Server::start();
    let (mut a, mut b, mut c) = (Replica::new("a", "c"), Replica::new("b", "c"), Replica::new("c", "c"));
    server.call(&a, Operation::Join);
    server.call(&b, Operation::Join);
    let reply = server.call(&c, Operation::Join);
    for replica in [&mut a, &mut b, &mut c] {
        (replica.birth, replica.epoch) = (reply.birth.clone(), reply.epoch);
    }
    let mut listener = server.subscriber();
    let mut markers = Markers::of(&mut listener, &server.place.clone());
    server.run(&["FLUSHALL"]);
    let reborn = server.call(&a, Operation::Beat);
    assert_eq!((reborn.standing, reborn.records.len(), reborn.run()), (Standing::Reborn, 0, reply.run()));
    a.birth.clone_from(&reborn.birth);
    let known = format!("b {} c {}", report(4).text(), report(5).text());
    server.text(&a, Operation::Join, &known);
    let told = markers.next();
    assert!(told.epoch > reply.epoch && names(&told) == ["a"], "{told:?}");
    assert_eq!(server.call(&b, Operation::Beat).standing, Standing::Reborn);
    b.birth.clone_from(&reborn.birth);
    // It knows the new birth and is still only known of: what it beats counts for nothing until it says what it is.
    assert_eq!(server.call(&b, Operation::Beat).standing, Standing::Reborn);
    assert_eq!(server.call(&b, Operation::Return).standing, Standing::Known);
    let told = markers.next();
    assert_eq!((names(&told), told.before.iter().any(|one| &*one.id == "b")), (vec!["a"], true));
    let reply = eventually(|| Some(server.call(&a, Operation::Beat)).filter(|reply| reply.report("c").is_none()));
    assert_eq!(reply.standing, Standing::Known);
    let dead = eventually(|| markers.next().departed.into_iter().find(|departed| &*departed.id == "c"));
    assert_eq!((dead.how, dead.report), (Departure::Died, report(5)));
    // Others do what it had by now, so it stays dead should it live, whatever it says.
    for operation in [Operation::Beat, Operation::Join, Operation::Return] {
        assert_eq!(server.call(&c, operation).standing, Standing::Unknown);
    }
}

#[test]
fn a_script_that_was_forgotten_is_asked_for_and_sent_again() {
    let mut server = Server::start();
    let a = Replica::new("a", "c");
    let sha: String = redis::cmd("SCRIPT").arg("LOAD").arg(TEXT).query(&mut server.connection).unwrap();
    let arguments = a.arguments(&server.place, EXPIRY, Operation::Join, "");
    let by_sha = |server: &mut Server| -> Result<String, redis::RedisError> {
        let key = server.place.key.clone();
        redis::cmd("EVALSHA").arg(&sha).arg(1).arg(key).arg(&arguments).query(&mut server.connection)
    };
    assert!(by_sha(&mut server).is_ok());
    server.run(&["SCRIPT", "FLUSH"]);
    assert_eq!(by_sha(&mut server).unwrap_err().code(), Some("NOSCRIPT"));
    server.call(&a, Operation::Beat);
    assert!(by_sha(&mut server).is_ok());
}

#[test]
fn what_strangers_write_is_dropped_and_what_they_publish_is_no_marker() {
    let mut server = Server::start();
    let a = Replica::new("a", "c");
    server.call(&a, Operation::Join);
    let key = server.place.key.clone();
    let fields = [
        ("m:x", "hello"),
        ("m:y", "1 in"),
        ("m:z", "x in s 1 r"),
        ("m:w", "9999999999999999999 in s 1 r"),
        ("last", "soon"),
        ("epoch", "1e999"),
        ("other", "-"),
        ("s:x", ""),
    ];
    for (field, value) in fields {
        server.run(&["HSET", &key, field, value]);
    }
    let mut listener = server.subscriber();
    let mut markers = Markers::of(&mut listener, &server.place.clone());
    let reply = server.call(&a, Operation::Beat);
    assert_eq!((reply.standing, reply.records.len()), (Standing::Known, 1));
    let all: Vec<String> = redis::cmd("HKEYS").arg(&key).query(&mut server.connection).unwrap();
    assert!(!all.iter().any(|field| ["m:x", "m:y", "m:z", "m:w"].contains(&field.as_str())), "{all:?}");
    let channel = server.place.channel.clone();
    server.run(&["PUBLISH", &channel, "epoch 9\nmember x s\n"]);
    assert_eq!(Marker::parse(&markers.text(), &server.place.signing_key), Err(NoMarker::Forged));
    let b = Replica::new("b", "c");
    server.call(&b, Operation::Join);
    let told = markers.text();
    assert_eq!(Marker::parse(&told, "another key"), Err(NoMarker::Forged));
    assert_eq!(names(&Marker::parse(&told, &server.place.signing_key).unwrap()), ["a", "b"]);
}

#[test]
fn a_server_without_memory_refuses_the_script_as_it_refuses_every_write() {
    let mut server = Server::start();
    let a = Replica::new("a", "c");
    server.call(&a, Operation::Join);
    server.run(&["CONFIG", "SET", "maxmemory", "1"]);
    let place = server.place.clone();
    let error = evaluate(&mut server.connection, &place, &a.arguments(&place, EXPIRY, Operation::Beat, "")).unwrap_err();
    assert!(error.to_string().contains("memory"), "{error}");
    server.run(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(server.call(&a, Operation::Beat).standing, Standing::Known);
}

#[test]
fn sets_are_told_while_members_have_different_ones() {
    let mut server = Server::start();
    let (old, new) = (Replica::new("old", "c"), Replica::new("new", "d"));
    let mut listener = server.subscriber();
    let mut markers = Markers::of(&mut listener, &server.place.clone());
    for (replica, operation) in [(&old, Operation::Join), (&new, Operation::Join), (&old, Operation::Leave), (&old, Operation::Final)] {
        server.call(replica, operation);
    }
    server.call(&Replica::new("newer", "d"), Operation::Join);
    let told: Vec<usize> = (0..5).map(|_| markers.next()).map(|marker| marker.sets.len()).collect();
    // The last two know one set only, and the old one is forgotten.
    assert_eq!(told, [0, 2, 2, 0, 0]);
    let key = server.place.key.clone();
    let kept: bool = redis::cmd("HEXISTS").arg(key).arg(format!("s:{}", old.set.name())).query(&mut server.connection).unwrap();
    assert!(!kept);
}

#[test]
fn the_rights_that_are_documented_are_enough_and_each_is_needed() {
    let mut server = Server::start();
    let mut listener = server.subscriber();
    let mut markers = Markers::of(&mut listener, &server.place.clone());
    let published = |markers: &mut Markers<'_>| std::iter::from_fn(|| markers.now()).count() > 0;
    let rights = ["eval", "evalsha", "time", "info", "hgetall", "hset", "hdel", "pexpire", "publish"];
    let (a, mut b) = (Replica::new("a", "c"), Replica::new("b", "c"));
    for without in [None].into_iter().chain(rights.iter().map(Some)) {
        server.run(&["FLUSHALL"]);
        let mut rules = vec!["ACL", "SETUSER", "app", "reset", "on", ">secret", "~spinredis:default/shop:*", "&spinredis:default/shop:*"];
        let granted: Vec<String> = rights.iter().filter(|right| Some(*right) != without).map(|right| format!("+{right}")).collect();
        rules.extend(granted.iter().map(String::as_str));
        server.run(&rules);
        let mut connection = server.client("app:secret@");
        let mut all = || {
            let place = server.place.clone();
            let mut call =
                |replica: &Replica, operation| evaluate(&mut connection, &place, &replica.arguments(&place, EXPIRY, operation, ""));
            call(&a, Operation::Join)?;
            call(&b, Operation::Join)?;
            b.epoch = 0;
            call(&b, Operation::Final)?;
            let sha: Value = redis::cmd("EVALSHA")
                .arg(sha_of(TEXT))
                .arg(1)
                .arg(&place.key)
                .arg(&a.arguments(&place, EXPIRY, Operation::Beat, ""))
                .query(&mut connection)?;
            drop(sha);
            Ok::<_, redis::RedisError>(())
        };
        let result = all();
        assert_eq!(result.is_ok(), without.is_none(), "without {without:?}: {result:?}");
        // Nothing was told that was not written, and nothing written that was not told.
        let lives: i64 = redis::cmd("PTTL").arg(&server.place.key).query(&mut server.connection).unwrap();
        let runs = without.is_none_or(|right| *right == "evalsha");
        assert_eq!((server.hash_has("birth"), published(&mut markers)), (runs, runs), "without {without:?}");
        assert!(lives != -1, "without {without:?} something is left for ever");
    }
}

fn sha_of(text: &str) -> String {
    use sha1::{Digest, Sha1};
    Sha1::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a call said, without times.
fn shape(reply: &str) -> Vec<String> {
    let mut lines: Vec<String> = reply.lines().map(str::to_owned).collect();
    for line in lines.iter_mut().skip(1) {
        let words: Vec<&str> = line.split(' ').collect();
        *line = format!("{} {} {}", words[0], words[1], words[3]);
    }
    lines
}

#[test]
fn the_model_of_the_simulation_says_what_the_script_says() {
    let mut server = Server::start();
    server.expiry = Duration::from_secs(60);
    let mut listener = server.subscriber();
    let mut markers = Markers::of(&mut listener, &server.place.clone());
    let mut model = ScriptModel::default();
    let mut numbers = 0x1234_5678_9abc_def1_u64;
    let mut below = |end: u64| {
        numbers ^= numbers << 13;
        numbers ^= numbers >> 7;
        numbers ^= numbers << 17;
        numbers % end
    };
    let operations = [
        Operation::Join,
        Operation::Beat,
        Operation::Leave,
        Operation::Cut,
        Operation::Return,
        Operation::Final,
        Operation::Gave,
        Operation::Join,
    ];
    let mut replicas: Vec<Replica> = (0..5).map(|number| Replica::new(&format!("r{number}"), ["c", "d"][number % 2])).collect();
    let run = eventually(|| server.get(&["INFO", "server"]).lines().find_map(|line| line.strip_prefix("run_id:").map(str::to_owned)));
    for step in 0..1_500 {
        if below(100) == 0 {
            server.run(&["FLUSHALL"]);
            model.hash = None;
        }
        let chosen = usize::try_from(below(5)).unwrap();
        let operation = operations[usize::try_from(below(8)).unwrap()];
        let known = if below(10) == 0 { format!("r1 {} r9 {}", report(3).text(), report(4).text()) } else { String::new() };
        replicas[chosen].report = report(below(9));
        if below(4) == 0 {
            let (id, key) = (replicas[usize::try_from(below(5)).unwrap()].id.clone(), server.place.key.clone());
            let trying = format!("{}.1.{}", below(9), below(9));
            server.run(&["HSET", &key, &format!("t:{id}"), &trying]);
            model.tell_trials(&id, &trying);
        }
        let replica = replicas[chosen].clone();
        let real = server.text(&replica, operation, &known);
        let now = server.hash("last").parse::<i64>().unwrap();
        let [operation, id, _, signing_key, expiry, set, told, birth, epoch, set_text, known] =
            replica.arguments(&server.place, server.expiry, operation, &known);
        let (expiry, epoch) = (expiry.parse().unwrap(), epoch.parse().unwrap());
        let call = script_model::Call { operation, id, signing_key, expiry, set, report: told, birth, epoch, set_text, known };
        let is_new = model.hash.is_none();
        let mut outcome = model.call(now, &run, &call);
        let first = real.lines().next().unwrap().to_owned();
        let birth = first.split(' ').nth(1).unwrap();
        // The script's time of birth is more precise.
        if is_new && let Some(hash) = &mut model.hash {
            outcome.reply = outcome.reply.replacen(&hash.birth, birth, 1);
            hash.birth = birth.to_owned();
        }
        assert_eq!(shape(&real), shape(&outcome.reply), "step {step}: {call:?}");
        if let Some(published) = outcome.published {
            let sorted = |text: &str| {
                let mut lines: Vec<String> = text.lines().skip(1).map(str::to_owned).collect();
                lines.sort();
                lines
            };
            assert_eq!(sorted(&String::from_utf8(markers.text()).unwrap()), sorted(&published), "step {step}");
        }
        let mut words = first.split(' ').skip(1);
        replicas[chosen].birth = words.next().unwrap().to_owned();
        replicas[chosen].epoch = words.next().unwrap().parse().unwrap();
    }
}

/// Figures for those who size a server: `cargo test --test script -- --ignored --nocapture`.
#[test]
#[ignore = "prints figures and checks nothing that a loaded machine would keep"]
fn what_a_beat_costs() {
    for count in [2_u32, 10, 50] {
        let mut server = Server::start();
        server.expiry = Duration::from_secs(60);
        let mut replicas: Vec<Replica> = (0..count).map(|number| Replica::new(&format!("shop-6f7c9d8b5-{number:05}-1"), "c")).collect();
        let mut epoch = 0;
        for replica in &replicas {
            epoch = server.call(replica, Operation::Join).epoch;
        }
        for replica in &mut replicas {
            replica.report = Report { seen_epoch: epoch, seen: [(1, 123_999)].into(), ..Report::default() };
            server.call(replica, Operation::Beat);
        }
        server.run(&["CONFIG", "RESETSTAT"]);
        let (mut sent, mut received) = (0, 0);
        for _ in 0..2_000 / count {
            for replica in &replicas {
                sent = replica.arguments(&server.place, server.expiry, Operation::Beat, "").iter().map(String::len).sum::<usize>();
                received = server.text(replica, Operation::Beat, "").len();
            }
        }
        let stats = server.get(&["INFO", "commandstats"]);
        let line = stats.lines().find(|line| line.starts_with("cmdstat_eval:")).unwrap_or_default();
        println!("{count} replicas: a beat sends {sent} bytes of arguments and gets {received}; {line}");
    }
}
