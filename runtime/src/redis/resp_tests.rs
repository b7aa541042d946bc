//! What the parser finds, however the stream is cut.

use super::*;
use bytes::Bytes;

use crate::redis::cursor::MAX_LINE;

/// Everything found in a stream that comes in pieces of this length, as text, and how it ended.
fn told(stream: &[u8], max_payload: u64, piece: usize) -> (Vec<String>, Option<Malformed>) {
    let mut parser = Parser::new(max_payload);
    let (mut unused, mut told) = (Vec::new(), Vec::new());
    for piece in stream.chunks(piece) {
        unused.extend_from_slice(piece);
        loop {
            match parser.next(&unused) {
                Ok((used, item)) => {
                    let end = item.is_none();
                    told.extend(item.map(|item| format!("{item:?}")));
                    unused.drain(..used);
                    if end {
                        break;
                    }
                }
                Err(malformed) => return (told, Some(malformed)),
            }
        }
        assert!(unused.len() < MAX_ITEM, "{} bytes wait", unused.len());
    }
    (told, None)
}

/// The same for several ways to cut the stream, which must not matter.
fn items(stream: &[u8], max_payload: u64) -> (Vec<String>, Option<Malformed>) {
    let whole = told(stream, max_payload, usize::MAX);
    for piece in [1, 2, 3, 1000, 65_536] {
        assert_eq!(told(stream, max_payload, piece), whole, "pieces of {piece}");
    }
    whole
}

fn message(pattern: Option<&[u8]>, channel: &[u8], payload: &[u8]) -> Vec<u8> {
    match pattern {
        Some(pattern) => command(&[b"pmessage", pattern, channel, payload]),
        None => command(&[b"message", channel, payload]),
    }
}

fn published(pattern: Option<&[u8]>, channel: &[u8], payload: Payload<'_>) -> String {
    format!("{:?}", Item::Message(Published { pattern, channel, payload }))
}

#[test]
fn every_kind_of_item_is_found() {
    let stream = b"+OK\r\n-ERR no\r\n:-7\r\n$-1\r\n$0\r\n\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n*-1\r\n";
    let (found, end) = items(stream, 100);
    let expected = [
        Item::Simple(b"OK"),
        Item::Error(b"ERR no"),
        Item::Integer(-7),
        Item::Bulk(None),
        Item::Bulk(Some(b"")),
        Item::Push(b"subscribe"),
        Item::Push(b""),
    ];
    assert_eq!(found, expected.map(|item| format!("{item:?}")));
    assert_eq!(end, None);
}

#[test]
fn a_payload_may_hold_anything_and_nothing() {
    let payloads = [&b""[..], b"\r\n", b"a\r\nb\r", &[0, 255, 13, 10, 13]];
    for payload in payloads {
        let stream = [message(None, b"c", payload), message(Some(b"*"), b"", payload)].concat();
        let expected = [published(None, b"c", Payload::Small(payload)), published(Some(b"*"), b"", Payload::Small(payload))];
        assert_eq!(items(&stream, 100).0, expected);
    }
}

#[test]
fn a_large_payload_comes_in_memory_of_its_own() {
    for length in [LARGE - 1, LARGE, LARGE + 1, 200_000] {
        let payload = vec![b'x'; length];
        let stream = [message(Some(b"c*"), b"c1", &payload), b"+OK\r\n".to_vec()].concat();
        let bytes = Bytes::from(payload.clone());
        let expected = if length < LARGE { Payload::Small(&payload) } else { Payload::Large(bytes) };
        assert_eq!(items(&stream, 1 << 20).0, [published(Some(b"c*"), b"c1", expected), "Simple([79, 75])".to_owned()]);
    }
}

#[test]
fn a_payload_over_the_bound_is_skipped_and_the_next_item_is_found() {
    for (bound, length) in [(0, 1), (10, 11), (LARGE as u64, LARGE + 1), (49_999, 50_000)] {
        let stream = [message(None, b"c", &vec![b'\r'; length]), message(None, b"c", b"")].concat();
        let expected = [published(None, b"c", Payload::TooLarge(length as u64)), published(None, b"c", Payload::Small(b""))];
        assert_eq!(items(&stream, bound).0, expected);
    }
}

