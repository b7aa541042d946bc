//! Connections that break and come back.

use spinredis_crds::{Connection, Reason};
use tokio::task::JoinHandle;

use super::*;
use crate::{
    queue::Inbox,
    redis::{
        failure::Failure,
        scripted::{Answer, Scripted, until, usual},
        subscription::Subscription,
    },
};

#[test]
fn the_wait_doubles_up_to_its_maximum() {
    let waits: Vec<u128> = (1..=8).map(|failures| backoff(failures, 1.0).as_millis()).collect();
    assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    assert_eq!(backoff(1000, 0.5), Duration::from_millis(2500));
}

/// A receiver that runs.
struct Running {
    state: Arc<SubscriptionState>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn start(address: &str) -> Self {
        let inbox = Inbox::unattended("a", &["c", "d"], 1 << 20);
        let mut routes = Routes::default();
        for (place, channel) in ["c", "d"].into_iter().enumerate() {
            routes.add(Subscription::Channel(channel.into()), place, &inbox);
        }
        let state = Arc::new(SubscriptionState::new("ns/app".into(), routes.subscriptions().cloned()));
        let receiver = Receiver {
            server: Connection { address: Some(address.to_owned()), ..Connection::default() },
            references: Arc::new(References::default()),
            routes: Arc::new(routes),
            state: state.clone(),
            client_name: "test".into(),
            max_message_bytes: 1000,
            sharing: None,
        };
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(receiver.run(shutdown.clone()));
        Self { state, shutdown, task }
    }

    fn failures(&self, failure: Failure) -> u64 {
        self.state.failures()[failure as usize]
    }

    async fn ready(&self) {
        until("ready", || self.state.is_ready()).await;
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}

fn say(text: &str) -> Answer {
    Answer::Say(text.as_bytes().to_vec())
}

/// At which command, with what, and what it is then called.
type Case = (&'static str, fn(&[String]) -> Answer, Failure, Reason);

#[tokio::test]
async fn whatever_breaks_a_connection_is_named_and_a_new_one_is_made() {
    let cases: [Case; 6] = [
        (
            "SUBSCRIBE",
            |_| Answer::SayAndClose(b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$5\r\nhe".to_vec()),
            Failure::Closed,
            Reason::RedisUnreachable,
        ),
        ("SUBSCRIBE", |_| say("*1000000000\r\n"), Failure::Protocol, Reason::RedisUnreachable),
        ("SUBSCRIBE", |_| say("-NOAUTH Authentication required.\r\n"), Failure::Auth, Reason::RedisAuthFailed),
        ("PING", |_| say("-NOAUTH Authentication required.\r\n"), Failure::Auth, Reason::RedisAuthFailed),
        ("PING", |_| say("\x15\x03\x03\x00\x02\x02\x28\r\n"), Failure::Protocol, Reason::RedisUnreachable),
        ("CLIENT", |_| Answer::SayAndClose(Vec::new()), Failure::Closed, Reason::RedisUnreachable),
    ];
    for (when, answer, failure, reason) in cases {
        // The second connection waits until the first one's end was seen.
        let (seen, may_go_on) = (CancellationToken::new(), CancellationToken::new());
        let (first, second) = (seen.clone(), may_go_on.clone());
        let server = Scripted::start(move |connection, command| match connection {
            1 if command[0] == when => {
                first.cancel();
                answer(command)
            }
            1 => usual(command),
            _ if second.is_cancelled() => usual(command),
            _ => Answer::SayAndClose(Vec::new()),
        })
        .await;
        let running = Running::start(&server.address);
        seen.cancelled().await;
        until(failure.as_str(), || running.failures(failure) > 0).await;
        let status = running.state.status();
        assert!(!status.ready && [reason, Reason::RedisUnreachable].contains(&status.reason), "{status:?}");
        may_go_on.cancel();
        running.ready().await;
        running.stop().await;
    }
}

#[tokio::test]
async fn a_refused_channel_is_asked_for_until_it_is_permitted_and_the_other_goes_on() {
    let permitted = CancellationToken::new();
    let asked = permitted.clone();
    let server = Scripted::start(move |_, command| match command[0].as_str() {
        "SUBSCRIBE" if command[1] == "d" && !asked.is_cancelled() => say("-NOPERM no permissions to access the 'd' channel\r\n"),
        _ => usual(command),
    })
    .await;
    let running = Running::start(&server.address);
    until("the refusal", || running.state.status().reason == Reason::RedisPermission).await;
    let status = running.state.status();
    assert!(!status.ready && status.subscribed == 1 && status.message.contains("to d (NOPERM"), "{status:?}");
    permitted.cancel();
    running.ready().await;
    assert_eq!(server.connections(), 1, "nothing was connected again for it");
    running.stop().await;
}

#[tokio::test]
async fn shutdown_ends_the_wait_for_a_server_that_is_not_there() {
    let running = Running::start("redis://127.0.0.1:1");
    until("a failure", || running.failures(Failure::Unreachable) > 0).await;
    running.stop().await;
}
