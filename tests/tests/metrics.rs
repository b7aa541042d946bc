//! What can be seen of an app from outside: that the document, the dashboard and the alerts speak of the same metrics as a running
//! `spinredis`, that spans reach a collector, and that a log which nobody reads holds up no message.

use std::{collections::BTreeSet, fs, io::Read, process::Stdio};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value as Any},
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use prost::Message;
use serde_json::{Value, json};
use spinredis_tests::{
    app::{App, manifest},
    chart,
    collector::Collector,
    guests::{repository, source},
    http,
    metrics::{HANDLED, Metrics},
    ports,
    redis::Redis,
    runtime::Runtime,
    wait::eventually,
};

fn read(path: &str) -> String {
    let path = repository().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names that docs/metrics.md lists, with the type of each.
fn documented() -> Vec<(String, String)> {
    let text = read("docs/metrics.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `spinredis_"));
    let cells = rows.filter_map(|row| row.split_once("` | "));
    cells.map(|(name, rest)| (format!("spinredis_{name}"), rest.split(' ').next().unwrap().to_owned())).collect()
}

/// The names that a query may use: those of the document, a histogram's with what stands for its parts.
fn known() -> BTreeSet<String> {
    let names = documented().into_iter().flat_map(|(name, kind)| match kind.as_str() {
        "histogram" => ["bucket", "sum", "count"].map(|part| format!("{name}_{part}")).to_vec(),
        _ => vec![name],
    });
    names.collect()
}

/// Checks that an expression is PromQL and that its metrics exist.
fn check_query(what: &str, query: &str) {
    // Grafana puts times and regular expressions in for these.
    let query = query.replace("$__rate_interval", "5m");
    assert!(is_balanced(&query), "{what}: a bracket or a quote is not closed in {query}");
    let names = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| word.starts_with("spinredis_"));
    let unknown: Vec<&str> = names.filter(|name| !known().contains(*name)).collect();
    assert!(unknown.is_empty(), "{what} asks for {unknown:?}, which docs/metrics.md does not have");
}

/// Whether all brackets and quotes are closed, in their order. A parser of PromQL would be a large dependency for this one test.
fn is_balanced(query: &str) -> bool {
    let (mut open, mut quoted) = (Vec::new(), false);
    for letter in query.chars() {
        match letter {
            '"' => quoted = !quoted,
            _ if quoted => {}
            '(' => open.push(')'),
            '[' => open.push(']'),
            '{' => open.push('}'),
            ')' | ']' | '}' if open.pop() != Some(letter) => return false,
            _ => {}
        }
    }
    open.is_empty() && !quoted
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

fn alerts() -> Vec<Value> {
    let groups = yaml(&read("charts/spin-redis-operator/files/alerts.yaml"));
    let groups = groups["groups"].as_array().unwrap().clone();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

fn dashboard() -> Value {
    serde_json::from_str(&read("charts/spin-redis-operator/dashboards/spinredis-apps.json")).unwrap()
}

#[test]
fn every_alert_asks_for_metrics_that_exist_and_says_what_to_do() {
    let document = read("docs/metrics.md");
    for alert in alerts() {
        let name = alert["alert"].as_str().unwrap();
        check_query(name, alert["expr"].as_str().unwrap());
        assert!(["warning", "critical"].contains(&alert["labels"]["severity"].as_str().unwrap()), "{name}");
        let annotation = |key: &str| alert["annotations"][key].as_str().unwrap_or_else(|| panic!("{name} has no {key}")).to_owned();
        assert!(annotation("summary").contains("$labels.app") && annotation("description").len() > 80, "{name}");
        let runbook = annotation("runbook_url");
        assert!(runbook.ends_with(&format!("docs/metrics.md#{}", name.to_lowercase())), "{name}: {runbook}");
        assert!(document.contains(&format!("### {name}\n")), "docs/metrics.md has no section {name}");
    }
    let sections = document.lines().filter_map(|line| line.strip_prefix("### ")).filter(|title| title.starts_with("SpinRedis"));
    let names: Vec<Value> = alerts().iter().map(|alert| alert["alert"].clone()).collect();
    sections.for_each(|title| assert!(names.contains(&json!(title)), "there is no alert {title}"));
}

#[test]
fn every_panel_of_the_dashboard_asks_for_metrics_that_exist_and_every_metric_is_shown() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut shown = String::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().unwrap();
            check_query(title, query);
            shown.push_str(query);
        }
    }
    let missing: Vec<String> = documented().into_iter().map(|(name, _)| name).filter(|name| !shown.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "the dashboard does not show {missing:?}");
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "two panels have the same id");
}

fn rendered(values: &[&str]) -> Vec<Value> {
    let chart = chart::folder();
    let settings = values.iter().flat_map(|value| ["--set", value]);
    let args: Vec<&str> = ["template", "release", chart.to_str().unwrap()].into_iter().chain(settings).collect();
    chart::objects(&chart::helm_prints(&args))
}

fn of_kind<'a>(objects: &'a [Value], kind: &str, name: &str) -> Option<&'a Value> {
    objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"].as_str().is_some_and(|found| found.ends_with(name)))
}

