//! Sizes as Kubernetes writes them: `128Mi`, `1Gi`, `64000000`.

/// Why a size could not be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a size: write a number of bytes, or one with Ki, Mi, Gi, k, M or G, such as 128Mi")]
pub struct ParseQuantityError(String);

/// Reads a size in bytes; a fraction of a byte is rounded up, as Kubernetes does.
pub fn bytes(text: &str) -> Result<u64, ParseQuantityError> {
    let wrong = || ParseQuantityError(text.to_owned());
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let factor: u64 = match unit {
        "" => 1,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        _ => return Err(wrong()),
    };
    if !number.starts_with(|c: char| c.is_ascii_digit()) || !number.ends_with(|c: char| c.is_ascii_digit()) {
        return Err(wrong());
    }
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor).ok_or_else(wrong);
    }
    let fraction: f64 = number.parse().map_err(|_| wrong())?;
    let size = (fraction * factor as f64).ceil();
    if size.is_finite() && size < u64::MAX as f64 { Ok(size as u64) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_and_decimal_sizes_are_read() {
        assert_eq!(bytes("128Mi"), Ok(128 << 20));
        assert_eq!(bytes("1k"), Ok(1000));
        assert_eq!(bytes("1.5Gi"), Ok(3 << 29));
        assert_eq!(bytes("65536"), Ok(65536));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "Mi", "1 Mi", "-1", "1.2.3", ".5Gi", "1Zi", "99999999999Gi"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
