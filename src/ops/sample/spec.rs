//! A sampling as it is written down: in a file, under `[samples.NAME]`, or by flags on top of either.

use std::path::Path;

use anyhow::anyhow;
use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Ask;
use crate::config;
use crate::dataset::{Boost, Filter, NEGATIVE_FEEDBACK, NearRule, Risk, SamplePlan, TRACE_DIMENSIONS, TraceMapping};
use crate::model::FinalityRule;
use crate::ops::dimensions::Asked;
use crate::ops::exit::{Done, Failed};
use crate::ops::project::{Project, World};
use crate::sys::files;

/// What is sampled, from when, and by which design.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SampleSpec {
    /// What the dataset is, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Only traces that fit, such as `ticket.intent=refund,status!=error`.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Only traces that began at or after this: a time, a date, or how far back (`7d`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Only traces that began before this: a time, a date, or how far back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Only so many traces, those that began last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub newest: Option<u64>,
    /// Only traces after what the newest version of this dataset saw, and those that were open then. Goes by the
    /// start of a trace; `only_new` finds those that came late, too.
    pub since_last: bool,
    /// Only traces that no version of this dataset holds with the same content.
    pub only_new: bool,
    /// Idle time after which a trace with an ended root is final. Default `5m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<String>,
    /// Idle time after which a trace without an ended root is abandoned. Default `24h`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<String>,
    /// Take traces that may still grow, too.
    pub include_open: bool,
    /// Model under `[models]` that embeds inputs, for `diverse = "embeddings"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedder: Option<String>,
    /// How traces become examples.
    pub traces: TraceMapping,
    /// Who is chosen.
    pub design: SamplePlan,
}

