//! `assize lake`: how much is there, compaction, retention, deletion on request.

use std::collections::HashSet;
use std::path::PathBuf;

use anyhow::anyhow;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::exit::{Done, Failed};
use super::intake::rejected_file;
use super::project::{Project, World};
use super::trail;
use crate::dataset::{DatasetReader, list, versions};
use crate::lake::{Compacted, Lake, LakeError, LakeStats, Removed, Whose};
use crate::model::{SessionId, TraceId};
use crate::sys::{files, new_run_id};

/// Totals, and where the lake is.
#[derive(Clone, Debug, Serialize)]
pub struct Stats {
    /// As configured.
    pub place: String,
    /// Totals.
    #[serde(flatten)]
    pub stats: LakeStats,
}

/// What a removal did, or would do.
#[derive(Clone, Debug, Serialize)]
pub struct Taken {
    /// Counts.
    #[serde(flatten)]
    pub removed: Removed,
    /// Lines of the file of rejected rows.
    pub rejected: u64,
    /// Whether it was done, not only counted.
    pub done: bool,
    /// The name in the audit trail, which is not the id that was deleted.
    pub subject: Option<String>,
    /// The trace that was named, by its whole id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceId>,
}

/// Counts what is there.
pub fn stats(project: &Project, world: &World) -> Done<Stats> {
    let stats = project.lake(&world.env)?.stats().map_err(Failed::instrument)?;
    Ok(Stats { place: project.config.lake.clone(), stats })
}

/// Compacts one day or all; only counts when not `really`.
pub fn compact(project: &Project, world: &World, day: Option<&str>, really: bool) -> Done<Compacted> {
    let day = day.map(|text| text.parse::<Date>().map_err(|_| wrong("--day", text, "a date such as 2026-11-21")));
    project.lake(&world.env)?.compact(day.transpose()?, really).map_err(failed)
}

/// Takes out days that ended at least so long ago.
pub async fn expire(project: &Project, world: &World, age: &str, keep_sampled: bool, yes: bool) -> Done<Taken> {
    let before = cutoff(world.clock.now(), age)?;
    let keep = if keep_sampled { sampled(project)? } else { HashSet::new() };
    let lake = project.lake(&world.env)?;
    let done = lake.expire(before, &keep, false).map_err(failed)?;
    if !yes {
        return Ok(Taken { removed: done, rejected: 0, done: false, subject: None, trace: None });
    }
    // The store first: what cannot be written down is not done.
    let store = project.store(&world.env).await?;
    let removed = lake.expire(before, &keep, true).map_err(failed)?;
    let subject = format!("days before {before}");
    let actor = trail::actor(project, world);
    trail::record(store.as_ref(), world, &actor, "expire", &subject, &detail(&removed, 0)).await?;
    Ok(Taken { removed, rejected: 0, done: true, subject: Some(subject), trace: None })
}

/// Takes out everything of a user, a session or a trace; a trace may be named by the beginning of its id.
pub async fn delete(project: &Project, world: &World, whose: Whose, yes: bool) -> Done<Taken> {
    let lake = project.lake(&world.env)?;
    let whose = whole(&lake, whose)?;
    let trace = match &whose {
        Whose::Trace(trace) => Some(trace.clone()),
        _ => None,
    };
    let found = lake.delete(&whose, false).map_err(failed)?;
    let rejected = strip_rejected(project, &whose, &found, false)?;
    if !yes || (found.spans == 0 && found.scores == 0 && rejected == 0) {
        return Ok(Taken { removed: found, rejected, done: false, subject: None, trace });
    }
    let subject = subject(project, world, &whose)?;
    let store = project.store(&world.env).await?;
    let removed = lake.delete(&whose, true).map_err(failed)?;
    let rejected = strip_rejected(project, &whose, &removed, true)?;
    let actor = trail::actor(project, world);
    trail::record(store.as_ref(), world, &actor, "delete", &subject, &detail(&removed, rejected)).await?;
    Ok(Taken { removed, rejected, done: true, subject: Some(subject), trace })
}

/// With the whole id of the trace that is meant. One that has no span here may still have scores and rejected rows.
fn whole(lake: &Lake, whose: Whose) -> Done<Whose> {
    let Whose::Trace(wanted) = &whose else { return Ok(whose) };
    match lake.trace_id(wanted.as_str()) {
        Ok(id) => Ok(Whose::Trace(id)),
        Err(LakeError::NoSuchTrace { .. }) => Ok(whose),
        Err(error @ LakeError::Ambiguous { .. }) => Err(Failed::usage(error)),
        Err(error) => Err(failed(error)),
    }
}

fn failed(error: LakeError) -> Failed {
    Failed::instrument(error)
}

fn wrong(name: &str, found: &str, expected: &str) -> Failed {
    Failed::usage(anyhow!("`{name}` is `{found}`; expected {expected}"))
}

fn detail(removed: &Removed, rejected: u64) -> String {
    format!(
        "{} traces, {} spans, {} scores, {rejected} rejected rows; {} files written again, {} removed",
        removed.traces, removed.spans, removed.scores, removed.parts_rewritten, removed.parts_removed
    )
}

