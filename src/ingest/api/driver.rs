//! Pulls one source: asks page by page, hands rows on, keeps the place. The only part that does IO.
//!
//! Order is what makes it safe: rows are handed on, then made durable, then the place is written. A pull that is
//! killed anywhere repeats some rows and loses none. Every way to stop keeps what came.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use super::checkpoint::{Asked, Checkpoint, Start};
use super::pager::{Page, Pager, Plan};
use super::wire::Wire;
use super::{ApiOptions, PlatformInfo};
use crate::ingest::IngestError;
use crate::sys::files::FileError;
use crate::sys::{Clock, Env, moment, text};

/// Longest time between two writes of the place.
const KEEP_EVERY: Duration = Duration::from_secs(60);
/// Rows that are remembered to notice pages that come again.
const REMEMBERED: usize = 500_000;

/// Takes the rows of a pull.
pub trait RowTaker {
    /// Takes rows; bad ones are its own affair.
    ///
    /// # Errors
    /// When it can take no more at all.
    fn take(&mut self, rows: Vec<Value>) -> Result<(), IngestError>;
    /// Makes everything taken so far durable.
    ///
    /// # Errors
    /// When that fails; the place is not moved on then.
    fn keep(&mut self) -> Result<(), IngestError>;
    /// Beginning of the newest span so far, nanoseconds since 1970.
    fn newest_ns(&self) -> Option<i64>;
}

/// One pull, ready to run.
pub struct Pull<'a> {
    /// Name of the source in the configuration.
    pub name: &'a str,
    /// Platform.
    pub platform: &'static PlatformInfo,
    /// Options.
    pub options: &'a ApiOptions,
    /// Beginning of a window that the user named for this pull alone.
    pub since: Option<&'a str>,
    /// End of such a window.
    pub until: Option<&'a str>,
    /// Most rows.
    pub limit: Option<u64>,
    /// Whether to forget the place of earlier pulls.
    pub restart: bool,
    /// Folder of the places.
    pub checkpoints: PathBuf,
    /// Connections.
    pub http: reqwest::Client,
    /// Clock.
    pub clock: Arc<dyn Clock>,
    /// Environment, for keys.
    pub env: Env,
    /// Told after every answer.
    pub on_progress: &'a dyn Fn(&PullProgress<'_>),
}

/// How far a pull is.
#[derive(Clone, Copy, Debug)]
pub struct PullProgress<'a> {
    /// Source.
    pub source: &'a str,
    /// Rows so far, in this pull.
    pub rows: u64,
    /// Pages so far.
    pub pages: u64,
    /// Second and later attempts so far.
    pub retries: u64,
}

/// What a pull did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PullSummary {
    /// Source.
    pub source: String,
    /// Platform.
    pub platform: String,
    /// Whether it began, resumed or continued.
    pub how: String,
    /// Beginning of the window.
    pub since: Option<Timestamp>,
    /// End of the window.
    pub until: Timestamp,
    /// Rows handed on.
    pub rows: u64,
    /// Pages.
    pub pages: u64,
    /// Requests.
    pub requests: u64,
    /// Second and later attempts among them.
    pub retries: u64,
    /// Answers that said they are only a part (207).
    pub partial_answers: u64,
    /// Whether the window is finished.
    pub complete: bool,
    /// Why it was stopped before, and what to do.
    pub stopped: Option<String>,
}

