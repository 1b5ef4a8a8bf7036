//! The embedded back end: one SQLite file, one writer, several readers.
//!
//! Write-ahead log with full synchronization: a commit is on the disk, not in its cache, when it returns. `NORMAL`
//! would survive a killed process as well, but after a power cut calls that were paid for would be asked again; a
//! sync per batch costs milliseconds beside calls that take seconds. Outputs are written without a sync of their own:
//! the log is synced as a whole, so an output is on the disk no later than the entry that names it.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{
    ConnectOptions, Connection, QueryBuilder, Sqlite, SqliteConnection, SqlitePool, query, query_as, query_scalar,
};

use super::audit::{AuditEntry, AuditRecord};
use super::outbox::{self, OutboxAdded, OutboxEntry, OutboxMark, OutboxPut, OutboxState};
use super::rows::{self, AuditRow, BaselineRow, PackedBlob, Row, SummaryRow};
use super::{Baseline, RunSummary, Store, StoreError, migrate, sql};
use crate::model::{Digest, JournalEntry, RunId};
use crate::sys::files;

/// Rows of one insert. A few lengths only, so that each statement is prepared once and not for every batch anew.
const CHUNKS: [usize; 4] = [128, 32, 8, 1];
/// Connections that read.
const READERS: u32 = 4;
/// A stretch of a journal, many entries to a row. Numbers have no gaps, so a limit is a range of them; grouping by a
/// range each spares SQLite the sorting of what is sorted. The last number ends them: a limit may be without bound.
const REPLAY: &str = "WITH RECURSIVE starts (first) AS \
     (SELECT $2 UNION ALL SELECT first + $4 FROM starts WHERE first + $4 < $2 + $3 \
     AND first + $4 <= (SELECT max(seq) FROM journal WHERE run_id = $1)) \
     SELECT (SELECT group_concat(seq || char(10) || at || char(10) || body, char(10)) FROM journal \
     WHERE run_id = $1 AND seq >= first AND seq < min(first + $4, $2 + $3)) FROM starts";
/// How long a writer waits for another process.
const BUSY: Duration = Duration::from_secs(30);
/// Tries of opening: processes that make the file at the same moment get in each other's way.
const OPEN_TRIES: u32 = 6;

/// A store in a SQLite file.
pub(super) struct SqliteStore {
    writer: SqlitePool,
    blob_writer: SqlitePool,
    readers: SqlitePool,
}

impl SqliteStore {
    /// Opens the file, makes it where it is not there, and brings its schema up to date.
    pub(super) async fn open(path: &Path) -> Result<Self, StoreError> {
        let refuse = |cause: String| StoreError::Open { place: path.display().to_string(), cause };
        prepare_file(path).map_err(refuse)?;
        let mut tries = 1;
        loop {
            match connect(path).await {
                Ok(store) => return Ok(store),
                Err(OpenFault::Busy(_)) if tries < OPEN_TRIES => {
                    tokio::time::sleep(Duration::from_millis(40 << tries)).await;
                    tries += 1;
                }
                Err(OpenFault::Busy(cause) | OpenFault::Final(cause)) => return Err(refuse(cause)),
            }
        }
    }

