//! What the state says of good and bad times.

use super::*;

fn channel(name: &str) -> Subscription {
    Subscription::Channel(name.into())
}

fn gone() -> SessionError {
    SessionError::Silent("redis://r".into())
}

#[test]
fn ready_means_every_subscription_is_acknowledged() {
    let state = SubscriptionState::new("ns/app".into(), [channel("a"), channel("b")]);
    assert!(state.subscribed(channel("a")).is_none() && !state.is_ready());
    assert!(state.subscribed(channel("b")).is_some() && state.is_ready());
    assert_eq!(state.status().reason, Reason::Subscribed);
    assert!(state.lost(&gone()));
    assert!(!state.lost(&gone()), "the same problem is no news");
    assert_eq!(state.failures()[Failure::Silent as usize], 2);
    assert_eq!((state.is_ready(), state.status().subscribed, state.reconnects()), (false, 0, 1));
}

#[test]
fn once_everything_is_subscribed_what_is_told_is_why_there_is_no_share() {
    let state = SubscriptionState::shared("ns/app".into(), [channel("a")]);
    state.lost(&gone());
    state.share_missing(Some((Reason::RedisPermission, "permit it".to_owned())));
    assert_eq!(state.status().reason, Reason::RedisUnreachable);
    state.subscribed(channel("a"));
    assert_eq!((state.status().reason, state.status().message.as_str()), (Reason::RedisPermission, "permit it"));
}

#[test]
fn a_refused_channel_is_named_and_the_others_stay() {
    let state = SubscriptionState::new("ns/app".into(), [channel("a"), channel("b")]);
    state.subscribed(channel("a"));
    state.refused(channel("b"), "NOPERM".into());
    let status = state.status();
    assert_eq!((status.subscribed, status.wanted, status.reason), (1, 2, Reason::RedisPermission));
    assert!(status.message.contains("to b (NOPERM)"), "{}", status.message);
    assert_eq!(state.refused_subscriptions(), [channel("b")]);
    state.subscribed(channel("b"));
    assert!(state.is_ready());
}

#[test]
fn a_stopping_process_is_not_ready() {
    let state = SubscriptionState::new("ns/app".into(), [channel("a")]);
    state.subscribed(channel("a"));
    state.stop();
    assert!(!state.is_ready() && !state.status().ready);
}
#[test]
fn what_is_refused_for_want_of_data_is_no_matter_of_permission() {
    let state = SubscriptionState::new("ns/app".into(), [channel("a")]);
    state.refused(channel("a"), "LOADING Redis is loading the dataset in memory".into());
    let status = state.status();
    assert_eq!(status.reason, Reason::RedisUnreachable);
    assert!(status.message.contains("to a (LOADING") && status.message.contains("asked for again"), "{}", status.message);
}

#[test]
fn an_outage_lasts_until_the_last_channel_is_back() {
    let state = SubscriptionState::new("ns/app".into(), [channel("a"), channel("b")]);
    state.lost(&gone());
    assert_eq!(state.outage(), Duration::ZERO, "before the first time there is no outage");
    state.subscribed(channel("a"));
    state.subscribed(channel("b"));
    state.lost(&gone());
    state.subscribed(channel("a"));
    state.refused(channel("b"), "NOPERM".into());
    let partial = state.outage();
    while state.outage() == partial {}
    let missing = state.subscribed(channel("b")).unwrap();
    assert!(missing > partial && state.outage() == missing);
    assert_eq!(state.subscribed(channel("b")), None, "a second answer is no news");
}

#[test]
fn credentials_that_will_not_work_are_told_while_all_is_well() {
    let state = SubscriptionState::new("ns/app".into(), [channel("a")]);
    state.subscribed(channel("a"));
    assert!(state.rotated(Some("WRONGPASS".into())) && !state.rotated(Some("WRONGPASS".into())));
    let status = state.status();
    assert!(status.ready && state.rotation_failed());
    assert!(status.message.starts_with("subscribed to 1 of 1") && status.message.ends_with("would fail: WRONGPASS"), "{}", status.message);
    assert!(state.rotated(None) && !state.rotation_failed());
}

#[test]
fn a_report_names_each_subscription_and_those_that_are_missing_first() {
    let state = SubscriptionState::new("ns/app".into(), [channel("a"), channel("b"), Subscription::Pattern("c.*".into())]);
    state.subscribed(channel("a"));
    state.refused(Subscription::Pattern("c.*".into()), "NOPERM no".into());
    let report = state.report("redis://r");
    let told: Vec<_> = report.subscriptions.iter().map(|told| (told.name.as_str(), told.pattern, told.state)).collect();
    let (refused, waiting, subscribed) = (SubscriptionStanding::Refused, SubscriptionStanding::Waiting, SubscriptionStanding::Subscribed);
    assert_eq!(told, [("c.*", true, refused), ("b", false, waiting), ("a", false, subscribed)]);
    assert_eq!(report.subscriptions[0].error.as_deref(), Some("NOPERM no"));
    assert_eq!((report.address.as_str(), report.ready, report.subscribed, report.wanted), ("redis://r", false, 1, 3));
}
