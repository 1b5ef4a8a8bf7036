//! The shared back end: Postgres, for many machines that write and many that look.

use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::Url;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPoolOptions};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgPool, Postgres, query, query_as, query_scalar};

use super::audit::{AuditEntry, AuditRecord};
use super::outbox::{self, OutboxAdded, OutboxEntry, OutboxMark, OutboxPut, OutboxState};
use super::rows::{self, AuditRow, BaselineRow, Row, SummaryRow};
use super::{Baseline, RunSummary, Store, StoreError, migrate, sql};
use crate::model::{Digest, JournalEntry, RunId};

/// Connections of one process.
const CONNECTIONS: u32 = 8;
/// How long to wait for a connection.
const PATIENCE: Duration = Duration::from_secs(20);
/// Schema that holds the tables unless the address names one.
const SCHEMA: &str = "assize";
/// Contents, many at once; those already there stay.
const INSERT_BLOBS: &str = "INSERT INTO blobs (digest, size, bytes) \
     SELECT * FROM UNNEST($1::text[], $2::bigint[], $3::bytea[]) ON CONFLICT (digest) DO NOTHING";
/// Types of the journal's columns after `run_id`, for one insert of any number of rows.
const JOURNAL_ARRAYS: &str = "$2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::text[], \
     $9::bigint[], $10::double precision[], $11::text[], $12::text[], $13::text[], $14::boolean[], $15::bigint[], \
     $16::double precision[], $17::double precision[], $18::bigint[], $19::bigint[], $20::double precision[], $21::bigint[], $22::text[]";

/// A store in a Postgres schema.
pub(super) struct PostgresStore {
    pool: PgPool,
}

impl PostgresStore {
    /// Connects and brings the schema up to date.
    pub(super) async fn open(address: &str) -> Result<Self, StoreError> {
        let refuse =
            |cause: String| StoreError::Open { place: without_password(address), cause: scrub(address, cause) };
        let (options, schema) = parse(address).map_err(refuse)?;
        // Once without the pool: a pool tries a refused address again until its patience ends.
        let probe = tokio::time::timeout(PATIENCE, options.connect()).await;
        let probe = probe.map_err(|_| refuse(format!("no answer within {} s", PATIENCE.as_secs())))?;
        // An error of parting does not matter: the connection has shown what it was made for.
        let _ = probe.map_err(|error| refuse(error.to_string()))?.close().await;
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(PATIENCE)
            .connect_with(options)
            .await
            .map_err(|error| refuse(error.to_string()))?;
        // Asked first, so that a user who may use the schema but not make one is not refused.
        let known: bool = query_scalar("SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)")
            .bind(&schema)
            .fetch_one(&pool)
            .await
            .map_err(|error| refuse(error.to_string()))?;
        if !known {
            // Two makers at once: the loser's error is of no consequence, the migration will tell a real one.
            let make = format!("CREATE SCHEMA IF NOT EXISTS \"{schema}\"");
            let _ = query(AssertSqlSafe(make)).execute(&pool).await;
        }
        migrate::postgres().run(&pool).await.map_err(|error| refuse(migrate::explain(&error)))?;
        Ok(Self { pool })
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
            .fetch_all(&self.pool)
            .await
            .map_err(|cause| rows::failed("list runs", cause))?;
        found.into_iter().map(rows::summary).collect()
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn append(&self, run: &RunId, entries: &[JournalEntry]) -> Result<(), StoreError> {
        if entries.is_empty() {
            return Ok(());
        }
        let encoded: Vec<Row> = entries.iter().map(Row::of).collect::<Result<_, _>>()?;
        let fail = |error: sqlx::Error| rows::append_error(run, &error);
        let mut transaction = self.pool.begin().await.map_err(fail)?;
        let last: Option<i64> =
            query_scalar(sql::LAST_SEQ).bind(run.as_str()).fetch_one(&mut *transaction).await.map_err(fail)?;
        rows::check_order(run, last, entries)?;
        if let Some(header) = rows::started(entries) {
            sql::insert_run(run, header)?.execute(&mut *transaction).await.map_err(fail)?;
        }
        insert(run, encoded).execute(&mut *transaction).await.map_err(fail)?;
        transaction.commit().await.map_err(fail)
    }

    async fn replay(&self, run: &RunId, from: u64, limit: u32) -> Result<Vec<JournalEntry>, StoreError> {
        let found: Vec<(i64, String, String)> = query_as(sql::REPLAY)
            .bind(run.as_str())
            .bind(rows::to_i64(from))
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await
            .map_err(|cause| rows::failed("replay", cause))?;
        found.into_iter().map(|row| rows::entry(run, row)).collect()
    }

    async fn put_blobs(&self, blobs: &[(Digest, Vec<u8>)]) -> Result<(), StoreError> {
        let fail = |cause: sqlx::Error| rows::failed("keep outputs", cause);
        let packed = rows::pack(blobs)?;
        if packed.is_empty() {
            return Ok(());
        }
        let mut digests = Vec::with_capacity(packed.len());
        let mut sizes = Vec::with_capacity(packed.len());
        let mut contents = Vec::with_capacity(packed.len());
        for (digest, size, bytes) in packed {
            digests.push(digest);
            sizes.push(size);
            contents.push(bytes);
        }
        query(INSERT_BLOBS).bind(digests).bind(sizes).bind(contents).execute(&self.pool).await.map_err(fail)?;
        Ok(())
    }

    async fn get_blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let found: Option<(i64, Vec<u8>)> = query_as(sql::GET_BLOB)
            .bind(digest.as_str())
            .fetch_optional(&self.pool)
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
            .fetch_all(&self.pool)
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
            .execute(&self.pool)
            .await
            .map_err(|cause| rows::failed("claim a run", cause))?;
        Ok(done.rows_affected() == 1)
    }

