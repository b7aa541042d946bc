//! Writes the files of an app's components, each component's below a folder of its own that its guest sees as `/`.
//!
//! Paths come from a locked app that [`resolve`](super::resolve) has accepted, so they are plain and relative; no link is
//! ever made here, so none can be followed. What is written is counted against [`MAX_UNPACKED_BYTES`]: one small layer may
//! stand for many files.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use spinredis_crds::manifest::sha256_digest;

use super::{Application, Content, MAX_UNPACKED_BYTES, archive};

/// Name of the folder below `out` that holds a folder for each component with files.
pub const FOLDER: &str = "files";

/// Where the files of a component are: what its guest gets as a read-only `/` when it has any.
pub fn folder(out: &Path, component: &str) -> PathBuf {
    out.join(FOLDER).join(component)
}

/// Why the files of an app cannot be written; the sentence continues "the files of image …: …".
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The file system says no.
    #[error("{path} cannot be written: {error}")]
    Write {
        /// Which file or folder.
        path: String,
        /// What the operating system says.
        error: io::Error,
    },
    /// An archive layer that is not gzip'd tar, or breaks off.
    #[error("an archive layer is damaged ({0}): push the app again")]
    Archive(String),
    /// An archive with a path that leads elsewhere.
    #[error("an archive layer has the path {0}, which is not a plain relative path: pack the app with `spin registry push`")]
    ArchivePath(String),
    /// An archive with links, devices and the like.
    #[error("{0} in an archive layer is neither a file nor a folder: pack the app with `spin registry push`")]
    ArchiveEntry(String),
    /// Too many files.
    #[error("an archive layer has more than 10000 files: make several apps of it")]
    TooMany,
    /// Too large in all.
    #[error("they are larger than 256 MiB once unpacked: leave out what the guest does not read")]
    TooLarge,
    /// Neither a layer nor in an archive.
    #[error("component {component} has a file {path} with digest {digest}, which no layer holds: push the app again")]
    Missing {
        /// Id of the component.
        component: String,
        /// Path of the file.
        path: String,
        /// Its digest.
        digest: String,
    },
}

/// A file that waits for its bytes.
struct Place {
    component: String,
    path: String,
    file: PathBuf,
}

/// Takes layers in any order and puts their bytes wherever they belong.
pub struct Writer {
    /// Places by the digest of what belongs there.
    waiting: BTreeMap<String, Vec<Place>>,
    /// Bytes that may still be written.
    left: u64,
}

/// Writes everything whose bytes are in `blobs`, by digest, or in `archives`; for callers that hold all of it.
pub fn write(application: &Application, blobs: &BTreeMap<String, Vec<u8>>, archives: &[Vec<u8>], out: &Path) -> Result<(), FilesError> {
    let mut writer = Writer::start(application, out)?;
    for (digest, bytes) in blobs {
        writer.blob(digest, bytes)?;
    }
    for archive in archives {
        writer.archive(archive)?;
    }
    writer.finish()
}

impl Writer {
    /// Empties the folder and writes what is in the locked app itself.
    pub fn start(application: &Application, out: &Path) -> Result<Self, FilesError> {
        let root = out.join(FOLDER);
        match fs::remove_dir_all(&root) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&root, error)),
            _ => {}
        }
        let mut writer = Self { waiting: BTreeMap::new(), left: MAX_UNPACKED_BYTES };
        for component in &application.components {
            let below = folder(out, &component.id);
            for file in &component.files {
                let place = Place { component: component.id.clone(), path: file.path.clone(), file: below.join(&file.path) };
                match &file.content {
                    Content::Inline(bytes) => writer.place(&place, bytes)?,
                    Content::Blob { digest } => writer.waiting.entry(digest.clone()).or_default().push(place),
                }
            }
        }
        Ok(writer)
    }

    /// Digests of what is still to come.
    pub fn wanted(&self) -> Vec<String> {
        self.waiting.keys().cloned().collect()
    }

    /// Whether every file is written.
    pub fn is_complete(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes bytes whose digest was checked.
    pub fn blob(&mut self, digest: &str, bytes: &[u8]) -> Result<(), FilesError> {
        for place in self.waiting.remove(digest).unwrap_or_default() {
            self.place(&place, bytes)?;
        }
        Ok(())
    }

    /// Takes an archive layer: each file in it goes where its digest is wanted.
    pub fn archive(&mut self, archive: &[u8]) -> Result<(), FilesError> {
        archive::each_file(archive, |bytes| self.blob(&sha256_digest(&bytes), &bytes))
    }

    /// Nothing more comes: every file must have been written.
    pub fn finish(self) -> Result<(), FilesError> {
        match self.waiting.into_iter().find_map(|(digest, places)| Some((digest, places.into_iter().next()?))) {
            Some((digest, Place { component, path, .. })) => Err(FilesError::Missing { component, path, digest }),
            None => Ok(()),
        }
    }

    fn place(&mut self, place: &Place, bytes: &[u8]) -> Result<(), FilesError> {
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or(FilesError::TooLarge)?;
        if let Some(parent) = place.file.parent() {
            fs::create_dir_all(parent).map_err(|error| failed(parent, error))?;
        }
        fs::write(&place.file, bytes).map_err(|error| failed(&place.file, error))
    }
}