/// A pull that could not begin, or whose rows could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum PullFailed {
    /// Nobody reads rows of this platform.
    #[error("source `{name}`: there is no reader for rows of {platform}")]
    NoReader {
        /// Source.
        name: String,
        /// Platform.
        platform: &'static str,
    },
    /// A variable that must hold a secret is not set.
    #[error("source `{name}` needs `{variable}`, which is not set; run `export {variable}=...` first")]
    MissingKey {
        /// Source.
        name: String,
        /// Variable.
        variable: String,
    },
    /// An option cannot be used.
    #[error("source `{name}`: {cause}")]
    Options {
        /// Source.
        name: String,
        /// Which, and what is wrong.
        cause: String,
    },
    /// The taker of rows failed.
    #[error(transparent)]
    Taker(#[from] IngestError),
    /// The place cannot be written.
    #[error(transparent)]
    Checkpoint(#[from] FileError),
}

/// Why no more is asked.
#[derive(Debug)]
pub(super) enum Stop {
    /// The key was refused.
    Refused(String),
    /// Anything else, in words.
    Said(String),
}

/// A short digest for telling rows apart.
pub(super) fn fingerprint(bytes: &[u8]) -> u64 {
    let digest = blake3::hash(bytes);
    let (head, _) = digest.as_bytes().split_at(8);
    head.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

impl Pull<'_> {
    /// Asks one cheap question: a page of one row. Says in words what came.
    ///
    /// # Errors
    /// Says why the source does not answer, and the mend.
    pub async fn probe(&self) -> Result<String, String> {
        let options = ApiOptions { page_size: Some(1), max_attempts: Some(1), ..self.options.clone() };
        let quick = Pull {
            options: &options,
            checkpoints: self.checkpoints.clone(),
            http: self.http.clone(),
            clock: self.clock.clone(),
            env: self.env.clone(),
            ..*self
        };
        let until = self.clock.now();
        let since = until.checked_sub(Duration::from_secs(3600)).ok();
        let mut wire = Wire::open(&quick).map_err(|error| error.to_string())?;
        let mut pager = self.platform.pager(&Plan { options: options.clone(), since, until }, None)?;
        let Some(request) = pager.next() else { return Ok("nothing to ask".to_owned()) };
        match wire.ask(&request).await {
            Ok(answer) => pager.take(answer).map(|_| "answers".to_owned()).map_err(|shape| {
                wire.scrub(&format!("answers with {} instead of {}", text::one_line(&shape.found, 200), shape.expected))
            }),
            Err(Stop::Refused(said)) => Err(format!("{said}; {}", refused(&wire))),
            Err(Stop::Said(said)) => Err(said),
        }
    }

    /// Pulls everything that is asked for, from where an earlier pull stopped.
    ///
    /// # Errors
    /// When it cannot begin, or rows or the place cannot be kept. Trouble on the way is in the summary.
    pub async fn run(&self, taker: &mut dyn RowTaker) -> Result<PullSummary, PullFailed> {
        let bad = |cause: String| PullFailed::Options { name: self.name.to_owned(), cause };
        let mut wire = Wire::open(self)?;
        let (query, path, mut start) = self.start().map_err(bad)?;
        let plan = Plan { options: self.options.clone(), since: start.since, until: start.until };
        let pager = match self.platform.pager(&plan, start.place.clone()) {
            Err(why) if start.place.is_some() => {
                // An older version may have kept places of another form.
                (start.place, start.how, start.rows) = (None, format!("began anew: {why}"), 0);
                self.platform.pager(&plan, None)
            }
            other => other,
        }
        .map_err(bad)?;
        let summary = PullSummary {
            source: self.name.to_owned(),
            platform: self.platform.name.to_owned(),
            how: start.how.clone(),
            since: start.since,
            until: start.until,
            ..PullSummary::default()
        };
        let keeper = Keeper { path, query, platform: self.platform.name, start, unkept: 0, last: Instant::now() };
        let mut run = Run { pull: self, pager, keeper, summary, seen: Seen::default() };
        let stopped = run.pages(&mut wire, taker).await?;
        let mut summary = run.summary;
        summary.requests = wire.requests;
        summary.retries = wire.retries;
        summary.partial_answers = wire.partial;
        let stuck = summary.pages == 0 && summary.how.starts_with("resumed");
        summary.stopped = stopped.map(|stop| {
            let said = words(stop, &wire);
            // Platforms forget cursors after a while.
            if stuck { format!("{said}; if that does not help, begin anew with `--restart`") } else { said }
        });
        Ok(summary)
    }

    /// Where to begin. A window named for this pull alone has a place of its own, so that it does not disturb the
    /// regular pulls.
    fn start(&self) -> Result<(crate::model::Digest, PathBuf, Start), String> {
        let now = self.clock.now();
        let named = self.since.is_some() || self.until.is_some();
        let window = format!("{:?} {:?}", self.since, self.until);
        let query = self.options.digest(self.platform.name, if named { &window } else { "" });
        let since = match self.since {
            Some(text) => Some(moment("--since", text, now)?),
            None => self.options.since(now)?,
        };
        let until = self.until.map_or(Ok(now), |text| moment("--until", text, now))?;
        if since.is_some_and(|since| since >= until) {
            return Err("the window is empty: its beginning is not before its end".to_owned());
        }
        let name = if named { format!("{}@{}.json", self.name, query.short()) } else { format!("{}.json", self.name) };
        let path = self.checkpoints.join(name);
        let asked = Asked { query: &query, since, until, overlap: self.options.overlap()?, restart: self.restart };
        let mut start = Start::decide(Checkpoint::read(&path), &asked);
        if named && start.place.is_none() {
            // Such a window is pulled whole, however often.
            start = Start { since, until, rows: 0, how: "the window as named".to_owned(), ..start };
        }
        Ok((query, path, start))
    }
}

/// What is said of a stop, with the mend.
fn words(stop: Stop, wire: &Wire<'_>) -> String {
    match stop {
        Stop::Refused(said) => format!("{said}; {} and pull again, which goes on from here", refused(wire)),
        Stop::Said(said) => format!("{said}; pull again to go on from here"),
    }
}

fn refused(wire: &Wire<'_>) -> String {
    format!("the key is wrong or has expired, or may not read this: set {}", wire.variables())
}

struct Run<'a> {
    pull: &'a Pull<'a>,
    pager: Box<dyn Pager>,
    keeper: Keeper,
    summary: PullSummary,
    seen: Seen,
}

