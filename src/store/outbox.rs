//! The outbox: what is to be sent elsewhere, what was sent, what was turned away. It holds no finding: its rows change.
//!
//! An entry is known by where it goes and its key; its digest says whether it changed. What is the same is never sent
//! twice. Both back ends speak the statements below.

use jiff::Timestamp;

use super::{StoreError, rows};

/// How an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OutboxState {
    /// To be sent.
    Waiting,
    /// Taken by the other side.
    Sent,
    /// Turned away by the other side: it is not sent again by itself.
    Rejected,
}

impl OutboxState {
    /// The word in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sent => "sent",
            Self::Rejected => "rejected",
        }
    }

    fn of(word: &str) -> Result<Self, StoreError> {
        let all = [Self::Waiting, Self::Sent, Self::Rejected];
        let found = all.into_iter().find(|state| state.as_str() == word);
        found.ok_or_else(|| rows::unreadable("entry of the outbox".to_owned(), format!("no state `{word}`")))
    }
}

/// An entry that is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxPut {
    /// What makes it the same entry again.
    pub key: String,
    /// Digest of what it says and where it goes.
    pub digest: String,
    /// What is sent, as JSON.
    pub payload: String,
}

/// An entry as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxEntry {
    /// What is to be sent, or was.
    pub put: OutboxPut,
    /// How it stands.
    pub state: OutboxState,
    /// How often it was tried since it last changed.
    pub attempts: u32,
    /// Why it was turned away or not answered.
    pub error: Option<String>,
    /// When it last changed.
    pub changed_at: Timestamp,
    /// When any form of it was last taken.
    pub sent_at: Option<Timestamp>,
}

/// What putting entries came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxAdded {
    /// Not met before.
    pub new: u64,
    /// Met with another digest.
    pub changed: u64,
    /// Met just so: nothing was done.
    pub same: u64,
}

/// What became of an entry that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxMark {
    /// Its key.
    pub key: String,
    /// Its digest when it was tried: an entry that changed meanwhile stays as it is.
    pub digest: String,
    /// How it stands now.
    pub state: OutboxState,
    /// Why, where it was not taken.
    pub error: Option<String>,
}

/// A row as both drivers give it.
pub(super) type OutboxRow = (String, String, String, String, i64, Option<String>, String, Option<String>);

/// Adds an entry or changes it; says nothing where it is the same.
pub(super) const PUT: &str = "INSERT INTO outbox (sink, key, digest, payload, state, attempts, created_at, changed_at) \
     VALUES ($1, $2, $3, $4, 'waiting', 0, $5, $5) \
     ON CONFLICT (sink, key) DO UPDATE SET digest = excluded.digest, payload = excluded.payload, state = 'waiting', \
     attempts = 0, error = NULL, changed_at = excluded.changed_at WHERE outbox.digest <> excluded.digest \
     RETURNING created_at, changed_at";

/// Entries of one place in one state, the oldest change first.
pub(super) const LIST: &str = "SELECT key, digest, payload, state, attempts, error, changed_at, sent_at FROM outbox \
     WHERE sink = $1 AND state = $2 ORDER BY changed_at, key LIMIT $3";

/// One entry.
pub(super) const GET: &str = "SELECT key, digest, payload, state, attempts, error, changed_at, sent_at FROM outbox \
     WHERE sink = $1 AND key = $2";

/// Says how an entry stands.
pub(super) const MARK: &str = "UPDATE outbox SET state = $4, error = $5, attempts = attempts + 1, \
     sent_at = CASE WHEN $4 = 'sent' THEN $6 ELSE sent_at END WHERE sink = $1 AND key = $2 AND digest = $3";

/// Puts what was turned away back.
pub(super) const AGAIN: &str =
    "UPDATE outbox SET state = 'waiting', attempts = 0, error = NULL WHERE sink = $1 AND state = 'rejected'";

/// Counts the entries of one place by state.
pub(super) const COUNT: &str = "SELECT state, COUNT(*) FROM outbox WHERE sink = $1 GROUP BY state ORDER BY state";

/// Reads a row back.
pub(super) fn entry(row: OutboxRow) -> Result<OutboxEntry, StoreError> {
    let (key, digest, payload, state, attempts, error, changed_at, sent_at) = row;
    let time =
        |text: String| rows::time(&text).map_err(|cause| rows::unreadable("entry of the outbox".to_owned(), cause));
    Ok(OutboxEntry {
        put: OutboxPut { key, digest, payload },
        state: OutboxState::of(&state)?,
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
        error,
        changed_at: time(changed_at)?,
        sent_at: sent_at.map(time).transpose()?,
    })
}

