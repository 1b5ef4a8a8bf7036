//! Attributes while they are being read: what a field is made from is taken out, the rest stays.

use std::collections::BTreeMap;
use std::ops::Bound;

use serde_json::{Map, Value};

use super::super::json::structured;
use super::super::raw::Attributes;

/// Indices in flattened keys beyond this are not believed: the keys stay as they are.
const MOST_INDEX: usize = 100_000;
/// Flattened keys are split into at most this many segments.
const MOST_DEPTH: usize = 16;

/// Keys whose values are JSON whatever they hold, so that even a text comes in quotes.
const DUMPED: &[&str] = &["traceloop.entity.", "ai.toolCall.", "ai.value"];

/// The text a JSON text stands for, also within a list; other values as they are.
fn undumped(value: &Value) -> Value {
    if let Value::Array(items) = value {
        return items.iter().map(undumped).collect();
    }
    let quoted = value.as_str().filter(|text| text.starts_with('"'));
    quoted.and_then(|text| serde_json::from_str(text).ok()).map_or_else(|| value.clone(), Value::String)
}

/// The attributes that no field was made from yet.
pub(crate) struct Bag {
    left: Attributes,
    /// Marks of the keys that are or were there. Of the hundred and more keys asked for, few are: most questions are
    /// answered by a bit, without comparing texts.
    keys: [u64; 4],
    /// The same of the keys' first segments.
    heads: u64,
}

/// Where a text is marked: by its length, its end and its middle, which tell keys apart better than how they begin.
fn mark(text: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let length = text.len();
    let word = |at: usize| text.get(at..).and_then(<[u8]>::first_chunk::<8>).copied().map(u64::from_le_bytes);
    let (end, middle) = match (length.checked_sub(8).and_then(word), word(length.saturating_sub(8) / 2)) {
        (Some(end), Some(middle)) => (end, middle),
        _ => (text.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)), 0),
    };
    (end ^ middle.rotate_left(29) ^ length as u64).wrapping_mul(ODD) >> 56
}

/// The part of a key before its first dot.
fn head(key: &str) -> &[u8] {
    let bytes = key.as_bytes();
    let end = bytes.iter().position(|byte| *byte == b'.').unwrap_or(bytes.len());
    bytes.get(..end).unwrap_or(bytes)
}

impl Bag {
    /// A bag of these attributes.
    pub(crate) fn new(left: Attributes) -> Self {
        let mut bag = Self { left, keys: [0; 4], heads: 0 };
        let Self { left, keys, heads } = &mut bag;
        left.keys().for_each(|key| note(keys, heads, key));
        bag
    }

    /// What is left.
    pub(crate) fn into_left(self) -> Attributes {
        self.left
    }

