//! Opening what is to be read: decompression by content and a look at the beginning.

use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

use crate::sys::files;

use super::{IngestError, table};

/// How much of the (decompressed) beginning a source may look at to recognise its format.
const HEAD: usize = 1 << 16;

/// Bytes of a Parquet file that can only be read whole; of a longer one nothing can be said.
const MOST_PARQUET: u64 = 2 << 30;

/// The beginning of something to be read.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// At most 64 KiB, decompressed; of a Parquet file all, since it says what it holds at its end.
    pub bytes: &'a [u8],
    /// Whether that is all there is.
    pub whole: bool,
}

impl Head<'_> {
    /// The bytes after a byte order mark and white space.
    pub fn trimmed(&self) -> &[u8] {
        let bytes = self.bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(self.bytes);
        bytes.trim_ascii_start()
    }

    /// Names of the columns of a CSV or Parquet file; none for anything else.
    pub fn columns(&self) -> Vec<String> {
        table::columns(self)
    }

    /// Whether the bytes contain a text.
    pub fn contains(&self, text: &str) -> bool {
        let needle = text.as_bytes();
        self.bytes.windows(needle.len()).any(|window| window == needle)
    }
}

/// An opened input whose beginning has been looked at and will be read again.
pub(crate) struct Opened {
    pub(crate) file: String,
    head: Cursor<Vec<u8>>,
    whole: bool,
    rest: Box<dyn BufRead + Send>,
    /// A read error met while looking ahead; due when the head has been read.
    pending: Option<io::Error>,
}

impl Opened {
    /// Opens a file, through gzip or zstd where its content says so.
    pub(crate) fn path(path: &Path) -> Result<Self, IngestError> {
        let reader = files::open(path)?;
        Ok(Self::new(path.display().to_string(), reader))
    }

    /// Wraps a stream, through gzip or zstd where its first bytes say so.
    pub(crate) fn stream(file: &str, mut reader: Box<dyn BufRead + Send>) -> Self {
        // Fewer than four bytes at first is possible on a slow pipe; compressed input then reads as unknown.
        let magic: Vec<u8> = reader.fill_buf().map(|bytes| bytes.iter().take(4).copied().collect()).unwrap_or_default();
        Self::new(file.to_owned(), decompress(&magic, reader))
    }

    fn new(file: String, mut rest: Box<dyn BufRead + Send>) -> Self {
        let mut head = Vec::new();
        let mut pending = rest.by_ref().take(HEAD as u64).read_to_end(&mut head).err();
        let mut whole = head.len() < HEAD && pending.is_none();
        if !whole && pending.is_none() && head.starts_with(table::PARQUET) {
            pending = rest.by_ref().take(MOST_PARQUET).read_to_end(&mut head).err();
            whole = pending.is_none() && (head.len() as u64) < MOST_PARQUET;
        }
        Self { file, head: Cursor::new(head), whole, rest, pending }
    }

    /// What can be recognised.
    pub(crate) fn head(&self) -> Head<'_> {
        Head { bytes: self.head.get_ref(), whole: self.whole }
    }
}

fn decompress(magic: &[u8], reader: Box<dyn BufRead + Send>) -> Box<dyn BufRead + Send> {
    match magic {
        [0x1f, 0x8b, ..] => Box::new(BufReader::with_capacity(1 << 16, flate2::bufread::MultiGzDecoder::new(reader))),
        [0x28, 0xb5, 0x2f, 0xfd] => match zstd::stream::read::Decoder::with_buffer(reader) {
            Ok(decoder) => Box::new(BufReader::with_capacity(1 << 16, decoder)),
            Err(error) => Box::new(BufReader::new(Broken(Some(error)))),
        },
        _ => reader,
    }
}

/// A reader that only reports why it could not be made.
struct Broken(Option<io::Error>);

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

impl Read for Opened {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), available.get(..count)) {
            to.copy_from_slice(from);
        }
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Opened {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.head.position() < self.head.get_ref().len() as u64 {
            return self.head.fill_buf();
        }
        match self.pending.take() {
            Some(error) => Err(error),
            None => self.rest.fill_buf(),
        }
    }

    fn consume(&mut self, count: usize) {
        if self.head.position() < self.head.get_ref().len() as u64 {
            self.head.consume(count);
        } else {
            self.rest.consume(count);
        }
    }
}
