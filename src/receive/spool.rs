//! The spool: a folder of files of JSON lines that hold what was received and not yet kept.
//!
//! One file is open for appending. When its content has been kept the file goes away and the next one is begun, so a
//! crash leaves at most what was not kept. A torn last line, which nobody was told about, is left out.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use crate::ingest::Item;
use crate::sys::files::{self, FileError};

/// A folder of received things.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    open: Option<(PathBuf, File)>,
    next: u64,
}

impl Spool {
    /// The spool in a folder, which is made when it is not there.
    ///
    /// # Errors
    /// When the folder cannot be made or listed.
    pub fn open(folder: &Path) -> Result<Self, FileError> {
        files::create_folder(folder)?;
        let spool = Self { folder: folder.to_owned(), open: None, next: 0 };
        let last = spool.segments()?.iter().filter_map(|path| number(path)).max();
        Ok(Self { next: last.map_or(0, |last| last + 1), ..spool })
    }

    /// Appends what is given and waits until it is on disk.
    ///
    /// # Errors
    /// When a file cannot be written. What was appended may be there in part.
    pub fn append(&mut self, items: &[Item]) -> Result<(), FileError> {
        let mut text = Vec::new();
        for item in items {
            // A span holds no map with keys that are not text: writing it as JSON cannot fail.
            if serde_json::to_writer(&mut text, item).is_ok() {
                text.push(b'\n');
            }
        }
        let (path, file) = self.segment()?;
        let fail = |cause| FileError::new("append to", path, cause);
        file.write_all(&text).map_err(fail)?;
        file.sync_data().map_err(fail)
    }

    /// Everything that is there, oldest first.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn items(&self) -> Result<Vec<Item>, FileError> {
        let mut items = Vec::new();
        for path in self.segments()? {
            for line in files::open(&path)?.split(b'\n') {
                let line = line.map_err(|cause| FileError::new("read", &path, cause))?;
                items.extend(serde_json::from_slice::<Item>(&line).ok());
            }
        }
        Ok(items)
    }

    /// Lets go of everything that is there.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn clear(&mut self) -> Result<(), FileError> {
        self.open = None;
        for path in self.segments()? {
            std::fs::remove_file(&path).map_err(|cause| FileError::new("remove", &path, cause))?;
        }
        Ok(())
    }

    fn segment(&mut self) -> Result<(&Path, &mut File), FileError> {
        if self.open.is_none() {
            let path = self.folder.join(format!("{:012}.jsonl", self.next));
            let fail = |cause| FileError::new("create", &path, cause);
            let file = OpenOptions::new().create_new(true).append(true).open(&path).map_err(fail)?;
            self.next += 1;
            self.open = Some((path, file));
        }
        match &mut self.open {
            Some((path, file)) => Ok((path, file)),
            None => Err(FileError::new("create", &self.folder, std::io::ErrorKind::NotFound.into())),
        }
    }

    fn segments(&self) -> Result<Vec<PathBuf>, FileError> {
        let mut found = files::list_folder(&self.folder)?;
        found.retain(|path| number(path).is_some());
        found.sort();
        Ok(found)
    }
}

fn number(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    name.strip_suffix(".jsonl")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Span, SpanId, SpanKind, TraceId};

    fn span(id: &str) -> Item {
        Item::Span(Box::new(Span::new(TraceId::from("t"), SpanId::from(id), SpanKind::Step, "x\ny", 1)))
    }

    fn ids(spool: &Spool) -> Vec<String> {
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
        assert_eq!(ids(&again), ["a", "b"]);
        again.append(&[span("c")]).unwrap();
        assert_eq!(ids(&again), ["a", "b", "c"]);
        let torn = folder.path().join("000000000009.jsonl");
        std::fs::write(&torn, "{\"span\":{\"trace_id\":\"t\"").unwrap();
        assert_eq!(ids(&again).len(), 3);
        again.clear().unwrap();
        assert_eq!((ids(&again).len(), std::fs::read_dir(folder.path()).unwrap().count()), (0, 0));
        again.append(&[span("d")]).unwrap();
        assert_eq!(ids(&again), ["d"]);
    }
}
