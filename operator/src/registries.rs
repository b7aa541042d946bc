//! The file of `--registries`: how `prepare` reaches registries. It is read once, at the start, so that a mistake in it ends
//! the operator with a sentence and never a pod of somebody's app. Of the files of authorities only the certificates are
//! kept: what is read here is published in ConfigMaps.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use serde::Deserialize;
use spinredis_crds::registries::{RegistrySetting, RegistrySettings, split_mirror};

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
/// A ConfigMap holds a megabyte, and the manifest of an app is in the same one.
const MAX_CA_BYTES: usize = 128 << 10;

/// Why the registries cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("{path} cannot be read: {error}")]
    Read {
        /// Which file.
        path: String,
        /// What the operating system says.
        error: std::io::Error,
    },
    /// The file is something else.
    #[error("{path} is not a list of registries ({error}): write entries such as {{host: registry.example.com, caFile: ca.crt}}")]
    Shape {
        /// Which file.
        path: String,
        /// What the parser says.
        error: String,
    },
    /// Not a host.
    #[error("registry {0:?} is not a host: write HOST or HOST:PORT without a scheme, for example registry.example.com:5000")]
    Host(String),
    /// A host that is there already.
    #[error("registry {0} is listed twice: put its settings into one entry")]
    Twice(String),
    /// Not a mirror.
    #[error("the mirror {mirror:?} of registry {host} is not another registry: write HOST or HOST/FOLDER without a scheme")]
    Mirror {
        /// The registry.
        host: String,
        /// Its mirror as written.
        mirror: String,
    },
    /// Not certificates.
    #[error("{path}, the authorities of registry {host}, cannot be used ({error}): it must hold certificates as PEM, of at most 128 KiB")]
    Authorities {
        /// The registry.
        host: String,
        /// Which file.
        path: String,
        /// What is wrong.
        error: String,
    },
    /// Both at once.
    #[error("registry {0} has plainHTTP and caFile: without TLS there is nothing to trust, remove one of the two")]
    PlainWithAuthorities(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    host: String,
    #[serde(default, rename = "plainHTTP")]
    plain_http: bool,
    ca_file: Option<PathBuf>,
    mirror: Option<String>,
}

/// Reads the registries of a file and the authorities that it names; paths in it are relative to it. No path is no registries.
pub fn read(path: &str) -> Result<RegistrySettings, Error> {
    if path.is_empty() {
        return Ok(RegistrySettings::default());
    }
    let unreadable = |path: &Path| {
        let path = path.display().to_string();
        move |error: std::io::Error| Error::Read { path, error }
    };
    let file = Path::new(path);
    let text = fs::read_to_string(file).map_err(unreadable(file))?;
    let entries: Option<Vec<Entry>> =
        serde_saphyr::from_str(&text).map_err(|error| Error::Shape { path: path.to_owned(), error: one_line(&error.to_string()) })?;
    let folder = file.parent().unwrap_or(Path::new("."));
    let mut settings: Vec<RegistrySetting> = Vec::new();
    for Entry { host, plain_http, ca_file, mirror } in entries.unwrap_or_default() {
        let host = host.to_ascii_lowercase();
        if !is_host(&host) {
            return Err(Error::Host(host));
        }
        if settings.iter().any(|setting| setting.host == host) {
            return Err(Error::Twice(host));
        }
        if plain_http && ca_file.is_some() {
            return Err(Error::PlainWithAuthorities(host));
        }
        let mirror = mirror.map(|mirror| mirror.trim_end_matches('/').to_owned());
        if let Some(mirror) = mirror.as_ref().filter(|mirror| !is_mirror(mirror) || **mirror == host) {
            return Err(Error::Mirror { host, mirror: mirror.clone() });
        }
        let ca = match ca_file.map(|ca| folder.join(ca)) {
            Some(ca) => {
                let pem = fs::read_to_string(&ca).map_err(unreadable(&ca))?;
                let wrong = |error| Error::Authorities { host: host.clone(), path: ca.display().to_string(), error };
                Some(certificates(&pem).map_err(wrong)?)
            }
            None => None,
        };
        settings.push(RegistrySetting { host, plain_http, ca, mirror });
    }
    // Their order says nothing, and must roll nothing.
    settings.sort_by(|a, b| a.host.cmp(&b.host));
    Ok(RegistrySettings(settings))
}