#[test]
fn half_a_gigabyte_is_skipped_without_being_held() {
    let mut parser = Parser::new(8 << 20);
    let (used, item) = parser.next(b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$536870912\r\nxx").unwrap();
    assert_eq!((used, item), (38, None));
    let chunk = vec![b'x'; 1 << 20];
    for _ in 0..511 {
        assert_eq!(parser.next(&chunk).unwrap(), (chunk.len(), None));
        assert!(parser.destination(1).is_none() && parser.names.capacity() < 1024);
    }
    let rest = [vec![b'x'; (1 << 20) - 2], b"\r\n".to_vec()].concat();
    let (used, item) = parser.next(&rest).unwrap();
    let expected = Published { pattern: None, channel: b"c", payload: Payload::TooLarge(512 << 20) };
    assert_eq!((used, item), (rest.len(), Some(Item::Message(expected))));
}

#[test]
fn a_message_on_a_channel_with_an_endless_name_is_skipped() {
    let name = vec![b'n'; MAX_NAME + 1];
    let stream = [message(Some(b"*"), &name, b"hi"), message(Some(b"*"), &name[1..], b"hi")].concat();
    let expected = [published(Some(b"*"), &name[..SHOWN], Payload::TooLarge(2)), published(Some(b"*"), &name[1..], Payload::Small(b"hi"))];
    assert_eq!(items(&stream, 100).0, expected);
}

#[test]
fn the_rest_of_a_large_payload_is_read_to_its_own_place() {
    let mut parser = Parser::new(1 << 20);
    let stream = message(None, b"c", &vec![b'x'; 100_000]);
    let (head, rest) = stream.split_at(50);
    assert_eq!(parser.next(head).unwrap(), (50, None));
    assert!(parser.destination(100_000).is_none(), "fewer bytes are left than that");
    let (payload, end) = rest.split_at(rest.len() - 2);
    let mut destination = parser.destination(1000).unwrap();
    assert_eq!(destination.remaining_mut(), payload.len());
    destination.put_slice(payload);
    assert!(parser.destination(1).is_none());
    let (used, item) = parser.next(end).unwrap();
    assert!(matches!(item, Some(Item::Message(Published { payload: Payload::Large(bytes), .. })) if bytes.len() == 100_000));
    assert_eq!(used, 2);
}

#[test]
fn a_line_has_an_end() {
    let line = |length: usize| [b"+".as_slice(), &vec![b'x'; length - 1], b"\r\n"].concat();
    assert_eq!(items(&line(MAX_LINE), 100).0.len(), 1);
    assert_eq!(items(&line(MAX_LINE + 1), 100).1, Some(Malformed("it sent an endless line")));
}

#[test]
fn what_is_not_redis_is_said_to_be_so() {
    let many = [b"*16\r\n".to_vec(), command(&[&vec![b'x'; MAX_NAME]])[4..].repeat(16)].concat();
    for stream in [
        &b"HTTP/1.1 400 Bad Request\r\n"[..],
        b"\x15\x03\x03\x00\x02\x02\x0a\r\n",
        b"$5\r\nhelloXX",
        b"$99999\r\n",
        b"*99\r\n",
        b"*1000000000\r\n",
        b"*1\r\n*1\r\n*1\r\n",
        b":x\r\n",
        b"\r\n",
        b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n:1\r\n",
        b"*3\r\n$7\r\nmessage\r\n$-1\r\n",
        b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$99999999999999999999\r\n",
        b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhello\r\n",
        b"*2\r\n$7\r\nmessage\r\n$1\r\nc\r\n",
        &many,
    ] {
        let (_, end) = items(stream, 100);
        assert!(end.is_some(), "{:?}", String::from_utf8_lossy(&stream[..stream.len().min(60)]));
    }
}