    async fn release(&self, run: &RunId, holder: &str) -> Result<(), StoreError> {
        query(sql::RELEASE)
            .bind(run.as_str())
            .bind(rows::storable(holder))
            .execute(&self.pool)
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
            .execute(&self.pool)
            .await
            .map_err(|cause| rows::failed("bless a run", cause))?;
        Ok(())
    }

    async fn baseline(&self, suite: &str) -> Result<Option<Baseline>, StoreError> {
        let found: Option<BaselineRow> = query_as(sql::BLESSINGS)
            .bind(rows::storable(suite))
            .bind(1_i64)
            .fetch_optional(&self.pool)
            .await
            .map_err(|cause| rows::failed("read a baseline", cause))?;
        found.map(rows::baseline).transpose()
    }

    async fn blessings(&self, suite: &str) -> Result<Vec<Baseline>, StoreError> {
        let found: Vec<BaselineRow> = query_as(sql::BLESSINGS)
            .bind(rows::storable(suite))
            .bind(i64::MAX)
            .fetch_all(&self.pool)
            .await
            .map_err(|cause| rows::failed("read baselines", cause))?;
        found.into_iter().map(rows::baseline).collect()
    }

    async fn audit(&self, entry: &AuditEntry) -> Result<AuditRecord, StoreError> {
        let fail = |cause: sqlx::Error| rows::failed("write the audit trail", cause);
        let mut transaction = self.pool.begin().await.map_err(fail)?;
        // One writer at a time, or two records would follow the same one.
        query("LOCK TABLE audit IN EXCLUSIVE MODE").execute(&mut *transaction).await.map_err(fail)?;
        let head: Option<(i64, String)> =
            query_as(sql::AUDIT_HEAD).fetch_optional(&mut *transaction).await.map_err(fail)?;
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
            .await
            .map_err(fail)?;
        transaction.commit().await.map_err(fail)?;
        Ok(record)
    }

    async fn audit_trail(&self, from: u64, limit: u32) -> Result<Vec<AuditRecord>, StoreError> {
        let found: Vec<AuditRow> = query_as(sql::AUDIT_TRAIL)
            .bind(rows::to_i64(from))
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await
            .map_err(|cause| rows::failed("read the audit trail", cause))?;
        found.into_iter().map(rows::audit_record).collect()
    }