/// Whether a text is `HOST` or `HOST:PORT`.
pub fn is_host(text: &str) -> bool {
    let (name, port) = text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    !name.is_empty() && name.chars().all(is_part) && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// Whether a text is a folder of repositories: parts of lower-case letters, digits and the signs that may join them.
pub fn is_folder(text: &str) -> bool {
    let is_sign = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    text.split('/').all(|part| !part.is_empty() && part.chars().all(is_sign))
}

fn is_mirror(text: &str) -> bool {
    let (host, folder) = split_mirror(text);
    is_host(host) && (folder.is_empty() || is_folder(folder))
}

/// The certificates of a PEM file and nothing else of it.
fn certificates(pem: &str) -> Result<String, String> {
    let mut kept = String::new();
    let mut inside = false;
    for line in pem.lines().map(str::trim) {
        inside |= line == BEGIN;
        if inside {
            kept += line;
            kept.push('\n');
        }
        inside &= line != END;
    }
    if kept.len() > MAX_CA_BYTES {
        return Err("its certificates are too many".to_owned());
    }
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(kept.as_bytes()) {
        let certificate = certificate.map_err(|error| format!("it is not PEM: {error:?}"))?;
        store.add(certificate).map_err(|error| format!("a certificate in it is not one: {error}"))?;
    }
    if store.is_empty() { Err("there is no certificate in it".to_owned()) } else { Ok(kept) }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUTHORITY: &str = include_str!("../fixtures/registry-ca.pem");

    fn read_with(registries: &str, ca: &str) -> Result<RegistrySettings, Error> {
        let folder = std::env::temp_dir().join(format!("registries-{}-{:?}", std::process::id(), std::thread::current().id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("registries.yaml");
        fs::write(folder.join("ca.crt"), ca).unwrap();
        fs::write(&file, registries).unwrap();
        let read = read(&file.display().to_string());
        fs::remove_dir_all(&folder).unwrap();
        read
    }

    #[test]
    fn registries_come_in_the_order_of_their_hosts_and_with_their_authorities_alone() {
        let secret = "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n";
        let read = read_with(
            "[{host: b.example.com, caFile: ca.crt, mirror: mirror.example.com/b/}, {host: 'a:5000', plainHTTP: true}]",
            &format!("# of the team\n{secret}{AUTHORITY}{secret}"),
        );
        let read = read.unwrap().0;
        assert_eq!((read[0].host.as_str(), read[0].plain_http), ("a:5000", true));
        assert_eq!((read[1].host.as_str(), read[1].mirror.as_deref()), ("b.example.com", Some("mirror.example.com/b")));
        assert_eq!(read[1].ca.as_deref(), Some(AUTHORITY));
        assert_eq!(read_with("", "").unwrap().0, []);
    }

    #[test]
    fn a_mistake_is_told_in_a_sentence() {
        let error = |registries: &str, ca: &str| read_with(registries, ca).unwrap_err().to_string();
        assert!(error("[{host: 'https://r.io'}]", "").contains("without a scheme"));
        assert!(error("[{host: r.io}, {host: R.io}]", "").contains("r.io is listed twice"));
        assert!(error("[{host: r.io, mirror: 'https://m.io'}]", "").contains("the mirror \"https://m.io\" of registry r.io"));
        assert!(error("[{host: r.io, mirror: r.io}]", "").contains("is not another registry"));
        assert!(error("[{host: r.io, ca: x}]", "").contains("is not a list of registries"));
        assert!(error("[{host: r.io, caFile: other.crt}]", "").contains("other.crt cannot be read"));
        assert!(error("[{host: r.io, caFile: ca.crt}]", "hello").contains("there is no certificate in it"));
        assert!(error("[{host: r.io, caFile: ca.crt}]", &format!("{BEGIN}\nAAAA\n{END}\n")).contains("is not one"));
        assert!(error("[{host: r.io, plainHTTP: true, caFile: ca.crt}]", AUTHORITY).contains("remove one of the two"));
    }
}
