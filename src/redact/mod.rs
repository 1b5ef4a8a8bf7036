//! Redaction: secrets and personal data are taken out of foreign data before anything of it is first written.
//!
//! Three kinds of rules: fields by name, patterns with a check behind each, and an outside detector. They are applied
//! to the values and the keys of everything a span, an event, a score or an example holds, also inside JSON that came
//! as text. A value that is spread over several parts of a message is not found.
//!
//! Pure: the key of pseudonyms and the detector are given from outside.

mod checks;
mod detect;
mod fields;
mod kinds;
mod phone;
mod quiet;
mod scan;
mod walk;

#[cfg(test)]
mod measured;
#[cfg(test)]
mod tests;

use secrecy::{ExposeSecret, SecretString};

use crate::model::{RedactAction, RedactPolicy};

pub use detect::{Detector, DetectorError, Finding, Seen};

use fields::Fields;
use scan::Scanner;

/// The variable that holds the key of pseudonyms when the policy names none.
pub const KEY_ENV: &str = "ASSIZE_REDACT_KEY";
/// Fewer characters than this can be guessed.
const SHORT_KEY: usize = 16;
/// Hexadecimal digits of a pseudonym. 48 bits: among a million values one pair in two hundred such sets is mixed up.
const PSEUDONYM: usize = 12;

/// Something wrong with a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyFault {
    /// Where, as a JSON pointer within the policy.
    pub pointer: String,
    /// What is wrong, and the mend.
    pub message: String,
}

/// Takes out what a policy says.
pub struct Redactor {
    fields: Fields,
    scanner: Scanner,
    key: Option<[u8; 32]>,
    detector: Option<Box<dyn Detector>>,
    warnings: Vec<String>,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redactor({} patterns, {} fields)", self.scanner.len(), self.fields.len())
    }
}

impl Redactor {
    /// A redactor of a policy. `key` is the value of the variable that the policy names; without one what should
    /// become a pseudonym is masked, and a warning says so.
    ///
    /// # Errors
    /// Everything that is wrong with the policy.
    pub fn new(policy: &RedactPolicy, key: Option<&SecretString>) -> Result<Self, Vec<PolicyFault>> {
        let mut faults = Vec::new();
        let scanner = Scanner::new(policy, &mut faults);
        let fields = Fields::new(policy, &mut faults);
        if !faults.is_empty() {
            return Err(faults);
        }
        let name = policy.key_env.as_deref().unwrap_or(KEY_ENV);
        let mut warnings = Vec::new();
        match key {
            None if wants_key(policy) => warnings.push(format!(
                "`{name}` is not set: what `[redact]` makes a pseudonym is masked instead, and cannot be joined by its value"
            )),
            Some(key) if wants_key(policy) && key.expose_secret().chars().count() < SHORT_KEY => warnings.push(format!(
                "the key in `{name}` has fewer than {SHORT_KEY} characters: who guesses it can try out values"
            )),
            _ => {}
        }
        let key = key.map(|key| blake3::derive_key("assize redact pseudonym 1", key.expose_secret().as_bytes()));
        Ok(Self { fields, scanner, key, detector: None, warnings })
    }

    /// The same, which asks a detector too.
    #[must_use]
    pub fn with_detector(mut self, detector: Box<dyn Detector>) -> Self {
        self.detector = Some(detector);
        self
    }

    /// The detector, if there is one.
    pub fn detector(&self) -> Option<&dyn Detector> {
        self.detector.as_deref()
    }

    /// What the user should know before it is used.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What stands in the place of a value; `None` when it is to go with its whole field. A rule's name is the user's
    /// or ours, never foreign.
    fn stand_in(&self, action: RedactAction, rule: &str, value: &str) -> Option<String> {
        match (action, &self.key) {
            (RedactAction::Drop, _) => None,
            (RedactAction::Pseudonym, Some(key)) => {
                let digest = blake3::keyed_hash(key, normal(value).as_bytes()).to_hex();
                Some(format!("[{rule}:{}]", digest.get(..PSEUDONYM).unwrap_or_default()))
            }
            _ => Some(format!("[{rule}]")),
        }
    }
}

/// Whether anything of a policy becomes a pseudonym.
fn wants_key(policy: &RedactPolicy) -> bool {
    let detector = policy.detector.as_ref().and_then(|detector| detector.action);
    let mut actions = [policy.secrets, policy.personal, detector]
        .into_iter()
        .flatten()
        .chain(policy.kinds.values().copied())
        .chain(policy.fields.values().copied())
        .chain(policy.patterns.iter().filter_map(|pattern| pattern.action));
    actions.any(|action| action == RedactAction::Pseudonym)
}

/// A value as its pseudonym is made of: the ways to write one address or number have one pseudonym.
fn normal(value: &str) -> String {
    let number = value.chars().any(|c| c.is_ascii_digit())
        && value.chars().all(|c| c.is_ascii_digit() || " +-./()\u{a0}".contains(c))
        && value.chars().filter(char::is_ascii_digit).count() >= 7;
    if number && !value.contains("..") && value.matches('.').count() != 3 {
        return value.chars().filter(|c| c.is_ascii_digit() || *c == '+').collect();
    }
    value.trim().to_lowercase()
}

/// The faults of a policy, without making use of it.
pub fn check(policy: &RedactPolicy) -> Vec<PolicyFault> {
    let mut faults = Redactor::new(policy, None).err().unwrap_or_default();
    if let Some(detector) = &policy.detector {
        let mut fault = |pointer: &str, message: &str| {
            faults.push(PolicyFault { pointer: format!("/detector{pointer}"), message: message.to_owned() });
        };
        match (&detector.url, &detector.command) {
            (Some(_), Some(_)) => fault("", "has both `url` and `command`; keep one"),
            (None, None) => fault("", "lacks `url` (a service) or `command` (a program)"),
            (None, Some(command)) if command.iter().all(|word| word.trim().is_empty()) => {
                fault("/command", "names no program");
            }
            (Some(url), None) if !url.starts_with("http://") && !url.starts_with("https://") => {
                fault("/url", "expected an address that begins with `http://` or `https://`");
            }
            _ => {}
        }
        let timeout = detector.timeout.as_deref().map(str::parse::<jiff::SignedDuration>);
        if timeout.is_some_and(|read| read.is_err() || read.is_ok_and(|time| time <= jiff::SignedDuration::ZERO)) {
            fault("/timeout", "expected a time such as `30s`");
        }
    }
    faults
}
