//! What every guest of the matrix does with a payload; the guests in other languages do the same.

use std::hint;

/// Handles one message. What it returns as an error is for the handler to return.
pub fn handle(payload: &[u8]) -> Result<(), &'static str> {
    match payload {
        b"ok" => println!("handled ok"),
        b"error" => return Err("asked to fail"),
        b"trap" => panic!("asked to trap"),
        b"loop" => loop {
            hint::spin_loop();
        },
        b"memory" => take_memory(),
        _ => println!("got {} bytes", payload.len()),
    }
    Ok(())
}

/// Takes and touches memory until it is refused, which traps.
fn take_memory() {
    let mut taken = Vec::new();
    loop {
        taken.push(hint::black_box(vec![1_u8; 1 << 20]));
    }
}
