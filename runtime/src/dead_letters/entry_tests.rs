//! What is written is read again, and nothing that is in a stream makes the reader fall over.

use bytes::Bytes;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;

pub(in crate::dead_letters) fn example() -> Entry {
    Entry {
        payload: Bytes::from_static(b"\x00\xffhello"),
        channel: "orders.eu".into(),
        pattern: Some("orders.*".into()),
        address: "redis://127.0.0.1:6379".into(),
        app: "shop/orders".into(),
        component: "book".into(),
        error: "the handler returned an error: no".into(),
        reason: Cow::Borrowed("guest_error"),
        attempts: 3,
        first_ms: 1_700_000_000_000,
        last_ms: 1_700_000_009_000,
    }
}

fn written(entry: &Entry) -> Vec<(Bytes, Bytes)> {
    entry.fields().into_iter().map(|(name, value)| (Bytes::from_static(name.as_bytes()), Bytes::from(value.into_owned()))).collect()
}

fn without(fields: &[(Bytes, Bytes)], name: &str) -> Vec<(Bytes, Bytes)> {
    fields.iter().filter(|(known, _)| known != name.as_bytes()).cloned().collect()
}

#[test]
fn what_is_written_is_read_again() {
    let entry = example();
    assert_eq!(Entry::parse(&written(&entry)), Ok(entry.clone()));
    let by_channel = Entry { pattern: None, payload: Bytes::new(), ..entry };
    assert_eq!(Entry::parse(&written(&by_channel)), Ok(by_channel));
}

#[test]
fn random_entries_are_read_as_they_were_written() {
    let mut random = StdRng::seed_from_u64(1);
    for _ in 0..2_000 {
        let text = |random: &mut StdRng| -> String { (0..random.random_range(0..20)).map(|_| random.random::<char>()).collect() };
        let payload: Vec<u8> = (0..random.random_range(0..100)).map(|_| random.random()).collect();
        let entry = Entry {
            payload: payload.into(),
            channel: text(&mut random).into(),
            pattern: random.random::<bool>().then(|| text(&mut random).into()),
            address: text(&mut random).into(),
            app: text(&mut random).into(),
            component: text(&mut random).into(),
            error: text(&mut random),
            reason: Cow::Owned(text(&mut random)),
            attempts: random.random(),
            first_ms: random.random(),
            last_ms: random.random(),
        };
        let mut fields = written(&entry);
        // In another order, and among fields of a version to come.
        let by = random.random_range(0..fields.len());
        fields.rotate_left(by);
        fields.insert(by, (Bytes::from_static(b"colour"), Bytes::from_static(b"\xff")));
        assert_eq!(Entry::parse(&fields), Ok(entry));
    }
}

#[test]
fn bytes_of_a_stranger_are_refused_and_never_panic() {
    let mut random = StdRng::seed_from_u64(2);
    let whole = written(&example());
    for _ in 0..20_000 {
        let mut fields = whole.clone();
        for _ in 0..random.random_range(1..4) {
            let place = random.random_range(0..fields.len());
            let bytes: Vec<u8> = (0..random.random_range(0..12)).map(|_| random.random()).collect();
            match random.random_range(0..3) {
                0 if fields.len() > 1 => drop(fields.remove(place)),
                1 => fields[place].0 = bytes.into(),
                _ => fields[place].1 = bytes.into(),
            }
        }
        if let Ok(entry) = Entry::parse(&fields) {
            assert_eq!(Entry::parse(&written(&entry)), Ok(entry));
        }
        Entry::owner(&fields);
    }
}

#[test]
fn each_field_but_the_pattern_must_be_there() {
    let fields = written(&example());
    for (name, _) in example().fields() {
        let result = Entry::parse(&without(&fields, name));
        match name {
            "pattern" => assert_eq!(result, Ok(Entry { pattern: None, ..example() })),
            _ => assert_eq!(result, Err(EntryError::Missing(name))),
        }
    }
}

#[test]
fn a_field_that_is_no_text_or_no_number_is_named() {
    let with = |name: &'static str, value: &'static [u8]| {
        let mut fields = without(&written(&example()), name);
        fields.push((Bytes::from_static(name.as_bytes()), Bytes::from_static(value)));
        Entry::parse(&fields).unwrap_err().to_string()
    };
    assert_eq!(with("channel", b"\xff"), "its field `channel` is not text (UTF-8)");
    assert_eq!(with("attempts", b"-1"), "its field `attempts` is `-1`, which is not a whole number");
    assert_eq!(with("first-ms", b"soon"), "its field `first-ms` is `soon`, which is not a whole number");
}

#[test]
fn a_long_error_is_cut_at_a_whole_character() {
    let entry = Entry { error: "ä".repeat(MAX_ERROR_BYTES), ..example() };
    let read = Entry::parse(&written(&entry)).unwrap();
    assert_eq!(read.error, "ä".repeat(MAX_ERROR_BYTES / 2));
    let odd = Entry { error: format!("x{}", entry.error), ..entry };
    assert_eq!(Entry::parse(&written(&odd)).unwrap().error.len(), MAX_ERROR_BYTES - 1);
}

#[test]
fn an_owner_is_known_even_of_an_entry_that_cannot_be_read() {
    let fields = without(&written(&example()), "attempts");
    assert_eq!(Entry::owner(&fields), Some((&b"shop/orders"[..], &b"book"[..])));
    assert_eq!(Entry::owner(&without(&fields, "app")), None);
}
