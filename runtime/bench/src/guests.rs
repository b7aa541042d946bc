//! The guests that every arm runs: one without imports, one in C, an interpreter of JavaScript and one of Python.

use std::{fmt, fs, path::Path};

use anyhow::{Context, bail};
use wasi_preview1_component_adapter_provider::{WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER};
use wit_component::ComponentEncoder;

/// A guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, clap::ValueEnum)]
pub enum Guest {
    /// A component without imports: what calling costs at least.
    Min,
    /// A program in C with wasi-libc, whose memory begins with 17 pages: closest to an app with an SDK of Spin.
    Sdk17,
    /// JavaScript in QuickJS.
    Js,
    /// Python in CPython.
    Py,
}

impl Guest {
    /// All guests.
    pub const ALL: [Guest; 4] = [Guest::Min, Guest::Sdk17, Guest::Js, Guest::Py];

    /// What it is called in tables.
    pub fn name(self) -> &'static str {
        match self {
            Guest::Min => "min",
            Guest::Sdk17 => "sdk17",
            Guest::Js => "js",
            Guest::Py => "py",
        }
    }

    /// Whether a call of it takes a good part of a millisecond.
    pub fn is_slow(self) -> bool {
        matches!(self, Guest::Js | Guest::Py)
    }

    /// The component. `folder` is where `make guests` leaves the guests that need a compiler.
    pub fn component(self, folder: &Path) -> anyhow::Result<Vec<u8>> {
        let file = match self {
            Guest::Min => return Ok(wat::parse_str(include_str!("../guests/min.wat"))?),
            Guest::Sdk17 => "bench-c.wasm",
            Guest::Js => "javascript-sync.wasm",
            Guest::Py => "python.wasm",
        };
        let path = folder.join(file);
        let wasm = fs::read(&path).with_context(|| format!("{} cannot be read: run `make guests` first", path.display()))?;
        to_component(wasm).with_context(|| path.display().to_string())
    }
}

impl fmt::Display for Guest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// A component as it is; one made of a core module, as `prepare` does it.
fn to_component(wasm: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    match wasm.get(4..8) {
        Some([1, 0, 0, 0]) => {
            let adapter = WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER;
            ComponentEncoder::default().module(&wasm)?.adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, adapter)?.validate(true).encode()
        }
        Some(_) => Ok(wasm),
        None => bail!("this is no WebAssembly"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_guest_is_a_component() {
        let wasm = Guest::Min.component(Path::new("nowhere")).unwrap();
        assert_eq!(wasm.get(..8), Some(&b"\0asm\x0d\0\x01\0"[..]));
    }

    #[test]
    fn a_guest_that_was_not_built_says_how_to_build_it() {
        let error = Guest::Py.component(Path::new("/nowhere")).unwrap_err();
        assert!(error.to_string().contains("make guests"), "{error}");
    }
}
