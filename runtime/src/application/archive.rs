//! Reads a layer that is an archive of files (tar, gzip'd) within bounds, and refuses what could be anything but plain files.
//!
//! The paths in it are checked and then not used: the locked app names a file by the digest of its bytes, and says where it
//! belongs.

use std::{
    io::{self, Read},
    path::{Component, Path},
};

use flate2::read::GzDecoder;
use spinredis_crds::report::shorten;
use tar::{Archive, EntryType};

use super::{MAX_FILES, MAX_UNPACKED_BYTES, files::FilesError};

/// Gives the bytes of each file in the archive to `take`.
pub fn each_file(archive: &[u8], mut take: impl FnMut(Vec<u8>) -> Result<(), FilesError>) -> Result<(), FilesError> {
    each_file_within(archive, MAX_UNPACKED_BYTES, &mut take)
}

fn each_file_within(archive: &[u8], limit: u64, take: &mut impl FnMut(Vec<u8>) -> Result<(), FilesError>) -> Result<(), FilesError> {
    // The bound is on everything that is unpacked: headers, padding and over-long names are not free either.
    let mut archive = Archive::new(Bounded { inner: GzDecoder::new(archive), room: limit });
    // A sparse file says that it is large and needs no bytes for it, so what comes out is counted too.
    let mut left = limit;
    let mut count = 0_usize;
    for entry in archive.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let path = entry.path().map_err(damaged)?.into_owned();
        let plain = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        match entry.header().entry_type() {
            _ if !plain => return Err(FilesError::ArchivePath(shown(&path))),
            EntryType::Directory | EntryType::XGlobalHeader => {}
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                count += 1;
                if count > MAX_FILES {
                    return Err(FilesError::TooMany);
                }
                let mut bytes = Vec::new();
                (&mut entry).take(left + 1).read_to_end(&mut bytes).map_err(damaged)?;
                left = left.checked_sub(bytes.len() as u64).ok_or(FilesError::TooLarge)?;
                take(bytes)?;
            }
            _ => return Err(FilesError::ArchiveEntry(shown(&path))),
        }
    }
    Ok(())
}

/// Ends with an error, not with the end of the file, when there is more than there may be.
struct Bounded<R> {
    inner: R,
    room: u64,
}

/// How [`Bounded`] says it through layers that only know [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[error("more than may be unpacked")]
struct Exceeded;

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.room = self.room.checked_sub(read as u64).ok_or_else(|| io::Error::other(Exceeded))?;
        Ok(read)
    }
}

fn damaged(error: io::Error) -> FilesError {
    // The tar reader wraps errors in its own; the cause may be some levels down.
    let mut cause: Option<&(dyn std::error::Error + 'static)> = error.get_ref().map(|inner| inner as _);
    while let Some(inner) = cause {
        if inner.is::<Exceeded>() {
            return FilesError::TooLarge;
        }
        cause = match inner.downcast_ref::<io::Error>() {
            Some(error) => error.get_ref().map(|inner| inner as _),
            None => inner.source(),
        };
    }
    FilesError::Archive(plain(&error.to_string()))
}

fn shown(path: &Path) -> String {
    plain(&path.to_string_lossy())
}

/// Words that come from the archive, on one line and not longer than a message may be.
fn plain(text: &str) -> String {
    shorten(&text.replace(char::is_control, "\u{fffd}"), 200)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use tar::{Builder, Header};

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(bytes).unwrap();
        gzip.finish().unwrap()
    }

    /// An archive of one entry, with a path that a well-behaved writer would refuse.
    fn one(kind: EntryType, path: &str, bytes: &[u8]) -> Vec<u8> {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        if matches!(kind, EntryType::Symlink | EntryType::Link) {
            header.set_link_name("target").unwrap();
        }
        header.set_cksum();
        let mut tar = Builder::new(Vec::new());
        tar.append(&header, bytes).unwrap();
        gzip(&tar.into_inner().unwrap())
    }

    fn read(archive: &[u8], limit: u64) -> Result<Vec<Vec<u8>>, FilesError> {
        let mut files = Vec::new();
        each_file_within(archive, limit, &mut |bytes| {
            files.push(bytes);
            Ok(())
        })?;
        Ok(files)
    }

    fn refused(archive: &[u8]) -> String {
        read(archive, MAX_UNPACKED_BYTES).unwrap_err().to_string()
    }

    #[test]
    fn an_archive_as_spin_writes_it_gives_its_files() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("a/b")).unwrap();
        std::fs::write(folder.path().join("a/b/one"), b"1").unwrap();
        std::fs::write(folder.path().join("two"), vec![b'2'; 2_000]).unwrap();
        std::fs::write(folder.path().join("a").join("n".repeat(200)), b"long name").unwrap();
        let mut tar = Builder::new(Vec::new());
        tar.append_dir_all(".", folder.path()).unwrap();
        let mut files = read(&gzip(&tar.into_inner().unwrap()), MAX_UNPACKED_BYTES).unwrap();
        files.sort();
        assert_eq!(files, [b"1".to_vec(), vec![b'2'; 2_000], b"long name".to_vec()]);
    }

    #[test]
    fn a_path_that_leaves_the_folder_is_refused() {
        for path in ["/etc/passwd", "../up", "a/../../up"] {
            let sentence = refused(&one(EntryType::Regular, path, b"x"));
            assert!(sentence.contains(path) && sentence.contains("plain relative path"), "{sentence}");
        }
    }

    #[test]
    fn links_and_devices_are_refused() {
        for kind in [EntryType::Symlink, EntryType::Link, EntryType::Char, EntryType::Block, EntryType::Fifo] {
            let sentence = refused(&one(kind, "entry", b""));
            assert!(sentence.contains("entry") && sentence.contains("neither a file nor a folder"), "{kind:?}: {sentence}");
        }
    }

    #[test]
    fn what_unpacks_to_more_than_it_may_is_refused() {
        let archive = one(EntryType::Regular, "zeros", &vec![0; 1 << 20]);
        assert!(archive.len() < 32 << 10, "it is a small archive");
        assert!(matches!(read(&archive, 64 << 10), Err(FilesError::TooLarge)));
        assert_eq!(read(&archive, 2 << 20).unwrap().len(), 1);
    }

    #[test]
    fn a_sparse_file_that_claims_to_be_huge_is_refused() {
        let mut header = Header::new_gnu();
        header.set_path("sparse").unwrap();
        header.set_entry_type(EntryType::GNUSparse);
        header.set_size(0);
        let gnu = header.as_gnu_mut().unwrap();
        gnu.realsize = *b"77777777777\0";
        gnu.sparse[0].offset = *b"77777777777\0";
        gnu.sparse[0].numbytes = *b"00000000000\0";
        header.set_cksum();
        let mut tar = Builder::new(Vec::new());
        tar.append(&header, io::empty()).unwrap();
        let archive = gzip(&tar.into_inner().unwrap());
        assert!(matches!(read(&archive, 1 << 20), Err(FilesError::TooLarge)));
    }

    #[test]
    fn a_name_longer_than_everything_may_be_is_refused() {
        let archive = one(EntryType::GNULongName, "././@LongLink", &vec![b'n'; 1 << 20]);
        assert!(matches!(read(&archive, 64 << 10), Err(FilesError::TooLarge)));
    }

    #[test]
    fn what_is_no_archive_is_called_damaged() {
        for bytes in [b"".as_slice(), b"not gzip", &gzip(&[b'x'; 2_000]), &one(EntryType::Regular, "cut", &[7; 5_000])[..40]] {
            assert!(refused(bytes).contains("damaged"), "{}", refused(bytes));
        }
    }
}
