//! Statements that both dialects understand. Only the bulk inserts differ; they stay with their back end.

use std::borrow::Cow;

use sqlx::query::Query;
use sqlx::{Database, Encode, Type, query};

use super::{StoreError, rows};
use crate::model::{RunHeader, RunId};

/// Highest number in a run's journal.
pub(super) const LAST_SEQ: &str = "SELECT MAX(seq) FROM journal WHERE run_id = $1";

/// Adds a run.
const INSERT_RUN: &str = "INSERT INTO runs (run_id, suite, created_at, dataset, dataset_digest, target, \
     target_kind, examples, trials, tool_version, git_commit, header) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";

/// Columns of the journal after `run_id`, in the order of [`super::rows::Row`].
pub(super) const JOURNAL_COLUMNS: &str = "seq, at, kind, status, example_id, trial, grader, draw, value, label, \
     unscored, failure, cached, took_ms, latency_ms, cost_usd, tokens_in, tokens_out, spent_usd, unpriced_calls, body";

/// A stretch of a journal.
pub(super) const REPLAY: &str =
    "SELECT seq, at, body FROM journal WHERE run_id = $1 AND seq >= $2 ORDER BY seq LIMIT $3";

/// One content.
pub(super) const GET_BLOB: &str = "SELECT size, bytes FROM blobs WHERE digest = $1";

/// Runs with the event that says how they stand and the last `run_finished`.
pub(super) const RUNS: &str = "SELECT r.header, \
     (SELECT j.body FROM journal j WHERE j.run_id = r.run_id AND j.status IS NOT NULL ORDER BY j.seq DESC LIMIT 1), \
     (SELECT j.body FROM journal j WHERE j.run_id = r.run_id AND j.status IS NOT NULL AND j.kind = 'run_finished' \
      ORDER BY j.seq DESC LIMIT 1) \
     FROM runs r WHERE (CAST($1 AS TEXT) IS NULL OR r.suite = CAST($1 AS TEXT)) \
     AND (CAST($2 AS TEXT) IS NULL OR r.run_id = CAST($2 AS TEXT)) \
     ORDER BY r.created_at DESC, r.run_id DESC LIMIT $3";

/// Ids that are, end with or begin with a text, or whose short form begins with it. No `LIKE`: its wild cards would have
/// to be escaped.
pub(super) const MATCHING_RUNS: &str = "SELECT run_id FROM runs WHERE run_id = CAST($1 AS TEXT) \
     OR (length(run_id) >= length(CAST($1 AS TEXT)) AND (substr(run_id, 1, length(CAST($1 AS TEXT))) = CAST($1 AS TEXT) \
     OR substr(run_id, length(run_id) - length(CAST($1 AS TEXT)) + 1) = CAST($1 AS TEXT) \
     OR (length(run_id) > 8 AND substr(run_id, length(run_id) - 7, length(CAST($1 AS TEXT))) = CAST($1 AS TEXT)))) \
     ORDER BY created_at DESC, run_id DESC LIMIT 20";

/// Takes or renews a claim.
pub(super) const CLAIM: &str = "INSERT INTO claims (run_id, holder, until_ms) VALUES ($1, $2, $3) \
     ON CONFLICT (run_id) DO UPDATE SET holder = excluded.holder, until_ms = excluded.until_ms \
     WHERE claims.holder = excluded.holder OR claims.until_ms <= $4";

/// Gives a claim back.
pub(super) const RELEASE: &str = "DELETE FROM claims WHERE run_id = $1 AND holder = $2";

/// Appends a blessing.
pub(super) const BLESS: &str = "INSERT INTO baselines (suite, run_id, actor, at, reason) VALUES ($1, $2, $3, $4, $5)";

/// Blessings, latest first. The order of writing counts, not the clock's word.
pub(super) const BLESSINGS: &str =
    "SELECT suite, run_id, actor, at, reason FROM baselines WHERE suite = $1 ORDER BY seq DESC LIMIT $2";

/// The end of the audit trail.
pub(super) const AUDIT_HEAD: &str = "SELECT seq, digest FROM audit ORDER BY seq DESC LIMIT 1";

/// Appends to the audit trail.
pub(super) const AUDIT: &str = "INSERT INTO audit (seq, at, actor, action, subject, detail, previous_digest, digest) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";

/// A stretch of the audit trail.
pub(super) const AUDIT_TRAIL: &str = "SELECT seq, at, actor, action, subject, detail, previous_digest, digest \
     FROM audit WHERE seq >= $1 ORDER BY seq LIMIT $2";

/// Puts the row of a run in, whichever dialect.
///
/// # Errors
/// The header cannot be written as JSON.
pub(super) fn insert_run<'q, DB>(
    run: &'q RunId,
    header: &'q RunHeader,
) -> Result<Query<'q, DB, DB::Arguments>, StoreError>
where
    DB: Database,
    i64: Encode<'q, DB> + Type<DB>,
    String: Encode<'q, DB> + Type<DB>,
    &'q str: Encode<'q, DB> + Type<DB>,
    Cow<'q, str>: Encode<'q, DB> + Type<DB>,
    Option<Cow<'q, str>>: Encode<'q, DB> + Type<DB>,
{
    Ok(query(INSERT_RUN)
        .bind(run.as_str())
        .bind(rows::storable(&header.suite))
        .bind(rows::time_text(header.created_at))
        .bind(rows::storable(&header.dataset))
        .bind(header.dataset_digest.as_str())
        .bind(rows::storable(&header.target.name))
        .bind(rows::storable(&header.target.kind))
        .bind(rows::to_i64(header.examples))
        .bind(i64::from(header.trials))
        .bind(rows::storable(&header.tool_version))
        .bind(header.git_commit.as_deref().map(rows::storable))
        .bind(rows::header_text(header)?))
}
