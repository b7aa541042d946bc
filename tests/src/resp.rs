//! Redis's wire format (RESP), as far as a test writes or reads it by hand.

/// A command with all its words, and the bytes it came in.
pub type Command = (Vec<u8>, Vec<Vec<u8>>);

/// Takes the complete commands out of what a client sent; what is left is the begin of the next one. Clients send arrays of
/// bulk strings, and nothing else is understood.
pub fn commands(bytes: &mut Vec<u8>) -> Vec<Command> {
    let mut found = Vec::new();
    while let Some((words, length)) = command(bytes) {
        found.push((bytes.drain(..length).collect(), words));
    }
    found
}

/// The words of the first command, and how many bytes it has; none if it is not complete.
fn command(bytes: &[u8]) -> Option<(Vec<Vec<u8>>, usize)> {
    let (count, mut at) = number(bytes, 0, b'*')?;
    let mut words = Vec::new();
    for _ in 0..count {
        let (length, start) = number(bytes, at, b'$')?;
        words.push(bytes.get(start..start + length)?.to_vec());
        at = start + length + 2;
    }
    (at <= bytes.len()).then_some((words, at))
}

/// The number of a line that begins with this sign, and where the next line begins.
fn number(bytes: &[u8], at: usize, sign: u8) -> Option<(usize, usize)> {
    let line = bytes.get(at..)?;
    let length = line.windows(2).position(|pair| pair == b"\r\n")?;
    assert_eq!(line[0], sign, "not the command of a client: {:?}", String::from_utf8_lossy(bytes));
    let number = std::str::from_utf8(&line[1..length]).ok()?.parse().expect("a length is a number");
    Some((number, at + length + 2))
}

/// What Redis sends for a message, up to the payload; behind the payload comes a line break.
pub fn message_head(channel: &str, payload: u64) -> Vec<u8> {
    format!("*3\r\n$7\r\nmessage\r\n${}\r\n{channel}\r\n${payload}\r\n", channel.len()).into_bytes()
}

#[test]
fn commands_are_taken_whole() {
    let whole = b"*2\r\n$4\r\nAUTH\r\n$4\r\n*\r\n1\r\n*1\r\n$4\r\nPING\r\n";
    for cut in 0..whole.len() {
        let mut held = whole[..cut].to_vec();
        let mut found = commands(&mut held);
        held.extend_from_slice(&whole[cut..]);
        found.extend(commands(&mut held));
        let words: Vec<Vec<Vec<u8>>> = found.iter().map(|(_, words)| words.clone()).collect();
        assert_eq!(words, [vec![b"AUTH".to_vec(), b"*\r\n1".to_vec()], vec![b"PING".to_vec()]], "cut at {cut}");
        assert_eq!(found.into_iter().flat_map(|(raw, _)| raw).collect::<Vec<u8>>(), whole);
    }
}