    /// The value of a key, left where it is.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        let mark = mark(key.as_bytes());
        let word = self.keys.get((mark >> 6) as usize).copied().unwrap_or(u64::MAX);
        if word >> (mark & 63) & 1 == 0 { None } else { self.left.get(key) }
    }

    /// Puts a value in.
    pub(crate) fn insert(&mut self, key: &str, value: Value) {
        note(&mut self.keys, &mut self.heads, key);
        self.left.insert(key.to_owned(), value);
    }

    /// Takes a value out.
    pub(crate) fn remove(&mut self, key: &str) -> Option<Value> {
        self.get(key)?;
        self.left.remove(key)
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Attributes whose keys begin so; a prefix holds a whole first segment.
    pub(crate) fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a String, &'a Value)> {
        let there = self.heads >> (mark(head(prefix)) & 63) & 1 == 1;
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let range = there.then(|| self.left.range::<str, _>(from));
        range.into_iter().flatten().take_while(move |(key, _)| key.starts_with(prefix))
    }

    /// Whether any key begins so; a prefix holds a whole first segment.
    pub(crate) fn has_prefix(&self, prefix: &str) -> bool {
        self.below(prefix).next().is_some()
    }

    /// The text of a key, left where it is.
    pub(crate) fn peek(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Value::as_str).filter(|text| !text.trim().is_empty())
    }

    /// Takes the first of several keys that `read` makes something of. Later keys that say the same are taken
    /// with it; those that say something else stay.
    pub(crate) fn take<T>(&mut self, keys: &[&str], read: impl Fn(&Value) -> Option<T>) -> Option<T> {
        let mut after = keys.iter();
        let (key, found) = after.find_map(|key| self.get(key).and_then(&read).map(|found| (key, found)))?;
        self.take_echoes(key, after.as_slice());
        Some(found)
    }

    /// Takes a key, and of others those that say the same.
    fn take_echoes(&mut self, key: &str, others: &[&str]) -> Option<Value> {
        let said = self.remove(key)?;
        for other in others {
            if self.get(other) == Some(&said) {
                self.left.remove(*other);
            }
        }
        Some(said)
    }

    /// Takes a text; numbers and truth values count as text, blank text does not.
    pub(crate) fn text(&mut self, keys: &[&str]) -> Option<String> {
        let mut after = keys.iter();
        let said = |value: &Value| match value {
            Value::String(text) => !text.trim().is_empty(),
            other => as_text(other).is_some(),
        };
        let key = after.find(|key| self.get(key).is_some_and(said))?;
        match self.take_echoes(key, after.as_slice())? {
            Value::String(text) => Some(text),
            other => as_text(&other),
        }
    }

    /// Takes a count that is not negative.
    pub(crate) fn count(&mut self, keys: &[&str]) -> Option<u64> {
        self.take(keys, as_count)
    }

    /// Takes an amount that is finite and not negative.
    pub(crate) fn amount(&mut self, keys: &[&str]) -> Option<f64> {
        self.take(keys, as_amount)
    }

    /// Takes a value that says something, parsed where it is JSON in a text.
    pub(crate) fn value(&mut self, keys: &[&str]) -> Option<Value> {
        let said = |value: &Value| !value.is_null() && value.as_str().is_none_or(|text| !text.trim().is_empty());
        let mut after = keys.iter();
        let key = after.find(|key| self.get(key).is_some_and(said))?;
        let dumped = DUMPED.iter().any(|prefix| key.starts_with(prefix));
        let value = self.take_echoes(key, after.as_slice())?;
        Some(structured(if dumped { undumped(&value) } else { value }))
    }

    /// The value that keys of the form `prefix.0.role` spell out, left where they are. `dotted` ends in the dot.
    pub(crate) fn nested(&self, dotted: &str) -> Option<Value> {
        let mut root = Node::default();
        for (key, value) in self.below(dotted) {
            root.insert(key.get(dotted.len()..).unwrap_or_default().splitn(MOST_DEPTH, '.'), value);
        }
        if root.children.is_empty() { None } else { Some(root.into_value()) }
    }

    /// Takes out all keys below a prefix that ends in a dot.
    pub(crate) fn drop_below(&mut self, dotted: &str) {
        let keys: Vec<String> = self.below(dotted).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.left.remove(&key);
        }
    }

    /// MLflow writes every attribute as JSON, so that even a text comes in quotes: here they are taken off.
    pub(crate) fn undump(&mut self, prefix: &str) {
        if !self.has_prefix(prefix) {
            return;
        }
        for (key, value) in self.left.range_mut::<str, _>((Bound::Included(prefix), Bound::Unbounded)) {
            if !key.starts_with(prefix) {
                return;
            }
            let text = value.as_str().filter(|text| text.starts_with('"'));
            if let Some(text) = text.and_then(|text| serde_json::from_str(text).ok()) {
                *value = Value::String(text);
            }
        }
    }
}

fn note(keys: &mut [u64; 4], heads: &mut u64, key: &str) {
    let at = mark(key.as_bytes());
    if let Some(word) = keys.get_mut((at >> 6) as usize) {
        *word |= 1 << (at & 63);
    }
    *heads |= 1 << (mark(head(key)) & 63);
}

pub(crate) fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

