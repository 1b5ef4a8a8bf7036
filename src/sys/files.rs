//! Files: whole and atomic writes, compressed reads, and lines that can be found again.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A file operation that failed, naming the file.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} `{}`: {cause}", path.display())]
pub struct FileError {
    /// What was tried: `read`, `write`, `create`.
    pub action: &'static str,
    /// The file.
    pub path: PathBuf,
    /// The system's word.
    #[source]
    pub cause: io::Error,
}

impl FileError {
    /// An error of an action on a path.
    pub fn new(action: &'static str, path: &Path, cause: io::Error) -> Self {
        Self { action, path: path.to_owned(), cause }
    }
}

/// Reads a whole text file; bytes that are not UTF-8 are an error.
pub fn read_text(path: &Path) -> Result<String, FileError> {
    fs::read_to_string(path).map_err(|cause| FileError::new("read", path, cause))
}

/// Reads a whole file.
pub fn read_bytes(path: &Path) -> Result<Vec<u8>, FileError> {
    fs::read(path).map_err(|cause| FileError::new("read", path, cause))
}

/// Opens a file for reading, through gzip or zstd where its first bytes say so; names are not trusted.
pub fn open(path: &Path) -> Result<Box<dyn BufRead + Send>, FileError> {
    let fail = |cause| FileError::new("read", path, cause);
    let mut file = File::open(path).map_err(fail)?;
    if file.metadata().map_err(fail)?.is_dir() {
        return Err(fail(io::Error::other("it is a folder")));
    }
    let mut magic = [0_u8; 4];
    let got = read_up_to(&mut file, &mut magic).map_err(fail)?;
    file.seek(SeekFrom::Start(0)).map_err(fail)?;
    decompress(file, magic.get(..got).unwrap_or(&[])).map_err(fail)
}

/// Reads a stream through gzip or zstd where `magic`, its first bytes, says so.
fn decompress(file: File, magic: &[u8]) -> io::Result<Box<dyn BufRead + Send>> {
    let reader = BufReader::with_capacity(1 << 16, file);
    Ok(match magic {
        [0x1f, 0x8b, ..] => Box::new(BufReader::with_capacity(1 << 16, flate2::bufread::MultiGzDecoder::new(reader))),
        [0x28, 0xb5, 0x2f, 0xfd] => {
            Box::new(BufReader::with_capacity(1 << 16, zstd::stream::read::Decoder::with_buffer(reader)?))
        }
        _ => Box::new(reader),
    })
}

fn read_up_to(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match reader.read(&mut buffer[got..])? {
            0 => break,
            n => got += n,
        }
    }
    Ok(got)
}

/// Writes a file whole or not at all: a temporary file beside it, synced, then renamed over it. Makes the folder.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let fail = |cause| FileError::new("write", path, cause);
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder).map_err(fail)?;
    let mut temporary = tempfile::NamedTempFile::new_in(folder).map_err(fail)?;
    temporary.write_all(bytes).map_err(fail)?;
    temporary.as_file().sync_all().map_err(fail)?;
    // A temporary file is private; what it becomes should be readable like any file the user makes.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(path).map(|meta| meta.permissions().mode()).unwrap_or(0o644);
        temporary.as_file().set_permissions(fs::Permissions::from_mode(mode)).map_err(fail)?;
    }
    temporary.persist(path).map_err(|error| fail(error.error))?;
    Ok(())
}

/// Finds out whether a file could be written, without leaving anything behind: run before money is spent.
pub fn check_writable(path: &Path) -> Result<(), FileError> {
    let fail = |cause| FileError::new("write", path, cause);
    if path.is_dir() {
        return Err(fail(io::Error::other("it is a folder")));
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder).map_err(fail)?;
    let mut probe = tempfile::NamedTempFile::new_in(folder).map_err(fail)?;
    // A full disk accepts an empty file; a block of bytes it does not.
    probe.write_all(&[0; 4096]).and_then(|()| probe.as_file().sync_all()).map_err(fail)
}

/// A file that one process at a time holds; let go of when dropped, also by a crash.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held open for its lock")] File);

/// Takes a lock, whose file is made when it is not there; `None` when another process holds it.
pub fn lock(path: &Path) -> Result<Option<Lock>, FileError> {
    let fail = |cause| FileError::new("lock", path, cause);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(fail)?;
    }
    let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(fail)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Lock(file))),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(cause)) => Err(fail(cause)),
    }
}

/// Appends one line and syncs it; makes file and folder.
pub fn append_line(path: &Path, line: &str) -> Result<(), FileError> {
    let fail = |cause| FileError::new("write", path, cause);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(fail)?;
    }
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path).map_err(fail)?;
    file.write_all(line.as_bytes()).and_then(|()| file.write_all(b"\n")).and_then(|()| file.sync_data()).map_err(fail)
}