impl SampleSpec {
    /// The JSON Schema of a plan's file and of a table under `[samples]`.
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Self).to_value()
    }

    /// What a verb was asked: the plan of the file or the configuration, with the flags on top.
    pub fn of(project: &Project, world: &World, ask: &Ask) -> Done<Self> {
        let mut spec = match (&ask.plan, project.config.samples.get(&ask.name)) {
            (Some(path), _) => Self::read(&world.here.join(path))?,
            (None, Some(table)) => {
                serde_json::from_value(serde_json::Value::Object(table.clone())).map_err(Failed::usage)?
            }
            (None, None) => Self::default(),
        };
        spec.overlay(ask)?;
        spec.settle()?;
        Ok(spec)
    }

    fn read(path: &Path) -> Done<Self> {
        let text = files::read_text(path).map_err(Failed::usage)?;
        let value = config::check_text(&text, &Self::schema(), path).map_err(Failed::usage)?;
        serde_json::from_value(value).map_err(Failed::usage)
    }

    fn overlay(&mut self, ask: &Ask) -> Done<()> {
        let over = |mine: &mut Option<String>, theirs: &Option<String>| {
            if theirs.is_some() {
                mine.clone_from(theirs);
            }
        };
        over(&mut self.description, &ask.description);
        over(&mut self.filter, &ask.filter);
        over(&mut self.since, &ask.since);
        over(&mut self.until, &ask.until);
        over(&mut self.idle, &ask.idle);
        over(&mut self.max_age, &ask.max_age);
        over(&mut self.embedder, &ask.embedder);
        over(&mut self.traces.key, &ask.key);
        over(&mut self.traces.variant, &ask.variant);
        over(&mut self.traces.cluster, &ask.cluster);
        over(&mut self.traces.reference, &ask.reference);
        self.newest = ask.newest.or(self.newest);
        self.since_last |= ask.since_last;
        self.only_new |= ask.only_new;
        self.include_open |= ask.include_open;
        if !ask.dimensions.is_empty() {
            self.traces.dimensions.clone_from(&ask.dimensions);
        }
        self.overlay_design(ask)
    }

    fn overlay_design(&mut self, ask: &Ask) -> Done<()> {
        let design = &mut self.design;
        // A size on the command line takes the place of whatever size the plan has.
        if ask.count.is_some() || ask.rate.is_some() {
            (design.n, design.rate) = (ask.count, ask.rate);
            if ask.count.is_some() {
                design.rates.clear();
                design.counts.clear();
            }
        }
        design.seed = ask.seed.unwrap_or(design.seed);
        design.allocate = ask.allocate.unwrap_or(design.allocate);
        design.combine = ask.combine.unwrap_or(design.combine);
        design.per_cluster = ask.per_cluster.or(design.per_cluster);
        design.diverse = ask.diverse.or(design.diverse);
        for (mine, theirs) in [(&mut design.neyman_by, &ask.neyman_by), (&mut design.cluster_by, &ask.cluster_by)] {
            if theirs.is_some() {
                mine.clone_from(theirs);
            }
        }
        if !ask.stratify.is_empty() {
            design.stratify_by.clone_from(&ask.stratify);
        }
        if !ask.boost.is_empty() {
            design.boost =
                ask.boost.iter().map(|text| Boost::parse(text)).collect::<Result<_, _>>().map_err(Failed::usage)?;
        }
        if !ask.risk.is_empty() {
            design.risk =
                Some(Risk { by: ask.risk.iter().map(|text| weighted(text)).collect::<Done<_>>()?, floor: None });
        }
        if let (Some(floor), Some(risk)) = (ask.risk_floor, &mut design.risk) {
            risk.floor = Some(floor);
        }
        match ask.near_duplicates.as_deref() {
            None => {}
            Some("off") => design.near_duplicates = None,
            Some(text) => {
                let threshold = text.parse().map_err(|_| {
                    Failed::usage(anyhow!("expected `--near-duplicates` as `off` or a similarity, found `{text}`"))
                })?;
                let rule = design.near_duplicates.take().unwrap_or_default();
                design.near_duplicates = Some(NearRule { threshold, ..rule });
            }
        }
        if let (true, Some(rule)) = (ask.ignore_numbers, &mut design.near_duplicates) {
            rule.ignore_numbers = true;
        }
        Ok(())
    }

    /// Brings the parts together and refuses what does not go together.
    fn settle(&mut self) -> Done<()> {
        self.design.check().map_err(Failed::usage)?;
        let mut dimensions = self.design.stratify_by.clone();
        for dimension in &self.traces.dimensions {
            if !dimensions.contains(dimension) {
                dimensions.push(dimension.clone());
            }
        }
        self.traces.dimensions = dimensions;
        if let Some(drawn) = &self.design.cluster_by {
            let unit = self.traces.cluster.get_or_insert_with(|| drawn.clone());
            if unit != drawn {
                return Err(Failed::usage(anyhow!(
                    "clusters are drawn by `{drawn}`, so that is what is independent; `{unit}` as the cluster would \
                     make the intervals wrong: leave `--cluster` out"
                )));
            }
        }
        if self.newest == Some(0) {
            return Err(Failed::usage(anyhow!("`--newest 0` leaves nothing; give at least 1")));
        }
        Ok(())
    }

    /// The names of dimensions it goes by, each with where it stands.
    pub(super) fn asked(&self, filter: Option<&Filter>) -> Vec<Asked> {
        let (design, mapping) = (&self.design, &self.traces);
        let mut all: Vec<Asked> = Vec::new();
        let mut ask = |place: &'static str, names: &mut dyn Iterator<Item = &str>, matters: bool| {
            all.extend(names.map(|name| Asked { name: name.to_owned(), place, matters }));
        };
        let text = String::as_str;
        ask("`--key`", &mut mapping.key.iter().map(text), true);
        ask("`--stratify` (`stratify_by`)", &mut design.stratify_by.iter().map(text), true);
        ask("`--cluster-by`", &mut design.cluster_by.iter().map(text), true);
        ask("`--neyman-by`", &mut design.neyman_by.iter().map(text), true);
        ask("`--risk`", &mut design.risk.iter().flat_map(|risk| risk.by.keys()).map(text), true);
        ask("`--variant`", &mut mapping.variant.iter().map(text), true);
        ask(
            "`--cluster`",
            &mut mapping.cluster.iter().filter(|name| design.cluster_by.as_ref() != Some(name)).map(text),
            true,
        );
        ask("`--reference`", &mut mapping.reference.iter().map(text), true);
        let kept = mapping.dimensions.iter().filter(|name| !design.stratify_by.contains(name));
        ask("`--dimensions`", &mut kept.map(text), true);
        ask("`output_metadata`", &mut mapping.output_metadata.iter().map(text), true);
        // What is always known and nobody has today (feedback, say) is no mistake in a rule; the draw says so itself.
        let ruled = design.boost_names();
        ask("`--boost`", &mut ruled.iter().map(text).filter(|name| !TRACE_DIMENSIONS.contains(name)), true);
        ask("the filter", &mut filter.iter().flat_map(|filter| filter.names()), false);
        all
    }

    /// Whether anything looks at what others said: who is chosen, which traces fit, how they become examples.
    pub(super) fn reads_opinions(&self, filter: &Option<Filter>) -> bool {
        let mapping = &self.traces;
        let mut names = self.design.dimensions();
        names.extend(filter.iter().flat_map(Filter::names).map(str::to_owned));
        let single = [&mapping.key, &mapping.variant, &mapping.cluster, &mapping.reference];
        names.extend(single.into_iter().flatten().chain(&mapping.dimensions).chain(&mapping.output_metadata).cloned());
        names.iter().any(|name| name == NEGATIVE_FEEDBACK)
    }

    /// How long to wait for a trace.
    pub fn finality(&self) -> Done<FinalityRule> {
        let read = |name: &str, text: Option<&str>, default: i64| match text {
            None => Ok(default),
            Some(text) => {
                let span = text.parse::<SignedDuration>().ok().filter(|span| !span.is_negative());
                span.and_then(|span| i64::try_from(span.as_nanos()).ok()).ok_or_else(|| {
                    Failed::usage(anyhow!("expected `--{name}` as a time such as `5m` or `24h`, found `{text}`"))
                })
            }
        };
        let default = FinalityRule::default();
        Ok(FinalityRule {
            idle_ns: read("idle", self.idle.as_deref(), default.idle_ns)?,
            max_age_ns: read("max-age", self.max_age.as_deref(), default.max_age_ns)?,
        })
    }
}

/// Reads `cost=1`, or `cost` alone for the weight 1.
fn weighted(text: &str) -> Done<(String, f64)> {
    let (name, weight) = text.split_once('=').unwrap_or((text, "1"));
    let weight = weight.trim().parse().map_err(|_| {
        Failed::usage(anyhow!("expected `--risk` as `DIMENSION` or `DIMENSION=WEIGHT`, found `{text}`"))
    })?;
    Ok((name.trim().to_owned(), weight))
}