/// Counts with their states.
pub(super) fn counts(found: Vec<(String, i64)>) -> Result<Vec<(OutboxState, u64)>, StoreError> {
    found.into_iter().map(|(state, count)| Ok((OutboxState::of(&state)?, rows::to_u64(count)))).collect()
}

impl OutboxAdded {
    /// Counts what [`PUT`] said of one entry.
    pub(super) fn count(&mut self, said: Option<(String, String)>) {
        match said {
            None => self.same += 1,
            Some((created, changed)) if created == changed => self.new += 1,
            Some(_) => self.changed += 1,
        }
    }
}

/// The functions of one back end; only the types of the drivers differ.
macro_rules! functions {
    ($name:ident, $database:ty, $pool:ty) => {
        pub(super) mod $name {
            use jiff::Timestamp;
            use sqlx::{query, query_as};

            use super::super::{StoreError, rows};
            use super::*;

            pub async fn put(
                pool: &$pool,
                sink: &str,
                entries: &[OutboxPut],
                now: Timestamp,
            ) -> Result<OutboxAdded, StoreError> {
                let fail = |cause: sqlx::Error| rows::failed("fill the outbox", cause);
                let mut added = OutboxAdded::default();
                let mut transaction = pool.begin().await.map_err(fail)?;
                for entry in entries {
                    let said: Option<(String, String)> = query_as::<$database, _>(PUT)
                        .bind(rows::storable(sink))
                        .bind(rows::storable(&entry.key))
                        .bind(&entry.digest)
                        .bind(rows::storable(&entry.payload))
                        .bind(rows::time_text(now))
                        .fetch_optional(&mut *transaction)
                        .await
                        .map_err(fail)?;
                    added.count(said);
                }
                transaction.commit().await.map_err(fail)?;
                Ok(added)
            }

            pub async fn list(
                pool: &$pool,
                sink: &str,
                state: OutboxState,
                limit: u32,
            ) -> Result<Vec<OutboxEntry>, StoreError> {
                let found: Vec<OutboxRow> = query_as::<$database, _>(LIST)
                    .bind(rows::storable(sink))
                    .bind(state.as_str())
                    .bind(i64::from(limit))
                    .fetch_all(pool)
                    .await
                    .map_err(|cause| rows::failed("read the outbox", cause))?;
                found.into_iter().map(entry).collect()
            }

            pub async fn get(pool: &$pool, sink: &str, key: &str) -> Result<Option<OutboxEntry>, StoreError> {
                let found: Option<OutboxRow> = query_as::<$database, _>(GET)
                    .bind(rows::storable(sink))
                    .bind(rows::storable(key))
                    .fetch_optional(pool)
                    .await
                    .map_err(|cause| rows::failed("read the outbox", cause))?;
                found.map(entry).transpose()
            }

            pub async fn mark(
                pool: &$pool,
                sink: &str,
                marks: &[OutboxMark],
                now: Timestamp,
            ) -> Result<(), StoreError> {
                let fail = |cause: sqlx::Error| rows::failed("mark the outbox", cause);
                let mut transaction = pool.begin().await.map_err(fail)?;
                for mark in marks {
                    query::<$database>(MARK)
                        .bind(rows::storable(sink))
                        .bind(rows::storable(&mark.key))
                        .bind(&mark.digest)
                        .bind(mark.state.as_str())
                        .bind(mark.error.as_deref().map(rows::storable))
                        .bind(rows::time_text(now))
                        .execute(&mut *transaction)
                        .await
                        .map_err(fail)?;
                }
                transaction.commit().await.map_err(fail)
            }

            pub async fn again(pool: &$pool, sink: &str) -> Result<u64, StoreError> {
                let done = query::<$database>(AGAIN)
                    .bind(rows::storable(sink))
                    .execute(pool)
                    .await
                    .map_err(|cause| rows::failed("mark the outbox", cause))?;
                Ok(done.rows_affected())
            }

            pub async fn count(pool: &$pool, sink: &str) -> Result<Vec<(OutboxState, u64)>, StoreError> {
                let found: Vec<(String, i64)> = query_as::<$database, _>(COUNT)
                    .bind(rows::storable(sink))
                    .fetch_all(pool)
                    .await
                    .map_err(|cause| rows::failed("read the outbox", cause))?;
                counts(found)
            }
        }
    };
}

functions!(of_sqlite, sqlx::Sqlite, sqlx::SqlitePool);
functions!(of_postgres, sqlx::Postgres, sqlx::PgPool);
