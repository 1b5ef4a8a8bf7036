//! Which fields the first row of a file has: what the sources of platforms recognise their exports by.
//!
//! The head of a file may be cut off anywhere; the fields before the cut still count.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::open::Head;

/// Fields this deep are looked at.
const DEPTH: usize = 4;

/// Fields of the first row, as dotted paths from the top. Of a list only the first element counts, as if the list
/// were that element.
pub(super) struct Shape {
    fields: BTreeSet<String>,
}

impl Shape {
    /// The fields of what begins so.
    pub(super) fn of(head: &Head<'_>) -> Self {
        let mut fields = BTreeSet::new();
        let mut bytes = head.trimmed();
        if matches!(bytes.first(), Some(b'{' | b'[')) {
            // A first line torn by log rotation says nothing; the next one may.
            while !collect(bytes, &mut fields) {
                match bytes.windows(2).position(|pair| pair == b"\n{") {
                    Some(at) => bytes = bytes.get(at + 1..).unwrap_or_default(),
                    None => break,
                }
                fields.clear();
            }
        }
        Self { fields }
    }

    /// Whether there is a field at this path.
    pub(super) fn has(&self, path: &str) -> bool {
        self.fields.contains(path)
    }

    /// Whether the rows have all these fields: at the top, or in the list under one of the names.
    pub(super) fn rows_have(&self, lists: &[&str], fields: &[&str]) -> bool {
        let below = |list: &str| fields.iter().all(|field| self.fields.contains(&format!("{list}.{field}")));
        fields.iter().all(|field| self.has(field)) || lists.iter().any(|list| below(list))
    }
}

/// Collects the fields of the first value; whether it was whole or cut off rather than broken.
fn collect(bytes: &[u8], fields: &mut BTreeSet<String>) -> bool {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let fields = Fields { path: String::new(), depth: DEPTH, found: fields };
    fields.deserialize(&mut deserializer).map_or_else(|error| error.is_eof(), |()| true)
}

struct Fields<'a> {
    path: String,
    depth: usize,
    found: &'a mut BTreeSet<String>,
}

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            let path = if self.path.is_empty() { key } else { format!("{}.{key}", self.path) };
            self.found.insert(path.clone());
            if self.depth > 1 {
                map.next_value_seed(Fields { path, depth: self.depth - 1, found: &mut *self.found })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        items.next_element_seed(Fields { path: self.path, depth: self.depth, found: self.found })?;
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shape(text: &str) -> Shape {
        Shape::of(&Head { bytes: text.as_bytes(), whole: false })
    }

    #[test]
    fn fields_of_the_first_row_are_found_wherever_the_head_is_cut() {
        let text = "{\"data\": [{\"id\": 1, \"a\": {\"b\": [[{\"c\": null}]]}, \"x\": \"cu";
        let found = shape(text);
        assert!(found.has("data.a.b.c") && found.rows_have(&["data"], &["id", "a.b"]));
        assert!(!found.rows_have(&[], &["id"]));
        let second = shape("[{\"a\": 1}, {\"b\": 2}]");
        assert!(second.has("a") && !second.has("b"));
        let torn = shape("{\"torn\": x}\n{\"a\": 1}\n");
        assert!(torn.has("a") && !torn.has("torn"));
        assert!(!shape("\"a\"").has("a"));
    }

    proptest! {
        #[test]
        fn any_head_has_a_shape(text in "[\\[\\]{}\":,\\\\\n ab1]{0,80}") {
            shape(&text);
        }
    }
}
