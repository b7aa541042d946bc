//! How what a command found looks on a terminal: columns, times, and strangers' text of which a terminal obeys nothing.

use std::fmt::Write;

/// Lines of cells below their headings, in columns as wide as they need.
pub(super) fn table<'a, const N: usize>(headings: &[&str; N], rows: impl Iterator<Item = &'a [String]>) -> String {
    let headings: Vec<String> = headings.iter().map(|heading| (*heading).to_owned()).collect();
    let mut lines = vec![headings.as_slice()];
    for row in rows {
        lines.push(row);
    }
    let width = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let padded: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        let _ = writeln!(text, "{}", padded.join("  ").trim_end());
    }
    text
}

/// A stranger's text on one line, shortened to so many characters.
pub(super) fn shown(text: &str, width: usize) -> String {
    let mut shown = String::new();
    for (number, c) in text.chars().enumerate() {
        if number == width {
            shown.push('…');
            break;
        }
        match c.is_control() {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    shown
}

/// A time in UTC, to the second: `2023-11-14T22:13:20Z`.
pub(super) fn utc(ms: u64) -> String {
    let (days, second) = (ms / 86_400_000, ms / 1_000 % 86_400);
    // From days to a date by eras of 400 years that begin in March, so that a leap day is the last of its year
    // (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", era * 400 + year + next, second / 3_600, second / 60 % 60, second % 60)
}

/// A span of time as a person says it, in its two largest units: `3d4h`, `12m5s`, `0s`.
pub(super) fn span(seconds: u64) -> String {
    let units = [(seconds / 86_400, "d"), (seconds / 3_600 % 24, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let largest = units.iter().position(|(count, _)| *count > 0).unwrap_or(units.len() - 1);
    let told = units[largest..].iter().take(2).enumerate().filter(|(place, (count, _))| *place == 0 || *count > 0);
    told.map(|(_, (count, unit))| format!("{count}{unit}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_400_000), "2000-02-29T00:00:00Z");
        assert_eq!(utc(1_700_000_000_999), "2023-11-14T22:13:20Z");
        assert_eq!(utc(4_102_444_799_000), "2099-12-31T23:59:59Z");
        // Whatever a stranger wrote there.
        utc(u64::MAX);
    }

    #[test]
    fn a_span_has_two_units_at_most() {
        for (seconds, expected) in [(0, "0s"), (59, "59s"), (60, "1m"), (725, "12m5s"), (3_605, "1h"), (273_600, "3d4h")] {
            assert_eq!(span(seconds), expected);
        }
    }

    #[test]
    fn columns_are_as_wide_as_they_need() {
        let row = ["größe".to_owned(), "1".to_owned()];
        assert_eq!(table(&["A", "B"], [row.as_slice()].into_iter()), "A      B\ngröße  1\n");
    }
}
