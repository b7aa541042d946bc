//! Several replicas of one app as processes, and the accounts of what they handled.

use std::{collections::BTreeMap, env, process::Command, time::Duration};

use serde_json::{Value, json};
use spinredis_tests::{
    app::{App, manifest},
    guests::source,
    load::Load,
    redis::Redis,
    runtime::Runtime,
    wait::eventually,
};

/// What all replicas of the app sign with.
pub const KEY: &str = "a key that only the replicas know";

/// Messages in a second, `SHARING_RATE`: else as many as two busy processors take with everything else that a test run does.
pub fn rate() -> u32 {
    env::var("SHARING_RATE").map_or(2_000, |rate| rate.parse().expect("SHARING_RATE is a number"))
}

/// The manifest of an app of one component, `c`, which gets all channels that begin with `c.`, whose replicas share messages.
pub fn shared(trigger: Value, more: Value) -> Value {
    let mut component = json!({"id": "c", "patterns": ["c.*"], "source": source("dispatch.wat")});
    component.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut manifest = manifest(trigger, json!([component]));
    manifest["spec"]["delivery"] = json!("Shared");
    manifest["spec"]["drain"] = json!("20s");
    // A machine that runs tests may give a process no processor for a second: that is no death.
    manifest["spec"]["sharing"] = json!({"expiry": "5s"});
    manifest
}

/// The same with the defaults, for tests of what follows a death.
pub fn soon_missed(mut manifest: Value) -> Value {
    manifest["spec"].as_object_mut().unwrap().remove("sharing");
    manifest
}

/// A message that was handled.
#[derive(Debug, Clone)]
pub struct Handled {
    /// When its handler was done, as the log says.
    pub at: String,
    /// The concrete channel.
    pub channel: String,
    /// Its number.
    pub number: u64,
}

/// An app whose replicas are started and ended one by one.
pub struct Replicas {
    app: App,
    running: BTreeMap<String, Runtime>,
    ended: Vec<Runtime>,
    started: usize,
}

impl Replicas {
    /// An app that is prepared, and no replica yet.
    pub fn of(manifest: &Value) -> Self {
        Self::prepared(prepared(manifest))
    }

    /// The same of an app that is prepared already.
    pub fn prepared(app: App) -> Self {
        Self { app, running: BTreeMap::new(), ended: Vec::new(), started: 0 }
    }

    /// An edit of the app: replicas that are started from now on have this manifest.
    pub fn edit(&mut self, manifest: &Value) {
        self.app = prepared(manifest);
    }

    /// The command that starts another replica.
    pub fn command(&mut self) -> (String, Command) {
        self.started += 1;
        let pod = format!("app-{}", self.started);
        let mut command = self.app.serve_command();
        command.env("POD_NAME", &pod).env("SPINREDIS_GROUP_KEY", KEY);
        (pod, command)
    }

    /// Starts so many more, which need not be ready. Gives their pods.
    pub fn start(&mut self, count: usize) -> Vec<String> {
        (0..count)
            .map(|_| {
                let (pod, mut command) = self.command();
                self.running.insert(pod.clone(), Runtime::start(&mut command));
                pod
            })
            .collect()
    }

    /// Starts so many more and waits until they own a share.
    pub fn add(&mut self, count: usize) -> Vec<String> {
        let pods = self.start(count);
        pods.iter().for_each(|pod| self.running[pod].ready());
        pods
    }

    /// A replica that runs.
    pub fn get(&self, pod: &str) -> &Runtime {
        &self.running[pod]
    }

    /// The pods of all that run.
    pub fn pods(&self) -> Vec<String> {
        self.running.keys().cloned().collect()
    }

    /// All that run.
    pub fn all(&self) -> impl Iterator<Item = &Runtime> {
        self.running.values()
    }

    /// Asks replicas to stop, all at once, and waits for their end.
    pub fn stop(&mut self, pods: &[String]) {
        pods.iter().for_each(|pod| self.running[pod].terminate());
        for pod in pods {
            let mut runtime = self.running.remove(pod).unwrap();
            assert_eq!(runtime.wait(), 0, "{pod}: {}", runtime.log());
            self.ended.push(runtime);
        }
    }

    /// Ends a replica at once, as `kill -9` or a lack of memory does.
    pub fn kill(&mut self, pod: &str) {
        let mut runtime = self.running.remove(pod).unwrap();
        runtime.kill();
        self.ended.push(runtime);
    }

    /// The replicas that have ended by themselves since it was last asked. Others take over what they had.
    pub fn dead(&mut self) -> Vec<String> {
        let dead: Vec<String> = self.running.iter_mut().filter_map(|(pod, runtime)| runtime.ended().map(|_| pod.clone())).collect();
        self.ended.extend(dead.iter().filter_map(|pod| self.running.remove(pod)));
        dead
    }

