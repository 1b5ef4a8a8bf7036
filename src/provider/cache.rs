//! The reply cache: a SQLite file of its own, so that it can be deleted without losing a finding.
//!
//! It saves money and is never needed: whatever goes wrong with it (locked, corrupt, full disk) is told once and
//! costs the saving, not the run. The key covers endpoint, request, asker and draw; see [`super::Client`].

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Row, SqliteConnection};
use tokio::sync::{mpsc, oneshot};

use crate::model::{ChatReply, Digest};
use crate::sys::Clock;
use crate::sys::files::create_folder;

mod prune;

pub use prune::{CacheChoice, CacheShare, CacheStats, Pruned};

/// Most puts in one transaction.
const BATCH: usize = 256;

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS cache (
    key TEXT PRIMARY KEY,
    reply TEXT NOT NULL,
    model TEXT NOT NULL,
    asker TEXT,
    took_ms INTEGER NOT NULL,
    created_at INTEGER NOT NULL
)";

/// How a client uses the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheUse {
    /// Looks answers up and keeps new ones.
    #[default]
    ReadWrite,
    /// Asks anew and keeps the answers in place of the old ones.
    Refresh,
    /// Looks answers up and keeps none.
    ReadOnly,
}

/// A kept answer.
#[derive(Clone, Debug, PartialEq)]
pub struct CacheEntry {
    /// The reply.
    pub reply: ChatReply,
    /// Milliseconds of the original call.
    pub took_ms: u64,
}

/// The cache failed.
#[derive(Debug, thiserror::Error)]
#[error("reply cache `{}` cannot be used ({cause}); delete the file if this stays so, it holds only what can be asked again", path.display())]
pub struct CacheError {
    path: PathBuf,
    cause: String,
}

struct Put {
    key: String,
    reply: String,
    model: String,
    asker: String,
    took_ms: i64,
    created_at: i64,
    done: oneshot::Sender<()>,
}

/// Answers by key.
pub struct ReplyCache {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    /// `None` once, and for good, when the file cannot be opened.
    pool: Option<SqlitePool>,
    puts: Option<mpsc::UnboundedSender<Put>>,
    trouble: Arc<Trouble>,
}

/// The first thing that went wrong, and what is not tried any more because of it.
#[derive(Default)]
struct Trouble {
    reads_off: AtomicBool,
    writes_off: AtomicBool,
    first: Mutex<Option<String>>,
}

impl Trouble {
    fn note(&self, off: &AtomicBool, error: &CacheError) {
        off.store(true, Ordering::Relaxed);
        self.first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| error.to_string());
    }
}