    async fn summaries(
        &self,
        suite: Option<&str>,
        id: Option<&str>,
        limit: u32,
    ) -> Result<Vec<RunSummary>, StoreError> {
        let found: Vec<SummaryRow> = query_as(sql::RUNS)
            .bind(suite.map(rows::storable))
            .bind(id)
            .bind(i64::from(limit))
            .fetch_all(&self.readers)
            .await
            .map_err(|cause| rows::failed("list runs", cause))?;
        found.into_iter().map(rows::summary).collect()
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn append(&self, run: &RunId, entries: &[JournalEntry]) -> Result<(), StoreError> {
        if entries.is_empty() {
            return Ok(());
        }
        let encoded: Vec<Row> = entries.iter().map(Row::of).collect::<Result<_, _>>()?;
        let mut connection = self.writer.acquire().await.map_err(|error| rows::append_error(run, &error))?;
        let done = append(&mut connection, run, entries, &encoded).await;
        leave(connection, done)
    }

    async fn replay(&self, run: &RunId, from: u64, limit: u32) -> Result<Vec<JournalEntry>, StoreError> {
        let found: Vec<Option<rows::Stretch>> = query_scalar(REPLAY)
            .bind(run.as_str())
            .bind(rows::to_i64(from))
            .bind(i64::from(limit))
            .bind(rows::STRETCH)
            .fetch_all(&self.readers)
            .await
            .map_err(|cause| rows::failed("replay", cause))?;
        let run = run.clone();
        // Reading JSON is work: other pages are fetched meanwhile.
        let read = tokio::task::spawn_blocking(move || rows::stretches(&run, &found)).await;
        read.map_err(|cause| rows::failed("replay", cause))?
    }

    async fn put_blobs(&self, blobs: &[(Digest, Vec<u8>)]) -> Result<(), StoreError> {
        let fail = |cause: sqlx::Error| rows::failed("keep outputs", cause);
        let packed = rows::pack(blobs)?;
        if packed.is_empty() {
            return Ok(());
        }
        let mut connection = self.blob_writer.acquire().await.map_err(fail)?;
        let done = put_blobs(&mut connection, &packed).await.map_err(fail);
        leave(connection, done)
    }

    async fn get_blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let found: Option<(i64, Vec<u8>)> = query_as(sql::GET_BLOB)
            .bind(digest.as_str())
            .fetch_optional(&self.readers)
            .await
            .map_err(|cause| rows::failed("read an output", cause))?;
        found.map(|(size, packed)| rows::unpack(digest, size, &packed)).transpose()
    }

    async fn runs(&self, suite: Option<&str>, limit: u32) -> Result<Vec<RunSummary>, StoreError> {
        self.summaries(suite, None, limit).await
    }

    async fn find_run(&self, wanted: &str) -> Result<RunSummary, StoreError> {
        let matching: Vec<String> = query_scalar(sql::MATCHING_RUNS)
            .bind(rows::storable(wanted))
            .fetch_all(&self.readers)
            .await
            .map_err(|cause| rows::failed("find a run", cause))?;
        let latest = if matching.is_empty() { self.summaries(None, None, 3).await? } else { Vec::new() };
        let id = rows::pick(wanted, &matching, &latest)?;
        let gone = || StoreError::NoSuchRun { wanted: wanted.to_owned(), hint: String::new() };
        self.summaries(None, Some(id.as_str()), 1).await?.pop().ok_or_else(gone)
    }

    async fn claim(&self, run: &RunId, holder: &str, now: Timestamp, until: Timestamp) -> Result<bool, StoreError> {
        let done = query(sql::CLAIM)
            .bind(run.as_str())
            .bind(rows::storable(holder))
            .bind(until.as_millisecond())
            .bind(now.as_millisecond())
            .execute(&self.writer)
            .await
            .map_err(|cause| rows::failed("claim a run", cause))?;
        Ok(done.rows_affected() == 1)
    }

    async fn release(&self, run: &RunId, holder: &str) -> Result<(), StoreError> {
        query(sql::RELEASE)
            .bind(run.as_str())
            .bind(rows::storable(holder))
            .execute(&self.writer)
            .await
            .map_err(|cause| rows::failed("release a run", cause))?;
        Ok(())
    }

    async fn bless(&self, baseline: &Baseline) -> Result<(), StoreError> {
        query(sql::BLESS)
            .bind(rows::storable(&baseline.suite))
            .bind(baseline.run.as_str())
            .bind(rows::storable(&baseline.by))
            .bind(rows::time_text(baseline.at))
            .bind(rows::storable(&baseline.reason))
            .execute(&self.writer)
            .await
            .map_err(|cause| rows::failed("bless a run", cause))?;
        Ok(())
    }

    async fn baseline(&self, suite: &str) -> Result<Option<Baseline>, StoreError> {
        let found: Option<BaselineRow> = query_as(sql::BLESSINGS)
            .bind(rows::storable(suite))
            .bind(1_i64)
            .fetch_optional(&self.readers)
            .await
            .map_err(|cause| rows::failed("read a baseline", cause))?;
        found.map(rows::baseline).transpose()
    }

