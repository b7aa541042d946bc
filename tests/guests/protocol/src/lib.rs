//! The calls that a message asks a conformance guest for, and the line in which the guest answers each.
//!
//! A payload is a JSON array, the name of a call and its arguments, or an array of such arrays. What is not a call of that
//! guest, or has other arguments, traps and says so on stderr: a test that asks for it is wrong.

use std::fmt::Debug;

use serde_json::{Value, json};

/// What a host answered: a value, or an error by the name it has in the WIT and what it carries.
pub type Answer = Result<Value, Value>;

/// One call that a message asks for.
pub struct Call(Vec<Value>);

/// The calls of a payload, in their order.
pub fn calls(payload: &[u8]) -> Vec<Call> {
    let payload: Value = serde_json::from_slice(payload).unwrap_or_else(|error| panic!("the payload is not JSON: {error}"));
    let Value::Array(items) = payload else { panic!("the payload is no array") };
    if items.first().is_some_and(Value::is_array) {
        items.into_iter().map(|item| Call(item.as_array().expect("a call is an array").clone())).collect()
    } else {
        vec![Call(items)]
    }
}

/// Prints the line for one answer.
pub fn print(answer: &Answer) {
    match answer {
        Ok(value) => println!("{}", json!({"ok": value})),
        Err(error) => println!("{}", json!({"error": error})),
    }
}

impl Call {
    /// The interface and the function, `key-value.get`.
    pub fn name(&self) -> &str {
        self.0.first().and_then(Value::as_str).unwrap_or_else(|| panic!("a call starts with its name"))
    }

    /// An argument, counted from 0, as it is.
    pub fn value(&self, index: usize) -> &Value {
        self.0.get(index + 1).unwrap_or_else(|| panic!("{} needs an argument {index}", self.name()))
    }

    /// An argument that is a text.
    pub fn text(&self, index: usize) -> &str {
        self.value(index).as_str().unwrap_or_else(|| panic!("argument {index} of {} is a text", self.name()))
    }

    /// An argument that is a number.
    pub fn number(&self, index: usize) -> i64 {
        self.value(index).as_i64().unwrap_or_else(|| panic!("argument {index} of {} is a number", self.name()))
    }

    /// All arguments from this one on, as they are.
    pub fn rest(&self, from: usize) -> &[Value] {
        self.0.get(from + 1..).unwrap_or_default()
    }

    /// All arguments from this one on, as texts.
    pub fn texts(&self, from: usize) -> Vec<String> {
        (from..self.0.len() - 1).map(|index| self.text(index).to_owned()).collect()
    }

    /// Ends the guest: it knows no such call.
    pub fn unknown(&self) -> ! {
        panic!("there is no call {}", self.name())
    }
}

/// Bytes as a text; what is not UTF-8 becomes U+FFFD.
pub fn text(bytes: impl AsRef<[u8]>) -> Value {
    String::from_utf8_lossy(bytes.as_ref()).into()
}

/// Bytes that may be missing.
pub fn optional(bytes: Option<Vec<u8>>) -> Value {
    bytes.map_or(Value::Null, text)
}

/// A parameter of `redis.execute`: `{"int64": 5}` or `{"binary": "text"}`.
pub fn parameter<T>(value: &Value, int64: impl Fn(i64) -> T, binary: impl Fn(Vec<u8>) -> T) -> T {
    match (value.get("int64").and_then(Value::as_i64), value.get("binary").and_then(Value::as_str)) {
        (Some(number), _) => int64(number),
        (None, Some(bytes)) => binary(bytes.as_bytes().to_vec()),
        (None, None) => panic!("{value} is neither an int64 nor a binary"),
    }
}

/// An error as the array of its names in the WIT and what it carries: `["no-such-store"]`, `["other", "why"]`.
///
/// Bindings show a variant as `Error::Other("why")` and an enum as `Error { code: 1, name: "error", … }`, for any interface.
pub fn failure(error: impl Debug) -> Value {
    let mut parts = Vec::new();
    describe(&format!("{error:?}"), &mut parts);
    Value::Array(parts)
}

fn describe(shown: &str, parts: &mut Vec<Value>) {
    if let Some((_, rest)) = shown.split_once(" name: \"") {
        let name = rest.split('"').next().unwrap_or_default();
        parts.push(name.into());
        return;
    }
    let (case, inner) = match shown.split_once('(') {
        Some((case, inner)) => (case, Some(inner.strip_suffix(')').unwrap_or(inner))),
        None => (shown, None),
    };
    match (case, inner) {
        ("None", None) => {}
        ("Some", Some(inner)) => describe(inner, parts),
        _ if !is_case(case) => {
            parts.push(serde_json::from_str(shown).unwrap_or_else(|_| shown.into()));
        }
        _ => {
            parts.push(kebab(case.rsplit("::").next().unwrap_or(case)).into());
            if let Some(inner) = inner {
                describe(inner, parts);
            }
        }
    }
}

/// Whether this is the name of a case, and not a text, a number or a record.
fn is_case(shown: &str) -> bool {
    shown.starts_with(|first: char| first.is_ascii_uppercase()) && shown.chars().all(|letter| letter.is_alphanumeric() || letter == ':')
}

/// `NoSuchStore` as `no-such-store`.
fn kebab(name: &str) -> String {
    let mut result = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !result.is_empty() {
            result.push('-');
        }
        result.push(letter.to_ascii_lowercase());
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_shown_by_the_names_of_the_wit() {
        for (shown, expected) in [
            ("Error::NoSuchStore", json!(["no-such-store"])),
            (r#"Error::Other("a \"quoted\" text (really)")"#, json!(["other", "a \"quoted\" text (really)"])),
            (r#"ErrorCode { code: 1, name: "access-denied", message: "Access denied." }"#, json!(["access-denied"])),
            (r#"ErrorCode::InternalError(Some("why"))"#, json!(["internal-error", "why"])),
            ("ErrorCode::InternalError(None)", json!(["internal-error"])),
            ("ErrorCode::HttpRequestBodySize(Some(5))", json!(["http-request-body-size", 5])),
            ("ErrorCode::DnsError(DnsErrorPayload { rcode: None })", json!(["dns-error", "DnsErrorPayload { rcode: None }"])),
        ] {
            assert_eq!(failure(format_args!("{shown}")), expected);
        }
    }

    #[test]
    fn a_payload_is_one_call_or_several() {
        assert_eq!(calls(br#"["a.b", "c"]"#).len(), 1);
        let several = calls(br#"[["a.b", "c", 5], ["args"]]"#);
        assert_eq!((several[0].name(), several[0].text(0), several[0].number(1)), ("a.b", "c", 5));
        assert_eq!(several[0].rest(2).len() + several[1].rest(0).len(), 0);
    }
}
