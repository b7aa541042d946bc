//! What an imported interface is here: there, there in name only, or unknown.
//!
//! SDK-built guests import more than they call (Python's the whole of Spin's platform), so a stub is a warning and not an
//! error: the component loads, and a call fails with the interface's name.

/// An imported interface, its name taken apart: `wasi:cli/stdout@0.2.6`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface<'n> {
    /// Package and version, `wasi:cli@0.2.6`; for a core module the module's name.
    pub package: String,
    /// Name in the package, `stdout`; empty for a core module.
    pub name: &'n str,
    /// Whether there is anything behind it.
    pub support: Support,
}

/// What stands behind an imported interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It works.
    Works,
    /// It links, and each call fails.
    Stub,
    /// Nothing here has that name.
    Unknown,
}

impl<'n> Interface<'n> {
    /// Takes a name apart and looks it up.
    pub fn of(full: &'n str, of_module: bool) -> Self {
        let (path, version) = full.split_once('@').map_or((full, ""), |(path, version)| (path, version));
        let (package, name) = path.rsplit_once('/').map_or((path, ""), |(package, name)| (package, name));
        let support = if of_module { of_core_module(full) } else { of_component(package, name, version) };
        let at = if version.is_empty() { "" } else { "@" };
        Self { package: format!("{package}{at}{version}"), name, support }
    }
}

fn of_component(package: &str, name: &str, version: &str) -> Support {
    match package {
        // Of 0.3 only the release counts; Spin linked candidates of it for a time.
        "wasi:cli" | "wasi:clocks" | "wasi:random" | "wasi:io" | "wasi:filesystem" | "wasi:sockets" | "wasi:http" => {
            let candidate_of_03 = version.starts_with("0.3.0-");
            match (candidate_of_03, version.starts_with("0.2.") || version.starts_with("0.3.")) {
                (true, _) => Support::Stub,
                (false, true) => Support::Works,
                (false, false) => Support::Unknown,
            }
        }
        "wasi:config" | "wasi:keyvalue" | "spinredis:trigger" => Support::Works,
        "wasi:otel" | "wasi:blobstore" | "wasi:logging" => Support::Stub,
        "fermyon:spin" => match (name, version) {
            ("variables" | "key-value" | "redis" | "redis-types" | "inbound-redis", _) => Support::Works,
            // Types alone: nothing to call.
            ("rdbms-types" | "postgres-types" | "mysql-types" | "http-types", _) => Support::Works,
            _ => Support::Stub,
        },
        "spin:variables" | "spin:key-value" | "spin:redis" => Support::Works,
        other if other.starts_with("spin:") => Support::Stub,
        _ => Support::Unknown,
    }
}

/// A core module's import is of WASI, of wit-bindgen (the interface's name, for the component it is made into), or of the
/// ABI of Spin of 2022, whose names are judged when it is prepared.
fn of_core_module(module: &str) -> Support {
    match module {
        "wasi_snapshot_preview1" | "wasi_unstable" | "$root" | "env" => Support::Works,
        other if other.contains(':') => {
            let (path, version) = other.split_once('@').unwrap_or((other, ""));
            let (package, name) = path.rsplit_once('/').unwrap_or((path, ""));
            of_component(package.trim_start_matches("[export]"), name, version)
        }
        _ => Support::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn support(name: &str) -> Support {
        Interface::of(name, false).support
    }

    #[test]
    fn a_name_is_taken_apart() {
        let interface = Interface::of("wasi:cli/stdout@0.2.6", false);
        assert_eq!((interface.package.as_str(), interface.name), ("wasi:cli@0.2.6", "stdout"));
        assert_eq!(Interface::of("fermyon:spin/redis", false).package, "fermyon:spin");
        assert_eq!(Interface::of("wasi_snapshot_preview1", true).package, "wasi_snapshot_preview1");
    }

    #[test]
    fn what_works_what_is_a_stub_and_what_is_unknown() {
        for works in [
            "wasi:http/outgoing-handler@0.2.0",
            "wasi:io/streams@0.2.0-rc-2023-11-10",
            "wasi:cli/stdout@0.3.0",
            "fermyon:spin/key-value@2.0.0",
            "fermyon:spin/redis",
            "spin:variables/variables@3.0.0",
            "wasi:config/store@0.2.0-draft-2024-09-27",
        ] {
            assert_eq!(support(works), Support::Works, "{works}");
        }
        for stub in
            ["fermyon:spin/llm@2.0.0", "spin:sqlite/sqlite@3.1.0", "spin:postgres/postgres@4.2.0", "wasi:cli/stdout@0.3.0-rc-2026-01-06"]
        {
            assert_eq!(support(stub), Support::Stub, "{stub}");
        }
        for unknown in ["acme:things/api@1.0.0", "wasi:cli/stdout@1.0.0", "plain"] {
            assert_eq!(support(unknown), Support::Unknown, "{unknown}");
        }
    }
}
