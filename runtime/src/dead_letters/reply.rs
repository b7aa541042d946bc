//! Reads what Redis answers to the commands of streams: XRANGE, XREVRANGE, XREADGROUP, XAUTOCLAIM. Pure.

use std::collections::HashMap;

use bytes::Bytes;
use redis::Value;

/// The fields of an entry, in their order.
pub type Fields = Vec<(Bytes, Bytes)>;

/// An entry of a stream.
#[derive(Debug, PartialEq)]
pub struct Record {
    /// Its id, `milliseconds-number`.
    pub id: String,
    /// Its fields; none when the entry was deleted while it was pending.
    pub fields: Option<Fields>,
}

impl Record {
    /// Bytes of all values.
    pub fn bytes(&self) -> usize {
        self.fields.iter().flatten().map(|(_, value)| value.len()).sum()
    }
}

/// The answer is not one that Redis gives to this command.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("Redis answered with something that is not a list of stream entries")]
pub struct NotEntries;

/// The entries of XRANGE and XREVRANGE. Redis 6.2 answers XAUTOCLAIM with nil for a deleted entry; those are left out.
pub fn records(value: Value) -> Result<Vec<Record>, NotEntries> {
    list(value)?.into_iter().filter(|value| *value != Value::Nil).map(record).collect()
}

/// The entries of XREADGROUP from one stream; none when it has nothing new.
pub fn read(value: Value) -> Result<Vec<Record>, NotEntries> {
    if value == Value::Nil {
        return Ok(Vec::new());
    }
    let Ok([stream]) = <[Value; 1]>::try_from(list(value)?) else { return Err(NotEntries) };
    let Ok([_, entries]) = <[Value; 2]>::try_from(list(stream)?) else { return Err(NotEntries) };
    records(entries)
}

/// Where XAUTOCLAIM goes on the next time, and the entries it gave. Redis 7 adds a list of deleted ids.
pub fn claimed(value: Value) -> Result<(String, Vec<Record>), NotEntries> {
    let mut parts = list(value)?.into_iter();
    let (Some(next), Some(entries)) = (parts.next(), parts.next()) else { return Err(NotEntries) };
    Ok((text(next)?, records(entries)?))
}

/// The ids of XPENDING's long form, and how often each was delivered.
pub fn deliveries(value: Value) -> Result<HashMap<String, u64>, NotEntries> {
    let delivered = |value| {
        let Ok([id, _consumer, _idle, Value::Int(times)]) = <[Value; 4]>::try_from(list(value)?) else { return Err(NotEntries) };
        Ok((text(id)?, u64::try_from(times).unwrap_or_default()))
    };
    list(value)?.into_iter().map(delivered).collect()
}

fn record(value: Value) -> Result<Record, NotEntries> {
    let Ok([id, fields]) = <[Value; 2]>::try_from(list(value)?) else { return Err(NotEntries) };
    let fields = match fields {
        Value::Nil => None,
        fields => {
            let mut values = list(fields)?.into_iter();
            let mut pairs = Fields::new();
            while let Some(name) = values.next() {
                pairs.push((bytes(name)?, bytes(values.next().ok_or(NotEntries)?)?));
            }
            Some(pairs)
        }
    };
    Ok(Record { id: text(id)?, fields })
}

fn list(value: Value) -> Result<Vec<Value>, NotEntries> {
    match value {
        Value::Array(values) => Ok(values),
        _ => Err(NotEntries),
    }
}

fn bytes(value: Value) -> Result<Bytes, NotEntries> {
    match value {
        Value::BulkString(bytes) => Ok(bytes.into()),
        Value::SimpleString(text) => Ok(text.into_bytes().into()),
        _ => Err(NotEntries),
    }
}

fn text(value: Value) -> Result<String, NotEntries> {
    String::from_utf8(bytes(value)?.into()).map_err(|_| NotEntries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn entry(id: &str) -> Value {
        Value::Array(vec![word(id), Value::Array(vec![word("a"), word("1"), word("b"), word("2")])])
    }

    fn known(id: &str) -> Record {
        let pair = |name: &'static str, value: &'static str| (Bytes::from(name), Bytes::from(value));
        Record { id: id.to_owned(), fields: Some(vec![pair("a", "1"), pair("b", "2")]) }
    }

    #[test]
    fn entries_are_read_in_each_form() {
        let entries = || Value::Array(vec![entry("1-0"), Value::Nil, Value::Array(vec![word("2-0"), Value::Nil])]);
        let wanted = || vec![known("1-0"), Record { id: "2-0".to_owned(), fields: None }];
        assert_eq!(records(entries()), Ok(wanted()));
        assert_eq!(read(Value::Array(vec![Value::Array(vec![word("stream"), entries()])])), Ok(wanted()));
        assert_eq!(read(Value::Nil), Ok(vec![]));
        assert_eq!(claimed(Value::Array(vec![word("0-0"), entries(), Value::Array(vec![])])), Ok(("0-0".to_owned(), wanted())));
        assert_eq!(known("1-0").bytes(), 2);
    }

    #[test]
    fn anything_else_is_refused() {
        let odd = Value::Array(vec![word("1-0"), Value::Array(vec![word("a")])]);
        for value in [Value::Okay, Value::Int(1), Value::Array(vec![word("1-0")]), Value::Array(vec![odd])] {
            assert_eq!(records(value.clone()), Err(NotEntries));
            assert_eq!(read(value.clone()), Err(NotEntries));
            assert_eq!(claimed(value), Err(NotEntries));
        }
    }
}
