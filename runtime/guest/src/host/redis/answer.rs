//! What `execute` gives a guest of an answer: a flat list, as the interface has no nested ones.

use redis::Value;

/// One part of an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// No value.
    Nil,
    /// A status, such as OK.
    Status(String),
    /// An integer.
    Int64(i64),
    /// Bytes.
    Binary(Vec<u8>),
}

/// The parts of an answer, those of nested lists in their order.
pub fn parts(value: Value) -> Vec<Part> {
    let mut parts = Vec::new();
    flatten(value, &mut parts);
    parts
}

fn flatten(value: Value, parts: &mut Vec<Part>) {
    match value {
        Value::Nil => parts.push(Part::Nil),
        Value::Int(number) => parts.push(Part::Int64(number)),
        Value::BulkString(bytes) => parts.push(Part::Binary(bytes)),
        Value::Okay => parts.push(Part::Status("OK".to_owned())),
        Value::SimpleString(text) => parts.push(Part::Status(text)),
        Value::Array(values) | Value::Set(values) => values.into_iter().for_each(|value| flatten(value, parts)),
        Value::Map(pairs) => pairs.into_iter().for_each(|(key, value)| {
            flatten(key, parts);
            flatten(value, parts);
        }),
        Value::Boolean(flag) => parts.push(Part::Int64(i64::from(flag))),
        Value::Double(number) => parts.push(Part::Binary(number.to_string().into_bytes())),
        Value::VerbatimString { text, .. } => parts.push(Part::Binary(text.into_bytes())),
        Value::Attribute { data, .. } => flatten(*data, parts),
        Value::Push { data, .. } => data.into_iter().for_each(|value| flatten(value, parts)),
        // RESP2 has nothing else but errors within a transaction's answers.
        other => parts.push(Part::Status(format!("{other:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_answers_become_one_list() {
        let answer = Value::Array(vec![Value::Int(1), Value::Array(vec![Value::Nil, Value::BulkString(b"x".to_vec())]), Value::Okay]);
        assert_eq!(parts(answer), [Part::Int64(1), Part::Nil, Part::Binary(b"x".to_vec()), Part::Status("OK".to_owned())]);
    }
}
