//! What the operator costs and how long it takes, and whether it survives chaos: the release's own program against a real API
//! server and the controllers of Kubernetes, without nodes (pods are said to run). Too long for every run of the tests:
//! `make bench-operator` and `make chaos`.
//!
//! `BENCH_APPS` (200,1000) is how many apps come in each burst; `CHAOS_SECONDS` (120) how long the chaos lasts, and `CHAOS_SEED`
//! what happens in it, which a run tells so that it can be repeated.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{
    collections::{BTreeMap, HashMap},
    env, fs,
    process::Command,
    time::{Duration, Instant},
};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Namespace};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, DynamicObject, ListParams, ObjectMeta, Patch, PatchParams, PostParams},
    core::{ApiResource, GroupVersionKind, PartialObjectMeta},
    runtime::{WatchStreamExt, watcher},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use spinredis_tests::{control_plane::ControlPlane, guests::repository, http, kubelet, ports, process::Process};
use tokio::{runtime::Runtime, task::JoinHandle};

const PATIENCE: Duration = Duration::from_secs(300);
/// How long every app may take to be Ready after the chaos.
const CONVERGES_WITHIN: Duration = Duration::from_secs(60);
/// Ticks of /proc/PID/stat in a second.
const TICKS: f64 = 100.0;

/// The program, as it is shipped.
struct Operator {
    process: Process,
    address: String,
}

impl Operator {
    fn start(plane: &ControlPlane, log: &str) -> Self {
        let address = format!("127.0.0.1:{}", ports::free());
        let program = env::var("OPERATOR").map_or_else(|_| repository().join("target/release/spin-redis-operator"), Into::into);
        let mut command = Command::new(program);
        command.args(["--runtime-image", "runtime:bench", "--listen", &address, "--log", log]);
        command.env("KUBECONFIG", plane.kubeconfig());
        Self { process: Process::start(&mut command), address }
    }

    /// Seconds of processor time so far.
    fn cpu(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / TICKS
    }

    /// Resident memory in MB; that of its own beside the files it maps.
    fn memory(&self) -> (f64, f64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = |name: &str| -> f64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
        };
        (line("VmRSS:"), line("RssAnon:"))
    }

    fn metric(&self, name: &str) -> f64 {
        let Ok((_, text)) = http::get(&self.address, "/metrics") else { return 0.0 };
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0.0)
    }

    fn reconciles(&self) -> f64 {
        self.metric("spin_redis_operator_reconciles_total{result=\"ok\"}")
    }

    fn wait_until_ready(&self) {
        wait("the operator is ready", || matches!(http::get(&self.address, "/readyz"), Ok((200, _))));
    }

    /// Waits until no reconcile came for a while; gives when the last one was seen.
    fn wait_until_quiet(&self, at_least: f64) -> Instant {
        let deadline = Instant::now() + PATIENCE;
        let (mut seen, mut since) = (self.reconciles(), Instant::now());
        loop {
            assert!(Instant::now() < deadline, "the operator does not come to rest");
            std::thread::sleep(Duration::from_millis(20));
            let now = self.reconciles();
            if now > seen {
                (seen, since) = (now, Instant::now());
            } else if seen >= at_least && since.elapsed() > Duration::from_secs(2) {
                return since;
            }
        }
    }
}

fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn apps(client: &Client, namespace: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("spinredis.dev", "v1alpha1", "SpinRedisApp"));
    match namespace {
        "" => Api::all_with(client.clone(), &resource),
        namespace => Api::namespaced_with(client.clone(), namespace, &resource),
    }
}

fn app(name: &str, channels: usize) -> Value {
    let channels: Vec<String> = (0..channels).map(|number| format!("{name}-{number}")).collect();
    json!({"apiVersion": "spinredis.dev/v1alpha1", "kind": "SpinRedisApp", "metadata": {"name": name}, "spec": {
        "trigger": {"address": "redis://redis:6379"},
        "components": [{"id": "one", "channels": channels, "source": {"oci": {"reference": "registry.example.com/one:1"}}}],
    }})
}

async fn namespace(client: &Client, name: &str) {
    let object = Namespace { metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }, ..Namespace::default() };
    Api::all(client.clone()).create(&PostParams::default(), &object).await.unwrap();
}

async fn create(client: &Client, namespace: &str, names: &[String]) {
    let api = apps(client, namespace);
    stream::iter(names)
        .map(|name| {
            let api = api.clone();
            async move { api.create(&PostParams::default(), &serde_json::from_value(app(name, 1)).unwrap()).await }
        })
        .buffer_unordered(16)
        .try_for_each(|_| std::future::ready(Ok(())))
        .await
        .unwrap();
}

