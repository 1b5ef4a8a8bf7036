//! Rules by the name of a field: which rule, if any, a path falls under.
//!
//! A path is the names from the outermost field inwards with dots between them, without the places in lists:
//! `tool.arguments.customer.email`. A rule fits the whole path or its end from a dot on, whatever the case; `*` stands
//! for any text.

use regex::{RegexSet, RegexSetBuilder};

use super::PolicyFault;
use crate::model::{RedactAction, RedactPolicy};

/// What the policy says about a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct FieldRule<'a> {
    /// Last part of the rule's name; what a mask shows.
    pub(super) label: &'a str,
    /// The rule as configured.
    pub(super) name: &'a str,
    pub(super) action: RedactAction,
}

pub(super) struct Fields {
    set: RegexSet,
    rules: Vec<(String, String, RedactAction)>,
}

impl Fields {
    pub(super) fn new(policy: &RedactPolicy, faults: &mut Vec<PolicyFault>) -> Self {
        // Fields that are allowed come first: `keep` must win over whatever else fits.
        let allowed = policy.allow.fields.iter().map(|name| (name.clone(), RedactAction::Keep));
        let mut named: Vec<(String, RedactAction)> = allowed.collect();
        let mut own: Vec<_> = policy.fields.iter().map(|(name, action)| (name.clone(), *action)).collect();
        own.sort_by_key(|(name, action)| (*action, name.contains('*')));
        named.extend(own);
        for (name, _) in named.iter().filter(|(name, _)| name.trim_matches(['*', '.', ' ']).is_empty()) {
            let pointer = format!("/fields/{}", name.replace('~', "~0").replace('/', "~1"));
            faults.push(PolicyFault { pointer, message: "fits every field; name one".to_owned() });
        }
        let expressions = named.iter().map(|(name, _)| expression(name));
        let set = RegexSetBuilder::new(expressions).case_insensitive(true).build().unwrap_or_else(|error| {
            faults.push(PolicyFault { pointer: "/fields".to_owned(), message: error.to_string() });
            RegexSet::empty()
        });
        let rules = named.into_iter().map(|(name, action)| (label(&name), name, action)).collect();
        Self { set, rules }
    }

    pub(super) fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether something is taken out by the name of its field.
    pub(super) fn take_out(&self) -> bool {
        self.rules.iter().any(|(_, _, action)| *action != RedactAction::Keep)
    }

    /// The rule a path falls under.
    pub(super) fn find(&self, path: &str) -> Option<FieldRule<'_>> {
        if self.rules.is_empty() {
            return None;
        }
        let first = self.set.matches(path).iter().next()?;
        self.rules.get(first).map(|(label, name, action)| FieldRule { label, name, action: *action })
    }
}

fn expression(name: &str) -> String {
    // `*.password` means a password anywhere, also at the top.
    let name = name.trim().trim_start_matches("*.");
    let glob: Vec<String> = name.split('*').map(regex::escape).collect();
    format!(r"^(?:.*\.)?{}$", glob.join(".*"))
}

fn label(name: &str) -> String {
    let last = name.rsplit('.').map(|part| part.trim_matches(['*', ' '])).find(|part| !part.is_empty());
    last.unwrap_or("field").to_lowercase()
}
