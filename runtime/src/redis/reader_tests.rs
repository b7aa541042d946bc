//! Reading from streams that give little, much, or nothing.

use bytes::Bytes;

use super::*;
use crate::redis::{
    item::{Payload, Published},
    resp::command,
};

/// A stream that gives what was written, in pieces of this length at most.
fn stream(bytes: Vec<u8>, piece: usize) -> impl AsyncRead + Unpin {
    let (mut writer, reader) = tokio::io::duplex(piece);
    tokio::spawn(async move { tokio::io::AsyncWriteExt::write_all(&mut writer, &bytes).await });
    reader
}

#[tokio::test]
async fn messages_of_all_sizes_are_read_and_the_buffer_stays_as_it_is() {
    let sizes = [0, 1, 1000, 16_383, 16_384, 70_000, 300_000, 5, 2_000_000, 3];
    let payload = |size: usize| vec![b'a' + (size % 26) as u8; size];
    let bytes: Vec<u8> = sizes.iter().flat_map(|size| command(&[b"message", b"c", &payload(*size)])).collect();
    for piece in [13, 777, 65_536, 1 << 20] {
        let mut reader = Reader::new(stream(bytes.clone(), piece), 1 << 20);
        let mut sizes = sizes.iter();
        let error = loop {
            while let Some(item) = reader.item().unwrap() {
                let Item::Message(Published { payload: found, .. }) = item else { panic!("{item:?}") };
                let expected = payload(*sizes.next().unwrap());
                match found {
                    Payload::Small(bytes) => assert_eq!(bytes, expected),
                    Payload::Large(bytes) => assert_eq!(bytes, Bytes::from(expected)),
                    Payload::TooLarge(length) => assert_eq!((length, expected.len()), (2_000_000, 2_000_000)),
                }
            }
            match reader.fill().await {
                Ok(read) => assert!(read > 0 && reader.buffer.len() == CHUNK),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, ReadError::Closed) && sizes.next().is_none(), "{error:?}");
    }
}

#[tokio::test]
async fn dropping_a_read_loses_nothing() {
    let (mut writer, reader) = tokio::io::duplex(64);
    let mut reader = Reader::new(reader, 100);
    for byte in command(&[b"message", b"c", b"hello"]) {
        assert!(reader.item().unwrap().is_none());
        // Nothing is there yet, so this read is dropped while it waits.
        tokio::select! {
            biased;
            read = reader.fill() => panic!("{read:?}"),
            () = std::future::ready(()) => {}
        }
        tokio::io::AsyncWriteExt::write_all(&mut writer, &[byte]).await.unwrap();
        reader.fill().await.unwrap();
    }
    assert!(matches!(reader.item().unwrap(), Some(Item::Message(Published { payload: Payload::Small(b"hello"), .. }))));
}
