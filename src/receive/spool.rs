//! The spool: a folder of files of JSON lines that hold what was received and not yet kept.
//!
//! One file is open for appending. When its content has been kept the file goes away and the next one is begun, so a
//! crash leaves at most what was not kept. What still waits after that stands in a file named `.rest.jsonl`: all files
//! before it have been kept, also where a crash left them. A torn last line, which nobody was told about, is left out;
//! a file with any other line that cannot be read is never removed, it is renamed to `.bad`.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use crate::ingest::Item;
use crate::sys::files::{self, FileError};

/// A folder of received things.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    open: Option<(PathBuf, File)>,
    next: u64,
    /// Lines that could not be read, by file; found by [`Spool::items`].
    bad: BTreeMap<PathBuf, usize>,
}

/// A file with lines that could not be read, set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Where it is now.
    pub file: PathBuf,
    /// How many lines.
    pub lines: usize,
}

impl Spool {
    /// The spool in a folder, which is made when it is not there.
    ///
    /// # Errors
    /// When the folder cannot be made or listed.
    pub fn open(folder: &Path) -> Result<Self, FileError> {
        files::create_folder(folder)?;
        // Also the numbers of files set aside are never used again.
        let last = files::list_folder(folder)?.iter().filter_map(|path| number(path)).max();
        let next = last.map_or(0, |last| last + 1);
        Ok(Self { folder: folder.to_owned(), open: None, next, bad: BTreeMap::new() })
    }

    /// Appends what is given and waits until it is on disk.
    ///
    /// # Errors
    /// When a file cannot be written. What was appended may be there in part; what comes next goes into a new file.
    pub fn append(&mut self, items: &[Item]) -> Result<(), FileError> {
        let text = lines(items);
        let (path, file) = self.segment()?;
        let before = file.metadata().map(|meta| meta.len());
        if let Err(cause) = file.write_all(&text).and_then(|()| file.sync_data()) {
            let error = FileError::new("append to", path, cause);
            // Where this fails too, a torn line ends a file that nobody appends to any more.
            if let Ok(before) = before {
                let _ = file.set_len(before);
            }
            self.open = None;
            return Err(error);
        }
        Ok(())
    }

    /// Everything that is there, oldest first, without the lines that cannot be read.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn items(&mut self) -> Result<Vec<Item>, FileError> {
        let mut items = Vec::new();
        for path in self.segments()?.live {
            let bad = read(&path, &mut items).map_err(|cause| FileError::new("read", &path, cause))?;
            if bad > 0 {
                self.bad.insert(path, bad);
            }
        }
        Ok(items)
    }

    /// Whether lines were met that cannot be read.
    pub(super) fn has_bad(&self) -> bool {
        !self.bad.is_empty()
    }

    /// Lets go of everything that is there and holds `rest` instead. Files with lines that could not be read are set
    /// aside and given back.
    ///
    /// # Errors
    /// When a file cannot be written or removed. Before `rest` is on disk nothing else goes.
    pub fn replace(&mut self, rest: &[Item]) -> Result<Vec<SetAside>, FileError> {
        self.open = None;
        let old = self.segments()?;
        if !rest.is_empty() {
            self.write_rest(rest)?;
        }
        let mut aside = Vec::new();
        for path in old.live.into_iter().chain(old.kept) {
            if let Some(&lines) = self.bad.get(&path) {
                let file = path.with_extension("bad");
                std::fs::rename(&path, &file).map_err(|cause| FileError::new("rename", &path, cause))?;
                self.bad.remove(&path);
                aside.push(SetAside { file, lines });
            } else {
                std::fs::remove_file(&path).map_err(|cause| FileError::new("remove", &path, cause))?;
            }
        }
        Ok(aside)
    }

    fn write_rest(&mut self, rest: &[Item]) -> Result<(), FileError> {
        let path = self.folder.join(format!("{:012}.rest.jsonl", self.next));
        files::write_atomic(&path, &lines(rest))?;
        self.next += 1;
        sync_folder(&self.folder)
    }

    fn segment(&mut self) -> Result<(&Path, &mut File), FileError> {
        if self.open.is_none() {
            let path = self.folder.join(format!("{:012}.jsonl", self.next));
            let fail = |cause| FileError::new("create", &path, cause);
            let file = OpenOptions::new().create_new(true).append(true).open(&path).map_err(fail)?;
            self.next += 1;
            // A file whose name is not on disk is gone after a power cut, whatever was synced into it.
            sync_folder(&self.folder)?;
            self.open = Some((path, file));
        }
        match &mut self.open {
            Some((path, file)) => Ok((path, file)),
            None => Err(FileError::new("create", &self.folder, std::io::ErrorKind::NotFound.into())),
        }
    }

    fn segments(&self) -> Result<Segments, FileError> {
        let mut found = files::list_folder(&self.folder)?;
        found.retain(|path| path.extension().is_some_and(|end| end == "jsonl") && number(path).is_some());
        found.sort_by_key(|path| number(path));
        let is_rest = |path: &PathBuf| path.to_str().is_some_and(|path| path.ends_with(".rest.jsonl"));
        let live = found.split_off(found.iter().rposition(is_rest).unwrap_or(0));
        Ok(Segments { live, kept: found })
    }
}

/// Files of a spool, oldest first.
struct Segments {
    /// What is to be kept.
    live: Vec<PathBuf>,
    /// What has been kept, left by a crash.
    kept: Vec<PathBuf>,
}

