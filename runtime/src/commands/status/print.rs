//! How the state of an app looks on a terminal. Pure. Channels and errors come from strangers: nothing that a terminal would obey
//! is written.

use std::{collections::BTreeMap, fmt::Write};

use crate::{
    commands::text::{shown, span, table, utc},
    dispatch::FailedAttempt,
    report::{ComponentReport, DeadLettersReport, GroupReport, MemberReport, Report, ServerReport, SubscriptionStanding},
};

/// Characters of a name, an address or a channel.
const WIDTH: usize = 60;
/// Characters of a sentence.
const SENTENCE: usize = 1_000;
/// So many subscriptions that are well are named; those that are not are all named.
const NAMED: usize = 20;

/// Everything, section by section.
pub(super) fn text(report: &Report) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "app      {}", shown(&report.app, WIDTH));
    if let Some(pod) = &report.pod {
        let _ = writeln!(text, "pod      {}", shown(pod, WIDTH));
    }
    let _ = writeln!(
        text,
        "runtime  {}, up {}, asked at {}",
        shown(&report.version, WIDTH),
        span(report.uptime_seconds),
        utc(report.now * 1_000)
    );
    let _ = writeln!(text, "ready    {}", if report.ready { "yes" } else { "no" });
    for server in &report.servers {
        self::server(&mut text, server, report.now);
    }
    text.push('\n');
    text.push_str(&counters(&report.components));
    for component in &report.components {
        details(&mut text, component, report.now);
    }
    text
}

fn server(text: &mut String, server: &ServerReport, now: u64) {
    let _ = writeln!(text, "\nserver   {}", shown(&server.address, WIDTH));
    let since = span(now.saturating_sub(server.since));
    let _ = writeln!(text, "         {} for {since}: {}", server.reason, shown(&server.message, SENTENCE));
    if server.reconnects > 0 || server.outage_seconds > 0.0 {
        let times = counted(server.reconnects, "time");
        let _ = writeln!(text, "         lost {times}, {:.1} s without all subscriptions", server.outage_seconds);
    }
    if let Some(group) = &server.group {
        self::group(text, group);
    }
    let mut told = 0;
    for subscription in &server.subscriptions {
        let (well, state) = match subscription.state {
            SubscriptionStanding::Subscribed => (true, "subscribed"),
            SubscriptionStanding::Waiting => (false, "waiting"),
            SubscriptionStanding::Refused => (false, "refused"),
        };
        if well && told >= NAMED {
            break;
        }
        told += 1;
        let kind = if subscription.pattern { "pattern" } else { "channel" };
        let error = subscription.error.as_deref().map(|error| format!(": {}", shown(error, SENTENCE))).unwrap_or_default();
        let _ = writeln!(text, "         {state:<10}  {kind} {}{error}", shown(&subscription.name, WIDTH));
    }
    if server.wanted > told {
        let _ = writeln!(text, "         {} channels and patterns in all; -o json names more", server.wanted);
    }
}

/// The replicas that share the server's messages, and how far each has come.
fn group(text: &mut String, group: &GroupReport) {
    let share = if group.member { "owns a share" } else { "owns no share now" };
    let _ = writeln!(text, "         {share}: {} messages owned, {} of others; epoch {}", group.owned, group.others, group.epoch);
    let (bytes, max) = (group.ring_bytes, group.ring_max_bytes);
    let _ = writeln!(text, "         ring: {bytes} of {max} bytes, {} waiting for another replica", group.held);
    let events = [
        (group.replayed, "taken over"),
        (group.overflowed, "no longer kept"),
        (group.hurried, "out of order"),
        (group.expulsions, "taken for dead itself"),
        (group.cuts, "cut off"),
        (group.ignored, "strange markers"),
        (group.failed_beats, "failed beats"),
    ];
    let events: Vec<String> = events.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{what} {count}")).collect();
    if !events.is_empty() {
        let _ = writeln!(text, "         {}", events.join(", "));
    }
    let rows: Vec<Vec<String>> = group.members.iter().map(member).collect();
    if rows.is_empty() {
        return;
    }
    for line in table(&MEMBER_HEADINGS, rows.iter().map(Vec::as_slice)).lines() {
        let _ = writeln!(text, "         {line}");
    }
}

const MEMBER_HEADINGS: [&str; 5] = ["REPLICA", "STATE", "RECEIVED", "FINISHED", "LAST BEAT"];

