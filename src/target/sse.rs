//! Streams of server-sent events, as the HTML standard describes them: bytes in any pieces to events, and the texts
//! that they carry put together. Knows no connection.

use serde_json::Value;

/// Reads events out of a stream of bytes, however it is cut.
#[derive(Default)]
pub(super) struct Events {
    /// The line that is not whole yet.
    line: Vec<u8>,
    /// Data of the event that is not whole yet.
    data: Option<String>,
    /// Whether the last byte was a carriage return, whose line feed belongs to it.
    after_return: bool,
}

impl Events {
    /// Takes bytes and gives the data of the events that became whole.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut whole = Vec::new();
        for byte in bytes {
            match byte {
                b'\n' if self.after_return => self.after_return = false,
                b'\n' | b'\r' => {
                    self.after_return = *byte == b'\r';
                    whole.extend(self.end_line());
                }
                other => {
                    self.after_return = false;
                    self.line.push(*other);
                }
            }
        }
        whole
    }

    /// The stream ended: an event without its blank line counts, servers often forget the last one.
    pub fn end(mut self) -> Option<String> {
        let last = self.end_line();
        last.or(self.data)
    }

    fn end_line(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            return self.data.take();
        }
        let line = String::from_utf8_lossy(&line);
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        if field == "data" {
            let value = value.strip_prefix(' ').unwrap_or(value);
            match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            }
        }
        None
    }
}

/// What a stream said, put together.
#[derive(Default)]
pub(super) struct Joined {
    /// The texts at the pointer, joined.
    pub text: String,
    /// Whether there was any.
    pub any: bool,
    /// Whether the word came that ends the stream.
    pub done: bool,
    /// What the events said elsewhere, the later over the earlier: tokens, an error.
    pub rest: Value,
}

impl Joined {
    /// Takes the data of an event. Says whether it carried text.
    pub fn take(&mut self, data: &str, delta: &str, done: Option<&str>) -> bool {
        if done.is_some_and(|done| data.trim() == done) {
            self.done = true;
            return false;
        }
        let Ok(event) = serde_json::from_str::<Value>(data) else {
            // A stream of plain text has no pointer.
            if delta.is_empty() {
                self.add(data);
            }
            return delta.is_empty();
        };
        let text = event.pointer(delta).and_then(Value::as_str).map(str::to_owned);
        if let Some(text) = &text {
            self.add(text);
        }
        if let (Value::Object(event), rest) = (event, &mut self.rest) {
            if !rest.is_object() {
                *rest = Value::Object(serde_json::Map::new());
            }
            if let Value::Object(rest) = rest {
                rest.extend(event.into_iter().filter(|(_, value)| !value.is_null()));
            }
        }
        text.is_some_and(|text| !text.is_empty())
    }

    fn add(&mut self, text: &str) {
        self.any = true;
        self.text.push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn events(pieces: &[&[u8]]) -> Vec<String> {
        let mut events = Events::default();
        let mut found: Vec<String> = pieces.iter().flat_map(|piece| events.push(piece)).collect();
        found.extend(events.end());
        found
    }

    #[test]
    fn events_are_those_of_the_standard() {
        let stream = b": ping\n\nevent: x\r\ndata: a\r\ndata:b\r\n\r\ndata\n\nid: 7\nretry: 3\n\ndata:  two\rdata: l\r\rdata: end";
        assert_eq!(events(&[stream]), ["a\nb", "", " two\nl", "end"]);
    }

    #[test]
    fn texts_are_joined_and_the_rest_is_kept() {
        let mut joined = Joined::default();
        let delta = "/choices/0/delta/content";
        for data in [
            r#"{"id": "c1", "choices": [{"delta": {"role": "assistant", "content": ""}}]}"#,
            r#"{"id": "c1", "choices": [{"delta": {"content": "Hel"}}], "usage": null}"#,
            r#"{"id": "c1", "choices": [{"delta": {"content": "lo"}}]}"#,
            r#"{"choices": [], "usage": {"prompt_tokens": 3}}"#,
        ] {
            joined.take(data, delta, Some("[DONE]"));
        }
        assert!(!joined.done && joined.any);
        joined.take("[DONE]", delta, Some("[DONE]"));
        assert_eq!((joined.text.as_str(), joined.done), ("Hello", true));
        assert_eq!(joined.rest["usage"], json!({"prompt_tokens": 3}));
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events(
            stream in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b':'), Just(b'd'), any::<u8>()], 0..60),
            cuts in proptest::collection::vec(0..60_usize, 0..5),
        ) {
            let text = [b"data: x\n".as_slice(), &stream].concat();
            let mut places: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            places.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for place in places {
                pieces.push(&text[from..place]);
                from = place;
            }
            pieces.push(&text[from..]);
            prop_assert_eq!(events(&pieces), events(&[&text]));
        }
    }
}
