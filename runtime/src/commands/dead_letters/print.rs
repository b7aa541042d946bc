//! How dead letters look on a terminal. Pure. Channels, errors and payloads come from strangers: nothing that a terminal would
//! obey is written but where the bytes themselves were asked for.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::{
    commands::text::{self, shown, utc},
    dead_letters::entry::Entry,
};

/// Characters of an error in the table.
const ERROR_WIDTH: usize = 80;
/// Characters of any other column.
const WIDTH: usize = 60;
const HEADINGS: [&str; 7] = ["ID", "TIME", "COMPONENT", "CHANNEL", "ATTEMPTS", "REASON", "ERROR"];

/// A line of the list, without the payload.
pub(super) struct Row {
    columns: [String; 7],
    json: Value,
}

impl Row {
    /// Of a letter.
    pub(super) fn of(id: String, entry: &Entry) -> Self {
        let json = json!({
            "id": id, "app": &*entry.app, "component": &*entry.component, "channel": &*entry.channel, "pattern": entry.pattern.as_deref(),
            "address": &*entry.address, "attempts": entry.attempts, "reason": &*entry.reason, "error": entry.error,
            "firstMs": entry.first_ms, "lastMs": entry.last_ms, "time": utc(entry.last_ms), "payloadBytes": entry.payload.len(),
        });
        let columns = [
            id,
            utc(entry.last_ms),
            shown(&entry.component, WIDTH),
            shown(&entry.channel, WIDTH),
            entry.attempts.to_string(),
            shown(&entry.reason, WIDTH),
            shown(&entry.error, ERROR_WIDTH),
        ];
        Self { columns, json }
    }

    /// As JSON on one line.
    pub(super) fn json(&self) -> String {
        self.json.to_string()
    }
}

/// Rows below headings, in columns as wide as they need.
pub(super) fn table(rows: &[Row]) -> String {
    text::table(&HEADINGS, rows.iter().map(|row| row.columns.as_slice()))
}

/// A letter with its payload.
pub(super) fn whole(id: &str, entry: &Entry) -> String {
    let mut text = String::new();
    let pattern = entry.pattern.as_deref().unwrap_or("none, the component lists the channel");
    for (name, value) in [
        ("id", id),
        ("app", &*entry.app),
        ("component", &*entry.component),
        ("channel", &*entry.channel),
        ("pattern", pattern),
        ("address", &*entry.address),
        ("attempts", &entry.attempts.to_string()),
        ("received first", &utc(entry.first_ms)),
        ("failed last", &utc(entry.last_ms)),
        ("reason", &*entry.reason),
        ("error", &*entry.error),
        ("payload", &format!("{} bytes", entry.payload.len())),
    ] {
        let _ = writeln!(text, "{name:<16}{}", shown(value, usize::MAX));
    }
    if entry.payload.is_empty() {
        return text;
    }
    text.push('\n');
    let control = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    match std::str::from_utf8(&entry.payload) {
        Ok(payload) if !payload.contains(control) => text.push_str(payload),
        _ => text.push_str(hex_dump(&entry.payload).trim_end()),
    }
    text.push('\n');
    text
}

/// Bytes sixteen to a line: where, in hexadecimal, and those that are printable ASCII as text.
fn hex_dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (number, line) in bytes.chunks(16).enumerate() {
        let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let ascii: String =
            line.iter().map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' }).collect();
        let _ = writeln!(text, "{:08x}  {:<47}  {ascii}", number * 16, hex.join(" "));
    }
    text
}

/// `1 entry VERB` or `N entries VERBS`.
pub(super) fn entries(count: u64, one: &str, several: &str) -> String {
    format!("{} {}", number(count), if count == 1 { one } else { several })
}

/// `1 entry` or `N entries`.
pub(super) fn number(count: u64) -> String {
    if count == 1 { "1 entry".to_owned() } else { format!("{count} entries") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(payload: &'static [u8]) -> Entry {
        Entry {
            payload: payload.into(),
            channel: "orders\x1b[2J".into(),
            pattern: None,
            address: "redis://redis:6379".into(),
            app: "default/shop".into(),
            component: "book".into(),
            error: format!("first line\nsecond line {}", "x".repeat(200)),
            reason: "trap".into(),
            attempts: 3,
            first_ms: 951_782_400_000,
            last_ms: 1_700_000_000_999,
        }
    }

    #[test]
    fn a_table_has_a_line_for_each_letter_and_nothing_that_a_terminal_obeys() {
        let table = table(&[Row::of("1-0".to_owned(), &entry(b""))]);
        let lines: Vec<&str> = table.lines().collect();
        assert!(lines[0].starts_with("ID   TIME                  COMPONENT  CHANNEL"), "{table}");
        assert!(lines[1].contains("2023-11-14T22:13:20Z  book       orders\\u{1b}[2J"), "{table}");
        assert!(lines[1].contains("first line\\nsecond line xxx") && lines[1].ends_with("x…") && lines.len() == 2, "{table}");
    }

    #[test]
    fn text_is_shown_as_text_and_anything_else_in_hexadecimal() {
        assert!(whole("1-0", &entry("{\"größe\":\n1}".as_bytes())).ends_with("payload         14 bytes\n\n{\"größe\":\n1}\n"));
        assert!(whole("1-0", &entry(b"")).ends_with("payload         0 bytes\n"));
        let dump = whole("1-0", &entry(b"\x1b[2Jabc\xff and some more"));
        assert!(dump.contains("\n00000000  1b 5b 32 4a 61 62 63 ff 20 61 6e 64 20 73 6f 6d  .[2Jabc. and som\n00000010  65 20"), "{dump}");
        assert!(!dump.contains('\x1b'), "{dump}");
    }

    #[test]
    fn json_has_all_but_the_payload() {
        let json: Value = serde_json::from_str(&Row::of("1-0".to_owned(), &entry(b"abc")).json()).unwrap();
        assert_eq!((&json["id"], &json["pattern"], &json["payloadBytes"]), (&json!("1-0"), &Value::Null, &json!(3)));
        assert_eq!(json["error"].as_str().map(str::len), Some(223));
    }
}