    /// Starts one more with a command that is changed before, and waits until it owns a share.
    pub fn add_with(&mut self, change: impl FnOnce(&mut Command)) -> String {
        let (pod, mut command) = self.command();
        change(&mut command);
        self.running.insert(pod.clone(), Runtime::start(&mut command));
        self.running[&pod].ready();
        pod
    }

    /// Sends a signal to a replica.
    pub fn signal(&self, pod: &str, name: &str) {
        let id = self.running[pod].id().to_string();
        assert!(Command::new("kill").arg(format!("-{name}")).arg(id).status().unwrap().success());
    }

    /// Everything that was handled so far, by all replicas there ever were, as it ended.
    pub fn handled(&self) -> Vec<Handled> {
        let mut handled: Vec<Handled> = self.running.values().chain(&self.ended).flat_map(handled_by).collect();
        handled.sort_by(|one, other| one.at.cmp(&other.at));
        handled
    }

    /// The sum of a metric over all that run.
    pub fn sum(&self, metric: &str) -> f64 {
        self.all().map(|runtime| runtime.metric(metric, &[])).sum()
    }

    /// Waits until each of so many messages was handled, and nothing more happens, and gives how often each was.
    pub fn accounts(&self, published: u64) -> Accounts {
        let mut last = Accounts::default();
        eventually(&format!("each of {published} messages is handled"), || {
            last = Accounts::of(&self.handled(), published);
            if last.lost.is_empty() { Ok(()) } else { Err(format!("{last}\n{}", self.logs())) }
        });
        eventually("nothing is under way any more", || {
            let waiting: f64 =
                ["spinredis_messages_queued", "spinredis_messages_retrying", "spinredis_messages_in_flight", "spinredis_sharing_held"]
                    .iter()
                    .map(|metric| self.sum(metric))
                    .sum();
            if waiting == 0.0 { Ok(()) } else { Err(format!("{waiting} messages")) }
        });
        Accounts::of(&self.handled(), published)
    }

    /// What all of them logged beside what the guest printed.
    pub fn logs(&self) -> String {
        let lines = self.running.values().chain(&self.ended).flat_map(|runtime| {
            let lines: Vec<String> =
                runtime.log().lines().filter(|line| !line.contains("\"target\":\"guest\"")).map(str::to_owned).collect();
            lines
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

fn prepared(manifest: &Value) -> App {
    let app = App::from_text(&manifest.to_string());
    let prepared = app.prepare();
    assert_eq!(prepared.code, 0, "{}", prepared.log);
    app
}

fn handled_by(runtime: &Runtime) -> Vec<Handled> {
    let entries = runtime.entries().into_iter().filter(|entry| entry["target"] == "guest" && entry["component"] == "c");
    let parsed = entries.filter_map(|entry| {
        let line = entry["message"].as_str()?;
        let channel = line.split("channel=").nth(1)?.split(' ').next()?.to_owned();
        let number = line.rsplit(' ').next()?.parse().ok()?;
        Some(Handled { at: entry["timestamp"].as_str()?.to_owned(), channel, number })
    });
    parsed.collect()
}

/// How often each message was handled.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// Never.
    pub lost: Vec<u64>,
    /// More than once.
    pub twice: Vec<u64>,
}

impl Accounts {
    fn of(handled: &[Handled], published: u64) -> Self {
        let mut times = vec![0_u32; usize::try_from(published).unwrap()];
        for message in handled {
            times[usize::try_from(message.number).unwrap()] += 1;
        }
        let with = |is: fn(u32) -> bool| (0..published).filter(|number| is(times[usize::try_from(*number).unwrap()])).collect();
        Self { lost: with(|times| times == 0), twice: with(|times| times > 1) }
    }

    /// Each was handled once.
    pub fn assert_exact(&self) {
        assert_eq!(*self, Self::default(), "{self}");
    }
}

impl std::fmt::Display for Accounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let first = |numbers: &[u64]| numbers.iter().take(20).map(u64::to_string).collect::<Vec<_>>().join(" ");
        write!(f, "{} lost ({}), {} handled twice ({})", self.lost.len(), first(&self.lost), self.twice.len(), first(&self.twice))
    }
}

/// Each channel's messages ended in the order they were published in.
pub fn assert_in_order(handled: &[Handled]) {
    let mut last: BTreeMap<&str, &Handled> = BTreeMap::new();
    for message in handled {
        if let Some(before) = last.insert(&message.channel, message) {
            // Two log lines of one microsecond say nothing of their order.
            assert!(before.number < message.number || before.at == message.at, "{before:?} came before {message:?}");
        }
    }
}

/// Publishes so many messages in a second, on sixteen channels, each with its number and a handler that takes so many milliseconds.
pub fn load(redis: &Redis, per_second: u32, takes: u32) -> Load {
    Load::start(redis, per_second, move |number| (format!("c.{}", number % 16), format!("W{takes:04} {number}").into_bytes()))
}

/// Lets the load go on for a while: what is tested is what happens meanwhile.
pub fn let_it_run(time: Duration) {
    std::thread::sleep(time);
}