impl ReplyCache {
    /// Opens or makes the file and its folder. Must be called inside a Tokio runtime.
    pub async fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, CacheError> {
        let fail = |cause: String| CacheError { path: path.to_owned(), cause };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            create_folder(folder).map_err(|error| fail(error.to_string()))?;
        }
        let options = SqliteConnectOptions::from_str("sqlite:")
            .map_err(|error| fail(error.to_string()))?
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(Duration::from_secs(5));
        let pool = SqlitePoolOptions::new().max_connections(4).connect_with(options).await;
        let pool = pool.map_err(|error| fail(error.to_string()))?;
        bring_up_to_date(&pool).await.map_err(|error| fail(error.to_string()))?;
        let trouble = Arc::new(Trouble::default());
        let (puts, taken) = mpsc::unbounded_channel();
        tokio::spawn(write_puts(pool.clone(), taken, Arc::clone(&trouble), path.to_owned()));
        Ok(Self { path: path.to_owned(), clock, pool: Some(pool), puts: Some(puts), trouble })
    }

    /// Opens the file, or gives a cache that is off and says why in [`ReplyCache::warning`].
    pub async fn open_or_off(path: &Path, clock: Arc<dyn Clock>) -> Self {
        match Self::open(path, Arc::clone(&clock)).await {
            Ok(cache) => cache,
            Err(error) => {
                let trouble = Arc::new(Trouble::default());
                trouble.note(&trouble.reads_off, &error);
                trouble.writes_off.store(true, Ordering::Relaxed);
                Self { path: path.to_owned(), clock, pool: None, puts: None, trouble }
            }
        }
    }

    /// The first thing that went wrong, if anything did: to be told once.
    pub fn warning(&self) -> Option<String> {
        self.trouble.first.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The answer under a key. Trouble counts as "not there" and ends all further reading.
    pub async fn get(&self, key: &Digest) -> Option<CacheEntry> {
        let pool = self.pool.as_ref().filter(|_| !self.trouble.reads_off.load(Ordering::Relaxed))?;
        let row = sqlx::query("SELECT reply, took_ms FROM cache WHERE key = ?").bind(key.as_str());
        let row = match row.fetch_optional(pool).await {
            Ok(row) => row?,
            Err(error) => {
                self.trouble.note(&self.trouble.reads_off, &self.error(&error));
                return None;
            }
        };
        // A row that cannot be read (an older form, a damaged page) is asked anew and overwritten.
        let reply: String = row.try_get("reply").ok()?;
        let took_ms: i64 = row.try_get("took_ms").ok()?;
        let reply = serde_json::from_str(&reply).ok()?;
        Some(CacheEntry { reply, took_ms: u64::try_from(took_ms).unwrap_or(0) })
    }

    /// Keeps an answer under a key, in place of an older one; returns when it is written or given up. Puts that come
    /// together share a transaction. Model and asker are kept for people who look what the cache holds.
    pub async fn put(&self, key: &Digest, asker: &Digest, model: &str, entry: &CacheEntry) {
        let Some(puts) = self.puts.as_ref().filter(|_| !self.trouble.writes_off.load(Ordering::Relaxed)) else {
            return;
        };
        let Ok(reply) = serde_json::to_string(&entry.reply) else { return };
        let (done, written) = oneshot::channel();
        let put = Put {
            key: key.as_str().to_owned(),
            reply,
            model: model.to_owned(),
            asker: asker.as_str().to_owned(),
            took_ms: i64::try_from(entry.took_ms).unwrap_or(i64::MAX),
            created_at: self.clock.now().as_millisecond(),
            done,
        };
        if puts.send(put).is_ok() {
            // An error only says that the writer gave up, which it has told already.
            let _ = written.await;
        }
    }

    fn pool(&self) -> Result<&SqlitePool, CacheError> {
        let why = || self.warning().unwrap_or_else(|| "it is closed".to_owned());
        self.pool.as_ref().ok_or_else(|| CacheError { path: self.path.clone(), cause: why() })
    }

    fn error(&self, error: &sqlx::Error) -> CacheError {
        CacheError { path: self.path.clone(), cause: error.to_string() }
    }
}

/// Makes the table where there is none, and adds what older programs did not write.
async fn bring_up_to_date(pool: &SqlitePool) -> Result<(), sqlx::Error> {
    sqlx::query(SCHEMA).execute(pool).await?;
    let named = "SELECT COUNT(*) FROM pragma_table_info('cache') WHERE name = 'asker'";
    if sqlx::query_scalar::<_, i64>(named).fetch_one(pool).await? == 0 {
        sqlx::query("ALTER TABLE cache ADD COLUMN asker TEXT").execute(pool).await?;
    }
    Ok(())
}

/// Writes what comes, as much as has come at a time. Ends when the cache is dropped and all is written.
async fn write_puts(pool: SqlitePool, mut taken: mpsc::UnboundedReceiver<Put>, trouble: Arc<Trouble>, path: PathBuf) {
    let mut batch = Vec::with_capacity(BATCH);
    while taken.recv_many(&mut batch, BATCH).await > 0 {
        if !trouble.writes_off.load(Ordering::Relaxed)
            && let Err(error) = write_batch(&pool, &batch).await
        {
            trouble.note(&trouble.writes_off, &CacheError { path: path.clone(), cause: error.to_string() });
        }
        for put in batch.drain(..) {
            // Nobody waits any more when the ask was cancelled.
            let _ = put.done.send(());
        }
    }
}