#[test]
fn the_chart_brings_monitor_rules_and_dashboard_only_when_asked_to() {
    let plain = rendered(&[]);
    for (kind, name) in [("PodMonitor", ""), ("PrometheusRule", ""), ("ConfigMap", "-dashboards")] {
        assert!(of_kind(&plain, kind, name).is_none(), "{kind}");
    }
    let all =
        rendered(&["podMonitor.enabled=true", "prometheusRule.enabled=true", "prometheusRule.labels.release=p", "dashboards.enabled=true"]);
    let rule = of_kind(&all, "PrometheusRule", "-apps").unwrap();
    assert_eq!(rule["metadata"]["labels"]["release"], "p");
    let rules = rule["spec"]["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap());
    assert_eq!(rules.cloned().collect::<Vec<_>>(), alerts(), "the chart changes no braces");
    let config_map = of_kind(&all, "ConfigMap", "-dashboards").unwrap();
    assert_eq!(config_map["metadata"]["labels"]["grafana_dashboard"], "1");
    let text = config_map["data"]["spinredis-apps.json"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(text).unwrap(), dashboard());
    let monitor = &of_kind(&all, "PodMonitor", "-apps").unwrap()["spec"];
    assert_eq!((&monitor["namespaceSelector"]["any"], &monitor["podMetricsEndpoints"][0]["port"]), (&json!(true), &json!("health")));
    let some = rendered(&["podMonitor.enabled=true", "watchNamespaces={a,b}"]);
    assert_eq!(of_kind(&some, "PodMonitor", "-apps").unwrap()["spec"]["namespaceSelector"], json!({"matchNames": ["a", "b"]}));
}

fn hello(redis: &Redis) -> App {
    App::new(redis.trigger(), json!([{"id": "hello", "channels": ["hello"], "patterns": ["news.*"], "source": source("hello.wat")}]))
}

#[test]
fn a_running_app_shows_the_metrics_that_the_document_lists() {
    let redis = Redis::start();
    let mut manifest =
        manifest(redis.trigger(), json!([{"id": "hello", "channels": ["hello"], "patterns": ["news.*"], "source": source("hello.wat")}]));
    manifest["spec"]["delivery"] = json!("Shared");
    let app = App::from_text(&manifest.to_string());
    let runtime = Runtime::start(app.run_command().env("SPINREDIS_GROUP_KEY", "a key"));
    runtime.ready();
    let metrics = runtime.scrape();
    let known = known();
    let unknown: Vec<&str> = metrics.names().into_iter().filter(|name| !known.contains(*name)).collect();
    assert!(unknown.is_empty(), "docs/metrics.md does not list {unknown:?}");
    // Those of dead letters are shown by components that have some.
    let missing: Vec<&String> =
        known.iter().filter(|name| !name.contains("dead_letter") && !metrics.names().contains(&name.as_str())).collect();
    assert!(missing.is_empty(), "docs/metrics.md lists {missing:?}, which are not there");
    metrics.assert_balanced();
}

// ---- Traces ---------------------------------------------------------------------------------------------------------

fn text(attributes: &[KeyValue], key: &str) -> String {
    let attribute = attributes.iter().find(|attribute| attribute.key == key).unwrap_or_else(|| panic!("no {key} in {attributes:?}"));
    match attribute.value.clone().unwrap().value.unwrap() {
        Any::StringValue(text) => text,
        Any::IntValue(number) => number.to_string(),
        other => panic!("{key} is {other:?}"),
    }
}

fn spans(collector: &Collector) -> Vec<(Vec<KeyValue>, Span)> {
    let requests = collector.bodies("/v1/traces");
    let requests = requests.iter().map(|body| ExportTraceServiceRequest::decode(&body[..]).unwrap());
    let resources = requests.flat_map(|request| request.resource_spans);
    resources
        .flat_map(|resource| {
            let about = resource.resource.unwrap().attributes;
            resource.scope_spans.into_iter().flat_map(|scope| scope.spans).map(move |span| (about.clone(), span))
        })
        .collect()
}

#[test]
fn each_attempt_is_a_span_at_the_collector() {
    let (redis, collector) = (Redis::start(), Collector::start());
    let app = App::new(
        redis.trigger(),
        json!([
            {"id": "hello", "channels": ["hello"], "patterns": ["news.*"], "source": source("hello.wat")},
            {"id": "trap", "channels": ["trap"], "source": source("trap.wat")},
        ]),
    );
    let mut runtime = Runtime::start(app.run_command().env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url()));
    runtime.ready();
    redis.publish("hello", "12345");
    redis.publish("news.today", "");
    redis.publish("trap", "");
    runtime.wait_for_metric(HANDLED, &[("component", "hello")], 2.0);
    runtime.wait_for_message("message failed");
    // What was not sent yet is sent at the end.
    runtime.terminate();
    assert_eq!(runtime.wait(), 0);
    let spans = spans(&collector);
    let span = |name: &str| spans.iter().find(|(_, span)| span.name == name).unwrap_or_else(|| panic!("no span {name} in {spans:?}"));
    assert_eq!(spans.len(), 3, "{spans:?}");
    let (resource, exact) = span("hello process");
    assert_eq!((text(resource, "service.name"), text(resource, "service.namespace")), ("app".into(), "tests".into()));
    assert_eq!((exact.kind(), exact.trace_id.len(), exact.span_id.len(), exact.status.is_none()), (SpanKind::Consumer, 16, 8, true));
    for (key, value) in [
        ("messaging.system", "redis"),
        ("messaging.operation.type", "process"),
        ("messaging.destination.name", "hello"),
        ("messaging.message.body.size", "5"),
        ("messaging.message.id", "1"),
        ("spinredis.app", "tests/app"),
        ("spinredis.component", "hello"),
        ("spinredis.attempt", "1"),
        ("spinredis.outcome", "handled"),
    ] {
        assert_eq!(text(&exact.attributes, key), value, "{key}");
    }
    let (_, pattern) = span("news.* process");
    assert_eq!(text(&pattern.attributes, "messaging.destination.template"), "news.*");
    assert_eq!(text(&pattern.attributes, "spinredis.channel"), "news.today");
    let (_, failed) = span("trap process");
    assert_eq!((text(&failed.attributes, "error.type").as_str(), failed.status.as_ref().unwrap().code()), ("trap", StatusCode::Error));
}

