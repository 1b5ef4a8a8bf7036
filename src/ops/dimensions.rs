//! Names of dimensions against what traces carry: which of those that were asked for nobody has, what there is
//! instead, and why a filter leaves nothing.
//!
//! Looks at whole traces, so it is only asked where something is amiss.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::anyhow;

use super::exit::{Done, Failed};
use crate::dataset::{Filter, Opinions, TRACE_DIMENSIONS, attribute_names};
use crate::lake::{Lake, TraceFilter};
use crate::model::Trace;
use crate::sys::text::{nearest, one_line, thousands};

/// Traces whose attributes are listed for the user; the names of more are mostly the same.
const LISTED_FROM: u64 = 1_000;
/// Least length of a part of a name that is compared by itself.
const LEAST_PART: usize = 4;
/// Most attributes that are listed, those of most traces first.
const MOST_NAMES: usize = 30;
/// Most values of a dimension that are counted.
const MOST_SEEN: usize = 500;
/// Most values of a dimension that are told.
const MOST_VALUES: usize = 6;

/// A name that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The name.
    pub name: String,
    /// Where it was asked for, as people write it: `--key`.
    pub place: &'static str,
    /// Whether a name that means nothing makes another result than was meant. Else it is worth a word only.
    pub matters: bool,
}

/// Names that were asked for, less those that a trace was seen to carry.
#[derive(Clone, Debug, Default)]
pub struct Census {
    /// Names that no trace was seen to carry.
    pub missing: Vec<Asked>,
}

impl Census {
    /// Nothing was seen yet.
    pub fn new(asked: Vec<Asked>) -> Self {
        Self { missing: asked }
    }

    /// Sees one trace; `lookup` gives the value of a name.
    pub fn see(&mut self, lookup: impl Fn(&str) -> Option<String>) {
        if !self.missing.is_empty() {
            self.missing.retain(|asked| lookup(&asked.name).is_none());
        }
    }

    /// Looks for what is missing in further traces. Gives what is carried by none of them either, and the names there
    /// are; of the first traces only, where nothing is missing in the end.
    pub fn search<T: Borrow<Trace>>(
        &mut self,
        traces: impl IntoIterator<Item = Done<T>>,
        opinions: &Opinions,
    ) -> Done<Known> {
        let mut known = Known::default();
        for trace in traces {
            if self.missing.is_empty() {
                break;
            }
            let trace = trace?;
            known.add(trace.borrow());
            self.see(|name| opinions.dimension(trace.borrow(), name));
        }
        Ok(known)
    }
}

/// Names of dimensions that traces carry.
#[derive(Clone, Debug, Default)]
pub struct Known {
    traces: u64,
    attributes: BTreeMap<String, u64>,
}

impl Known {
    fn add(&mut self, trace: &Trace) {
        self.traces += 1;
        if self.traces <= LISTED_FROM {
            for name in attribute_names(trace) {
                *self.attributes.entry(name.to_owned()).or_default() += 1;
            }
        }
    }

    /// `; did you mean ...?`, or nothing when no name is near.
    fn hint(&self, wanted: &str) -> String {
        let all: Vec<&str> =
            TRACE_DIMENSIONS.iter().copied().chain(self.attributes.keys().map(String::as_str)).collect();
        let others = || all.iter().copied().filter(|name| *name != wanted);
        let near = nearest(wanted, others()).or_else(|| {
            // `intent` of `ticket.intent`, `latncy` of `latency_ms`.
            let parts = others().flat_map(|name| name.split(['.', '_'])).filter(|part| part.len() >= LEAST_PART);
            let part = nearest(wanted, parts)?;
            others().find(|name| name.split(['.', '_']).any(|one| one == part))
        });
        near.map_or_else(String::new, |name| format!("; did you mean `{}`?", one_line(name, 80)))
    }

    /// All that can be asked for, in one sentence.
    fn list(&self) -> String {
        let mut attributes: Vec<(&String, &u64)> = self.attributes.iter().collect();
        attributes.sort_by_key(|(name, traces)| (std::cmp::Reverse(**traces), *name));
        let more = attributes.len().saturating_sub(MOST_NAMES);
        let names: Vec<String> = attributes.iter().take(MOST_NAMES).map(|(name, _)| one_line(name, 60)).collect();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let attributes = if names.is_empty() { "none".to_owned() } else { format!("{}{more}", names.join(", ")) };
        format!("Always known: {}.\nAttributes of these traces: {attributes}.", TRACE_DIMENSIONS.join(", "))
    }

    /// The error about names that no trace carries; `None` when all are carried.
    pub fn refusal(&self, missing: &[Asked]) -> Option<Failed> {
        let line = |asked: &Asked| {
            let (name, place) = (one_line(&asked.name, 80), asked.place);
            format!("no trace carries `{name}`, which {place} names{}", self.hint(&asked.name))
        };
        let lines: Vec<String> = missing.iter().map(line).collect();
        (!lines.is_empty()).then(|| Failed::usage(anyhow!("{}\n{}", lines.join("\n"), self.list())))
    }
}

