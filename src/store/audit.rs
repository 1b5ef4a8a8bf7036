//! The chain of the audit trail: each record holds the digest of the one before it.
//!
//! Pure; the back ends only keep the records.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rows;
use crate::model::Digester;

/// Records read at once when the chain is checked.
pub(super) const PAGE: u32 = 1_000;

/// Something a person or the program did that others must be able to look up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// What was done: `run`, `bless`, `label`, `export`, `delete`.
    pub action: String,
    /// To what.
    pub subject: String,
    /// Particulars; never a secret.
    pub detail: String,
}

/// An entry with its place in the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditRecord {
    /// 1, 2, 3, ... without gaps.
    pub seq: u64,
    /// What was done.
    #[serde(flatten)]
    pub entry: AuditEntry,
    /// Digest of the record before; empty at the first.
    pub previous_digest: String,
    /// Digest of this record, the previous digest included.
    pub digest: String,
}

/// What a check of the chain found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditCheck {
    /// Records that fit.
    pub records: u64,
    /// Digest of the last record that fits; note it elsewhere to notice a trail that was cut off.
    pub head: Option<String>,
    /// The first record that does not fit, and why.
    pub broken: Option<(u64, String)>,
}

impl AuditRecord {
    /// The record that follows the one with `previous` (its number and digest).
    pub(super) fn after(previous: Option<(u64, String)>, entry: &AuditEntry) -> Self {
        let (seq, previous_digest) = previous.map_or((1, String::new()), |(seq, digest)| (seq + 1, digest));
        let mut record = Self { seq, entry: rows::storable_audit(entry), previous_digest, digest: String::new() };
        record.digest = record.reckon();
        record
    }

    fn reckon(&self) -> String {
        Digester::new()
            .part("previous", self.previous_digest.as_bytes())
            .part("seq", &self.seq.to_le_bytes())
            .part("at", rows::time_text(self.entry.at).as_bytes())
            .part("actor", self.entry.actor.as_bytes())
            .part("action", self.entry.action.as_bytes())
            .part("subject", self.entry.subject.as_bytes())
            .part("detail", self.entry.detail.as_bytes())
            .finish()
            .to_string()
    }
}

/// A chain being checked, record by record.
#[derive(Default)]
pub(super) struct Chain {
    records: u64,
    head: Option<String>,
    broken: Option<(u64, String)>,
}

impl Chain {
    /// Number of the record that should come next.
    pub(super) fn next_seq(&self) -> u64 {
        self.records + 1
    }

    /// Whether a record did not fit.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    /// Takes the next record.
    pub(super) fn push(&mut self, record: &AuditRecord) {
        if self.is_broken() {
            return;
        }
        let fault = if record.seq != self.next_seq() {
            Some(format!("record {} is missing", self.next_seq()))
        } else if record.previous_digest != self.head.as_deref().unwrap_or_default() {
            Some("it does not follow the record before it".to_owned())
        } else if record.digest != record.reckon() {
            Some("its content does not match its digest".to_owned())
        } else {
            None
        };
        match fault {
            Some(fault) => self.broken = Some((record.seq, fault)),
            None => {
                self.records = record.seq;
                self.head = Some(record.digest.clone());
            }
        }
    }

    /// What was found.
    pub(super) fn finish(self) -> AuditCheck {
        AuditCheck { records: self.records, head: self.head, broken: self.broken }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(count: u64) -> Vec<AuditRecord> {
        let mut records: Vec<AuditRecord> = Vec::new();
        for number in 0..count {
            let entry = AuditEntry {
                at: "2026-11-21T10:00:00Z".parse().unwrap(),
                actor: "ada".to_owned(),
                action: "bless".to_owned(),
                subject: format!("run {number}"),
                detail: String::new(),
            };
            records.push(AuditRecord::after(records.last().map(|last| (last.seq, last.digest.clone())), &entry));
        }
        records
    }

    fn check(records: &[AuditRecord]) -> AuditCheck {
        let mut chain = Chain::default();
        records.iter().for_each(|record| chain.push(record));
        chain.finish()
    }

    #[test]
    fn an_untouched_chain_fits() {
        let records = chain(5);
        let found = check(&records);
        assert_eq!((found.records, &found.broken), (5, &None));
        assert_eq!(found.head.as_ref(), records.last().map(|last| &last.digest));
    }

    #[test]
    fn a_changed_a_lost_and_a_forged_record_are_found() {
        let mut changed = chain(5);
        changed[2].entry.subject = "run 9".to_owned();
        assert_eq!(check(&changed).broken.map(|(seq, _)| seq), Some(3));

        let mut lost = chain(5);
        lost.remove(1);
        assert_eq!(check(&lost).broken.map(|(seq, _)| seq), Some(3));

        let mut forged = chain(5);
        forged[2].entry.subject = "run 9".to_owned();
        forged[2].digest = forged[2].reckon();
        assert_eq!(check(&forged).broken.map(|(seq, _)| seq), Some(4));
    }
}
