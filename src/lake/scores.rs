//! The scores table: what users, annotators and foreign judges said about traces, one row per score.
//!
//! `<root>/scores/day=YYYY-MM-DD/part-<digest>.parquet`. The day is that of the score in UTC; scores without a time lie
//! in `day=1970-01-01`. A score whose content is there is not written again.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use jiff::civil::Date;
use polars::prelude::{DataFrame, DataType, IntoColumn, IntoLazy, LazyFrame, NamedFrom, PolarsResult, Series, col};

use crate::model::{Digest, Digester, ScoreOrigin, Source, SpanId, TraceId, TraceScore};

use super::columns::time;
use super::parts::{Day, Table, date_of_nanos, one_of, query, scan};
use super::views::names;
use super::write::publish;
use super::{Lake, LakeError, Written};

impl Lake {
    /// Adds the scores that are not there yet.
    ///
    /// # Errors
    /// When a folder or file cannot be written, or a part cannot be read.
    pub fn write_scores(&self, scores: &[TraceScore]) -> Result<Written, LakeError> {
        self.retrying(|| self.write_scores_once(scores))
    }

    fn write_scores_once(&self, scores: &[TraceScore]) -> Result<Written, LakeError> {
        let mut written = Written::default();
        let mut days: BTreeMap<Date, BTreeMap<String, &TraceScore>> = BTreeMap::new();
        for score in scores {
            let day = date_of_nanos(score.at_ns.unwrap_or(0));
            if days.entry(day).or_default().insert(digest(score), score).is_some() {
                written.already_there += 1;
            }
        }
        let (first, last) = (days.keys().next().copied(), days.keys().next_back().copied());
        let there = self.days_between(Table::Scores, first, last)?;
        for (date, mut scores) in days {
            if let Some(day) = there.iter().find(|day| day.date == date) {
                let held = held(day)?;
                let met = scores.len();
                scores.retain(|digest, _| !held.contains(digest));
                written.already_there += (met - scores.len()) as u64;
            }
            if scores.is_empty() {
                continue;
            }
            let mut digester = Digester::new();
            scores.keys().for_each(|digest| digester.add("score", digest.as_bytes()));
            let rows: Vec<(&str, &TraceScore)> =
                scores.iter().map(|(digest, score)| (digest.as_str(), *score)).collect();
            let mut table = frame(&rows).map_err(|error| LakeError::unwritable(self.root(), error))?;
            let folder = self.day_folder(Table::Scores, date);
            written.parts.push(publish(self, &folder, &digester.finish(), &mut table, None)?);
            written.added += rows.len() as u64;
        }
        Ok(written)
    }

    /// The scores of these traces, their spans included, in the order they were given; scores of whole sessions name
    /// no trace and are not among them.
    ///
    /// # Errors
    /// When a part cannot be read.
    pub fn scores_of(&self, traces: &[TraceId]) -> Result<Vec<TraceScore>, LakeError> {
        let ids: Vec<&str> = traces.iter().map(TraceId::as_str).collect();
        let mut scores = self.retrying(|| {
            let ids = Series::new("ids".into(), &ids);
            let days = self.days_between(Table::Scores, None, None)?;
            let parts: Vec<PathBuf> = days.into_iter().flat_map(|day| day.parts).collect();
            if parts.is_empty() {
                return Ok(Vec::new());
            }
            let table = query(&parts, |scan| scan.filter(one_of("trace_id", ids)))?;
            read(&table).map_err(|error| LakeError::unreadable(self.root(), &error))
        })?;
        // A row may stand in two parts for the moment of a compaction.
        let mut seen = HashSet::new();
        scores.retain(|(digest, _)| seen.insert(digest.clone()));
        scores.sort_by(|left, right| (left.1.at_ns, &left.0).cmp(&(right.1.at_ns, &right.0)));
        Ok(scores.into_iter().map(|(_, score)| score).collect())
    }

    /// All scores, in no order.
    ///
    /// # Errors
    /// When a part cannot be read.
    pub fn scores(&self) -> Result<Vec<TraceScore>, LakeError> {
        let scores = self.retrying(|| {
            let (view, _) = self.scores_view(None, None)?;
            let table = view.collect().map_err(|error| LakeError::unreadable(self.root(), &error))?;
            read(&table).map_err(|error| LakeError::unreadable(self.root(), &error))
        })?;
        Ok(scores.into_iter().map(|(_, score)| score).collect())
    }