async fn write_batch(pool: &SqlitePool, batch: &[Put]) -> Result<(), sqlx::Error> {
    // Immediate: a transaction that starts reading and turns to writing can fail at once instead of waiting.
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    for put in batch {
        write_put(&mut transaction, put).await?;
    }
    transaction.commit().await
}

async fn write_put(connection: &mut SqliteConnection, put: &Put) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT OR REPLACE INTO cache (key, reply, model, asker, took_ms, created_at) VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(&put.key)
    .bind(&put.reply)
    .bind(&put.model)
    .bind(&put.asker)
    .bind(put.took_ms)
    .bind(put.created_at)
    .execute(connection)
    .await
    .map(|_| ())
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::model::{FinishReason, Usage};
    use crate::sys::FixedClock;

    fn entry(text: &str) -> CacheEntry {
        let reply = ChatReply {
            text: text.to_owned(),
            finish: FinishReason::Stop,
            model: None,
            usage: Usage::default(),
            tokens: None,
        };
        CacheEntry { reply, took_ms: 12 }
    }

    fn clock() -> Arc<dyn Clock> {
        let start = "2026-11-21T10:00:00Z".parse().unwrap();
        Arc::new(FixedClock::new(start, SignedDuration::from_mins(1)))
    }

    #[tokio::test]
    async fn answers_are_kept_replaced_counted_and_pruned() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/cache.db");
        let cache = ReplyCache::open(&path, clock()).await.unwrap();
        let key = |n: u32| Digest::of(&n.to_le_bytes());
        let asker = Digest::of(b"judge");
        for n in 0..3 {
            cache.put(&key(n), &asker, "m", &entry("old")).await;
        }
        cache.put(&key(0), &asker, "m", &entry("new")).await;
        assert_eq!(cache.get(&key(0)).await, Some(entry("new")));
        assert_eq!(cache.get(&key(9)).await, None);
        let stats = cache.stats().await.unwrap();
        assert_eq!((stats.entries, stats.oldest), (3, Some("2026-11-21T10:01:00Z".parse().unwrap())));
        let old = CacheChoice { before: Some("2026-11-21T10:02:30Z".parse().unwrap()), ..CacheChoice::default() };
        assert_eq!(cache.prune(&old, true).await.unwrap().entries, 2);
        drop(cache);
        let again = ReplyCache::open(&path, clock()).await.unwrap();
        assert_eq!(again.get(&key(0)).await, Some(entry("new")), "it outlives the process");
        assert_eq!(again.warning(), None);
    }

    #[tokio::test]
    async fn a_corrupt_file_is_told_once_and_fails_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache.db");
        std::fs::write(&path, vec![b'x'; 8192]).unwrap();
        let cache = ReplyCache::open_or_off(&path, clock()).await;
        assert!(cache.warning().unwrap().contains("delete the file"), "{:?}", cache.warning());
        cache.put(&Digest::of(b"k"), &Digest::of(b"j"), "m", &entry("x")).await;
        assert_eq!(cache.get(&Digest::of(b"k")).await, None);
        assert!(cache.stats().await.is_err());
    }

    #[tokio::test]
    async fn puts_that_come_together_are_all_written() {
        let folder = tempfile::tempdir().unwrap();
        let cache = ReplyCache::open(&folder.path().join("cache.db"), clock()).await.unwrap();
        let keys: Vec<_> = (0..500_u32).map(|n| Digest::of(&n.to_le_bytes())).collect();
        let one = entry("x");
        futures::future::join_all(keys.iter().map(|key| cache.put(key, key, "m", &one))).await;
        assert_eq!(cache.stats().await.unwrap().entries, 500);
    }
}
