//! Durations as GEP-2257 (gateway-api.sigs.k8s.io) writes them: whole hours, minutes, seconds and milliseconds, `1h30m`.

use std::time::Duration;

/// Why a duration could not be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a duration: write up to four parts of h, m, s and ms, such as 500ms, 30s or 1h30m")]
pub struct ParseDurationError(String);

/// Reads a duration: one to four parts, each of one to five digits and a unit of `h`, `m`, `s` or `ms`.
pub fn parse(text: &str) -> Result<Duration, ParseDurationError> {
    let wrong = || ParseDurationError(text.to_owned());
    let mut rest = text;
    let mut total = Duration::ZERO;
    let mut parts = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        if number.len() > 5 {
            return Err(wrong());
        }
        let number: u64 = number.parse().map_err(|_| wrong())?;
        total += match unit {
            "h" => Duration::from_secs(number * 3600),
            "m" => Duration::from_secs(number * 60),
            "s" => Duration::from_secs(number),
            "ms" => Duration::from_millis(number),
            _ => return Err(wrong()),
        };
        rest = tail;
        parts += 1;
    }
    if parts == 0 || parts > 4 { Err(wrong()) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_gateway_api_are_read() {
        assert_eq!(parse("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(parse("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse("1s500ms"), Ok(Duration::from_millis(1500)));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "30", "s", "1.5s", "-1s", "1d", "100000s", "1h1m1s1ms1h", "1 s"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
