//! Deployments in the form in which the API server gives them.

use serde::Deserialize;
use serde_json::{Value, json};

use super::*;

fn deployment(template: &str, origin: Option<&str>, rolled_by: Option<&str>, updated: i32) -> Deployment {
    let mut annotations = serde_json::Map::new();
    for (name, value) in [(ORIGIN_ANNOTATION, origin), (ROLLED_BY_ANNOTATION, rolled_by)] {
        annotations.extend(value.map(|value| (name.to_owned(), Value::from(value))));
    }
    Deployment::deserialize(json!({
        "metadata": {"name": "a", "generation": 2, "annotations": annotations},
        "spec": {"replicas": 1, "selector": {}, "template": {"metadata": {"labels": {TEMPLATE_LABEL: template}}}},
        "status": {"observedGeneration": 2, "replicas": 1, "updatedReplicas": updated, "availableReplicas": 1},
    }))
    .unwrap()
}

fn live() -> Deployment {
    deployment("old", Some("edit-1"), Some(BY_AUTHOR), 1)
}

fn note(deployment: &Deployment) -> &str {
    deployment.annotations()[ROLLED_BY_ANNOTATION].as_str()
}

/// Asks for the roll of an app for the operator's own reasons; gives what would be written.
fn asks(rolls: &Rolls, app: &str, now: Instant) -> Option<Deployment> {
    let mut wanted = deployment("new", Some("edit-1"), None, 0);
    rolls.admit(app, Some(&live()), &mut wanted, false, now).then_some(wanted)
}

#[test]
fn no_more_apps_than_allowed_roll_at_once_and_the_next_takes_the_place_of_one_that_is_through() {
    let (rolls, now) = (Rolls::new(2), Instant::now());
    let first = asks(&rolls, "a", now).unwrap();
    assert_eq!(note(&first), BY_OPERATOR);
    assert!(asks(&rolls, "b", now).is_some() && asks(&rolls, "c", now).is_none());
    assert!(asks(&rolls, "a", now).is_some(), "one that has its place keeps it");
    assert!(rolls.waits("c").is_some() && rolls.waits("a").is_none());

    rolls.observe("a", Some(&deployment("new", Some("edit-1"), Some(BY_OPERATOR), 0)), false);
    assert!(asks(&rolls, "c", now).is_none(), "a is not through");
    rolls.observe("a", Some(&deployment("new", Some("edit-1"), Some(BY_OPERATOR), 1)), false);
    assert!(asks(&rolls, "c", now).is_some());
    assert_eq!(rolls.waits("c"), None);
}

#[test]
fn an_authors_edit_and_a_new_app_never_wait_and_take_no_place() {
    let (rolls, now) = (Rolls::new(1), Instant::now());
    asks(&rolls, "a", now).unwrap();
    let mut edited = deployment("new", Some("edit-2"), None, 0);
    assert!(rolls.admit("b", Some(&live()), &mut edited, false, now));
    assert_eq!(note(&edited), BY_AUTHOR);
    assert!(rolls.admit("c", None, &mut edited, false, now));
    rolls.forget("a");
    rolls.observe("b", Some(&deployment("new", Some("edit-2"), Some(BY_AUTHOR), 0)), false);
    assert!(asks(&rolls, "d", now).is_some());
}

#[test]
fn what_changes_no_pods_never_waits_and_leaves_the_note_as_it_is() {
    let (rolls, now) = (Rolls::new(1), Instant::now());
    asks(&rolls, "a", now).unwrap();
    let mut wanted = deployment("old", Some("edit-2"), None, 1);
    assert!(rolls.admit("b", Some(&deployment("old", Some("edit-1"), Some(BY_OPERATOR), 1)), &mut wanted, false, now));
    assert_eq!(note(&wanted), BY_OPERATOR);
}

#[test]
fn a_deployment_from_before_edits_were_noted_waits_for_its_turn() {
    let (rolls, now) = (Rolls::new(1), Instant::now());
    asks(&rolls, "a", now).unwrap();
    let mut wanted = deployment("new", Some("edit-1"), None, 0);
    assert!(!rolls.admit("b", Some(&deployment("old", None, None, 1)), &mut wanted, false, now));
    assert!(rolls.admit("b", Some(&deployment("old", None, None, 1)), &mut wanted, true, now), "its author just edited it");
}

#[test]
fn an_app_that_never_finishes_keeps_no_other_waiting_for_ever() {
    let unfinished = deployment("new", Some("edit-1"), Some(BY_OPERATOR), 0);
    let now = Instant::now();
    let rolls = Rolls::new(1);
    asks(&rolls, "a", now).unwrap();
    rolls.observe("a", Some(&unfinished), false);
    assert!(asks(&rolls, "b", now + PATIENCE / 2).is_none());
    rolls.observe("a", Some(&unfinished), false);
    assert!(asks(&rolls, "b", now + PATIENCE).is_some(), "it had its ten minutes");

    let rolls = Rolls::new(1);
    asks(&rolls, "a", now).unwrap();
    rolls.observe("a", Some(&unfinished), true);
    assert!(asks(&rolls, "b", now).is_some(), "a is stalled");

    let mut stuck = unfinished;
    let condition = json!({"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"});
    stuck.status.as_mut().unwrap().conditions = Some(vec![Deserialize::deserialize(condition).unwrap()]);
    let rolls = Rolls::new(1);
    asks(&rolls, "a", now).unwrap();
    rolls.observe("a", Some(&stuck), false);
    assert!(asks(&rolls, "b", now).is_some(), "Kubernetes gave a up");
}

#[test]
fn the_cluster_tells_after_a_restart_what_rolls() {
    let (rolls, now) = (Rolls::new(1), Instant::now());
    rolls.learn(|| vec![deployment("new", Some("edit-1"), Some(BY_OPERATOR), 0)]);
    assert!(asks(&rolls, "b", now).is_none());
    let rolls = Rolls::new(1);
    rolls.learn(|| vec![deployment("new", Some("edit-1"), Some(BY_OPERATOR), 1)]);
    assert!(asks(&rolls, "b", now).is_some(), "its roll is over");
}

#[test]
fn what_scales_or_fails_long_after_its_roll_takes_no_place() {
    let (rolls, now) = (Rolls::new(1), Instant::now());
    let mut scaled = deployment("new", Some("edit-1"), Some(BY_OPERATOR), 1);
    scaled.status.as_mut().unwrap().available_replicas = Some(0);
    rolls.observe("a", Some(&scaled), false);
    assert!(asks(&rolls, "b", now).is_some());
}

#[test]
fn any_number_rolls_when_there_is_no_limit() {
    let (rolls, now) = (Rolls::new(0), Instant::now());
    assert!((0..100).all(|app| asks(&rolls, &app.to_string(), now).is_some()));
}
