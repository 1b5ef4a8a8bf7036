//! A byte stream cut into JSON records, with the line each begins at.
//!
//! Two layouts. *Lines*: one value per line; a bad line costs that line only. *Document*: values that span lines, one
//! after another or as elements of one top-level array; they are found by counting brackets, so an array of any
//! length is read element by element. One value is held in memory at a time in both. Knows no format.

use std::io::{self, BufRead};

use super::error::Problem;
use super::open::Head;

/// One step through a stream.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// A value is in the buffer; it begins at this line.
    Record(u64),
    /// Something at this line could not be cut out; the buffer holds its beginning.
    Bad(u64, Problem),
    /// There is no more.
    End,
}

/// Cuts a stream into records.
pub(crate) struct Records<R> {
    reader: R,
    limit: usize,
    lines: bool,
    line: u64,
    done: bool,
    in_array: bool,
}

impl<R: BufRead> Records<R> {
    /// Cuts `reader`, which begins with `head`, into records of at most `limit` bytes.
    pub(crate) fn new(reader: R, head: Head<'_>, limit: usize) -> Self {
        Self { reader, limit, lines: has_lines(head), line: 1, done: false, in_array: false }
    }

    /// Puts the next record into `buffer`.
    pub(crate) fn next(&mut self, buffer: &mut Vec<u8>) -> Step {
        buffer.clear();
        if self.done {
            return Step::End;
        }
        let step = if self.lines { self.next_line(buffer) } else { self.next_value(buffer) };
        if self.line == 1 || matches!(step, Step::Record(1)) {
            strip_mark(buffer);
        }
        step
    }

    fn next_line(&mut self, buffer: &mut Vec<u8>) -> Step {
        loop {
            buffer.clear();
            let line = self.line;
            let most = (self.limit as u64).saturating_add(2);
            if let Err(error) = io::Read::take(&mut self.reader, most).read_until(b'\n', buffer) {
                return self.cut(line, &error);
            }
            if buffer.is_empty() {
                self.done = true;
                return Step::End;
            }
            let ended = buffer.last() == Some(&b'\n');
            self.line += 1;
            if !ended && buffer.len() as u64 >= most {
                return self.skip_line(line, buffer.len() as u64);
            }
            while buffer.last().is_some_and(u8::is_ascii_whitespace) {
                buffer.pop();
            }
            if buffer.iter().any(|byte| !byte.is_ascii_whitespace()) {
                return Step::Record(line);
            }
        }
    }

    fn skip_line(&mut self, line: u64, read: u64) -> Step {
        let mut length = read;
        loop {
            let (count, found) = match self.reader.fill_buf() {
                Ok([]) => break,
                Ok(bytes) => match bytes.iter().position(|byte| *byte == b'\n') {
                    Some(at) => (at + 1, true),
                    None => (bytes.len(), false),
                },
                Err(_) => break,
            };
            self.reader.consume(count);
            length += count as u64;
            if found {
                break;
            }
        }
        Step::Bad(line, too_long(length, self.limit))
    }

    fn next_value(&mut self, buffer: &mut Vec<u8>) -> Step {
        let mut scan = Scan::default();
        let mut begin = self.line;
        loop {
            let bytes = match self.reader.fill_buf() {
                Ok(bytes) => bytes,
                Err(error) => return self.cut(begin, &error),
            };
            if bytes.is_empty() {
                self.done = true;
                return match scan.state {
                    State::Before if self.in_array => {
                        Step::Bad(self.line, Problem::new("document", "cut off inside a list", "a closing `]`"))
                    }
                    State::Before => Step::End,
                    State::Scalar => Step::Record(begin),
                    _ => Step::Bad(begin, Problem::new("record", "cut off", "a complete JSON value")),
                };
            }
            let before = scan.state == State::Before;
            let found = scan.advance(bytes, &mut self.line, &mut self.in_array);
            if before && scan.state != State::Before {
                begin = scan.begin;
            }
            let (used, kept, end) = (found.used, found.kept, found.end);
            buffer.extend_from_slice(bytes.get(kept).unwrap_or_default());
            self.reader.consume(used);
            if buffer.len() > self.limit {
                self.done = true;
                return Step::Bad(begin, too_long(buffer.len() as u64, self.limit));
            }
            match end {
                Some(true) => return Step::Record(begin),
                Some(false) => {
                    self.done = true;
                    let expected = "JSON without line breaks in strings; nothing after this place was read";
                    return Step::Bad(begin, Problem::new("record", "a string that is never closed", expected));
                }
                None => {}
            }
        }
    }

