//! Tells wasm, gzip'd wasm and WAT apart by their first bytes, and makes binary WebAssembly of each.

use std::io::Read;

use flate2::read::GzDecoder;

use super::MAX_COMPONENT_BYTES;

/// What the bytes are instead of WebAssembly; the sentence continues "FILE …".
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Nothing there.
    #[error("is empty")]
    Empty,
    /// A gzip stream that breaks off or is damaged.
    #[error("is damaged gzip data: {0}")]
    Gzip(std::io::Error),
    /// More than is allowed once unpacked.
    #[error("is larger than 256 MiB once unpacked")]
    TooLarge,
    /// Text that is not the WebAssembly text format.
    #[error("is not valid WebAssembly text: {0}")]
    Wat(String),
    /// Anything else.
    #[error("is not WebAssembly: it starts neither with \\0asm (binary), gzip, nor a parenthesis (text)")]
    NotWasm,
}

/// Binary WebAssembly of what may be wasm, gzip'd wasm or WAT.
pub fn wasm(bytes: Vec<u8>) -> Result<Vec<u8>, DecodeError> {
    match bytes.as_slice() {
        [] => Err(DecodeError::Empty),
        [b'\0', b'a', b's', b'm', ..] => Ok(bytes),
        [0x1f, 0x8b, ..] => {
            let mut unpacked = Vec::new();
            GzDecoder::new(bytes.as_slice()).take(MAX_COMPONENT_BYTES + 1).read_to_end(&mut unpacked).map_err(DecodeError::Gzip)?;
            if unpacked.len() as u64 > MAX_COMPONENT_BYTES {
                return Err(DecodeError::TooLarge);
            }
            // A gzip'd gzip is not unpacked again: that would be a way around the bound.
            if unpacked.starts_with(&[0x1f, 0x8b]) { Err(DecodeError::NotWasm) } else { wasm(unpacked) }
        }
        _ => text(&bytes),
    }
}

fn text(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let Ok(text) = std::str::from_utf8(bytes) else { return Err(DecodeError::NotWasm) };
    if !text.trim_start().starts_with(['(', ';']) {
        return Err(DecodeError::NotWasm);
    }
    // The parser's message has the offending line drawn below it; the first line alone says what and the second where.
    wat::parse_str(text).map_err(|error| {
        let text = error.to_string();
        let mut lines = text.lines().map(str::trim);
        let what = lines.next().unwrap_or_default();
        let place = lines.next().unwrap_or_default().trim_start_matches("--> ").trim_start_matches("<anon>:");
        DecodeError::Wat(if place.is_empty() { what.to_owned() } else { format!("{what} (line:column {place})") })
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    #[test]
    fn text_binary_and_gzip_give_the_same_component() {
        let binary = wasm(b"(component)".to_vec()).unwrap();
        assert_eq!(wasm(binary.clone()).unwrap(), binary);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&binary).unwrap();
        assert_eq!(wasm(gzip.finish().unwrap()).unwrap(), binary);
    }

    #[test]
    fn each_kind_of_wrong_bytes_has_its_sentence() {
        let says = |bytes: &[u8]| wasm(bytes.to_vec()).unwrap_err().to_string();
        assert!(says(b"").contains("empty"));
        assert!(says(b"\x7fELF").contains("not WebAssembly"));
        assert!(says(b"\x1f\x8b\x08").contains("damaged gzip"));
        let wrong = says(b"(component\n (oops))");
        assert!(wrong.contains("not valid WebAssembly text") && wrong.contains("2:3"), "{wrong}");
    }
}
