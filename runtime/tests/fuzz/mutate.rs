//! Makes inputs that are nearly right: a seed that reaches deep, changed in a few places.

use rand::{RngExt, rngs::StdRng};

/// Numbers that programs get wrong, as they stand in text.
const NUMBERS: [&str; 12] = [
    "0",
    "-1",
    "1",
    "255",
    "65536",
    "2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "1e999",
    "99999999999999999999",
];
/// The same as bytes of the variable-length encoding of WebAssembly, and single bytes at the edges.
const BYTES: [&[u8]; 12] = [
    &[0],
    &[1],
    &[0x7f],
    &[0x80],
    &[0xff],
    b"\n",
    b"\0",
    &[0xff, 0x7f],
    &[0x80, 0x80, 0x40],
    &[0xff, 0xff, 0xff, 0x7f],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0x80, 0x80, 0x80, 0x80, 0x08],
];
/// Longest input that is made, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// What inputs are made of.
pub struct Corpus {
    /// Inputs that are right, or nearly so.
    pub seeds: Vec<Vec<u8>>,
    /// Words of the format, which are put in anywhere.
    pub words: Vec<&'static str>,
    /// How much a seed counts among the ways to fill in.
    pub is_text: bool,
}

impl Corpus {
    /// Of text.
    pub fn text<S: AsRef<str>>(seeds: impl IntoIterator<Item = S>, words: &[&'static str]) -> Self {
        let seeds = seeds.into_iter().map(|seed| seed.as_ref().as_bytes().to_vec()).collect();
        Self { seeds, words: words.to_vec(), is_text: true }
    }

    /// Of bytes.
    pub fn bytes(seeds: Vec<Vec<u8>>, words: &[&'static str]) -> Self {
        Self { seeds, words: words.to_vec(), is_text: false }
    }
}

/// One input: a seed with one to eight changes, now and then nothing but noise.
pub fn input(corpus: &Corpus, random: &mut StdRng) -> Vec<u8> {
    if random.random_ratio(1, 64) {
        return noise(random, 256);
    }
    let mut bytes = pick(random, &corpus.seeds).clone();
    for _ in 0..random.random_range(1..=8) {
        change(corpus, &mut bytes, random);
        bytes.truncate(MAX_BYTES);
    }
    bytes
}

fn change(corpus: &Corpus, bytes: &mut Vec<u8>, random: &mut StdRng) {
    let (start, end) = range(bytes.len(), random);
    match random.random_range(0..11) {
        0 if start < bytes.len() => bytes[start] ^= 1 << random.random_range(0..8),
        1 if start < bytes.len() => bytes[start] = random.random(),
        2 => bytes.truncate(start),
        3 => drop(bytes.drain(start..end)),
        4 => {
            let again = bytes[start..end].to_vec();
            insert(bytes, end, &again);
        }
        // Many times the same: lists and nesting get long.
        5 => {
            let again = bytes[start..end].repeat(random.random_range(2..200));
            insert(bytes, end, &again);
        }
        6 => {
            let other = pick(random, &corpus.seeds);
            let (from, to) = range(other.len(), random);
            let part = other[from..to].to_vec();
            drop(bytes.splice(start..end, part));
        }
        7 if !corpus.words.is_empty() => insert(bytes, start, pick(random, &corpus.words).as_bytes()),
        8 => digits(bytes, start, random),
        9 => {
            let noise = noise(random, 16);
            insert(bytes, start, &noise);
        }
        _ if corpus.is_text => insert(bytes, start, pick(random, &NUMBERS).as_bytes()),
        _ => {
            let with = *pick(random, &BYTES);
            let end = (start + with.len()).min(bytes.len());
            drop(bytes.splice(start..end, with.iter().copied()));
        }
    }
}

/// Puts another number in the place of the next one in a text.
fn digits(bytes: &mut Vec<u8>, from: usize, random: &mut StdRng) {
    let Some(start) = bytes[from..].iter().position(u8::is_ascii_digit).map(|at| at + from) else { return };
    let end = bytes[start..].iter().position(|byte| !byte.is_ascii_digit()).map_or(bytes.len(), |at| at + start);
    drop(bytes.splice(start..end, pick(random, &NUMBERS).bytes()));
}

fn insert(bytes: &mut Vec<u8>, at: usize, part: &[u8]) {
    drop(bytes.splice(at..at, part.iter().copied()));
}

fn noise(random: &mut StdRng, most: usize) -> Vec<u8> {
    let mut noise = vec![0; random.random_range(0..=most)];
    random.fill(noise.as_mut_slice());
    noise
}

/// A range in something of this length, short more often than long.
fn range(length: usize, random: &mut StdRng) -> (usize, usize) {
    let start = random.random_range(0..=length);
    let most = 1 << random.random_range(0..12);
    (start, (start + random.random_range(0..=most)).min(length))
}

fn pick<'a, T>(random: &mut StdRng, from: &'a [T]) -> &'a T {
    &from[random.random_range(0..from.len())]
}
