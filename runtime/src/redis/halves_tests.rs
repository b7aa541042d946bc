//! Telling whose answer came.

use super::*;
use crate::redis::{failure::Failure, item::Payload, session::Session};

/// The events of a server that says this and closes.
async fn events(said: &[u8], asked: impl IntoIterator<Item = Asked>) -> Events {
    let (mut server, client) = tokio::io::duplex(1024);
    server.write_all(said).await.unwrap();
    let (events, _) = Session::signed_in(client, 10).split();
    lock(&events.pending).extend(asked);
    events
}

/// Every event, as text, until the connection ends.
async fn told(said: &[u8], asked: impl IntoIterator<Item = Asked>) -> (Vec<String>, SessionError) {
    let mut events = events(said, asked).await;
    let mut told = Vec::new();
    loop {
        match events.event() {
            Ok(Some(event)) => told.push(format!("{event:?}")),
            Ok(None) => match events.fill().await {
                Ok(_) => {}
                Err(error) => return (told, error),
            },
            Err(error) => return (told, error),
        }
    }
}

fn asked(subscription: &Subscription) -> Asked {
    Asked::Subscription(subscription.clone(), Instant::now())
}

fn text_of(events: impl IntoIterator<Item = Event<'static>>) -> Vec<String> {
    events.into_iter().map(|event| format!("{event:?}")).collect()
}

#[tokio::test]
async fn answers_belong_to_subscriptions_in_the_order_they_were_asked() {
    let said = b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n-NOPERM no\r\n";
    let (a, b) = (Subscription::Channel("a".into()), Subscription::Pattern("b*".into()));
    let (told, end) = told(said, [asked(&a), asked(&b)]).await;
    let message = Published { pattern: None, channel: b"a", payload: Payload::Small(b"hi") };
    assert_eq!(told, text_of([Event::Subscribed(a), Event::Message(message), Event::Refused(b, "NOPERM no".into())]));
    assert!(matches!(end, SessionError::Broken { error: ReadError::Closed, .. }));
}

#[tokio::test]
async fn a_refused_ping_is_no_refused_subscription() {
    let said = b"-NOPERM ping\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n-NOPERM b\r\n";
    let (a, b) = (Subscription::Channel("a".into()), Subscription::Channel("b".into()));
    let (told, _) = told(said, [Asked::Ping, asked(&a), Asked::Ping, asked(&b)]).await;
    assert_eq!(told, text_of([Event::Other, Event::Subscribed(a), Event::Other, Event::Refused(b, "NOPERM b".into())]));
}

#[tokio::test]
async fn a_redis_that_is_busy_or_loads_is_alive() {
    let said = b"-BUSY Redis is busy\r\n-LOADING\r\n-MASTERDOWN\r\n-MISCONF\r\n";
    let (told, end) = told(said, std::iter::repeat_with(|| Asked::Ping).take(4)).await;
    assert_eq!((told.len(), end.failure()), (4, Failure::Closed));
}

#[tokio::test]
async fn a_session_that_is_signed_out_ends() {
    let (_, end) = told(b"+PONG\r\n-NOAUTH Authentication required.\r\n", [Asked::Ping, Asked::Ping]).await;
    assert_eq!(end.failure(), Failure::Auth);
    assert!(end.to_string().contains("signing in again"), "{end}");
}