impl Run<'_> {
    async fn pages(&mut self, wire: &mut Wire<'_>, taker: &mut dyn RowTaker) -> Result<Option<Stop>, PullFailed> {
        let flush_rows = u64::from(self.pull.options.flush_rows.unwrap_or(20_000));
        let stopped = loop {
            let Some(request) = self.pager.next() else { break None };
            let answer = match wire.ask(&request).await {
                Ok(answer) => answer,
                Err(Stop::Refused(_)) if self.pager.refused() => continue,
                Err(stop) => break Some(stop),
            };
            let page = match self.pager.take(answer) {
                Ok(page) => page,
                Err(shape) => {
                    let found = text::one_line(&wire.scrub(&shape.found), 300);
                    let said = format!(
                        "{}: `{}` answered with {found}; expected {}",
                        wire.what(),
                        request.path,
                        shape.expected
                    );
                    break Some(Stop::Said(wire.scrub(&said)));
                }
            };
            if let Some(token) = &page.token
                && let Err(stop) = wire.open_with(token)
            {
                break Some(stop);
            }
            if self.circles(&page) {
                let said = format!("{}: `{}` gives pages in circles: this one came before", wire.what(), request.path);
                break Some(Stop::Said(said));
            }
            let full = self.hand_on(page, taker)?;
            (self.pull.on_progress)(&PullProgress {
                source: self.pull.name,
                rows: self.summary.rows,
                pages: self.summary.pages,
                retries: wire.retries,
            });
            if !full {
                self.keeper.start.place = Some(self.pager.place());
            }
            if full || self.pull.limit.is_some_and(|limit| self.summary.rows >= limit) {
                self.keep(taker, false)?;
                return Ok(None);
            }
            if self.keeper.unkept >= flush_rows || self.keeper.last.elapsed() >= KEEP_EVERY {
                self.keep(taker, false)?;
            }
        };
        self.keep(taker, stopped.is_none())?;
        self.summary.complete = stopped.is_none();
        Ok(stopped)
    }

    /// Whether a page was met before in this pull: the same place again, or nothing but known rows.
    fn circles(&mut self, page: &Page) -> bool {
        if !page.turned {
            return false;
        }
        // Pages that name their rows keep the place until all of those are through.
        let place = fingerprint(self.pager.place().to_string().as_bytes());
        let again = page.ids.is_empty() && self.pager.next().is_some() && !self.seen.add(place);
        let ids: Vec<u64> = if page.ids.is_empty() {
            page.rows.iter().map(|row| fingerprint(row.to_string().as_bytes())).collect()
        } else {
            page.ids.iter().map(|id| fingerprint(id.as_bytes())).collect()
        };
        let new = ids.iter().filter(|id| self.seen.add(**id)).count();
        again || (!ids.is_empty() && new == 0)
    }

    /// Hands rows on; says whether the user's limit is reached. The rest of that page is asked for again next time.
    fn hand_on(&mut self, page: Page, taker: &mut dyn RowTaker) -> Result<bool, PullFailed> {
        let mut rows = page.rows;
        let room = self.pull.limit.map(|limit| limit.saturating_sub(self.summary.rows));
        let full = room.is_some_and(|room| rows.len() as u64 > room);
        if let (true, Some(room)) = (full, room) {
            rows.truncate(usize::try_from(room).unwrap_or(usize::MAX));
        }
        let count = rows.len() as u64;
        self.summary.rows += count;
        self.summary.pages += u64::from(page.turned);
        self.keeper.unkept += count;
        self.keeper.start.rows += if full { 0 } else { count };
        taker.take(rows)?;
        Ok(full)
    }

    /// Makes durable what came, then writes the place.
    fn keep(&mut self, taker: &mut dyn RowTaker, finished: bool) -> Result<(), PullFailed> {
        taker.keep()?;
        let newest = taker.newest_ns().and_then(|ns| Timestamp::from_nanosecond(i128::from(ns)).ok());
        self.keeper.write(newest, finished, self.pull.clock.now())?;
        Ok(())
    }
}

/// Keeps the place.
struct Keeper {
    path: PathBuf,
    query: crate::model::Digest,
    platform: &'static str,
    start: Start,
    /// Rows handed on and not yet durable.
    unkept: u64,
    last: Instant,
}

impl Keeper {
    fn write(&mut self, newest: Option<Timestamp>, finished: bool, now: Timestamp) -> Result<(), FileError> {
        self.start.newest = self.start.newest.max(newest);
        if finished {
            self.start.place = None;
        }
        // A pull that was stopped before its first page has no place; a file without one would mean "finished".
        if finished || self.start.place.is_some() {
            Checkpoint::of(self.platform, self.query.clone(), &self.start, now).write(&self.path)?;
        }
        (self.unkept, self.last) = (0, Instant::now());
        Ok(())
    }
}

/// Remembers what was met lately, in two halves so that memory stays bounded.
#[derive(Default)]
struct Seen {
    young: HashSet<u64>,
    old: HashSet<u64>,
}

impl Seen {
    /// Adds one; `false` when it was there.
    fn add(&mut self, id: u64) -> bool {
        if self.old.contains(&id) || !self.young.insert(id) {
            return false;
        }
        if self.young.len() >= REMEMBERED {
            self.old = std::mem::take(&mut self.young);
        }
        true
    }
}
