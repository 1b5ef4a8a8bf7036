//! Findings in one text: one pass of cheap triggers over it, then the patterns whose trigger fits, then overlaps.

use std::ops::Range;
use std::sync::OnceLock;

use regex::{Regex, RegexSet};

use super::kinds::{self, Check, EMAIL, Group, KINDS, SECRET};
use super::{PolicyFault, checks};
use crate::model::{RedactAction, RedactPolicy};

/// Something found in a text.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Hit<'a> {
    pub(super) range: Range<usize>,
    pub(super) rule: &'a str,
    pub(super) action: RedactAction,
}

struct Rule {
    name: String,
    action: RedactAction,
    looks: Looks,
}

/// How a rule looks at a text that its trigger fits.
enum Looks {
    /// A kind of ours: its pattern, made when first needed (most texts need none), and its check.
    Built(&'static str, OnceLock<Option<Regex>>, Check),
    /// A pattern of the user's, and the group that is taken out.
    Own(Regex, usize),
}

pub(super) struct Scanner {
    triggers: RegexSet,
    rules: Vec<Rule>,
    secret_fields: Option<RedactAction>,
    cards: Option<RedactAction>,
    allowed: Vec<String>,
    domains: Vec<String>,
}

impl Scanner {
    pub(super) fn new(policy: &RedactPolicy, faults: &mut Vec<PolicyFault>) -> Self {
        let mut fault = |pointer: String, message: String| faults.push(PolicyFault { pointer, message });
        for name in policy.kinds.keys().filter(|name| kinds::find(name).is_none()) {
            let known: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
            let nearest = crate::sys::text::nearest(name, known.iter().copied());
            let hint = nearest.map_or_else(|| ".".to_owned(), |near| format!("; did you mean `{near}`?"));
            fault(format!("/kinds/{name}"), format!("no kind `{name}`{hint} There is {}", known.join(", ")));
        }
        let mut triggers = Vec::new();
        let mut rules = Vec::new();
        for (index, own) in policy.patterns.iter().enumerate() {
            let pattern = match Regex::new(&own.pattern) {
                Ok(pattern) if pattern.is_match("") => {
                    let message =
                        "fits the empty text, so it would be found everywhere; ask for at least one character";
                    fault(format!("/patterns/{index}/pattern"), message.to_owned());
                    continue;
                }
                Ok(pattern) => pattern,
                Err(error) => {
                    fault(format!("/patterns/{index}/pattern"), format!("is no regular expression: {error}"));
                    continue;
                }
            };
            let group = own.group.unwrap_or(0);
            if group >= pattern.captures_len() {
                fault(format!("/patterns/{index}/group"), format!("the expression has no group {group}"));
            }
            let well_named = own.name.chars().all(|c| c.is_alphanumeric() || "_- ".contains(c));
            if !well_named {
                let message = "may hold letters, digits, `_` and `-`: it stands in brackets in the text";
                fault(format!("/patterns/{index}/name"), message.to_owned());
            }
            triggers.push(own.pattern.clone());
            let action = own.action.unwrap_or(RedactAction::Mask);
            rules.push(Rule { name: own.name.clone(), action, looks: Looks::Own(pattern, group) });
        }
        for kind in KINDS {
            let action = action_of(policy, kind.name, kind.group);
            if action == RedactAction::Keep {
                continue;
            }
            triggers.push(kind.trigger.to_owned());
            let looks = Looks::Built(kind.pattern, OnceLock::new(), kind.check);
            rules.push(Rule { name: kind.name.to_owned(), action, looks });
        }
        let triggers = RegexSet::new(&triggers).unwrap_or_else(|error| {
            fault("/patterns".to_owned(), error.to_string());
            RegexSet::empty()
        });
        let on = |name: &str| {
            let kind = kinds::find(name)?;
            Some(action_of(policy, name, kind.group)).filter(|action| *action != RedactAction::Keep)
        };
        Self {
            triggers,
            rules,
            secret_fields: on(SECRET),
            cards: on(kinds::CARD),
            allowed: policy.allow.values.iter().map(|value| value.to_lowercase()).collect(),
            domains: policy.allow.domains.iter().map(|domain| domain.to_lowercase()).collect(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.rules.len()
    }

    /// Findings in a text, in order and apart.
    pub(super) fn find(&self, text: &str) -> Vec<Hit<'_>> {
        let mut hits: Vec<Hit<'_>> = Vec::new();
        for index in self.triggers.matches(text).iter() {
            let Some(rule) = self.rules.get(index) else { continue };
            for range in ranges(rule, text) {
                let taken = hits.iter().any(|hit| hit.range.start < range.end && range.start < hit.range.end);
                let value = text.get(range.clone()).unwrap_or_default();
                if !taken && !range.is_empty() && !self.is_allowed(value, &rule.name) {
                    hits.push(Hit { range, rule: &rule.name, action: rule.action });
                }
            }
        }
        hits.sort_by_key(|hit| hit.range.start);
        hits
    }

    /// Whether all patterns are of the kinds known here, whose triggers fit inside a longer text as they fit alone, and
    /// look at texts only.
    pub(super) fn is_plain(&self) -> bool {
        self.cards.is_none() && self.rules.iter().all(|rule| matches!(rule.looks, Looks::Built(..)))
    }

    /// Whether a text could hold a finding; false for most texts. Escapes may hide one.
    pub(super) fn may_find(&self, text: &str) -> bool {
        self.triggers.is_match(text) || text.contains("\\u")
    }

    /// The finding that a value is because of the name beside it.
    pub(super) fn by_name(&self, name: &str, value: &str) -> Option<(&'static str, RedactAction)> {
        let action = self.secret_fields?;
        let found = checks::field_secret(name, value) && !self.is_allowed(value, SECRET);
        found.then_some((SECRET, action))
    }

    /// The finding that a number is.
    pub(super) fn number(&self, name: &str, number: &str) -> Option<(&'static str, RedactAction)> {
        if let Some(found) = self.secret_fields.filter(|_| checks::field_secret(name, &format!("{number}!"))) {
            let password = name.to_lowercase();
            if password.contains("pass") || password.contains("pwd") {
                return Some((SECRET, found));
            }
        }
        let action = self.cards?;
        let name = name.to_lowercase();
        let told = ["card", "pan", "credit", "cc"].iter().any(|word| name.contains(word));
        (told && number.len() >= 13 && checks::is_card(number)).then_some((kinds::CARD, action))
    }

    pub(super) fn is_allowed(&self, value: &str, rule: &str) -> bool {
        let value = value.to_lowercase();
        if self.allowed.contains(&value) {
            return true;
        }
        let domain = value.rsplit_once('@').map_or("", |(_, domain)| domain);
        rule == EMAIL
            && self.domains.iter().any(|allowed| {
                domain.strip_suffix(allowed.as_str()).is_some_and(|head| head.is_empty() || head.ends_with('.'))
            })
    }
}

fn ranges(rule: &Rule, text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    match &rule.looks {
        Looks::Built(pattern, made, check) => {
            // That each of ours can be made is tested.
            let Some(pattern) = made.get_or_init(|| Regex::new(pattern).ok()) else { return found };
            for groups in pattern.captures_iter(text) {
                if let Some(all) = groups.get(0) {
                    check(text, all.range(), groups.get(1).map(|group| group.range()), &mut found);
                }
            }
        }
        Looks::Own(pattern, group) => {
            found.extend(pattern.captures_iter(text).filter_map(|groups| Some(groups.get(*group)?.range())));
        }
    }
    found
}

fn action_of(policy: &RedactPolicy, name: &str, group: Group) -> RedactAction {
    let own = policy.kinds.get(name).copied();
    own.unwrap_or(match group {
        Group::Secret => policy.secrets.unwrap_or(RedactAction::Mask),
        Group::Personal => policy.personal.unwrap_or(RedactAction::Keep),
        Group::Asked => RedactAction::Keep,
    })
}