    async fn outbox_put(&self, sink: &str, entries: &[OutboxPut], now: Timestamp) -> Result<OutboxAdded, StoreError> {
        outbox::of_postgres::put(&self.pool, sink, entries, now).await
    }

    async fn outbox_list(&self, sink: &str, state: OutboxState, limit: u32) -> Result<Vec<OutboxEntry>, StoreError> {
        outbox::of_postgres::list(&self.pool, sink, state, limit).await
    }

    async fn outbox_get(&self, sink: &str, key: &str) -> Result<Option<OutboxEntry>, StoreError> {
        outbox::of_postgres::get(&self.pool, sink, key).await
    }

    async fn outbox_mark(&self, sink: &str, marks: &[OutboxMark], now: Timestamp) -> Result<(), StoreError> {
        outbox::of_postgres::mark(&self.pool, sink, marks, now).await
    }

    async fn outbox_again(&self, sink: &str) -> Result<u64, StoreError> {
        outbox::of_postgres::again(&self.pool, sink).await
    }

    async fn outbox_count(&self, sink: &str) -> Result<Vec<(OutboxState, u64)>, StoreError> {
        outbox::of_postgres::count(&self.pool, sink).await
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}

/// The address as it may be shown: user, host and database, no password and no parameters.
pub(super) fn without_password(address: &str) -> String {
    let Ok(url) = Url::parse(address) else {
        return match address.split_once("://") {
            Some((scheme, _)) => format!("{scheme}://…"),
            None => address.to_owned(),
        };
    };
    let user = if url.username().is_empty() { String::new() } else { format!("{}@", url.username()) };
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{user}{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

/// Takes the password out of a driver's message, should it ever repeat it.
fn scrub(address: &str, message: String) -> String {
    let Ok(url) = Url::parse(address) else { return message };
    let in_query = url.query_pairs().filter(|(name, _)| name == "password").map(|(_, value)| value.into_owned());
    let mut secrets: Vec<String> = url.password().map(str::to_owned).into_iter().chain(in_query).collect();
    // In the address it may be percent-encoded; a message would repeat it decoded.
    let decoded = url.password().and_then(|encoded| Url::parse(&format!("x:?p={encoded}")).ok());
    secrets.extend(decoded.iter().flat_map(Url::query_pairs).map(|(_, value)| value.into_owned()));
    secrets.retain(|secret| !secret.is_empty());
    secrets.iter().fold(message, |message, secret| message.replace(secret.as_str(), "***"))
}

/// Connection options and schema of an address. `schema` is our own parameter; the driver does not know it.
fn parse(address: &str) -> Result<(PgConnectOptions, String), String> {
    let mut url = Url::parse(address).map_err(|error| format!("it is not an address: {error}"))?;
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let schema = pairs.iter().find(|(name, _)| name == "schema").map_or(SCHEMA, |(_, value)| value).to_owned();
    let first_fits = schema.starts_with(|first: char| first.is_ascii_lowercase() || first == '_');
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !first_fits || schema.len() > 63 || !schema.chars().all(fits) {
        return Err(format!("schema `{schema}` must be lower-case letters, digits and `_`, at most 63 of them"));
    }
    let rest: Vec<&(String, String)> = pairs.iter().filter(|(name, _)| name != "schema").collect();
    url.set_query(None);
    if !rest.is_empty() {
        url.query_pairs_mut().extend_pairs(rest.iter().map(|(name, value)| (name, value)));
    }
    let options = PgConnectOptions::from_str(url.as_str()).map_err(|error| error.to_string())?;
    let options = options.application_name("assize").options([("search_path", schema.as_str())]);
    Ok((options.disable_statement_logging(), schema))
}

/// One insert for any number of rows: a column is an array, so that the statement is always the same.
fn insert(run: &RunId, journal: Vec<Row>) -> Query<'static, Postgres, PgArguments> {
    let statement =
        format!("INSERT INTO journal (run_id, {}) SELECT $1, * FROM UNNEST({JOURNAL_ARRAYS})", sql::JOURNAL_COLUMNS);
    let mut columns = Columns::default();
    journal.into_iter().for_each(|row| columns.push(row));
    let mut insert = query(AssertSqlSafe(statement)).bind(run.to_string());
    insert = insert.bind(columns.seq);
    insert = insert.bind(columns.at);
    insert = insert.bind(columns.kind);
    insert = insert.bind(columns.status);
    insert = insert.bind(columns.example_id);
    insert = insert.bind(columns.trial);
    insert = insert.bind(columns.grader);
    insert = insert.bind(columns.draw);
    insert = insert.bind(columns.value);
    insert = insert.bind(columns.label);
    insert = insert.bind(columns.unscored);
    insert = insert.bind(columns.failure);
    insert = insert.bind(columns.cached);
    insert = insert.bind(columns.took_ms);
    insert = insert.bind(columns.latency_ms);
    insert = insert.bind(columns.cost_usd);
    insert = insert.bind(columns.tokens_in);
    insert = insert.bind(columns.tokens_out);
    insert = insert.bind(columns.spent_usd);
    insert = insert.bind(columns.unpriced_calls);
    insert = insert.bind(columns.body);
    insert
}

/// The journal's columns, turned from rows.
#[derive(Default)]
struct Columns {
    seq: Vec<i64>,
    at: Vec<String>,
    kind: Vec<&'static str>,
    status: Vec<Option<&'static str>>,
    example_id: Vec<Option<String>>,
    trial: Vec<Option<i64>>,
    grader: Vec<Option<String>>,
    draw: Vec<Option<i64>>,
    value: Vec<Option<f64>>,
    label: Vec<Option<String>>,
    unscored: Vec<Option<&'static str>>,
    failure: Vec<Option<&'static str>>,
    cached: Vec<Option<bool>>,
    took_ms: Vec<Option<i64>>,
    latency_ms: Vec<Option<f64>>,
    cost_usd: Vec<Option<f64>>,
    tokens_in: Vec<Option<i64>>,
    tokens_out: Vec<Option<i64>>,
    spent_usd: Vec<Option<f64>>,
    unpriced_calls: Vec<Option<i64>>,
    body: Vec<String>,
}

impl Columns {
    fn push(&mut self, row: Row) {
        self.seq.push(row.seq);
        self.at.push(row.at);
        self.kind.push(row.kind);
        self.status.push(row.status);
        self.example_id.push(row.example_id);
        self.trial.push(row.trial);
        self.grader.push(row.grader);
        self.draw.push(row.draw);
        self.value.push(row.value);
        self.label.push(row.label);
        self.unscored.push(row.unscored);
        self.failure.push(row.failure);
        self.cached.push(row.cached);
        self.took_ms.push(row.took_ms);
        self.latency_ms.push(row.latency_ms);
        self.cost_usd.push(row.cost_usd);
        self.tokens_in.push(row.tokens_in);
        self.tokens_out.push(row.tokens_out);
        self.spent_usd.push(row.spent_usd);
        self.unpriced_calls.push(row.unpriced_calls);
        self.body.push(row.body);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_never_shown() {
        let address = "postgres://ada:s3cret@db.example:5433/evals?password=s3cret&sslmode=require";
        assert_eq!(without_password(address), "postgres://ada@db.example:5433/evals");
        assert_eq!(scrub(address, "no entry for ada:s3cret".to_owned()), "no entry for ada:***");
        assert_eq!(scrub("postgres://ada:p%40ss@h/d", "bad p@ss".to_owned()), "bad ***");
        assert!(!without_password("postgres://ada:s3cret@[broken").contains("s3cret"));
    }

    #[test]
    fn a_schema_that_is_no_plain_name_is_refused() {
        assert_eq!(parse("postgres://h/d").unwrap().1, "assize");
        assert_eq!(parse("postgres://h/d?schema=team_a").unwrap().1, "team_a");
        for name in ["a b", "a;drop", "\"x\"", "1a", "", "Team"] {
            assert!(parse(&format!("postgres://h/d?schema={name}")).is_err(), "{name}");
        }
    }
}
