//! Files that change behind a connection.

use std::fs;

use spinredis_crds::{KeyRef, SecretValueFrom};
use tempfile::TempDir;

use super::*;
use crate::redis::{
    scripted::{Answer, Scripted, until, usual},
    subscription::Subscription,
};

/// A watch on a password in a file, of a server that takes passwords with `right` in them.
async fn watch() -> (Watch, Scripted, TempDir, impl Fn(&str)) {
    let server = Scripted::start(|_, command| match command[0].as_str() {
        "AUTH" if !command[1].contains("right") => Answer::Say(b"-WRONGPASS invalid\r\n".to_vec()),
        _ => usual(command),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let key = KeyRef { name: "redis".into(), key: "password".into() };
    let password = SecretValueFrom { secret_key_ref: key };
    let file = folder.path().join(password.reference().path());
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let write = move |text: &str| fs::write(&file, text).unwrap();
    write("right");
    let connection = Connection { address: Some(server.address.clone()), password_from: Some(password), ..Connection::default() };
    let credentials = Credentials { server: connection, references: Arc::new(References::directory(folder.path())) };
    let watch = Watch { look_every: Duration::from_millis(10), prove_again: Duration::from_millis(50), ..Watch::new(credentials) };
    (watch, server, folder, write)
}

#[tokio::test]
async fn new_credentials_are_proved_on_a_connection_of_their_own() {
    let (mut watch, server, _folder, write) = watch().await;
    let state = SubscriptionState::new("ns/app".into(), [Subscription::Channel("c".into())]);
    let script = async {
        write("wrong");
        until("the refusal", || state.rotation_failed()).await;
        let refused = server.connections();
        until("another attempt", || server.connections() > refused).await;
        assert!(state.rotation_failed());
        write("right and new");
        until("the proof", || !state.rotation_failed()).await;
        let proofs = server.connections();
        until("the proof's end", || server.heard(proofs, "UNSUBSCRIBE") == 1).await;
        assert_eq!(server.heard(proofs, "SUBSCRIBE"), 0);
        let heard = server.asked.lock().unwrap().clone();
        assert!(heard.contains(&(proofs, ["CLIENT", "SETNAME", "app/check"].map(String::from).to_vec())), "{heard:?}");
    };
    tokio::select! {
        never = watch.prove_changes("app", &state) => match never {},
        () = script => {}
    }
}

#[tokio::test]
async fn what_does_not_change_is_not_proved() {
    let (mut watch, server, _folder, _) = watch().await;
    let state = SubscriptionState::new("ns/app".into(), []);
    watch.resolve().await.unwrap();
    let looks = tokio::time::timeout(watch.look_every * 10, watch.prove_changes("app", &state));
    assert!(looks.await.is_err() && server.connections() == 0);
}

#[tokio::test]
async fn a_change_ends_the_wait_and_is_then_known() {
    let (mut watch, _server, folder, write) = watch().await;
    write("other");
    watch.changed().await;
    assert!(!watch.look());
    drop(folder);
    assert!(watch.look(), "a file that is gone is a change too");
    assert!(watch.resolve().await.is_err_and(|error| error.to_string().contains("create it")));
}