/// Why nothing is left of the traces in a window: there are none at all, none in that time, the filter asks for a name
/// that none carries, or for values that none has. Each with its mend.
pub fn why_nothing_fits(
    lake: &Lake,
    window: &TraceFilter,
    filter: Option<&Filter>,
    opinions: &Opinions,
) -> Done<Failed> {
    let stats = lake.stats().map_err(Failed::instrument)?;
    if stats.traces == 0 {
        let place = lake.root().display();
        return Ok(Failed::usage(anyhow!("the lake is empty (`{place}`): `assize ingest` fills it")));
    }
    let traces = lake.traces(window).map_err(Failed::instrument)?;
    let why = why_none(traces.map(|trace| trace.map_err(Failed::instrument)), filter, opinions)?;
    Ok(why.unwrap_or_else(|| {
        let day = |nanos: Option<i64>| {
            let time = nanos.and_then(|nanos| jiff::Timestamp::from_nanosecond(i128::from(nanos)).ok());
            time.map_or_else(|| "?".to_owned(), |time| time.strftime("%Y-%m-%d %H:%M").to_string())
        };
        let (first, last) = (day(stats.first_ns), day(stats.last_ns));
        let count = thousands(stats.traces);
        Failed::usage(anyhow!(
            "no trace of the lake began in the time that was asked for: its {count} began from {first} to {last} (UTC); \
             widen `--since` and `--until`"
        ))
    }))
}

/// Why a filter leaves none of some traces; `None` when there are no traces.
pub fn why_none<T: Borrow<Trace>>(
    traces: impl IntoIterator<Item = Done<T>>,
    filter: Option<&Filter>,
    opinions: &Opinions,
) -> Done<Option<Failed>> {
    let names: BTreeSet<&str> = filter.iter().flat_map(|filter| filter.names()).collect();
    let asked = |name: &&str| Asked { name: (*name).to_owned(), place: "`--where`", matters: true };
    let mut census = Census::new(names.iter().map(asked).collect());
    let mut known = Known::default();
    let mut values: BTreeMap<&str, Values> = BTreeMap::new();
    for trace in traces {
        let trace = trace?;
        let trace = trace.borrow();
        known.add(trace);
        census.see(|name| opinions.dimension(trace, name));
        for name in &names {
            let value = opinions.dimension(trace, name);
            value.into_iter().for_each(|value| values.entry(name).or_default().add(value));
        }
    }
    let Some(filter) = filter.filter(|_| known.traces > 0) else { return Ok(None) };
    if let Some(refusal) = known.refusal(&census.missing) {
        return Ok(Some(refusal));
    }
    let told = |(name, values): (&&str, &Values)| format!("\n  `{}` is {}", one_line(name, 60), values.told());
    let told: String = values.iter().map(told).collect();
    let (count, filter) = (thousands(known.traces), one_line(&filter.to_string(), 200));
    Ok(Some(Failed::usage(anyhow!("no trace of {count} fits `{filter}`: widen it or correct its values{told}"))))
}

/// Values of one dimension.
#[derive(Clone, Debug, Default)]
struct Values {
    /// Traces by value, for the first values met.
    seen: BTreeMap<String, u64>,
    /// Least and greatest number.
    range: Option<(f64, f64)>,
    /// Whether one of them is no number.
    has_words: bool,
}

impl Values {
    fn add(&mut self, value: String) {
        match value.trim().parse::<f64>().ok().filter(|number| number.is_finite()) {
            Some(number) => {
                let (least, greatest) = self.range.unwrap_or((number, number));
                self.range = Some((least.min(number), greatest.max(number)));
            }
            None => self.has_words = true,
        }
        if self.seen.len() < MOST_SEEN || self.seen.contains_key(&value) {
            *self.seen.entry(value).or_default() += 1;
        }
    }

    fn told(&self) -> String {
        if let Some((least, greatest)) = self.range.filter(|_| !self.has_words && self.seen.len() > MOST_VALUES) {
            return format!("a number from {least} to {greatest}");
        }
        let mut seen: Vec<(&String, &u64)> = self.seen.iter().collect();
        seen.sort_by_key(|(value, traces)| (std::cmp::Reverse(**traces), *value));
        let first =
            seen.iter().take(MOST_VALUES).map(|(value, n)| format!("`{}` ({})", one_line(value, 40), thousands(**n)));
        let more = if seen.len() > MOST_VALUES { ", ..." } else { "" };
        format!("{}{more}", first.collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
#[path = "dimensions_tests.rs"]
mod tests;