fn lines(items: &[Item]) -> Vec<u8> {
    let mut text = Vec::new();
    for item in items {
        let before = text.len();
        // A span holds no map with keys that are not text: writing it as JSON cannot fail. Half a line would cost the
        // next one too.
        match serde_json::to_writer(&mut text, item) {
            Ok(()) => text.push(b'\n'),
            Err(_) => text.truncate(before),
        }
    }
    text
}

/// Reads one file and says how many of its lines cannot be read, a torn last one left out.
fn read(path: &Path, items: &mut Vec<Item>) -> std::io::Result<usize> {
    let mut reader = BufReader::with_capacity(1 << 16, File::open(path)?);
    let (mut line, mut bad) = (Vec::new(), 0);
    while reader.read_until(b'\n', &mut line)? > 0 {
        match serde_json::from_slice::<Item>(&line) {
            Ok(item) => items.push(item),
            Err(_) if line.ends_with(b"\n") => bad += 1,
            Err(_) => {}
        }
        line.clear();
    }
    Ok(bad)
}

fn sync_folder(folder: &Path) -> Result<(), FileError> {
    // Elsewhere a folder cannot be opened as a file.
    if cfg!(unix) {
        File::open(folder).and_then(|open| open.sync_all()).map_err(|cause| FileError::new("sync", folder, cause))?;
    }
    Ok(())
}

fn number(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Span, SpanId, SpanKind, TraceId};

    fn span(id: &str) -> Item {
        Item::Span(Box::new(Span::new(TraceId::from("t"), SpanId::from(id), SpanKind::Step, "x\ny", 1)))
    }

    fn ids(spool: &mut Spool) -> Vec<String> {
        let id = |item| match item {
            Item::Span(span) => span.span_id.to_string(),
            other => panic!("{other:?}"),
        };
        spool.items().unwrap().into_iter().map(id).collect()
    }

    #[test]
    fn what_was_appended_is_there_after_a_crash_and_gone_when_cleared() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(folder.path()).unwrap();
        spool.append(&[span("a"), span("b")]).unwrap();
        let mut again = Spool::open(folder.path()).unwrap();
        assert_eq!(ids(&mut again), ["a", "b"]);
        again.append(&[span("c")]).unwrap();
        assert_eq!(ids(&mut again), ["a", "b", "c"]);
        let torn = folder.path().join("000000000009.jsonl");
        std::fs::write(&torn, "{\"span\":{\"trace_id\":\"t\"").unwrap();
        assert_eq!(ids(&mut again).len(), 3);
        assert_eq!(again.replace(&[]).unwrap(), []);
        assert_eq!((ids(&mut again).len(), std::fs::read_dir(folder.path()).unwrap().count()), (0, 0));
        again.append(&[span("d")]).unwrap();
        assert_eq!(ids(&mut again), ["d"]);
    }

    #[test]
    fn after_a_failed_write_the_next_goes_into_a_new_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(folder.path()).unwrap();
        spool.append(&[span("a")]).unwrap();
        let (path, _) = spool.open.take().unwrap();
        // Nothing can be written through this one.
        spool.open = Some((path.clone(), File::open(&path).unwrap()));
        let error = spool.append(&[span("b")]).unwrap_err();
        assert!(error.to_string().starts_with("cannot append to `"), "{error}");
        // What a disk that filled up leaves.
        let mut torn = OpenOptions::new().append(true).open(&path).unwrap();
        torn.write_all(b"{\"span\":{\"trace_id\"").unwrap();
        spool.append(&[span("c")]).unwrap();
        assert_eq!(ids(&mut spool), ["a", "c"]);
        assert_eq!(spool.replace(&[]).unwrap(), []);
    }

    #[test]
    fn a_file_with_lines_that_cannot_be_read_is_set_aside_and_its_number_never_used_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(folder.path()).unwrap();
        spool.append(&[span("a")]).unwrap();
        let (path, _) = spool.open.take().unwrap();
        let good = std::fs::read(&path).unwrap();
        std::fs::write(&path, [b"garbage\n".as_slice(), &good, b"\xff\xfe\n", b"{\"span\":"].concat()).unwrap();
        assert_eq!(ids(&mut spool), ["a"]);
        let file = folder.path().join("000000000000.bad");
        assert_eq!(spool.replace(&[]).unwrap(), [SetAside { file: file.clone(), lines: 2 }]);
        assert!(std::fs::read(&file).unwrap().starts_with(b"garbage"));
        let mut again = Spool::open(folder.path()).unwrap();
        assert!(ids(&mut again).is_empty());
        again.append(&[span("b")]).unwrap();
        assert!(folder.path().join("000000000001.jsonl").exists());
    }

    #[test]
    fn the_rest_stands_for_all_files_before_it_also_after_a_crash() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(folder.path()).unwrap();
        spool.append(&[span("a"), span("b")]).unwrap();
        let first = folder.path().join("000000000000.jsonl");
        let before = std::fs::read(&first).unwrap();
        spool.replace(&[span("b")]).unwrap();
        assert!(!first.exists());
        // A crash before the old file went.
        std::fs::write(&first, before).unwrap();
        let mut again = Spool::open(folder.path()).unwrap();
        again.append(&[span("c")]).unwrap();
        assert_eq!(ids(&mut again), ["b", "c"]);
        again.replace(&[]).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
