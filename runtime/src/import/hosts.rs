//! `allowed_http_hosts` of old Spin manifests, in the syntax of `allowed_outbound_hosts`.
//!
//! An old entry is a host with or without port and scheme, for both http and https; `self`, which is the app itself; or
//! `insecure:allow-all` (Spin, crates/manifest/src/compat/allowed_http_hosts.rs).

use super::{
    model::Host,
    read::{At, Text},
};

/// The entries that allow what one entry of `allowed_http_hosts` did.
pub(super) fn of_http_host(entry: &Text) -> Result<Vec<Host>, String> {
    let host = |value: String, comment| Host { entry: At { value, line: entry.line }, comment };
    let text = entry.value.as_str();
    if text == "insecure:allow-all" {
        return Ok(vec![
            host("http://*:*".to_owned(), Some("insecure:allow-all: every HTTP server. Name those it uses instead.")),
            host("https://*:*".to_owned(), None),
        ]);
    }
    if text == "self" {
        return Ok(vec![host("http://self".to_owned(), None)]);
    }
    let rest = match text.split_once("://") {
        Some(("http" | "https", rest)) => rest,
        Some((scheme, _)) => {
            return Err(format!("`{text}` is no HTTP host, it has the scheme {scheme}: write it in allowed_outbound_hosts"));
        }
        None => text,
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.is_empty() || rest.contains(['/', '@', '?', '#', ' ']) {
        return Err(format!("`{text}` must be a host with or without a port, as in example.com or example.com:8443"));
    }
    let (name, port) = match rest.rsplit_once(':') {
        // The colons of an IPv6 address stand inside brackets.
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (rest, None),
    };
    if let Some(port) = port.filter(|port| port.parse::<u16>().is_err()) {
        return Err(format!("`{text}` has the port `{port}`, which is no number up to 65535"));
    }
    Ok([("http", "80"), ("https", "443")]
        .map(|(scheme, standard)| host(format!("{scheme}://{name}:{}", port.unwrap_or(standard)), None))
        .to_vec())
}

/// What a component of version 1 without `allowed_outbound_hosts` may reach in Spin, of what there is here.
pub(super) fn every_redis(line: usize) -> Host {
    Host {
        entry: At { value: "redis://*:*".to_owned(), line },
        comment: Some(
            "Spin lets a component of a version 1 manifest reach every Redis. Name the servers it uses instead, or take this out.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str) -> Vec<String> {
        let hosts = of_http_host(&At { value: text.to_owned(), line: 1 }).unwrap();
        hosts.into_iter().map(|host| host.entry.value).collect()
    }

    #[test]
    fn a_host_is_allowed_for_both_schemes_with_their_ports() {
        assert_eq!(entries("example.com"), ["http://example.com:80", "https://example.com:443"]);
        assert_eq!(entries("https://example.com/"), ["http://example.com:80", "https://example.com:443"]);
        assert_eq!(entries("example.com:8080"), ["http://example.com:8080", "https://example.com:8080"]);
        assert_eq!(entries("[::1]"), ["http://[::1]:80", "https://[::1]:443"]);
        assert_eq!(entries("[::1]:8080"), ["http://[::1]:8080", "https://[::1]:8080"]);
    }

    #[test]
    fn allow_all_stays_with_http_and_self_stays_self() {
        assert_eq!(entries("insecure:allow-all"), ["http://*:*", "https://*:*"]);
        assert_eq!(entries("self"), ["http://self"]);
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in ["", "ftp://example.com", "example.com/path", "example.com:http", "http://"] {
            assert!(of_http_host(&At { value: text.to_owned(), line: 1 }).is_err(), "{text}");
        }
    }
}