pub(crate) fn as_count(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64().or_else(|| {
            let number = number.as_f64()?;
            ((0.0..1e15).contains(&number) && number.fract() == 0.0).then_some(number as u64)
        }),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

pub(crate) fn as_amount(value: &Value) -> Option<f64> {
    let amount = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    (amount.is_finite() && amount >= 0.0).then_some(amount)
}

/// Brings nested attributes, as Phoenix and some dumps write them, to the flattened keys of their vocabulary:
/// `{"llm": {"model_name": "x"}}` to `llm.model_name`. Values below other keys are left as they are.
pub(crate) fn flatten(attributes: Attributes) -> Attributes {
    const ROOTS: &[&str] = &[
        "llm",
        "openinference",
        "input",
        "output",
        "tool",
        "session",
        "user",
        "retrieval",
        "embedding",
        "reranker",
        "gen_ai",
        "agent",
        "exception",
    ];
    let nested = |(key, value): (&String, &Value)| value.is_object() && ROOTS.contains(&key.as_str());
    if !attributes.iter().any(nested) {
        return attributes;
    }
    let mut flat = Attributes::new();
    for (key, value) in attributes {
        if nested((&key, &value)) {
            flatten_into(&key, value, &mut flat, 0);
        } else {
            flat.insert(key, value);
        }
    }
    flat
}

fn flatten_into(key: &str, value: Value, flat: &mut Attributes, depth: usize) {
    match value {
        Value::Object(map) if depth < MOST_DEPTH && !map.is_empty() => {
            for (below, value) in map {
                flatten_into(&format!("{key}.{below}"), value, flat, depth + 1);
            }
        }
        // Lists of objects are what indices in keys stand for; lists of plain values are values.
        Value::Array(items) if depth < MOST_DEPTH && items.first().is_some_and(Value::is_object) => {
            for (index, value) in items.into_iter().enumerate() {
                flatten_into(&format!("{key}.{index}"), value, flat, depth + 1);
            }
        }
        value => {
            flat.insert(key.to_owned(), value);
        }
    }
}

#[derive(Default)]
struct Node {
    value: Option<Value>,
    children: BTreeMap<String, Node>,
}

impl Node {
    fn insert<'a>(&mut self, mut path: impl Iterator<Item = &'a str>, value: &Value) {
        match path.next() {
            Some(segment) => self.children.entry(segment.to_owned()).or_default().insert(path, value),
            None => self.value = Some(value.clone()),
        }
    }

    fn into_value(self) -> Value {
        if self.children.is_empty() {
            return self.value.unwrap_or(Value::Null);
        }
        let mut indexed: Vec<(usize, Node)> = Vec::new();
        let mut named = Map::new();
        for (segment, node) in self.children {
            match segment.parse().ok().filter(|index| *index < MOST_INDEX) {
                Some(index) => indexed.push((index, node)),
                None => {
                    named.insert(segment, node.into_value());
                }
            }
        }
        if !named.is_empty() || indexed.is_empty() {
            for (index, node) in indexed {
                named.insert(index.to_string(), node.into_value());
            }
            return Value::Object(named);
        }
        // Text order puts 10 before 2.
        indexed.sort_by_key(|(index, _)| *index);
        indexed.into_iter().map(|(_, node)| node.into_value()).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn bag(value: Value) -> Bag {
        Bag::new(serde_json::from_value(value).unwrap())
    }

    #[test]
    fn the_first_key_wins_and_echoes_go_with_it() {
        let mut bag = bag(json!({"a": " ", "b": "x", "c": "x", "d": "y"}));
        assert_eq!(bag.text(&["a", "b", "c", "d"]).as_deref(), Some("x"));
        assert_eq!(bag.left.keys().collect::<Vec<_>>(), ["a", "d"]);
    }

    #[test]
    fn counts_and_amounts_take_only_sound_numbers() {
        let mut bag = bag(json!({"a": -1, "b": "12", "c": 3.0, "d": 2.5, "e": "NaN", "f": "1e3"}));
        assert_eq!(bag.count(&["a", "d", "b"]), Some(12));
        assert_eq!(bag.count(&["c"]), Some(3));
        assert_eq!(bag.amount(&["a", "e", "f"]), Some(1000.0));
        assert!(bag.has("a") && bag.has("d") && bag.has("e"));
    }

    #[test]
    fn dumped_texts_lose_their_quotes_and_others_keep_them() {
        let quoted = "\"{\\\"a\\\":1}\"";
        let mut bag = bag(json!({"traceloop.entity.output": quoted, "ai.toolCall.result": "\"rainy\"", "x": "\"y\""}));
        assert_eq!(bag.value(&["none", "traceloop.entity.output"]), Some(json!({"a": 1})));
        assert_eq!(bag.value(&["ai.toolCall.result"]), Some(json!("rainy")));
        assert_eq!(bag.value(&["x"]), Some(json!("\"y\"")));
    }

    #[test]
    fn flattened_keys_become_lists_in_order_of_their_numbers() {
        let keys = json!({"m.10.role": "z", "m.2.role": "b", "m.2.parts.0": 1, "mm.0": 9});
        assert_eq!(bag(keys).nested("m."), Some(json!([{"role": "b", "parts": [1]}, {"role": "z"}])));
        assert_eq!(bag(json!({"m.4294967296.a": 1})).nested("m."), Some(json!({"4294967296": {"a": 1}})));
        assert_eq!(bag(json!({"mx": 1})).nested("m."), None);
    }

    #[test]
    fn nested_attributes_are_flattened_below_known_roots_only() {
        let nested =
            json!({"llm": {"input_messages": [{"message": {"role": "user"}}], "tags": ["a"]}, "app": {"x": 1}});
        let flat = flatten(serde_json::from_value(nested).unwrap());
        let expected = json!({"llm.input_messages.0.message.role": "user", "llm.tags": ["a"], "app": {"x": 1}});
        assert_eq!(serde_json::to_value(flat).unwrap(), expected);
    }

    proptest! {
        #[test]
        fn marks_hide_nothing_that_is_there(
            keys in proptest::collection::btree_set("[a-c]{1,3}(\\.[a-c]{1,9}){0,3}", 0..30),
            asked in "[a-c]{1,3}(\\.[a-c]{1,9}){0,3}",
        ) {
            let left: Attributes = keys.iter().map(|key| (key.clone(), json!(key))).collect();
            let mut bag = Bag::new(left);
            prop_assert_eq!(bag.has(&asked), keys.contains(&asked));
            for key in &keys {
                prop_assert_eq!(bag.get(key), Some(&json!(key)));
                for (at, _) in key.match_indices('.') {
                    let prefix = &key[..=at];
                    let expected = keys.iter().filter(|key| key.starts_with(prefix)).count();
                    prop_assert_eq!(bag.below(prefix).count(), expected);
                }
            }
            bag.insert(&asked, json!(1));
            prop_assert_eq!(bag.remove(&asked), Some(json!(1)));
            prop_assert!(!bag.has(&asked));
        }

        #[test]
        fn any_keys_can_be_nested(keys in proptest::collection::vec("m[.0-9a]{0,40}", 0..20)) {
            let left: Attributes = keys.into_iter().map(|key| (key, json!(1))).collect();
            let mut bag = Bag::new(left);
            bag.nested("m.");
            bag.drop_below("m.");
        }
    }
}