    /// The scores as a table, each once.
    pub(crate) fn scores_view(
        &self,
        first: Option<Date>,
        last: Option<Date>,
    ) -> Result<(LazyFrame, Vec<PathBuf>), LakeError> {
        let days = self.days_between(Table::Scores, first, last)?;
        let parts: Vec<PathBuf> = days.into_iter().flat_map(|day| day.parts).collect();
        let unreadable = |error| LakeError::unreadable(self.root(), &error);
        if parts.is_empty() {
            return Ok((frame(&[]).map_err(unreadable)?.lazy(), parts));
        }
        let rows = scan(&parts).map_err(unreadable)?;
        let columns = || names("scores").filter(|name| *name != "digest");
        let each = rows.group_by([col("digest")]).agg(columns().map(|name| col(name).first()).collect::<Vec<_>>());
        Ok((each.select(columns().chain(["digest"]).map(col).collect::<Vec<_>>()), parts))
    }
}

fn held(day: &Day) -> Result<HashSet<String>, LakeError> {
    let table = query(&day.parts, |scan| scan.select([col("digest")]))?;
    let digests = table.column("digest").and_then(|column| column.str().cloned());
    let digests = digests.map_err(|error| LakeError::unreadable(&day.folder(), &error))?;
    Ok(digests.iter().flatten().map(str::to_owned).collect())
}

/// What a score says, without where it was read: a copied export is not another opinion.
fn digest(score: &TraceScore) -> String {
    let plain = TraceScore { source: Source::default(), ..score.clone() };
    Digest::of(serde_json::to_string(&plain).unwrap_or_default().as_bytes()).to_string()
}

fn frame(rows: &[(&str, &TraceScore)]) -> PolarsResult<DataFrame> {
    let text = |name: &str, read: fn(&TraceScore) -> Option<&str>| {
        let values: Vec<Option<&str>> = rows.iter().map(|(_, score)| read(score)).collect();
        Series::new(name.into(), values).into_column()
    };
    let values: Vec<Option<f64>> = rows.iter().map(|(_, score)| score.value).collect();
    let sources: Vec<String> =
        rows.iter().map(|(_, score)| serde_json::to_string(&score.source).unwrap_or_default()).collect();
    let digests: Vec<&str> = rows.iter().map(|(digest, _)| *digest).collect();
    let columns = vec![
        text("trace_id", |score| score.trace_id.as_ref().map(TraceId::as_str)),
        text("span_id", |score| score.span_id.as_ref().map(SpanId::as_str)),
        text("session_id", |score| score.session_id.as_ref().map(|id| id.as_str())),
        text("name", |score| Some(&score.name)),
        Series::new("value".into(), values).into_column(),
        text("label", |score| score.label.as_deref()),
        text("comment", |score| score.comment.as_deref()),
        text("origin", |score| Some(score.origin.as_str())),
        text("author", |score| score.author.as_deref()),
        time("at", rows.iter().map(|(_, score)| score.at_ns).collect())?,
        Series::new("source".into(), sources).into_column(),
        Series::new("digest".into(), digests).into_column(),
    ];
    DataFrame::new(rows.len(), columns)
}

/// Rows back to scores, each with its digest.
fn read(table: &DataFrame) -> PolarsResult<Vec<(String, TraceScore)>> {
    let text = |name: &str| table.column(name).and_then(|column| column.str());
    let (traces, spans, sessions) = (text("trace_id")?, text("span_id")?, text("session_id")?);
    let (names, labels, comments) = (text("name")?, text("label")?, text("comment")?);
    let (origins, authors, sources, digests) = (text("origin")?, text("author")?, text("source")?, text("digest")?);
    let values = table.column("value")?.f64()?;
    let times = table.column("at")?.cast(&DataType::Int64)?;
    let times = times.i64()?;
    let row = |at: usize| {
        let score = TraceScore {
            trace_id: traces.get(at).map(TraceId::from),
            span_id: spans.get(at).map(SpanId::from),
            session_id: sessions.get(at).map(Into::into),
            name: names.get(at).unwrap_or_default().to_owned(),
            value: values.get(at),
            label: labels.get(at).map(str::to_owned),
            comment: comments.get(at).map(str::to_owned),
            origin: origin(origins.get(at).unwrap_or_default()),
            author: authors.get(at).map(str::to_owned),
            at_ns: times.get(at),
            source: sources.get(at).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default(),
        };
        (digests.get(at).unwrap_or_default().to_owned(), score)
    };
    Ok((0..table.height()).map(row).collect())
}

fn origin(word: &str) -> ScoreOrigin {
    [ScoreOrigin::User, ScoreOrigin::Annotator, ScoreOrigin::Evaluator]
        .into_iter()
        .find(|origin| origin.as_str() == word)
        .unwrap_or_default()
}
