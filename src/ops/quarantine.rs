//! The file of examples in quarantine: `quarantine.toml` beside the configuration.
//!
//! A file and not the store, because leaving examples out of a gate changes what the gate says: the change is reviewed
//! and committed with the code, and every machine, a fresh CI runner too, reads the same list.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::committed;
use super::exit::Done;
use super::project::{Project, World};
use crate::model::ExampleId;

/// Name of the file.
pub const FILE: &str = "quarantine.toml";

const HEAD: &str = "# Examples that the gate leaves out because they are known to be flaky. Written by `assize flaky`; commit it.\n\
                    # An entry holds until its last day. Those that came back stay below with the reason.\n";

/// An example in quarantine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Suite.
    pub suite: String,
    /// Example.
    pub example: ExampleId,
    /// Why.
    pub reason: String,
    /// When it was put away.
    pub since: Timestamp,
    /// Last day, in UTC.
    pub until: Date,
    /// Who.
    pub by: String,
}

/// An example that came back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Returned {
    /// Suite.
    pub suite: String,
    /// Example.
    pub example: ExampleId,
    /// Why it may be trusted again.
    pub reason: String,
    /// When, in UTC.
    pub on: Date,
    /// Who.
    pub by: String,
}

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Quarantine {
    /// Examples in quarantine, and those whose last day is past.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quarantine: Vec<Entry>,
    /// Examples that came back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub returned: Vec<Returned>,
}

impl Quarantine {
    /// Reads the file of a project; without one nothing is in quarantine.
    pub fn read(project: &Project) -> Done<Self> {
        committed::read(project, FILE, "mend it or take it away")
    }

    /// Writes the file.
    pub fn write(&self, project: &Project) -> Done<()> {
        committed::write(project, FILE, HEAD, self)
    }

    /// Entries of a suite that hold on a day.
    pub fn active<'a>(&'a self, suite: &'a str, today: Date) -> impl Iterator<Item = &'a Entry> {
        self.quarantine.iter().filter(move |entry| entry.suite == suite && entry.until >= today)
    }

    /// The same as a gate takes them.
    pub fn reasons(&self, suite: &str, today: Date) -> BTreeMap<ExampleId, String> {
        let told = |entry: &Entry| format!("{} (until {}, {})", entry.reason, entry.until, entry.by);
        self.active(suite, today).map(|entry| (entry.example.clone(), told(entry))).collect()
    }
}

/// Today in UTC.
pub fn today(world: &World) -> Date {
    world.clock.now().to_zoned(TimeZone::UTC).date()
}