/// Positions are epoch and number; of the members those count that have seen the same marker.
fn member(member: &MemberReport) -> Vec<String> {
    let state = match (member.owns, member.replaying) {
        (true, false) => "member",
        (true, true) => "taking over",
        (false, _) => "finishing",
    };
    let name = shown(&member.id, WIDTH);
    vec![
        if member.is_self { format!("{name} (this)") } else { name },
        state.to_owned(),
        format!("{}/{}", member.epoch, member.received),
        format!("{}/{}", member.finished_epoch, member.finished),
        format!("{} ms", member.silent_ms),
    ]
}

const HEADINGS: [&str; 9] = ["COMPONENT", "RECEIVED", "HANDLED", "FAILED", "DROPPED", "QUEUED", "RETRYING", "IN FLIGHT", "OLDEST"];

fn counters(components: &[ComponentReport]) -> String {
    let total = |by_reason: &BTreeMap<String, u64>| by_reason.values().sum::<u64>();
    let rows = components.iter().map(|component| {
        let ComponentReport { received, handled, queued, retrying, in_flight, .. } = *component;
        let counts = [received, handled, total(&component.failed), total(&component.dropped), queued, retrying, in_flight];
        let mut row = vec![shown(&component.id, WIDTH)];
        row.extend(counts.map(|count| count.to_string()));
        row.push(if component.oldest_seconds > 0.0 { format!("{:.1}s", component.oldest_seconds) } else { "-".to_owned() });
        row
    });
    let rows: Vec<Vec<String>> = rows.collect();
    table(&HEADINGS, rows.iter().map(Vec::as_slice))
}

fn details(text: &mut String, component: &ComponentReport, now: u64) {
    let mut lines = Vec::new();
    for (what, by_reason) in [("failed", &component.failed), ("dropped", &component.dropped)] {
        if !by_reason.is_empty() {
            let counts: Vec<String> = by_reason.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
            lines.push(format!("{what}: {}", counts.join(", ")));
        }
    }
    if component.retries > 0 {
        lines.push(format!("attempts after the first: {}", component.retries));
    }
    if component.redriven > 0 {
        lines.push(format!("received from the dead letters: {}", component.redriven));
    }
    if component.queued + component.retrying > 0 {
        let (bytes, max) = (component.queued_bytes, component.queue_max_bytes);
        lines.push(format!("queue: {bytes} of {max} bytes; {} of {} handlers at work", component.workers, component.concurrency));
    }
    lines.extend(component.dead_letters.as_ref().map(dead_letters));
    if !component.last_failures.is_empty() {
        lines.push("last failed attempts:".to_owned());
        lines.extend(component.last_failures.iter().map(|failed| failure(failed, now)));
    }
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{}", shown(&component.id, WIDTH));
    for line in lines {
        let _ = writeln!(text, "  {line}");
    }
}

fn dead_letters(letters: &DeadLettersReport) -> String {
    let length = match letters.length {
        Some(1) => "1 entry".to_owned(),
        Some(length) => format!("{length} entries"),
        None => "an unknown number of entries (Redis did not answer)".to_owned(),
    };
    let mut line = format!("dead letters: stream {} has {length}; written {}", shown(&letters.stream, WIDTH), letters.written);
    for (count, what) in
        [(letters.pending, "waiting to be written"), (letters.lost, "lost"), (letters.write_failures, "failed tries to write")]
    {
        if count > 0 {
            let _ = write!(line, ", {count} {what}");
        }
    }
    line
}

/// `1 time`, `2 times`.
fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn failure(failed: &FailedAttempt, now: u64) -> String {
    let ago = span(now.saturating_sub(failed.at));
    let end = if failed.retrying { "tried again" } else { "for good" };
    format!(
        "  {} ({ago} ago)  sequence {}  attempt {} {end}  channel {}  {}: {}",
        utc(failed.at.saturating_mul(1_000)),
        failed.sequence,
        failed.attempt,
        shown(&failed.channel, WIDTH),
        failed.reason,
        shown(&failed.error, SENTENCE)
    )
}

#[cfg(test)]
mod tests {
    use spinredis_crds::Reason;

    use super::*;
    use crate::report::SubscriptionReport;

