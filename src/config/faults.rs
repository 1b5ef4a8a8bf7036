//! Gathers what is wrong with a document, so that all of it can be told at once and none of it twice.
//!
//! A check that comes later sees a document with holes where earlier checks found faults. What it says about such a
//! hole would only repeat the fault in other words, so it is dropped.

use std::path::Path;

use serde_json::Value;

use super::check::{self, Fault};
use super::place::{Places, below, readable};
use super::{Problem, Problems};

/// Faults of one document, with its places.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    places: Places,
    problems: Vec<Problem>,
    /// Pointers to what does not stand in the document as it was written.
    broken: Vec<String>,
}

impl Faults {
    pub(super) fn new(places: Places) -> Self {
        Self { places, ..Self::default() }
    }

    /// The line of a table or value by the keys that lead to it, or of the nearest around it; 0 when there is none.
    pub fn line_of(&self, keys: &[&str]) -> usize {
        self.places.line(&keys.iter().fold(String::new(), |pointer, key| below(&pointer, key)))
    }

    /// Adds a fault of the value at a JSON pointer, unless that value or one around it is known to be broken.
    pub fn add(&mut self, pointer: &str, message: impl Into<String>) {
        if !self.is_broken(pointer) {
            self.push(pointer, message.into());
        }
    }

    /// Adds that a table lacks one of `keys`, unless one of them was there and broken.
    pub fn lacks(&mut self, table: &str, keys: &[&str], message: impl Into<String>) {
        if !keys.iter().any(|key| self.is_broken(&format!("{table}/{key}"))) {
            self.add(table, message);
        }
    }

    /// Checks the options of a component (a scorer, a target, a provider) against the schema in its table row.
    /// `besides` are keys of the same table that are not options. Says whether they are without fault.
    pub fn options(&mut self, schema: &Value, options: &Value, pointer: &str, besides: &[&str]) -> bool {
        let found = check::check(schema, options, besides);
        self.take(pointer, &found);
        found.is_empty()
    }

    /// Takes over what a check of the value at `pointer` found.
    pub(super) fn take(&mut self, pointer: &str, found: &[Fault]) {
        for fault in found {
            self.add(&format!("{pointer}{}", fault.at), fault.message.clone());
        }
        self.broken.extend(found.iter().map(|fault| format!("{pointer}{}", fault.at)));
    }

    /// Whether the value at a pointer, or one around it, is not as it was written.
    pub(super) fn is_broken(&self, pointer: &str) -> bool {
        let within = |outer: &String| {
            pointer.strip_prefix(outer.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.broken.iter().any(within)
    }

    /// Whether anything below a pointer is not as it was written.
    pub(super) fn has_broken_below(&self, pointer: &str) -> bool {
        self.broken.iter().any(|inner| inner.strip_prefix(pointer).is_some_and(|rest| rest.starts_with('/')))
    }

    /// Nothing when there is no fault; else all of them.
    ///
    /// # Errors
    /// There are faults.
    pub fn done(&self, file: &Path) -> Result<(), Problems> {
        if self.problems.is_empty() { Ok(()) } else { Err(Problems::new(file, self.problems.clone())) }
    }

    fn push(&mut self, pointer: &str, message: String) {
        self.problems.push(Problem { line: self.places.line(pointer), path: readable(pointer), message });
    }
}
