//! What a cache holds, by who asked which model, and taking a part of it out.
//!
//! Looks at sizes and dates only, never at what was answered.

use jiff::Timestamp;
use serde::Serialize;
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{QueryBuilder, Row, Sqlite};

use super::{CacheError, ReplyCache};

/// Answers deleted by one statement.
const AT_ONCE: usize = 500;

const SUMS: &str = "COUNT(*) AS entries, COALESCE(SUM(LENGTH(CAST(reply AS BLOB))), 0) AS bytes, \
                    MIN(created_at) AS oldest, MAX(created_at) AS newest";

/// What a cache holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CacheStats {
    /// How many answers.
    pub entries: u64,
    /// Bytes of the replies.
    pub reply_bytes: u64,
    /// When the oldest was kept.
    pub oldest: Option<Timestamp>,
    /// When the newest was kept.
    pub newest: Option<Timestamp>,
}

/// What one asker has of one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheShare {
    /// Digest of who asked; `None` in files of older programs.
    pub asker: Option<String>,
    /// Name of the model as it was asked for.
    pub model: String,
    /// How much.
    pub stats: CacheStats,
}

/// Which answers are taken out. What is said must all hold; `Default` takes everything.
#[derive(Clone, Debug, Default)]
pub struct CacheChoice {
    /// Kept before this moment.
    pub before: Option<Timestamp>,
    /// Asked by one of these digests.
    pub askers: Option<Vec<String>>,
    /// Asked of this model.
    pub model: Option<String>,
    /// Only so many, the oldest first, that the cache holds at most so many bytes of replies.
    pub keep_bytes: Option<u64>,
}

/// What was taken out, or would be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pruned {
    /// Answers.
    pub entries: u64,
    /// Bytes of their replies.
    pub reply_bytes: u64,
    /// Whether it was done, not only counted.
    pub done: bool,
    /// Whether the file was made smaller as well: another process that uses it at the moment prevents that.
    pub file_shrunk: bool,
}

impl ReplyCache {
    /// What it holds.
    pub async fn stats(&self) -> Result<CacheStats, CacheError> {
        let query = format!("SELECT {SUMS} FROM cache");
        let row = sqlx::query(sqlx::AssertSqlSafe(query)).fetch_one(self.pool()?).await;
        row.map(|row| stats(&row)).map_err(|error| self.error(&error))
    }

    /// What it holds by asker and model, the largest share first.
    pub async fn shares(&self) -> Result<Vec<CacheShare>, CacheError> {
        let query = format!("SELECT asker, model, {SUMS} FROM cache GROUP BY asker, model ORDER BY bytes DESC, model");
        let rows = sqlx::query(sqlx::AssertSqlSafe(query)).fetch_all(self.pool()?).await;
        let share = |row: &SqliteRow| CacheShare {
            asker: row.try_get("asker").ok().flatten(),
            model: row.try_get("model").unwrap_or_default(),
            stats: stats(row),
        };
        Ok(rows.map_err(|error| self.error(&error))?.iter().map(share).collect())
    }

    /// Takes the chosen answers out; only counts them when not `really`.
    pub async fn prune(&self, choice: &CacheChoice, really: bool) -> Result<Pruned, CacheError> {
        let chosen = self.chosen(choice).await?;
        let mut pruned = Pruned {
            entries: chosen.len() as u64,
            reply_bytes: chosen.iter().map(|(_, bytes)| bytes).sum(),
            ..Pruned::default()
        };
        if !really {
            return Ok(pruned);
        }
        let pool = self.pool()?;
        delete(pool, &chosen).await.map_err(|error| self.error(&error))?;
        pruned.done = true;
        // What is deleted stays deleted where the file cannot be made smaller now.
        pruned.file_shrunk = pruned.entries > 0 && sqlx::query("VACUUM").execute(pool).await.is_ok();
        Ok(pruned)
    }

    /// Keys and bytes of the chosen answers, the oldest first.
    async fn chosen(&self, choice: &CacheChoice) -> Result<Vec<(String, u64)>, CacheError> {
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT key, LENGTH(CAST(reply AS BLOB)) AS bytes FROM cache WHERE created_at < ",
        );
        query.push_bind(choice.before.map_or(i64::MAX, Timestamp::as_millisecond));
        if let Some(model) = &choice.model {
            query.push(" AND model = ").push_bind(model);
        }
        if let Some(askers) = &choice.askers {
            // A list that no asker is on chooses nothing.
            query.push(" AND asker IN (NULL");
            for asker in askers {
                query.push(", ").push_bind(asker);
            }
            query.push(")");
        }
        query.push(" ORDER BY created_at, key");
        let rows = query.build().fetch_all(self.pool()?).await.map_err(|error| self.error(&error))?;
        let found = rows.iter().map(|row| (row.try_get("key").unwrap_or_default(), number(row, "bytes")));
        let Some(keep) = choice.keep_bytes else { return Ok(found.collect()) };
        let mut left = self.stats().await?.reply_bytes;
        let too_much = |(_, bytes): &(String, u64)| {
            let goes = left > keep;
            left = left.saturating_sub(*bytes);
            goes
        };
        Ok(found.take_while(too_much).collect())
    }
}