    fn report() -> Report {
        let subscription = |name: &str, state, error: Option<&str>| SubscriptionReport {
            name: name.to_owned(),
            pattern: name.contains('*'),
            state,
            error: error.map(str::to_owned),
        };
        let failed = FailedAttempt {
            at: 1_700_000_000,
            sequence: 7,
            channel: "orders\x1b[2J".to_owned(),
            attempt: 2,
            reason: "trap".to_owned(),
            error: "unreachable\ncode".to_owned(),
            retrying: false,
        };
        let letters =
            DeadLettersReport { stream: "failed".to_owned(), length: Some(12), written: 3, pending: 1, ..DeadLettersReport::default() };
        let component = ComponentReport {
            id: "book".to_owned(),
            received: 10,
            handled: 8,
            failed: [("trap".to_owned(), 2)].into(),
            dead_letters: Some(letters),
            last_failures: vec![failed],
            ..ComponentReport::default()
        };
        Report {
            app: "default/shop".to_owned(),
            pod: Some("shop-abc".to_owned()),
            version: "0.1.0".to_owned(),
            now: 1_700_000_060,
            uptime_seconds: 3_600,
            ready: false,
            servers: vec![ServerReport {
                address: "redis://redis:6379".to_owned(),
                ready: false,
                reason: Reason::RedisPermission,
                message: "Redis refuses the subscription".to_owned(),
                since: 1_700_000_000,
                reconnects: 2,
                outage_seconds: 1.5,
                subscribed: 1,
                wanted: 2,
                subscriptions: vec![
                    subscription("secret.*", SubscriptionStanding::Refused, Some("NOPERM")),
                    subscription("orders", SubscriptionStanding::Subscribed, None),
                ],
                group: None,
            }],
            components: vec![component],
        }
    }

    #[test]
    fn everything_that_a_person_asks_for_is_there_and_nothing_that_a_terminal_obeys() {
        let text = text(&report());
        for line in [
            "app      default/shop",
            "runtime  0.1.0, up 1h, asked at 2023-11-14T22:14:20Z",
            "ready    no",
            "server   redis://redis:6379",
            "         RedisPermission for 1m: Redis refuses the subscription",
            "         lost 2 times, 1.5 s without all subscriptions",
            "         refused     pattern secret.*: NOPERM",
            "         subscribed  channel orders",
            "COMPONENT  RECEIVED  HANDLED  FAILED  DROPPED  QUEUED  RETRYING  IN FLIGHT  OLDEST",
            "book       10        8        2       0        0       0         0          -",
            "  failed: trap 2",
            "  dead letters: stream failed has 12 entries; written 3, 1 waiting to be written",
            "    2023-11-14T22:13:20Z (1m ago)  sequence 7  attempt 2 for good  channel orders\\u{1b}[2J  trap: unreachable\\ncode",
        ] {
            assert!(text.lines().any(|found| found == line), "`{line}` is not in:\n{text}");
        }
        assert!(!text.contains('\x1b') && !text.contains("in all"), "{text}");
    }

    #[test]
    fn the_replicas_that_share_messages_are_named_with_their_positions() {
        let mut report = report();
        let member = |id: &str, is_self| MemberReport {
            id: id.to_owned(),
            is_self,
            owns: true,
            silent_ms: 40,
            epoch: 7,
            received: 90,
            finished_epoch: 7,
            finished: 88,
            replaying: false,
        };
        report.servers[0].group = Some(GroupReport {
            epoch: 7,
            member: true,
            members: vec![member("shop-a.1", true), member("shop-b.2", false)],
            owned: 45,
            others: 45,
            replayed: 3,
            ..GroupReport::default()
        });
        let text = text(&report);
        for line in [
            "         owns a share: 45 messages owned, 45 of others; epoch 7",
            "         taken over 3",
            "         REPLICA          STATE   RECEIVED  FINISHED  LAST BEAT",
            "         shop-a.1 (this)  member  7/90      7/88      40 ms",
        ] {
            assert!(text.lines().any(|found| found == line), "`{line}` is not in:\n{text}");
        }
    }

    #[test]
    fn of_very_many_channels_some_are_named_and_the_rest_is_counted() {
        let mut report = report();
        let one = SubscriptionReport { name: "c".to_owned(), pattern: false, state: SubscriptionStanding::Subscribed, error: None };
        report.servers[0].subscriptions = vec![one; 256];
        report.servers[0].wanted = 5_000;
        let text = text(&report);
        assert_eq!(text.lines().filter(|line| line.trim_start().starts_with("subscribed")).count(), NAMED);
        assert!(text.contains("5000 channels and patterns in all; -o json names more"), "{text}");
    }
}