/// The first day that stays: days are taken out whole, when all of them is old enough.
fn cutoff(now: Timestamp, age: &str) -> Done<Date> {
    let age = age.trim();
    let count = |unit: char| age.strip_suffix(unit)?.parse::<i64>().ok().filter(|count| *count > 0);
    let days = count('d').or_else(|| count('w')?.checked_mul(7));
    let days =
        days.ok_or_else(|| wrong("--older-than", age, "days or weeks with their unit, such as `90d` or `12w`"))?;
    let today = now.to_zoned(TimeZone::UTC).date();
    today
        .checked_sub(jiff::Span::new().try_days(days).map_err(Failed::usage)?)
        .map_err(|_| wrong("--older-than", age, "a time that the calendar knows"))
}

/// Traces that stand in any version of any dataset.
fn sampled(project: &Project) -> Done<HashSet<TraceId>> {
    let root = project.path(&project.config.datasets);
    let mut traces = HashSet::new();
    for header in list(&root).map_err(Failed::usage)? {
        for version in versions(&root, &header.name).map_err(Failed::usage)? {
            let reader = DatasetReader::open(&root, &format!("{}@{version}", header.name)).map_err(Failed::usage)?;
            for example in reader.iter() {
                let example = example.map_err(Failed::usage)?;
                traces.extend(example.lineage.traces);
            }
        }
    }
    Ok(traces)
}

/// A name for the audit trail that tells nobody whose data it was, but lets who knows the id find the record again:
/// a digest with a key that stays beside the lake.
fn subject(project: &Project, world: &World, whose: &Whose) -> Done<String> {
    let path = project.state_folder().join("deletions.key");
    if !path.is_file() {
        // Each id holds 74 random bits.
        let chance: String = (0..4).map(|_| new_run_id(world.clock.as_ref()).to_string()).collect();
        files::write_atomic(&path, blake3::hash(chance.as_bytes()).as_bytes()).map_err(Failed::instrument)?;
    }
    let key = files::read_bytes(&path).map_err(Failed::instrument)?;
    let key: [u8; 32] = key.try_into().map_err(|_| {
        Failed::instrument(anyhow!(
            "`{}` is not a key of 32 bytes; put the right one back, or delete it",
            path.display()
        ))
    })?;
    let (kind, id) = match whose {
        Whose::User(user) => ("user", user.as_str()),
        Whose::Session(session) => ("session", session.as_str()),
        Whose::Trace(trace) => ("trace", trace.as_str()),
    };
    let digest = blake3::keyed_hash(&key, format!("{kind} {id}").as_bytes()).to_hex();
    Ok(format!("{kind} {}", digest.get(..16).unwrap_or_default()))
}

/// Drops lines of the rejected rows that name someone or one of their traces; answers how many.
fn strip_rejected(project: &Project, whose: &Whose, found: &Removed, really: bool) -> Done<u64> {
    let path: PathBuf = rejected_file(project);
    if !path.is_file() {
        return Ok(0);
    }
    let text = files::read_text(&path).map_err(Failed::instrument)?;
    let mut names: Vec<&str> = found.trace_ids.iter().map(TraceId::as_str).collect();
    names.extend(found.sessions.iter().map(SessionId::as_str));
    names.push(match whose {
        Whose::User(user) => user,
        Whose::Session(session) => session.as_str(),
        Whose::Trace(trace) => trace.as_str(),
    });
    let (theirs, rest): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| names.iter().any(|name| mentions(line, name)));
    if really && !theirs.is_empty() {
        let mut kept = rest.join("\n");
        if !kept.is_empty() {
            kept.push('\n');
        }
        files::write_atomic(&path, kept.as_bytes()).map_err(Failed::instrument)?;
    }
    Ok(theirs.len() as u64)
}

/// Whether an id stands in a line as a word of its own: `u-1` is not in `u-12`.
fn mentions(line: &str, name: &str) -> bool {
    let part = |character: char| character.is_alphanumeric() || matches!(character, '-' | '_');
    !name.is_empty()
        && line.match_indices(name).any(|(at, found)| {
            let before = line.get(..at).and_then(|head| head.chars().next_back());
            let after = line.get(at + found.len()..).and_then(|tail| tail.chars().next());
            !before.is_some_and(part) && !after.is_some_and(part)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_taken_out_when_all_of_them_is_old_enough() {
        let now: Timestamp = "2026-11-21T23:59:59Z".parse().unwrap();
        assert_eq!(cutoff(now, "90d").unwrap().to_string(), "2026-08-23");
        assert_eq!(cutoff(now, " 1w ").unwrap().to_string(), "2026-11-14");
        for age in ["0d", "-3d", "30", "soon", "", "d", "3h", "999999999999d", "9223372036854775807w"] {
            assert!(cutoff(now, age).is_err(), "{age}");
        }
    }

    #[test]
    fn an_id_is_found_only_as_a_whole_word() {
        assert!(mentions(r#"{"excerpt":"{\"user\":\"u-1\"}"}"#, "u-1"));
        assert!(!mentions(r#"{"excerpt":"u-12 and xu-1"}"#, "u-1"));
        assert!(!mentions("anything", ""));
    }
}