#[test]
fn a_collector_that_does_not_answer_holds_up_no_message() {
    let redis = Redis::start();
    // Accepts connections, as its backlog allows, and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let app = hello(&redis);
    let runtime = Runtime::start(app.run_command().env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint).env("OTEL_EXPORTER_OTLP_TIMEOUT", "1000"));
    runtime.ready();
    redis.publish_all("hello", (0..5_000).map(|number| number.to_string()));
    runtime.wait_for_metric(HANDLED, &[], 5_000.0);
    runtime.eventually("spans are dropped and counted", || {
        let dropped = runtime.metric("spinredis_spans_dropped_total", &[]);
        if dropped > 0.0 { Ok(()) } else { Err(dropped.to_string()) }
    });
    let told = runtime.wait_for_message("the collector does not take traces");
    assert_eq!(told["level"], "WARN");
}

#[test]
fn a_wrong_setting_of_traces_is_said_and_the_app_runs() {
    let redis = Redis::start();
    let app = hello(&redis);
    let runtime =
        Runtime::start(app.run_command().env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317").env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"));
    runtime.ready();
    assert!(runtime.wait_for_message("OTEL_EXPORTER_OTLP_PROTOCOL=grpc")["message"].as_str().unwrap().contains("4318"));
}

// ---- Log lines ------------------------------------------------------------------------------------------------------

#[test]
fn lines_about_a_message_name_app_component_channel_and_sequence() {
    let redis = Redis::start();
    let app = App::new(
        redis.trigger(),
        json!([
            {"id": "hello", "channels": ["hello"], "source": source("hello.wat")},
            {"id": "trap", "channels": ["trap"], "source": source("trap.wat")},
        ]),
    );
    let runtime = app.run();
    redis.publish("hello", "one");
    redis.publish("hello", "two");
    redis.publish("trap", "");
    let printed = runtime.wait_for_guest("hello", "Got message: two");
    let failed = runtime.wait_for_message("message failed");
    for (entry, component, sequence) in [(&printed, "hello", 2), (&failed, "trap", 1)] {
        assert_eq!(
            (&entry["app"], &entry["component"], &entry["channel"]),
            (&json!("tests/app"), &json!(component), &json!(component)),
            "{entry}"
        );
        assert_eq!(entry["sequence"], sequence, "{entry}");
    }
}

#[test]
fn a_log_that_nobody_reads_holds_up_no_message() {
    let redis = Redis::start();
    // Each may print 4 MiB at once, and together they print more than may wait.
    let components: Vec<Value> =
        (1..=3).map(|number| json!({"id": format!("flood-{number}"), "channels": ["flood"], "source": source("flood.wat")})).collect();
    let app = App::new(redis.trigger(), json!(components));
    // The address is given, since the log, which would tell it, is not read.
    let address = format!("127.0.0.1:{}", ports::free());
    let mut command = app.run_command_listening(&address);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut unread = child.stdout.take().unwrap();
    eventually("the app is ready", || match http::get(&address, "/readyz") {
        Ok((200, _)) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    redis.publish_all("flood", (0..100).map(|_| String::new()));
    eventually("all messages are handled", || {
        let metrics = Metrics::parse(&http::get(&address, "/metrics").map_err(|error| error.to_string())?.1);
        metrics.assert_balanced();
        let (handled, dropped) = (metrics.sum(HANDLED, &[]), metrics.sum("spinredis_log_lines_dropped_total", &[]));
        if handled == 300.0 && dropped > 0.0 { Ok(()) } else { Err(format!("{handled} handled, {dropped} lines dropped")) }
    });
    // Reading goes on, and the log tells what is missing.
    let mut told = Vec::new();
    let mut part = vec![0; 1 << 16];
    while !told.windows(22).any(|window| window == b"log lines were dropped") {
        let count = unread.read(&mut part).unwrap();
        assert!(count > 0, "the log ended");
        told.extend_from_slice(&part[..count]);
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
