//! Signing in, and what keeps a session from beginning.

use spinredis_crds::Connection;

use super::*;
use crate::{
    redis::{
        failure::Failure,
        scripted::{Answer, Scripted, info, usual},
    },
    references::References,
};

async fn open(connection: Connection, script: impl Fn(&[String]) -> Option<Answer> + Send + Sync + 'static) -> Result<(), SessionError> {
    let server = Scripted::start(move |_, command| script(command).unwrap_or_else(|| usual(command))).await;
    let connection = Connection { address: Some(server.address.clone()), ..connection };
    let endpoint = Endpoint::resolve(&connection, "trigger", &References::default())?;
    Session::open(&endpoint, "test", 100).await.map(drop)
}

fn say(text: &str) -> Option<Answer> {
    Some(Answer::Say(text.as_bytes().to_vec()))
}

#[tokio::test]
async fn a_sentinel_is_refused_with_a_sentence() {
    let error = open(Connection::default(), |command| match command[0].as_str() {
        "INFO" => Some(info("sentinel")),
        _ => None,
    });
    let error = error.await.unwrap_err();
    assert!(error.failure() == Failure::Sentinel && error.to_string().contains("is a Redis Sentinel"), "{error}");
}

#[tokio::test]
async fn a_user_who_may_do_nothing_but_subscribe_signs_in() {
    open(Connection::default(), |_| say("-NOPERM this user has no permissions\r\n")).await.unwrap();
}

#[tokio::test]
async fn a_redis_that_loads_its_data_takes_subscriptions() {
    open(Connection::default(), |command| if command[0] == "PING" { say("-LOADING Redis is loading\r\n") } else { None }).await.unwrap();
}

#[tokio::test]
async fn what_keeps_a_session_from_beginning_has_a_name() {
    let user = || Connection { username: Some("anna".into()), ..Connection::default() };
    let cases = [
        (user(), "-WRONGPASS invalid username-password pair\r\n", Failure::Auth, "sign in user anna"),
        (user(), "-LOADING Redis is loading\r\n", Failure::Refused, "refuses AUTH: LOADING"),
        (user(), "-ERR max number of clients reached\r\n", Failure::Refused, "turns the connection away"),
        (Connection::default(), "-NOAUTH Authentication required.\r\n", Failure::Auth, "wants a password and the app has none"),
        (Connection::default(), "-DENIED Redis is running in protected mode\r\n", Failure::Refused, "turns the connection away"),
        (Connection::default(), "HTTP/1.1 400 Bad Request\r\n", Failure::Protocol, "is not Redis"),
    ];
    for (connection, answer, failure, sentence) in cases {
        let error = open(connection, move |_| say(answer)).await.unwrap_err();
        assert!(error.failure() == failure && error.to_string().contains(sentence), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_takes_connections_and_says_nothing_is_given_up() {
    let error = open(Connection::default(), |_| Some(Answer::Silence)).await.unwrap_err();
    assert!(error.failure() == Failure::Silent && error.to_string().contains("does not answer PING"), "{error}");
}
