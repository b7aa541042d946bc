//! Redis's glob patterns (`PSUBSCRIBE`, stringmatch of util.c): `*`, `?`, `[abc]`, `[^a]`, `[a-z]`, and `\` before a
//! character that stands for itself. Only `check` asks: the runtime matches no globs, Redis does.

/// Whether a pattern matches a channel, byte by byte as Redis does.
pub(crate) fn matches(pattern: &str, channel: &str) -> bool {
    let (pattern, channel) = (pattern.as_bytes(), channel.as_bytes());
    let (mut at, mut read) = (0, 0);
    // Where the last star was, and how much of the channel it has taken: the way back when what follows does not fit.
    let mut star: Option<(usize, usize)> = None;
    while read < channel.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
                continue;
            }
            Some(_) => {
                let (fits, next) = one(pattern, at, channel[read]);
                if fits {
                    (at, read) = (next, read + 1);
                    continue;
                }
            }
            None => {}
        }
        let Some((star_at, taken)) = star else { return false };
        star = Some((star_at, taken + 1));
        (at, read) = (star_at + 1, taken + 1);
    }
    pattern[at.min(pattern.len())..].iter().all(|byte| *byte == b'*')
}

/// Whether the part of the pattern at `at`, which is no star, fits the byte; and where the next part begins.
fn one(pattern: &[u8], at: usize, byte: u8) -> (bool, usize) {
    match pattern[at] {
        b'?' => (true, at + 1),
        b'[' => class(pattern, at + 1, byte),
        b'\\' if at + 1 < pattern.len() => (pattern[at + 1] == byte, at + 2),
        literal => (literal == byte, at + 1),
    }
}

/// A class without its opening bracket. One that is not closed ends with the pattern.
fn class(pattern: &[u8], mut at: usize, byte: u8) -> (bool, usize) {
    let negated = pattern.get(at) == Some(&b'^');
    at += usize::from(negated);
    let mut fits = false;
    while let Some(&first) = pattern.get(at) {
        match (first, pattern.get(at + 1), pattern.get(at + 2)) {
            (b'\\', Some(&literal), _) => {
                fits |= literal == byte;
                at += 2;
            }
            (b']', ..) => {
                at += 1;
                break;
            }
            (_, Some(b'-'), Some(&last)) => {
                fits |= (first.min(last)..=first.max(last)).contains(&byte);
                at += 3;
            }
            _ => {
                fits |= first == byte;
                at += 1;
            }
        }
    }
    (fits != negated, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, channel) in [
            ("*", ""),
            ("*", "a"),
            ("orders.*", "orders."),
            ("orders.*", "orders.new.eu"),
            ("*.new", "a.new.new"),
            ("h?llo", "hallo"),
            ("h[ae]llo", "hello"),
            ("h[^e]llo", "hallo"),
            ("h[a-c]llo", "hbllo"),
            ("h[c-a]llo", "hbllo"),
            (r"a\*b", "a*b"),
            (r"[\]]", "]"),
            ("a[b", "ab"),
            ("plain", "plain"),
            ("a**b", "ab"),
        ] {
            assert!(matches(pattern, channel), "{pattern} {channel}");
        }
        for (pattern, channel) in [
            ("orders.*", "orders"),
            ("h?llo", "hllo"),
            ("h[ae]llo", "hillo"),
            ("h[^e]llo", "hello"),
            (r"a\*b", "axb"),
            ("*.new", "a.newer"),
            ("", "a"),
            ("plain", "plain "),
        ] {
            assert!(!matches(pattern, channel), "{pattern} {channel}");
        }
    }

    #[test]
    fn many_stars_do_not_take_for_ever() {
        assert!(!matches(&"*a".repeat(250), &"a".repeat(200).replace('a', "ab")));
    }
}
