//! The schema of both dialects, version by version, inside the binary.
//!
//! A new version is a new file in both folders and one row here; files that were released are never edited.

use std::borrow::Cow;

use sqlx::SqlStr;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};

struct Step {
    version: i64,
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

const STEPS: &[Step] = &[
    Step {
        version: 1,
        name: "journal",
        sqlite: include_str!("migrations/sqlite/0001_journal.sql"),
        postgres: include_str!("migrations/postgres/0001_journal.sql"),
    },
    Step {
        version: 2,
        name: "outbox",
        sqlite: include_str!("migrations/sqlite/0002_outbox.sql"),
        postgres: include_str!("migrations/postgres/0002_outbox.sql"),
    },
];

/// The steps for SQLite.
pub(super) fn sqlite() -> Migrator {
    migrator(|step| step.sqlite)
}

/// The steps for Postgres.
pub(super) fn postgres() -> Migrator {
    migrator(|step| step.postgres)
}

/// What went wrong, in words that name the mend.
pub(super) fn explain(error: &MigrateError) -> String {
    let known = STEPS.last().map_or(0, |step| step.version);
    match error {
        MigrateError::VersionMissing(found) => format!(
            "its schema is version {found} and this program knows versions up to {known}; use the newer `assize` that \
             wrote it"
        ),
        MigrateError::VersionMismatch(version) => {
            format!("its schema version {version} differs from this program's; it was made by an unreleased version")
        }
        other => format!("its schema cannot be brought up to date: {other}"),
    }
}

fn migrator(dialect: fn(&Step) -> &'static str) -> Migrator {
    let steps = STEPS.iter().map(|step| {
        let sql = SqlStr::from_static(dialect(step));
        Migration::new(step.version, Cow::Borrowed(step.name), MigrationType::Simple, sql, false)
    });
    Migrator::with_migrations(steps.collect())
}