    async fn blessings(&self, suite: &str) -> Result<Vec<Baseline>, StoreError> {
        let found: Vec<BaselineRow> = query_as(sql::BLESSINGS)
            .bind(rows::storable(suite))
            .bind(i64::MAX)
            .fetch_all(&self.readers)
            .await
            .map_err(|cause| rows::failed("read baselines", cause))?;
        found.into_iter().map(rows::baseline).collect()
    }

    async fn audit(&self, entry: &AuditEntry) -> Result<AuditRecord, StoreError> {
        let fail = |cause: sqlx::Error| rows::failed("write the audit trail", cause);
        let mut connection = self.writer.acquire().await.map_err(fail)?;
        let done = audit(&mut connection, entry).await.map_err(fail);
        leave(connection, done)
    }

    async fn audit_trail(&self, from: u64, limit: u32) -> Result<Vec<AuditRecord>, StoreError> {
        let found: Vec<AuditRow> = query_as(sql::AUDIT_TRAIL)
            .bind(rows::to_i64(from))
            .bind(i64::from(limit))
            .fetch_all(&self.readers)
            .await
            .map_err(|cause| rows::failed("read the audit trail", cause))?;
        found.into_iter().map(rows::audit_record).collect()
    }

    async fn outbox_put(&self, sink: &str, entries: &[OutboxPut], now: Timestamp) -> Result<OutboxAdded, StoreError> {
        outbox::of_sqlite::put(&self.writer, sink, entries, now).await
    }

    async fn outbox_list(&self, sink: &str, state: OutboxState, limit: u32) -> Result<Vec<OutboxEntry>, StoreError> {
        outbox::of_sqlite::list(&self.readers, sink, state, limit).await
    }

    async fn outbox_get(&self, sink: &str, key: &str) -> Result<Option<OutboxEntry>, StoreError> {
        outbox::of_sqlite::get(&self.readers, sink, key).await
    }

    async fn outbox_mark(&self, sink: &str, marks: &[OutboxMark], now: Timestamp) -> Result<(), StoreError> {
        outbox::of_sqlite::mark(&self.writer, sink, marks, now).await
    }

    async fn outbox_again(&self, sink: &str) -> Result<u64, StoreError> {
        outbox::of_sqlite::again(&self.writer, sink).await
    }

    async fn outbox_count(&self, sink: &str) -> Result<Vec<(OutboxState, u64)>, StoreError> {
        outbox::of_sqlite::count(&self.readers, sink).await
    }

    async fn close(&self) {
        // The writer last: SQLite folds the log into the file when the last connection that may write ends.
        self.readers.close().await;
        self.blob_writer.close().await;
        self.writer.close().await;
    }
}

/// Gives a connection back after a transaction. One that failed is closed instead: SQLite ends a transaction by itself
/// where the disk fails, the library does not notice, and the connection would refuse every further transaction.
fn leave<T, E>(mut connection: PoolConnection<Sqlite>, done: Result<T, E>) -> Result<T, E> {
    if done.is_err() {
        connection.close_on_drop();
    }
    done
}

async fn append(
    connection: &mut SqliteConnection,
    run: &RunId,
    entries: &[JournalEntry],
    encoded: &[Row],
) -> Result<(), StoreError> {
    let fail = |error: sqlx::Error| rows::append_error(run, &error);
    // Immediate: a deferred transaction that reads first can be refused when it comes to write.
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(fail)?;
    let last: Option<i64> =
        query_scalar(sql::LAST_SEQ).bind(run.as_str()).fetch_one(&mut *transaction).await.map_err(fail)?;
    rows::check_order(run, last, entries)?;
    if let Some(header) = rows::started(entries) {
        sql::insert_run(run, header)?.execute(&mut *transaction).await.map_err(fail)?;
    }
    for chunk in chunks(encoded) {
        insert(run, chunk).build().execute(&mut *transaction).await.map_err(fail)?;
    }
    transaction.commit().await.map_err(fail)
}

async fn put_blobs(connection: &mut SqliteConnection, packed: &[PackedBlob]) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    for chunk in chunks(packed) {
        insert_blobs(chunk).build().execute(&mut *transaction).await?;
    }
    transaction.commit().await
}