/// Writes files into a new folder that appears whole or not at all; `false` when a folder of that name was there
/// first. Nothing that exists is ever overwritten, also when two processes try the same name at once.
pub fn publish_folder(folder: &Path, contents: &[(&str, &[u8])]) -> Result<bool, FileError> {
    let fail = |cause| FileError::new("write", folder, cause);
    let above = match folder.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    fs::create_dir_all(above).map_err(fail)?;
    if folder.symlink_metadata().is_ok() {
        return Ok(false);
    }
    let temporary = tempfile::Builder::new().prefix(".new-").tempdir_in(above).map_err(fail)?;
    for (name, bytes) in contents {
        write_atomic(&temporary.path().join(name), bytes)?;
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(temporary.path(), fs::Permissions::from_mode(0o755)).map_err(fail)?;
    }
    // Renaming onto a folder that holds something fails on every system: that is the lock.
    match fs::rename(temporary.path(), folder) {
        Ok(()) => {
            // It has moved away; there is nothing left for the temporary folder to remove.
            let _ = temporary.keep();
            Ok(true)
        }
        Err(_) if folder.exists() => Ok(false),
        Err(cause) => Err(fail(cause)),
    }
}

/// Makes a folder and those above it.
pub fn create_folder(path: &Path) -> Result<(), FileError> {
    fs::create_dir_all(path).map_err(|cause| FileError::new("create", path, cause))
}

/// The entries of a folder, sorted by name; empty when it does not exist.
pub fn list_folder(path: &Path) -> Result<Vec<PathBuf>, FileError> {
    let fail = |cause| FileError::new("read", path, cause);
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(fail(error)),
    };
    let mut paths =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>().map_err(fail)?;
    paths.sort();
    Ok(paths)
}

/// A file of lines that can be read one by one in any order, holding only where each begins.
///
/// Plain files only: a compressed stream cannot be entered in the middle.
pub struct LineFile {
    path: PathBuf,
    file: std::sync::Mutex<File>,
    starts: Vec<u64>,
}

impl LineFile {
    /// Reads through a file once and notes where each line that is not blank begins.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let fail = |cause| FileError::new("read", path, cause);
        let mut reader = BufReader::with_capacity(1 << 16, File::open(path).map_err(fail)?);
        let mut starts = Vec::new();
        let mut offset = 0;
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line).map_err(fail)?;
            if read == 0 {
                break;
            }
            if !line.iter().all(u8::is_ascii_whitespace) {
                starts.push(offset);
            }
            offset += read as u64;
        }
        let file = File::open(path).map_err(fail)?;
        Ok(Self { path: path.to_owned(), file: std::sync::Mutex::new(file), starts })
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// One line by its index from 0, without its line break; `None` beyond the end.
    pub fn line(&self, index: usize) -> Result<Option<Vec<u8>>, FileError> {
        let fail = |cause| FileError::new("read", &self.path, cause);
        let Some(start) = self.starts.get(index) else { return Ok(None) };
        let file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut reader = BufReader::new(&*file);
        reader.seek(SeekFrom::Start(*start)).map_err(fail)?;
        let mut line = Vec::new();
        reader.read_until(b'\n', &mut line).map_err(fail)?;
        while line.last().is_some_and(u8::is_ascii_whitespace) {
            line.pop();
        }
        Ok(Some(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_again_in_any_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        write_atomic(&path, b"one\n\n  \ntwo\r\nthree").unwrap();
        let lines = LineFile::open(&path).unwrap();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines.line(2).unwrap().as_deref(), Some(b"three".as_slice()));
        assert_eq!(lines.line(1).unwrap().as_deref(), Some(b"two".as_slice()));
        assert_eq!(lines.line(3).unwrap(), None);
    }

    #[test]
    fn compression_is_told_by_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("misnamed.json");
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(b"hello").unwrap();
        write_atomic(&path, &encoder.finish().unwrap()).unwrap();
        let mut text = String::new();
        open(&path).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
    }

    #[test]
    fn a_published_folder_is_whole_and_never_overwritten() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("d").join("1");
        assert!(publish_folder(&folder, &[("a", b"one"), ("b", b"two")]).unwrap());
        assert!(!publish_folder(&folder, &[("a", b"other")]).unwrap());
        assert_eq!(read_bytes(&folder.join("a")).unwrap(), b"one");
        assert_eq!(list_folder(&root.path().join("d")).unwrap(), [folder]);
    }

    #[test]
    fn an_unwritable_place_is_found_beforehand() {
        let folder = tempfile::tempdir().unwrap();
        let blocker = folder.path().join("file");
        write_atomic(&blocker, b"x").unwrap();
        let error = check_writable(&blocker.join("report.html")).unwrap_err();
        assert!(error.to_string().starts_with("cannot write `"), "{error}");
    }
}
