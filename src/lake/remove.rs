//! Taking data out of a lake: whole days that are too old, and everything of a user, a session or a trace.
//!
//! Parts that hold some of it are written again without it before they are removed, so a stop in between loses
//! nothing and is mended by doing it again. Each is first counted, and done only when that is asked for.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;

use jiff::civil::Date;
use polars::prelude::{DataFrame, Expr, NamedFrom, PolarsResult, Series, col, lit};
use serde::{Deserialize, Serialize};

use crate::model::{SessionId, TraceId};

use super::parts::{Day, Table, one_of, query};
use super::{Lake, LakeError};

/// Whose data is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Every trace of which a span names this user.
    User(String),
    /// Every trace of which a span names this session.
    Session(SessionId),
    /// One trace, by its whole id; see [`Lake::trace_id`].
    Trace(TraceId),
}

/// What was taken out, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// Traces.
    pub traces: u64,
    /// Rows of spans.
    pub spans: u64,
    /// Scores.
    pub scores: u64,
    /// Days touched.
    pub days: u64,
    /// Files written again without it.
    pub parts_rewritten: u64,
    /// Files that held nothing else.
    pub parts_removed: u64,
    /// The traces.
    #[serde(skip)]
    pub trace_ids: BTreeSet<TraceId>,
    /// Sessions that nothing is left of.
    #[serde(skip)]
    pub sessions: BTreeSet<SessionId>,
}

impl Lake {
    /// Takes out everything of a user, session or trace: spans, and the scores given to them. With `really` false it
    /// only counts.
    ///
    /// # Errors
    /// When another tidying runs, or a part cannot be read or written; doing it again finishes it.
    pub fn delete(&self, whose: &Whose, really: bool) -> Result<Removed, LakeError> {
        let _alone = self.alone()?;
        self.retrying(|| {
            let mut removed = self.whose(whose)?;
            removed.traces = removed.trace_ids.len() as u64;
            let ids = || removed.trace_ids.iter().map(TraceId::as_str).collect::<Vec<&str>>();
            let spans = one_of("trace_id", Series::new("ids".into(), ids()));
            let sessions: Vec<&str> = removed.sessions.iter().map(SessionId::as_str).collect();
            let mut scores = spans.clone().or(one_of("session_id", Series::new("ids".into(), sessions)));
            if let Whose::User(user) = whose {
                scores = scores.or(col("author").eq(lit(user.as_str())));
            }
            let mut counts = Removed::default();
            for (table, out) in [(Table::Spans, spans), (Table::Scores, scores)] {
                for day in self.days_between(table, None, None)? {
                    self.take_out(table, &day, &out, really, &mut counts)?;
                }
            }
            let Removed { trace_ids, sessions, traces, .. } = removed;
            Ok(Removed { trace_ids, sessions, traces, ..counts })
        })
    }

    /// Takes out the days before a date, but for the traces to keep. Scores go with their day; those without a time
    /// go with their trace. With `really` false it only counts.
    ///
    /// # Errors
    /// As [`Lake::delete`].
    pub fn expire(&self, before: Date, keep: &HashSet<TraceId>, really: bool) -> Result<Removed, LakeError> {
        let _alone = self.alone()?;
        self.retrying(|| {
            let kept =
                one_of("trace_id", Series::new("keep".into(), keep.iter().map(TraceId::as_str).collect::<Vec<_>>()));
            let out = kept.fill_null(lit(false)).not();
            let mut counts = Removed::default();
            let last = super::parts::shift(before, -1);
            let days = self.days_between(Table::Spans, None, Some(last))?;
            let mut gone = BTreeSet::new();
            for day in &days {
                let table = query(&day.parts, |scan| scan.filter(out.clone()).select([col("trace_id").unique()]))?;
                gone.extend(texts(&table, "trace_id").map_err(|error| LakeError::unreadable(&day.folder(), &error))?);
            }
            for day in &days {
                self.take_out(Table::Spans, day, &out, really, &mut counts)?;
            }
            let undated = super::parts::date_of_nanos(0);
            let ids: Vec<&str> = gone.iter().map(String::as_str).collect();
            let theirs = one_of("trace_id", Series::new("ids".into(), ids));
            for day in self.days_between(Table::Scores, None, Some(last))? {
                let out = if day.date == undated { &theirs } else { &out };
                self.take_out(Table::Scores, &day, out, really, &mut counts)?;
            }
            counts.traces = gone.len() as u64;
            counts.trace_ids = gone.iter().map(|id| TraceId::from(id.as_str())).collect();
            Ok(counts)
        })
    }