/// When a watch first showed each Deployment of a namespace.
fn deployments(client: &Client, namespace: &str, count: usize) -> JoinHandle<HashMap<String, Instant>> {
    let api: Api<PartialObjectMeta<Deployment>> = Api::namespaced(client.clone(), namespace);
    tokio::spawn(async move {
        let mut seen = HashMap::new();
        let mut watch = watcher(api, watcher::Config::default()).applied_objects().boxed();
        while seen.len() < count {
            if let Some(Ok(found)) = watch.next().await {
                seen.entry(found.name_any()).or_insert_with(Instant::now);
            }
        }
        seen
    })
}

/// When a watch first showed each app of a namespace as Ready.
fn ready(client: &Client, namespace: &str, count: usize) -> JoinHandle<HashMap<String, Instant>> {
    let api = apps(client, namespace);
    tokio::spawn(async move {
        let mut seen = HashMap::new();
        let mut watch = watcher(api, watcher::Config::default()).applied_objects().boxed();
        while seen.len() < count {
            let Some(Ok(found)) = watch.next().await else { continue };
            if is_ready(&found) {
                seen.entry(found.name_any()).or_insert_with(Instant::now);
            }
        }
        seen
    })
}

fn is_ready(app: &DynamicObject) -> bool {
    let conditions = app.data["status"]["conditions"].as_array().into_iter().flatten();
    app.data["status"]["observedGeneration"] == json!(app.metadata.generation)
        && conditions.into_iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// What the operator asked of the API server from a place of the audit log on: verb and resource, and how often. Watches are
/// left out; the lines of other clients are told by their name.
fn requests(plane: &ControlPlane, from: usize) -> (BTreeMap<String, usize>, usize) {
    let log = fs::read_to_string(plane.audit_log()).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    let mut counted = BTreeMap::new();
    for line in &lines[from.min(lines.len())..] {
        let Ok(event) = serde_json::from_str::<Value>(line) else { continue };
        let agent = event["userAgent"].as_str().unwrap_or_default();
        let is_operator = agent.is_empty() || agent.starts_with("spin-redis-operator");
        if !is_operator || event["verb"] == "watch" || event["stage"] != "ResponseComplete" {
            continue;
        }
        let subresource = event["objectRef"]["subresource"].as_str().map(|name| format!("/{name}")).unwrap_or_default();
        let what =
            format!("{} {}{subresource}", event["verb"].as_str().unwrap_or("?"), event["objectRef"]["resource"].as_str().unwrap_or("?"));
        *counted.entry(what).or_insert(0) += 1;
    }
    (counted, lines.len())
}

fn writes(requests: &BTreeMap<String, usize>) -> usize {
    requests.iter().filter(|(what, _)| !what.starts_with("get ") && !what.starts_with("list ")).map(|(_, count)| count).sum()
}

fn milliseconds(mut times: Vec<Duration>) -> (f64, f64) {
    times.sort();
    let at = |index: usize| times[index.min(times.len() - 1)].as_secs_f64() * 1e3;
    (at(times.len() / 2), at(times.len() * 9 / 10))
}

#[test]
#[ignore = "minutes: make bench-operator"]
fn bench_operator() {
    let bursts = env::var("BENCH_APPS").unwrap_or_else(|_| "200,1000".to_owned());
    let bursts: Vec<usize> = bursts.split(',').map(|count| count.trim().parse().unwrap()).collect();
    let mut plane = ControlPlane::start();
    plane.start_controllers();
    let runtime = Runtime::new().unwrap();
    let client = runtime.block_on(plane.client());
    runtime.spawn(kubelet::run(client.clone()));
    let mut rows: Vec<(String, String, &str)> = Vec::new();

    let mut operator = Operator::start(&plane, "warn");
    operator.wait_until_ready();
    std::thread::sleep(Duration::from_secs(2));
    let (idle, anonymous) = operator.memory();
    rows.push(("RSS idle".to_owned(), format!("{idle:.1} MB ({anonymous:.1} MB its own)"), "≤ 15 MB"));

    // One app after the other; the first warms up.
    runtime.block_on(namespace(&client, "single"));
    let mut to_deployment = Vec::new();
    let mut to_ready = Vec::new();
    let mut mark = requests(&plane, 0).1;
    for number in 0..21 {
        let name = format!("one-{number}");
        let (deployed, became_ready) =
            runtime.block_on(async { (deployments(&client, "single", number + 1), ready(&client, "single", number + 1)) });
        std::thread::sleep(Duration::from_millis(300));
        if number == 1 {
            mark = requests(&plane, 0).1;
        }
        let start = Instant::now();
        runtime.block_on(create(&client, "single", std::slice::from_ref(&name)));
        let deployed = runtime.block_on(deployed).unwrap()[&name];
        let became_ready = runtime.block_on(became_ready).unwrap()[&name];
        if number > 0 {
            to_deployment.push(deployed - start);
            to_ready.push(became_ready - start);
        }
    }
    let ((median, p90), (ready_median, _)) = (milliseconds(to_deployment), milliseconds(to_ready));
    rows.push(("POST → Deployment exists".to_owned(), format!("median {median:.1} ms, p90 {p90:.1} ms"), "≤ 10 ms"));
    rows.push(("POST → Ready in status (pods said to run)".to_owned(), format!("median {ready_median:.0} ms"), "-"));
    let (asked, _) = requests(&plane, mark);
    eprintln!("requests for 20 apps, one after the other: {asked:#?}");
    let each = writes(&asked) as f64 / 20.0;
    rows.push(("writes for one app's life to Ready".to_owned(), format!("{each:.2}"), "≤ 6"));

    for count in bursts {
        let space = format!("burst-{count}");
        runtime.block_on(namespace(&client, &space));
        let names: Vec<String> = (0..count).map(|number| format!("app-{number}")).collect();
        let (deployed, became_ready) = runtime.block_on(async { (deployments(&client, &space, count), ready(&client, &space, count)) });
        std::thread::sleep(Duration::from_millis(300));
        let (mark, cpu) = (requests(&plane, 0).1, operator.cpu());
        let start = Instant::now();
        runtime.block_on(create(&client, &space, &names));
        let posted = start.elapsed();
        let last = runtime.block_on(deployed).unwrap().into_values().max().unwrap();
        let until_deployed = operator.cpu() - cpu;
        let all_ready = runtime.block_on(became_ready).unwrap().into_values().max().unwrap();
        operator.wait_until_quiet(1.0);
        let spent = operator.cpu() - cpu;
        let (asked, _) = requests(&plane, mark);
        eprintln!("requests for a burst of {count}: {asked:#?}");
        let goals: (&str, &str) = if count <= 200 { ("≤ 2 s", "≤ 0.5 s") } else { ("≤ 10 s", "≤ 2.5 s") };
        let times = format!(
            "{:.2} s ({:.2} s to POST them; all Ready after {:.1} s)",
            (last - start).as_secs_f64(),
            posted.as_secs_f64(),
            (all_ready - start).as_secs_f64()
        );
        rows.push((format!("burst of {count} → all Deployments exist"), times, goals.0));
        rows.push((
            format!("processor time for the burst of {count}"),
            format!("{spent:.2} s to Ready, {until_deployed:.2} s of it until all Deployments exist"),
            goals.1,
        ));
        rows.push((
            format!("writes for one app's life to Ready, burst of {count}"),
            format!("{:.2}", writes(&asked) as f64 / count as f64),
            "≤ 6",
        ));
    }
    let (rss, anonymous) = operator.memory();
    let count = runtime.block_on(apps(&client, "").list(&ListParams::default())).map_or(0, |list| list.items.len());
    rows.push((format!("RSS with {count} apps, after the bursts"), format!("{rss:.1} MB ({anonymous:.1} MB its own)"), "≤ 40 MB"));

    let (mark, cpu) = (requests(&plane, 0).1, operator.cpu());
    std::thread::sleep(Duration::from_secs(20));
    let (asked, _) = requests(&plane, mark);
    rows.push((
        "steady state, 20 s".to_owned(),
        format!("{} requests, {:.2} s processor time", asked.values().sum::<usize>(), operator.cpu() - cpu),
        "no write",
    ));

    operator.process.signal("TERM");
    operator.process.wait();
    let mark = requests(&plane, 0).1;
    let start = Instant::now();
    let operator = Operator::start(&plane, "warn");
    operator.wait_until_ready();
    let quiet = operator.wait_until_quiet(count as f64);
    let (asked, _) = requests(&plane, mark);
    eprintln!("requests of a restart: {asked:#?}");
    let took = format!("{:.2} s, {:.2} s processor time, {} writes", (quiet - start).as_secs_f64(), operator.cpu(), writes(&asked));
    rows.push((format!("restart with {count} apps until quiet"), took, "≤ 3 s, no write"));
    let (rss, anonymous) = operator.memory();
    rows.push((format!("RSS with {count} apps, after a restart"), format!("{rss:.1} MB ({anonymous:.1} MB its own)"), "≤ 40 MB"));

    println!("\n| what | measured | goal |\n|---|---|---|");
    for (what, measured, goal) in rows {
        println!("| {what} | {measured} | {goal} |");
    }
    drop(runtime);
}

#[test]
#[ignore = "minutes: make chaos"]
fn chaos() {
    let seconds = env::var("CHAOS_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(120);
    let mut plane = ControlPlane::start();
    plane.start_controllers();
    let runtime = Runtime::new().unwrap();
    let client = runtime.block_on(plane.client());
    runtime.spawn(kubelet::run(client.clone()));
    runtime.block_on(namespace(&client, "chaos"));
    let mut operator = Operator::start(&plane, "info");
    let seed = env::var("CHAOS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    let mut random = StdRng::seed_from_u64(seed);
    println!("CHAOS_SEED={seed}");
    let (mut edits, mut deletions, mut kills, mut restarts) = (0, 0, 0, 0);
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        let name = format!("app-{}", random.random_range(0..40));
        match random.random_range(0..100) {
            0..70 => {
                let wanted = app(&name, random.random_range(1..5));
                let api = apps(&client, "chaos");
                let applied = runtime.block_on(api.patch(&name, &PatchParams::apply("chaos").force(), &Patch::Apply(&wanted)));
                edits += usize::from(applied.is_ok());
            }
            70..85 => {
                let api = apps(&client, "chaos");
                deletions += usize::from(runtime.block_on(api.delete(&name, &DeleteParams::background())).is_ok());
            }
            85..97 => {
                operator.process.kill();
                operator = Operator::start(&plane, "info");
                kills += 1;
            }
            97 => {
                plane.kill_api_server();
                plane.start_api_server();
                restarts += 1;
            }
            _ => {
                // A child goes, or somebody changes it.
                let children: Api<Deployment> = Api::namespaced(client.clone(), "chaos");
                if random.random_bool(0.5) {
                    drop(runtime.block_on(children.delete(&name, &DeleteParams::background())));
                } else {
                    let change = json!({"spec": {"minReadySeconds": 3, "revisionHistoryLimit": 7}});
                    drop(runtime.block_on(children.patch(&name, &PatchParams::default(), &Patch::Merge(&change))));
                }
            }
        }
        // An operator that ended by itself is a failure, whatever the API server does.
        assert_eq!(operator.process.ended(), None, "{}", operator.process.text());
        std::thread::sleep(Duration::from_millis(random.random_range(0..200)));
    }
    let over = Instant::now();
    loop {
        let wrong = runtime.block_on(wrong(&client));
        if wrong.is_empty() {
            break;
        }
        if over.elapsed() > CONVERGES_WITHIN {
            panic!("CHAOS_SEED={seed}: after {CONVERGES_WITHIN:?}:\n{}\n{}", wrong.join("\n"), what_is_there(&plane, &operator));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    println!(
        "{seconds} s of chaos: {edits} edits, {deletions} deletions, {kills} kills of the operator, {restarts} restarts of the API server; \
         every app converged {:.1} s later",
        over.elapsed().as_secs_f64()
    );
    drop(runtime);
}

/// What a person would look at to find out why.
fn what_is_there(plane: &ControlPlane, operator: &Operator) -> String {
    let kinds = "spinredisapps,deployments,replicasets,pods,configmaps";
    let objects = plane.kubectl(&["get", kinds, "--namespace=chaos", "--output=wide"]);
    format!("{objects}\nThe operator's log:\n{}\nThe controllers' log:\n{}", operator.process.text(), plane.controllers_log())
}

/// What is not as the apps ask.
async fn wrong(client: &Client) -> Vec<String> {
    let selected = ListParams::default().labels("spinredis.dev/app");
    let (Ok(there), Ok(deployments)) = (
        apps(client, "chaos").list(&ListParams::default()).await,
        Api::<Deployment>::namespaced(client.clone(), "chaos").list(&selected).await,
    ) else {
        return vec!["the API server does not answer".to_owned()];
    };
    let config_maps = Api::<PartialObjectMeta<k8s_openapi::api::core::v1::ConfigMap>>::namespaced(client.clone(), "chaos");
    let Ok(config_maps) = config_maps.list(&selected).await else { return vec!["the API server does not answer".to_owned()] };
    let mut wrong = Vec::new();
    for app in &there.items {
        if !is_ready(app) {
            wrong.push(format!("{} is not Ready: {}", app.name_any(), app.data["status"]));
        }
    }
    if deployments.items.len() != there.items.len() || config_maps.items.len() != there.items.len() {
        wrong.push(format!("{} apps, {} Deployments, {} ConfigMaps", there.items.len(), deployments.items.len(), config_maps.items.len()));
    }
    for deployment in &deployments.items {
        let owner = deployment.owner_references().first().map(|owner| owner.uid.clone());
        if !there.items.iter().any(|app| app.metadata.uid == owner) {
            wrong.push(format!("Deployment {} belongs to no app", deployment.name_any()));
        }
        if deployment.spec.as_ref().and_then(|spec| spec.revision_history_limit) != Some(3) {
            wrong.push(format!("Deployment {} was changed and not brought back", deployment.name_any()));
        }
    }
    wrong
}
