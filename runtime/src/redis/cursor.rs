//! Reads the pieces that RESP items are made of from a slice: what is whole is taken, what is not is left alone.

use super::{
    item::{Item, Malformed},
    resp::MAX_NAME,
};

/// Longest line (status, error, number or length), in bytes. Redis writes error messages of a few hundred bytes.
pub(super) const MAX_LINE: usize = 16 << 10;
/// No element of an array may begin further from the array's beginning than this, in bytes.
const MAX_ARRAY: usize = 2 * MAX_NAME;
/// Most elements of an array: a `pmessage` has four.
const MAX_ELEMENTS: u64 = 16;
/// Longest length, with the byte after it.
const MAX_DIGITS: usize = 20;

/// Why there is no item.
pub(super) enum Stop {
    /// It is not whole yet.
    More,
    /// It will never be one.
    Malformed(&'static str),
}

pub(super) type Parsed<T> = Result<T, Stop>;

/// A place in what was read.
pub(super) struct Cursor<'a> {
    pub input: &'a [u8],
    pub at: usize,
}

impl<'a> Cursor<'a> {
    /// As many bytes as there are, up to `most`.
    pub fn some(&mut self, most: u64) -> &'a [u8] {
        let rest = &self.input[self.at..];
        let some = &rest[..usize::try_from(most).unwrap_or(usize::MAX).min(rest.len())];
        self.at += some.len();
        some
    }

    /// Whether the two bytes that end a string are there; anything else in their place is an error.
    pub fn break_follows(&mut self) -> Result<bool, Malformed> {
        match self.input[self.at..] {
            [b'\r', b'\n', ..] => {
                self.at += 2;
                Ok(true)
            }
            [] | [b'\r'] => Ok(false),
            _ => Err(Malformed("a string does not end where it should")),
        }
    }

    /// What comes before the end of the line, which is used too.
    fn line(&mut self) -> Parsed<&'a [u8]> {
        let rest = &self.input[self.at..];
        let searched = &rest[..rest.len().min(MAX_LINE + 2)];
        let mut from = 0;
        while let Some(found) = searched[from..].iter().position(|byte| *byte == b'\r') {
            let end = from + found;
            match searched.get(end + 1) {
                Some(b'\n') => {
                    self.at += end + 2;
                    return Ok(&rest[..end]);
                }
                Some(_) => from = end + 1,
                None => break,
            }
        }
        if searched.len() == MAX_LINE + 2 { Err(Stop::Malformed("it sent an endless line")) } else { Err(Stop::More) }
    }

    /// The length of a string that must be there, from `$` to the end of the line.
    pub fn length(&mut self) -> Parsed<u64> {
        let rest = &self.input[self.at..];
        let Some((kind, digits)) = rest.split_first() else { return Err(Stop::More) };
        if *kind != b'$' {
            return Err(Stop::Malformed("a message is not made of strings"));
        }
        // By hand: there are two of these in each message. Nineteen digits never overflow.
        let mut length = 0_u64;
        for (place, byte) in digits.iter().take(MAX_DIGITS).enumerate() {
            match byte {
                b'0'..=b'9' if place < MAX_DIGITS - 1 => length = length * 10 + u64::from(byte - b'0'),
                b'\r' if place > 0 => {
                    return match digits.get(place + 1) {
                        Some(b'\n') => {
                            self.at += place + 3;
                            Ok(length)
                        }
                        Some(_) => Err(Stop::Malformed("it sent a malformed number")),
                        None => Err(Stop::More),
                    };
                }
                _ => return Err(Stop::Malformed("it sent a malformed number")),
            }
        }
        Err(Stop::More)
    }

    /// A string of this length and the end of its line.
    pub fn string(&mut self, length: u64) -> Parsed<&'a [u8]> {
        let length = usize::try_from(length).map_err(|_| Stop::Malformed("it sent an impossible length"))?;
        let rest = &self.input[self.at..];
        let Some(end) = rest.get(length..) else { return Err(Stop::More) };
        match end {
            [b'\r', b'\n', ..] => {
                self.at += length + 2;
                Ok(&rest[..length])
            }
            [] | [b'\r'] => Err(Stop::More),
            _ => Err(Stop::Malformed("a string does not end where it should")),
        }
    }

    /// A string that is a name.
    pub fn name(&mut self) -> Parsed<&'a [u8]> {
        let length = self.length()?;
        if length > MAX_NAME as u64 {
            return Err(Stop::Malformed("it sent a name of unexpected length"));
        }
        self.string(length)
    }

    /// An item that is no message.
    pub fn other(&mut self) -> Parsed<Item<'a>> {
        let start = self.at;
        let line = self.line()?;
        let Some((b'*', count)) = line.split_first() else { return self.scalar(line) };
        // `*-1` is an array that is not there.
        let count = count_of(count)?.unwrap_or_default();
        if count > MAX_ELEMENTS {
            return Err(Stop::Malformed("it sent an array of unexpected length"));
        }
        let mut first = &b""[..];
        for place in 0..count {
            if self.at - start > MAX_ARRAY {
                return Err(Stop::Malformed("it sent an array of unexpected size"));
            }
            let line = self.line()?;
            if let (Item::Bulk(Some(text)), 0) = (self.scalar(line)?, place) {
                first = text;
            }
        }
        if matches!(first, b"message" | b"pmessage") {
            return Err(Stop::Malformed("it sent a message of unexpected form"));
        }
        Ok(Item::Push(first))
    }

    /// An item that is no array, whose first line was read.
    fn scalar(&mut self, line: &'a [u8]) -> Parsed<Item<'a>> {
        let (kind, rest) = line.split_first().ok_or(Stop::Malformed("it sent an empty line"))?;
        match kind {
            b'+' => Ok(Item::Simple(rest)),
            b'-' => Ok(Item::Error(rest)),
            b':' => Ok(Item::Integer(number(rest)?)),
            b'$' => match count_of(rest)? {
                None => Ok(Item::Bulk(None)),
                Some(length) if length > MAX_NAME as u64 => Err(Stop::Malformed("it sent a string that nobody asked for")),
                Some(length) => Ok(Item::Bulk(Some(self.string(length)?))),
            },
            _ => Err(Stop::Malformed("it sent something that is not RESP")),
        }
    }
}

fn number(digits: &[u8]) -> Parsed<i64> {
    std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).ok_or(Stop::Malformed("it sent a malformed number"))
}

/// A number of elements or bytes; -1 says that there is nothing, and no other may be negative.
fn count_of(digits: &[u8]) -> Parsed<Option<u64>> {
    match number(digits)? {
        -1 => Ok(None),
        count => u64::try_from(count).map(Some).map_err(|_| Stop::Malformed("it sent a negative length")),
    }
}