    /// The traces of someone, and the sessions that consist of them.
    fn whose(&self, whose: &Whose) -> Result<Removed, LakeError> {
        let parts: Vec<PathBuf> = self.days()?.into_iter().flat_map(|day| day.parts).collect();
        let mut found = Removed::default();
        if let Whose::Session(session) = whose {
            found.sessions.insert(session.clone());
        }
        if parts.is_empty() {
            return Ok(found);
        }
        let theirs = match whose {
            Whose::User(user) => col("user_id").eq(lit(user.as_str())),
            Whose::Session(session) => col("session_id").eq(lit(session.as_str())),
            Whose::Trace(trace) => col("trace_id").eq(lit(trace.as_str())),
        };
        let unreadable = |error| LakeError::unreadable(self.root(), &error);
        let table = query(&parts, |scan| scan.filter(theirs).select([col("trace_id").unique()]))?;
        let ids = texts(&table, "trace_id").map_err(unreadable)?;
        // Sessions whose every trace goes; a score of such a session has nothing left to speak of.
        let ours = one_of("trace_id", Series::new("ids".into(), &ids));
        let table = query(&parts, |scan| {
            scan.select([col("session_id"), col("trace_id")])
                .filter(col("session_id").is_not_null())
                .group_by([col("session_id")])
                .agg([ours.all(true).alias("all")])
                .filter(col("all"))
        })?;
        let sessions = texts(&table, "session_id").map_err(unreadable)?;
        found.sessions.extend(sessions.iter().map(|id| SessionId::from(id.as_str())));
        found.trace_ids = ids.iter().map(|id| TraceId::from(id.as_str())).collect();
        Ok(found)
    }

    /// Takes the rows that fit out of the parts of a day that hold any.
    fn take_out(
        &self,
        table: Table,
        day: &Day,
        out: &Expr,
        really: bool,
        counts: &mut Removed,
    ) -> Result<(), LakeError> {
        let out = out.clone().fill_null(lit(false));
        let mut touched = false;
        for part in &day.parts {
            let part = std::slice::from_ref(part);
            let held = query(part, |scan| {
                let total = polars::prelude::len().cast(polars::prelude::DataType::Int64).alias("rows");
                scan.select([out.clone().cast(polars::prelude::DataType::Int64).sum().alias("out"), total])
            })?;
            let (gone, rows) = counted(&held).map_err(|error| LakeError::unreadable(&day.folder(), &error))?;
            if gone == 0 {
                continue;
            }
            touched = true;
            match table {
                Table::Spans => counts.spans += gone,
                Table::Scores => counts.scores += gone,
            }
            if gone == rows {
                counts.parts_removed += 1
            } else {
                counts.parts_rewritten += 1
            }
            if !really {
                continue;
            }
            if gone < rows {
                let rest = query(part, |scan| scan.filter(out.clone().not()))?;
                self.write_rows(table, day.date, rest)?;
            }
            part.iter().try_for_each(|part| self.retire(part))?;
        }
        counts.days += u64::from(touched);
        if really {
            // Only an empty folder goes; one that got a new part in between stays.
            let _ = std::fs::remove_dir(self.day_folder(table, day.date));
        }
        Ok(())
    }
}

fn counted(table: &DataFrame) -> PolarsResult<(u64, u64)> {
    let count = |name: &str| {
        let column = table.column(name)?.i64()?;
        PolarsResult::Ok(column.get(0).and_then(|count| u64::try_from(count).ok()).unwrap_or(0))
    };
    Ok((count("out")?, count("rows")?))
}

fn texts(table: &DataFrame, name: &str) -> PolarsResult<Vec<String>> {
    Ok(table.column(name)?.str()?.iter().flatten().map(str::to_owned).collect())
}