async fn delete(pool: &SqlitePool, chosen: &[(String, u64)]) -> Result<(), sqlx::Error> {
    for some in chosen.chunks(AT_ONCE) {
        let mut query = QueryBuilder::<Sqlite>::new("DELETE FROM cache WHERE key IN (");
        let mut keys = query.separated(", ");
        for (key, _) in some {
            keys.push_bind(key);
        }
        query.push(")");
        query.build().execute(pool).await?;
    }
    Ok(())
}

fn stats(row: &SqliteRow) -> CacheStats {
    let moment = |name: &str| {
        let ms = row.try_get::<Option<i64>, _>(name).ok().flatten();
        ms.and_then(|ms| Timestamp::from_millisecond(ms).ok())
    };
    CacheStats {
        entries: number(row, "entries"),
        reply_bytes: number(row, "bytes"),
        oldest: moment("oldest"),
        newest: moment("newest"),
    }
}

fn number(row: &SqliteRow, name: &str) -> u64 {
    row.try_get::<i64, _>(name).ok().and_then(|number| u64::try_from(number).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::SignedDuration;

    use super::super::CacheEntry;
    use super::*;
    use crate::model::{ChatReply, Digest, FinishReason, Usage};
    use crate::sys::FixedClock;

    /// Ten answers, one a minute: of two models in turn, by two askers for five each; each of 100 letters.
    async fn ten(folder: &tempfile::TempDir) -> ReplyCache {
        let start = "2026-11-21T10:00:00Z".parse().unwrap();
        let clock = Arc::new(FixedClock::new(start, SignedDuration::from_mins(1)));
        let cache = ReplyCache::open(&folder.path().join("cache.db"), clock).await.unwrap();
        let reply = ChatReply {
            text: "x".repeat(100),
            finish: FinishReason::Stop,
            model: None,
            usage: Usage::default(),
            tokens: None,
        };
        let entry = CacheEntry { reply, took_ms: 1 };
        for n in 0..10_u32 {
            let asker = Digest::of(if n < 5 { b"a" } else { b"b" });
            cache.put(&Digest::of(&n.to_le_bytes()), &asker, ["m", "n"][n as usize % 2], &entry).await;
        }
        cache
    }

    #[tokio::test]
    async fn each_choice_takes_what_it_says_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let cache = ten(&folder).await;
        let all = cache.stats().await.unwrap();
        let one = all.reply_bytes / 10;
        let of = |choice: CacheChoice| {
            let cache = &cache;
            async move { cache.prune(&choice, false).await.unwrap().entries }
        };
        let everything = CacheChoice::default();
        let by_a = Some(vec![Digest::of(b"a").as_str().to_owned()]);
        assert_eq!(of(everything.clone()).await, 10);
        assert_eq!(of(CacheChoice { askers: by_a.clone(), ..everything.clone() }).await, 5);
        assert_eq!(of(CacheChoice { askers: Some(Vec::new()), ..everything.clone() }).await, 0);
        assert_eq!(of(CacheChoice { model: Some("n".to_owned()), ..everything.clone() }).await, 5);
        assert_eq!(of(CacheChoice { model: Some("n".to_owned()), askers: by_a, ..everything.clone() }).await, 2);
        let before = Some("2026-11-21T10:03:30Z".parse().unwrap());
        let early = of(CacheChoice { before, ..everything.clone() }).await;
        assert!((3..=4).contains(&early), "{early}");
        for (keep, goes) in [(10 * one, 0), (10 * one - 1, 1), (3 * one, 7), (0, 10)] {
            assert_eq!(of(CacheChoice { keep_bytes: Some(keep), ..everything.clone() }).await, goes, "{keep}");
        }
        assert_eq!(cache.stats().await.unwrap(), all, "counting takes nothing out");
        let done = cache.prune(&CacheChoice { keep_bytes: Some(4 * one), ..everything }, true).await.unwrap();
        assert_eq!((done.entries, done.reply_bytes, done.done), (6, 6 * one, true));
        let left = cache.stats().await.unwrap();
        assert_eq!((left.entries, left.newest), (4, all.newest), "the oldest go first");
        let shares = cache.shares().await.unwrap();
        assert_eq!(shares.iter().map(|share| share.stats.entries).collect::<Vec<_>>(), [2, 2]);
        assert!(shares.iter().all(|share| share.asker.as_deref() == Some(Digest::of(b"b").as_str())));
    }

    #[tokio::test]
    async fn a_file_of_an_older_program_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache.db");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let pool = SqlitePool::connect_with(options).await.unwrap();
        let old = "CREATE TABLE cache (key TEXT PRIMARY KEY, reply TEXT NOT NULL, model TEXT NOT NULL, \
                   took_ms INTEGER NOT NULL, created_at INTEGER NOT NULL)";
        sqlx::query(old).execute(&pool).await.unwrap();
        sqlx::query("INSERT INTO cache VALUES ('k', '{}', 'm', 1, 0)").execute(&pool).await.unwrap();
        pool.close().await;
        let clock = Arc::new(FixedClock::new(Timestamp::UNIX_EPOCH, SignedDuration::ZERO));
        let cache = ReplyCache::open(&path, clock).await.unwrap();
        let shares = cache.shares().await.unwrap();
        assert_eq!((shares.len(), shares[0].asker.as_deref(), shares[0].model.as_str()), (1, None, "m"));
        assert_eq!(cache.prune(&CacheChoice::default(), true).await.unwrap().entries, 1);
    }
}
