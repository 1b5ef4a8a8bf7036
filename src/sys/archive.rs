//! Zip archives: entries by name, with bounds on what they unpack to.
//!
//! An archive is spooled to a temporary file, since its table of contents stands at its end and a stream cannot go
//! back. What the entries mean is not known here.

use std::fs::File;
use std::io::{self, Read};

use zip::ZipArchive;
use zip::result::ZipError;

/// The first bytes of every zip archive that holds something.
pub const MAGIC: &[u8] = b"PK\x03\x04";

/// Unpacked bytes that any archive may have in all; larger ones only in proportion to their packed size.
const FREE: u64 = 1 << 30;
/// How much larger an archive may become by unpacking. Logs of text shrink to a fifth to a hundredth; what is far
/// beyond that was made to fill a memory.
const MOST_RATIO: u64 = 200;

/// Why an archive or one of its entries cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The file or the temporary copy of it cannot be read or written.
    #[error("unreadable ({0})")]
    Io(#[from] io::Error),
    /// It is no zip archive, or a part of one.
    #[error("no whole zip archive ({0}); copy it again from where it was written")]
    Broken(String),
    /// An entry is damaged.
    #[error("damaged in entry `{entry}` ({cause}); copy the archive again from where it was written")]
    Entry {
        /// Name inside the archive; hostile text.
        entry: String,
        /// The decoder's word.
        cause: String,
    },
    /// An entry unpacks to more than is taken into memory.
    #[error("too long: entry `{entry}` unpacks to more than {limit} bytes; it is left out")]
    TooLong {
        /// Name inside the archive; hostile text.
        entry: String,
        /// The bound, bytes.
        limit: u64,
    },
    /// The entries together unpack to far more than their packed size explains.
    #[error(
        "too long: it unpacks to more than {limit} bytes, over {MOST_RATIO} times its size; nothing more of it is read"
    )]
    Bomb {
        /// The bound, bytes.
        limit: u64,
    },
}

/// An opened archive.
pub struct Archive {
    zip: ZipArchive<File>,
    entry_limit: u64,
    total_limit: u64,
    unpacked: u64,
}

impl Archive {
    /// Spools and opens an archive. No entry may unpack to more than `entry_limit` bytes.
    ///
    /// # Errors
    /// The stream breaks, the disk is full, or the bytes are no whole zip archive.
    pub fn open(reader: &mut dyn Read, entry_limit: u64) -> Result<Self, ArchiveError> {
        let mut spool = tempfile::tempfile()?;
        let packed = io::copy(reader, &mut spool)?;
        let zip = ZipArchive::new(spool).map_err(|error| match error {
            ZipError::Io(cause) if cause.kind() != io::ErrorKind::UnexpectedEof => ArchiveError::Io(cause),
            other => ArchiveError::Broken(other.to_string()),
        })?;
        let total_limit = packed.saturating_mul(MOST_RATIO).max(FREE);
        Ok(Self { zip, entry_limit, total_limit, unpacked: 0 })
    }

    /// Names of the entries, folders and names that are no text left out, in the order of the archive.
    pub fn names(&self) -> Vec<String> {
        let names = self.zip.file_names().flatten();
        names.filter(|name| !name.ends_with('/')).map(|name| name.into_owned()).collect()
    }

    /// Unpacks one entry; `None` when there is none of that name.
    ///
    /// # Errors
    /// The entry is damaged or too long, or the archive has given more than it may.
    pub fn read(&mut self, name: &str) -> Result<Option<Vec<u8>>, ArchiveError> {
        let broken = |cause: String| ArchiveError::Entry { entry: name.to_owned(), cause };
        let mut entry = match self.zip.by_name(name) {
            Ok(entry) => entry,
            Err(ZipError::FileNotFound) => return Ok(None),
            Err(error) => return Err(broken(error.to_string())),
        };
        let left = self.total_limit.saturating_sub(self.unpacked);
        let limit = self.entry_limit.min(left);
        let mut bytes = Vec::new();
        // The size an entry claims is not believed: only what comes out is counted.
        entry.by_ref().take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| broken(e.to_string()))?;
        self.unpacked = self.unpacked.saturating_add(bytes.len() as u64);
        if bytes.len() as u64 <= limit {
            return Ok(Some(bytes));
        }
        if limit < self.entry_limit {
            return Err(ArchiveError::Bomb { limit: self.total_limit });
        }
        Err(ArchiveError::TooLong { entry: name.to_owned(), limit })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;
    use zip::write::SimpleFileOptions;
    use zip::{CompressionMethod, ZipWriter};

    use super::*;

    fn packed(entries: &[(&str, Vec<u8>)], method: CompressionMethod) -> Vec<u8> {
        let mut writer = ZipWriter::new(io::Cursor::new(Vec::new()));
        for (name, bytes) in entries {
            writer.start_file(*name, SimpleFileOptions::default().compression_method(method)).unwrap();
            writer.write_all(bytes).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    #[test]
    fn entries_come_out_of_each_compression() {
        for method in [CompressionMethod::Stored, CompressionMethod::Deflated, CompressionMethod::Zstd] {
            let bytes = packed(&[("a.json", b"{}".to_vec()), ("b/c.json", b"[1]".to_vec())], method);
            let mut archive = Archive::open(&mut bytes.as_slice(), 100).unwrap();
            assert_eq!(archive.names(), ["a.json", "b/c.json"]);
            assert_eq!(archive.read("b/c.json").unwrap(), Some(b"[1]".to_vec()), "{method:?}");
            assert_eq!(archive.read("none").unwrap(), None);
        }
    }

    #[test]
    fn what_unpacks_to_too_much_is_refused_in_words() {
        let bytes = packed(&[("big", vec![0; 5000]), ("small", vec![0; 5])], CompressionMethod::Deflated);
        let mut archive = Archive::open(&mut bytes.as_slice(), 1000).unwrap();
        let error = archive.read("big").unwrap_err().to_string();
        assert_eq!(error, "too long: entry `big` unpacks to more than 1000 bytes; it is left out");
        assert_eq!(archive.read("small").unwrap().unwrap().len(), 5);
        archive.total_limit = 1010;
        assert!(archive.read("small").unwrap_err().to_string().contains("over 200 times its size"));
    }

    #[test]
    fn a_cut_archive_is_refused() {
        let bytes = packed(&[("a", b"hello hello hello".to_vec())], CompressionMethod::Deflated);
        let error = Archive::open(&mut &bytes[..bytes.len() / 2], 1000).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("no whole zip archive") && error.contains("copy it again"), "{error}");
    }

    proptest! {
        #[test]
        fn damaged_bytes_never_panic(position in any::<prop::sample::Index>(), value in any::<u8>()) {
            let mut bytes = packed(&[("a", b"hello hello".to_vec()), ("b", vec![7; 300])], CompressionMethod::Deflated);
            let at = position.index(bytes.len());
            bytes[at] = value;
            if let Ok(mut archive) = Archive::open(&mut bytes.as_slice(), 1000) {
                for name in archive.names() {
                    let _ = archive.read(&name);
                }
            }
        }
    }
}