fn failed(path: &Path, error: io::Error) -> FilesError {
    FilesError::Write { path: path.display().to_string(), error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::application::{AppComponent, AppFile};

    fn component(id: &str, files: &[(&str, Content)]) -> AppComponent {
        AppComponent {
            id: id.to_owned(),
            wasm: Content::Inline(Vec::new()),
            files: files.iter().map(|(path, content)| AppFile { path: (*path).to_owned(), content: content.clone() }).collect(),
            env: BTreeMap::new(),
            variables: BTreeMap::new(),
            allowed_outbound_hosts: Vec::new(),
            key_value_stores: Vec::new(),
            subscriptions: Vec::new(),
        }
    }

    fn app(components: Vec<AppComponent>) -> Application {
        Application { name: "files".to_owned(), address: None, variables: Vec::new(), components, unsupported: Vec::new() }
    }

    fn blob(bytes: &[u8]) -> Content {
        Content::Blob { digest: sha256_digest(bytes) }
    }

    #[test]
    fn every_file_comes_to_its_place_and_what_was_there_goes() {
        let out = tempfile::tempdir().unwrap();
        let stale = folder(out.path(), "old").join("stale");
        fs::create_dir_all(stale.parent().unwrap()).unwrap();
        fs::write(&stale, b"stale").unwrap();
        let app = app(vec![
            component("a", &[("inline", Content::Inline(b"in".to_vec())), ("deep/down/layer", blob(b"layer"))]),
            component("b", &[("same", blob(b"layer")), ("packed", blob(b"packed"))]),
            component("none", &[]),
        ]);
        let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
        let mut header = tar::Header::new_gnu();
        header.set_size(6);
        tar.append_data(&mut header, "./anything", b"packed".as_slice()).unwrap();
        let archive = tar.into_inner().unwrap().finish().unwrap();
        let blobs = BTreeMap::from([(sha256_digest(b"layer"), b"layer".to_vec())]);
        write(&app, &blobs, &[archive], out.path()).unwrap();
        let read = |component: &str, path: &str| fs::read(folder(out.path(), component).join(path)).unwrap();
        assert_eq!(read("a", "inline"), b"in");
        assert_eq!(read("a", "deep/down/layer"), b"layer");
        assert_eq!(read("b", "same"), b"layer");
        assert_eq!(read("b", "packed"), b"packed");
        assert!(!stale.exists() && !folder(out.path(), "none").exists());
    }

    #[test]
    fn a_file_that_no_layer_holds_is_named() {
        let out = tempfile::tempdir().unwrap();
        let error = write(&app(vec![component("a", &[("lost", blob(b"lost"))])]), &BTreeMap::new(), &[], out.path()).unwrap_err();
        let sentence = error.to_string();
        assert!(sentence.contains("component a has a file lost") && sentence.contains(&sha256_digest(b"lost")), "{sentence}");
    }

    #[test]
    fn one_layer_that_stands_for_too_many_bytes_is_refused() {
        let out = tempfile::tempdir().unwrap();
        let app = app(vec![component("a", &[("one", blob(b"12345678")), ("two", blob(b"12345678"))])]);
        let mut writer = Writer::start(&app, out.path()).unwrap();
        writer.left = 15;
        assert!(matches!(writer.blob(&sha256_digest(b"12345678"), b"12345678"), Err(FilesError::TooLarge)));
    }
}