    /// The stream broke: what came before it has been handed out, nothing after it can be.
    fn cut(&mut self, line: u64, error: &io::Error) -> Step {
        self.done = true;
        let found = format!("cut off ({error})");
        Step::Bad(line, Problem::new("stream", found, "a complete file; records before this place were read"))
    }
}

fn too_long(length: u64, limit: usize) -> Problem {
    let expected = format!("at most {limit} bytes; raise `max_record_bytes` or write one span batch per line");
    Problem::new("record", format!("{length} bytes or more"), expected)
}

fn strip_mark(buffer: &mut Vec<u8>) {
    if buffer.starts_with(b"\xef\xbb\xbf") {
        buffer.drain(..3);
    }
}

/// Whether the stream holds one value per line.
///
/// Yes when the first line, or any later line that begins with `{` in the first column, is a whole value: so a first
/// line torn by log rotation does not turn the rest into one broken document. A head without a line break is one
/// line as far as anyone can tell.
fn has_lines(head: Head<'_>) -> bool {
    let bytes = head.trimmed();
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let whole = |line: &[u8]| serde_json::from_slice::<serde::de::IgnoredAny>(line.trim_ascii()).is_ok();
    match lines.next() {
        Some(first) if first.len() == bytes.len() => true,
        Some(first) if whole(first) => true,
        // `[` and a line break: the elements below belong to one document.
        Some(first) if first.starts_with(b"[") => false,
        Some(_) => lines.any(|line| line.starts_with(b"{") && whole(line)),
        None => true,
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum State {
    /// Between values.
    #[default]
    Before,
    /// Inside brackets, not in a string.
    Open,
    /// Inside a string.
    Text,
    /// After a backslash in a string.
    Escape,
    /// In a bare value such as a number.
    Scalar,
}

#[derive(Default)]
struct Scan {
    state: State,
    depth: usize,
    begin: u64,
}

struct Found {
    /// Bytes read.
    used: usize,
    /// Those of them that belong to the value.
    kept: std::ops::Range<usize>,
    /// Whether a value ended there: well, or badly.
    end: Option<bool>,
}

impl Scan {
    fn advance(&mut self, bytes: &[u8], line: &mut u64, in_array: &mut bool) -> Found {
        let mut from = 0;
        for (at, byte) in bytes.iter().enumerate() {
            if *byte == b'\n' {
                *line += 1;
            }
            match (self.state, byte) {
                (State::Before, b'[') if !*in_array => *in_array = true,
                (State::Before, b']') => *in_array = false,
                (State::Before, b',' | b' ' | b'\t' | b'\r' | b'\n' | 0xef | 0xbb | 0xbf) => {}
                (State::Before, start) => {
                    (from, self.begin) = (at, *line);
                    (self.state, self.depth) = match start {
                        b'{' | b'[' => (State::Open, 1),
                        b'"' => (State::Text, 0),
                        _ => (State::Scalar, 0),
                    };
                }
                (State::Scalar, b',' | b']' | b' ' | b'\t' | b'\r' | b'\n') => {
                    if *byte == b']' {
                        *in_array = false;
                    }
                    return Found { used: at + 1, kept: from..at, end: Some(true) };
                }
                (State::Open, b'"') => self.state = State::Text,
                (State::Open, b'{' | b'[') => self.depth += 1,
                (State::Open, b'}' | b']') => self.depth = self.depth.saturating_sub(1),
                (State::Text, b'\\') => self.state = State::Escape,
                (State::Text, b'"') => self.state = State::Open,
                (State::Text | State::Escape, b'\n') => {
                    return Found { used: at + 1, kept: from..at, end: Some(false) };
                }
                (State::Escape, _) => self.state = State::Text,
                _ => {}
            }
            if self.state == State::Open && self.depth == 0 {
                return Found { used: at + 1, kept: from..at + 1, end: Some(true) };
            }
        }
        let kept = if self.state == State::Before { 0..0 } else { from..bytes.len() };
        Found { used: bytes.len(), kept, end: None }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Read};

    use proptest::prelude::*;

    use super::*;

    fn cut(text: &[u8], limit: usize) -> Vec<(u64, String)> {
        let head = Head { bytes: text, whole: true };
        // A tiny buffer makes every seam between reads happen somewhere.
        let mut records = Records::new(BufReader::with_capacity(3, text), head, limit);
        let mut buffer = Vec::new();
        let mut found = Vec::new();
        loop {
            match records.next(&mut buffer) {
                Step::Record(line) => found.push((line, String::from_utf8_lossy(&buffer).into_owned())),
                Step::Bad(line, problem) => found.push((line, format!("! {} {}", problem.field, problem.found))),
                Step::End => return found,
            }
        }
    }

    fn cuts(text: &str) -> Vec<(u64, String)> {
        cut(text.as_bytes(), 1000)
    }

    fn owned(records: &[(u64, &str)]) -> Vec<(u64, String)> {
        records.iter().map(|(line, text)| (*line, (*text).to_owned())).collect()
    }

    #[test]
    fn lines_are_cut_with_their_numbers() {
        assert_eq!(cuts("{\"a\":1}\r\n\n  \n{\"b\":2}"), owned(&[(1, "{\"a\":1}"), (4, "{\"b\":2}")]));
        assert_eq!(cuts("\u{feff}{\"a\":1}\n"), owned(&[(1, "{\"a\":1}")]));
    }

    #[test]
    fn a_torn_first_line_does_not_make_a_document() {
        assert_eq!(cuts("{\"a\": [1, \"x\n{\"b\":2}\n"), owned(&[(1, "{\"a\": [1, \"x"), (2, "{\"b\":2}")]));
    }

    #[test]
    fn arrays_are_read_element_by_element() {
        let text = "[\n  {\"a\": \"]}\\\"\"},\n  {\n\"b\": [1,\n2]}, 7\n]\n";
        assert_eq!(cuts(text), owned(&[(2, "{\"a\": \"]}\\\"\"}"), (3, "{\n\"b\": [1,\n2]}"), (5, "7")]));
    }

    #[test]
    fn pretty_documents_may_follow_each_other() {
        assert_eq!(cuts("{\n\"a\":1\n}\n{\n\"b\":2\n}"), owned(&[(1, "{\n\"a\":1\n}"), (4, "{\n\"b\":2\n}")]));
    }

    #[test]
    fn a_cut_document_gives_what_came_before() {
        assert_eq!(cuts("[\n{\"a\":1},\n{\"b\":"), owned(&[(2, "{\"a\":1}"), (3, "! record cut off")]));
        assert_eq!(cuts("[\n{\"a\":1},\n"), owned(&[(2, "{\"a\":1}"), (3, "! document cut off inside a list")]));
        let open = cuts("[\n{\"a\":1},\n{\"b\":\"x\n},\n{\"c\":1}]");
        assert_eq!(open, owned(&[(2, "{\"a\":1}"), (3, "! record a string that is never closed")]));
    }

    #[test]
    fn a_huge_line_is_skipped_and_said() {
        let text = format!("{{\"a\":1}}\n{{\"b\":\"{}\"}}\n{{\"c\":3}}\n", "x".repeat(100));
        let found = cut(text.as_bytes(), 20);
        assert_eq!(found[0], (1, "{\"a\":1}".to_owned()));
        assert_eq!(found[1], (2, "! record 109 bytes or more".to_owned()));
        assert_eq!(found[2], (3, "{\"c\":3}".to_owned()));
    }

    struct Torn;

    impl Read for Torn {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::from(io::ErrorKind::UnexpectedEof))
        }
    }

    #[test]
    fn a_torn_stream_gives_what_came_before() {
        let text = b"{\"a\":1}\n{\"b\"";
        let head = Head { bytes: text, whole: false };
        let mut records = Records::new(BufReader::new(text.chain(Torn)), head, 100);
        let mut buffer = Vec::new();
        assert_eq!(records.next(&mut buffer), Step::Record(1));
        assert!(matches!(records.next(&mut buffer), Step::Bad(2, problem) if problem.field == "stream"));
        assert_eq!(records.next(&mut buffer), Step::End);
    }

    proptest! {
        #[test]
        fn any_bytes_are_cut_and_end(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            cut(&bytes, 50);
        }

        #[test]
        fn any_brackets_are_cut_and_end(text in "[\\[\\]{}\",\\\\\n a1]{0,80}") {
            cut(text.as_bytes(), 50);
        }
    }
}