async fn audit(connection: &mut SqliteConnection, entry: &AuditEntry) -> Result<AuditRecord, sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let head: Option<(i64, String)> = query_as(sql::AUDIT_HEAD).fetch_optional(&mut *transaction).await?;
    let record = AuditRecord::after(rows::audit_head(head), entry);
    query(sql::AUDIT)
        .bind(rows::to_i64(record.seq))
        .bind(rows::time_text(record.entry.at))
        .bind(&record.entry.actor)
        .bind(&record.entry.action)
        .bind(&record.entry.subject)
        .bind(&record.entry.detail)
        .bind(&record.previous_digest)
        .bind(&record.digest)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(record)
}

/// Why opening failed, and whether another try may help.
enum OpenFault {
    Busy(String),
    Final(String),
}

impl From<sqlx::Error> for OpenFault {
    fn from(error: sqlx::Error) -> Self {
        let text = error.to_string();
        // Two makers of one file: the later finds the file locked, or the tables already there.
        if text.contains("locked") || text.contains("busy") || text.contains("already exists") {
            Self::Busy(text)
        } else {
            Self::Final(text)
        }
    }
}

async fn connect(path: &Path) -> Result<SqliteStore, OpenFault> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY)
        .foreign_keys(true)
        .disable_statement_logging();
    let writer = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await?;
    if let Err(error) = migrate::sqlite().run(&writer).await {
        return Err(match error {
            sqlx::migrate::MigrateError::Execute(error) | sqlx::migrate::MigrateError::ExecuteMigration(error, _) => {
                error.into()
            }
            other => OpenFault::Final(migrate::explain(&other)),
        });
    }
    let pool =
        |most: u32, options: SqliteConnectOptions| SqlitePoolOptions::new().max_connections(most).connect_with(options);
    let blob_writer = pool(1, options.clone().synchronous(SqliteSynchronous::Normal)).await?;
    let readers = pool(READERS, options.pragma("query_only", "ON")).await?;
    Ok(SqliteStore { writer, blob_writer, readers })
}

/// Makes folder and file. The file is made here and not by SQLite, so that it is never readable by others, not even
/// for a moment; SQLite gives its side files the same mode.
fn prepare_file(path: &Path) -> Result<(), String> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        files::create_folder(folder).map_err(|error| error.to_string())?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop).map_err(|error| error.to_string())
}

/// Cuts rows into pieces of the lengths above, longest first.
fn chunks<T>(rows: &[T]) -> impl Iterator<Item = &[T]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let length = CHUNKS.into_iter().find(|length| *length <= rest.len())?;
        let (chunk, tail) = rest.split_at(length);
        rest = tail;
        Some(chunk)
    })
}

fn insert_blobs(chunk: &[PackedBlob]) -> QueryBuilder<Sqlite> {
    let mut builder = QueryBuilder::new("INSERT INTO blobs (digest, size, bytes) ");
    builder.push_values(chunk, |mut tuple, (digest, size, bytes)| {
        tuple.push_bind(digest.as_str()).push_bind(*size).push_bind(bytes.as_slice());
    });
    builder.push(" ON CONFLICT (digest) DO NOTHING");
    builder
}

fn insert<'a>(run: &'a RunId, chunk: &'a [Row]) -> QueryBuilder<Sqlite> {
    let mut builder = QueryBuilder::new("INSERT INTO journal (run_id, ");
    builder.push(sql::JOURNAL_COLUMNS).push(") ");
    builder.push_values(chunk, |mut tuple, row| {
        tuple
            .push_bind(run.as_str())
            .push_bind(row.seq)
            .push_bind(row.at.as_str())
            .push_bind(row.kind)
            .push_bind(row.status)
            .push_bind(row.example_id.as_deref())
            .push_bind(row.trial)
            .push_bind(row.grader.as_deref())
            .push_bind(row.draw)
            .push_bind(row.value)
            .push_bind(row.label.as_deref())
            .push_bind(row.unscored)
            .push_bind(row.failure)
            .push_bind(row.cached)
            .push_bind(row.took_ms)
            .push_bind(row.latency_ms)
            .push_bind(row.cost_usd)
            .push_bind(row.tokens_in)
            .push_bind(row.tokens_out)
            .push_bind(row.spent_usd)
            .push_bind(row.unpriced_calls)
            .push_bind(row.body.as_str());
    });
    builder
}
