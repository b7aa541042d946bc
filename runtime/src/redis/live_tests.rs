//! A live session against a server of the test's own, and how each ends.

use std::time::Instant as Wall;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;
use crate::{
    queue::{Inbox, Queue},
    redis::{
        credentials::Credentials, failure::Failure, resp::command, routes::Routes, scripted::until, state::SubscriptionState,
        subscription::Subscription,
    },
    references::References,
};

const PING: Duration = Duration::from_millis(20);
const ACKNOWLEDGED: &[u8] = b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n";

fn receiver() -> (Receiver, Arc<Queue>) {
    let inbox = Inbox::unattended("a", &["c"], 1 << 20);
    let channel = Subscription::Channel("c".into());
    let mut routes = Routes::default();
    routes.add(channel.clone(), 0, &inbox);
    let receiver = Receiver {
        server: Default::default(),
        references: Arc::new(References::default()),
        routes: Arc::new(routes),
        state: Arc::new(SubscriptionState::new("ns/app".into(), [channel])),
        client_name: "test".into(),
        max_message_bytes: 1000,
        sharing: None,
    };
    (receiver, inbox.queue().clone())
}

/// Runs a session with a server that does this, and tells how it ended.
async fn session<F: Future>(receiver: &Receiver, server: impl FnOnce(DuplexStream) -> F) -> Result<(), SessionError> {
    let (end, ours) = tokio::io::duplex(64 << 10);
    let credentials = Credentials { server: receiver.server.clone(), references: receiver.references.clone() };
    let (mut watch, shutdown) = (Watch::new(credentials), CancellationToken::new());
    let live = receiver.live_with(Session::signed_in(ours, 1000), &mut watch, &shutdown, PING);
    let both = async { tokio::join!(live, server(end)) };
    let (ended, _) = timeout(Duration::from_secs(30), both).await.expect("the session does not end");
    ended
}

#[tokio::test]
async fn a_server_that_stops_answering_is_found_out() {
    let (receiver, _) = receiver();
    let started = Wall::now();
    let error = session(&receiver, |mut server| async move {
        server.write_all(ACKNOWLEDGED).await.unwrap();
        // It takes what it is sent, and says nothing more.
        tokio::io::copy(&mut server, &mut tokio::io::sink()).await
    });
    let error = error.await.unwrap_err();
    assert!(error.failure() == Failure::Silent && error.to_string().contains("half-open"), "{error}");
    assert!(started.elapsed() >= PING * PINGS_MISSED);
}

#[tokio::test]
async fn a_trickle_is_a_sign_of_life_and_its_message_arrives() {
    let (receiver, queue) = receiver();
    let error = session(&receiver, |mut server| async move {
        server.write_all(ACKNOWLEDGED).await.unwrap();
        for byte in command(&[b"message", b"c", b"hello"]) {
            server.write_all(&[byte]).await.unwrap();
            tokio::time::sleep(PING / 2).await;
        }
    });
    assert_eq!(error.await.unwrap_err().failure(), Failure::Closed);
    assert_eq!(queue.snapshot().counts[0].queued, 1);
}

#[tokio::test]
async fn what_came_before_the_garbage_is_delivered() {
    let (receiver, queue) = receiver();
    let error = session(&receiver, |mut server| async move {
        let said = [ACKNOWLEDGED, &command(&[b"message", b"c", b"1"]), b"garbage\r\n", &command(&[b"message", b"c", b"2"])].concat();
        server.write_all(&said).await.unwrap();
        server
    });
    let error = error.await.unwrap_err();
    assert!(error.failure() == Failure::Protocol && error.to_string().contains("not RESP"), "{error}");
    assert_eq!(queue.snapshot().counts[0].received, 1);
}

#[tokio::test]
async fn a_connection_cut_in_a_message_delivers_what_was_whole() {
    let (receiver, queue) = receiver();
    let error = session(&receiver, |mut server| async move {
        let said = [ACKNOWLEDGED, &command(&[b"message", b"c", b"1"]), b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$9\r\nhal"].concat();
        server.write_all(&said).await.unwrap();
    });
    let error = error.await.unwrap_err();
    assert!(error.failure() == Failure::Closed && error.to_string().contains("Redis closed the connection"), "{error}");
    assert_eq!(queue.snapshot().counts[0].received, 1);
}

#[tokio::test]
async fn a_connection_closed_under_load_names_the_output_buffer_limit() {
    let (receiver, queue) = receiver();
    let error = session(&receiver, |mut server| async move {
        let many = command(&[b"message", b"c", &[b'x'; 500]]).repeat(3000);
        server.write_all(&[ACKNOWLEDGED, &many].concat()).await.unwrap();
    });
    let error = error.await.unwrap_err();
    assert!(error.failure() == Failure::Closed && error.to_string().contains("client-output-buffer-limit pubsub"), "{error}");
    assert_eq!(queue.snapshot().counts[0].received, 3000);
}

#[tokio::test]
async fn shutdown_unsubscribes_and_takes_what_was_sent_before() {
    let (receiver, queue) = receiver();
    let (mut server, ours) = tokio::io::duplex(64 << 10);
    let credentials = Credentials { server: receiver.server.clone(), references: receiver.references.clone() };
    let (mut watch, shutdown) = (Watch::new(credentials), CancellationToken::new());
    let live = receiver.live_with(Session::signed_in(ours, 1000), &mut watch, &shutdown, PING);
    let script = async {
        server.write_all(ACKNOWLEDGED).await.unwrap();
        until("ready", || receiver.state.is_ready()).await;
        shutdown.cancel();
        let mut heard = Vec::new();
        while !heard.ends_with(b"QUIT\r\n") {
            server.read_buf(&mut heard).await.unwrap();
        }
        server.write_all(&command(&[b"message", b"c", b"late"])).await.unwrap();
        drop(server);
    };
    let (ended, ()) = tokio::join!(live, script);
    ended.unwrap();
    assert_eq!(queue.snapshot().counts[0].queued, 1);
}

#[test]
fn load_is_what_came_within_two_seconds() {
    let begin = Instant::now();
    let closed = || SessionError::Broken { address: "redis://r".into(), error: ReadError::Closed };
    let load = |at: Duration| {
        let mut load = Load::new(begin);
        load.add(Load::MUCH, begin);
        load.explain(closed(), begin + at)
    };
    assert!(matches!(load(Duration::from_millis(1900)), SessionError::ClosedUnderLoad { .. }));
    assert!(matches!(load(Duration::from_millis(2100)), SessionError::Broken { .. }));
}
