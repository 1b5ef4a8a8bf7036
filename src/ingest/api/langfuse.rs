//! Langfuse: observations by cursor (servers of version 4), whole traces one by one (version 3), and scores.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::pager::{Answer, Page, Pager, Plan, Request, Shape, list, place_of, restore, segment, text, texts};
use super::{KEY, Keys, PlatformInfo, SECRET, basic};
use crate::ingest::json::describe;

pub(super) const PLATFORM: PlatformInfo = PlatformInfo {
    name: "langfuse",
    summary: "Langfuse: observations (v4) or traces (v3), and scores",
    url: Some("https://cloud.langfuse.com"),
    keys: &[KEY.named("LANGFUSE_PUBLIC_KEY"), SECRET.named("LANGFUSE_SECRET_KEY")],
    requests_per_minute: 60,
    takes: &["key_env", "secret_env", "api", "filter", "fields", "scores"],
    requires: &[],
    sample: "url = \"https://cloud.langfuse.com\"\nsince = \"30d\"\n",
    headers: |keys: &Keys, _| basic(keys),
    new,
};

/// Groups of fields; without them values are left out.
const GROUPS: &str = "core,basic,time,io,metadata,model,usage,prompt,metrics,trace_context";

/// Where it stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
enum Stage {
    /// Which version answers.
    Probe,
    /// Version 4.
    Observations { cursor: Option<String> },
    /// Version 3: a page of the list, then its traces.
    Traces { page: u64, queue: Vec<String>, more: bool },
    /// Scores of version 4.
    Scores { cursor: Option<String> },
    /// Scores of version 3.
    ScorePages { page: u64 },
    /// Everything was asked.
    Done,
}

struct Langfuse {
    plan: Plan,
    filter: Option<String>,
    scores: bool,
    stage: Stage,
}

fn new(plan: &Plan, place: Option<Value>) -> Result<Box<dyn Pager>, String> {
    let first = match plan.options.api.as_deref() {
        None => Stage::Probe,
        Some("v4") => Stage::Observations { cursor: None },
        Some("v3") => first_traces(),
        Some(other) => return Err(format!("`api` must be `v4` or `v3`, found `{other}`")),
    };
    let filter = plan.options.filter.as_ref().map(|filter| match filter {
        Value::String(text) => Ok(text.clone()),
        Value::Array(_) => Ok(filter.to_string()),
        other => {
            Err(format!("`filter` must be a list of `{{ type, column, operator, value }}`, found {}", describe(other)))
        }
    });
    Ok(Box::new(Langfuse {
        filter: filter.transpose()?,
        scores: plan.options.scores.unwrap_or(true),
        stage: restore(place, first)?,
        plan: plan.clone(),
    }))
}

fn first_traces() -> Stage {
    Stage::Traces { page: 1, queue: Vec::new(), more: true }
}

impl Langfuse {
    fn windowed(&self, path: &str, from: &str, to: &str, limit: u32) -> Request {
        Request::get(path).query("limit", limit).query_opt(from, self.plan.since).query(to, self.plan.until)
    }

    fn after_spans(&self, scores: Stage) -> Stage {
        if self.scores { scores } else { Stage::Done }
    }

    fn probed(&self, answer: &Answer) -> Result<Stage, Shape> {
        if !answer.is_success() {
            return Ok(first_traces());
        }
        let health = answer.json()?;
        let major = text(&health, "/version")
            .and_then(|version| version.trim_start_matches('v').split('.').next()?.parse::<u32>().ok())
            .ok_or_else(|| Shape::new(describe(&health), "the server's `version`, such as `4.1.0`"))?;
        Ok(if major >= 4 { Stage::Observations { cursor: None } } else { first_traces() })
    }

    /// A page of the list of traces, or one of the traces it named.
    fn traces(
        &self,
        mut page: u64,
        mut queue: Vec<String>,
        mut more: bool,
        answer: &Answer,
    ) -> Result<(Page, Stage), Shape> {
        let taken = if queue.is_empty() {
            let mut body = answer.json()?;
            let rows = list(&mut body, "data")?;
            let pages = body.pointer("/meta/totalPages").and_then(Value::as_u64);
            more = pages.map_or(!rows.is_empty(), |pages| page < pages);
            page += 1;
            queue = texts(&rows, "/id");
            Page::named(queue.clone())
        } else {
            queue.remove(0);
            // Deleted since the list was made: nothing to hand out.
            let trace = answer.is_success().then(|| answer.json()).transpose()?;
            Page::detail(trace.map(|trace| self.without_scores(trace)).into_iter().collect())
        };
        let ended = queue.is_empty() && !more;
        let next =
            if ended { self.after_spans(Stage::ScorePages { page: 1 }) } else { Stage::Traces { page, queue, more } };
        Ok((taken, next))
    }

    /// Scores come from their own list, also those of sessions and those given late; each once.
    fn without_scores(&self, mut trace: Value) -> Value {
        if self.scores
            && let Some(map) = trace.as_object_mut()
        {
            map.remove("scores");
        }
        trace
    }
}

impl Pager for Langfuse {
    fn next(&self) -> Option<Request> {
        Some(match &self.stage {
            Stage::Probe => Request::get("/api/public/health").accepting(&[404]),
            Stage::Observations { cursor } => {
                let limit = self.plan.page_size(500, 1000);
                let keys = &self.plan.options.fields;
                self.windowed("/api/public/v2/observations", "fromStartTime", "toStartTime", limit)
                    .query("fields", GROUPS)
                    .query_opt("expandMetadata", (!keys.is_empty()).then(|| keys.join(",")))
                    .query_opt("filter", self.filter.as_ref())
                    .query_opt("cursor", cursor.as_ref())
            }
            Stage::Traces { page, queue, .. } => match queue.first() {
                Some(id) => Request::get(format!("/api/public/traces/{}", segment(id))).accepting(&[404]),
                None => self
                    .windowed("/api/public/traces", "fromTimestamp", "toTimestamp", self.plan.page_size(50, 100))
                    .query("page", page)
                    .query("orderBy", "timestamp.asc")
                    .query("fields", "core")
                    .query_opt("filter", self.filter.as_ref()),
            },
            Stage::Scores { cursor } => self
                .windowed("/api/public/v3/scores", "fromTimestamp", "toTimestamp", self.plan.page_size(100, 100))
                .query("fields", "details,subject,annotation")
                .query_opt("cursor", cursor.as_ref())
                .accepting(&[404]),
            Stage::ScorePages { page } => self
                .windowed("/api/public/v2/scores", "fromTimestamp", "toTimestamp", self.plan.page_size(100, 100))
                .query("page", page)
                .accepting(&[404]),
            Stage::Done => return None,
        })
    }

    fn take(&mut self, answer: Answer) -> Result<Page, Shape> {
        let (page, next) = match self.stage.clone() {
            Stage::Probe => (Page::default(), self.probed(&answer)?),
            Stage::Observations { .. } => {
                let (rows, cursor) = by_cursor(&answer)?;
                let scores = Stage::Scores { cursor: None };
                let next =
                    cursor.map_or_else(|| self.after_spans(scores), |at| Stage::Observations { cursor: Some(at) });
                (Page::turned(rows), next)
            }
            Stage::Traces { page, queue, more } => self.traces(page, queue, more, &answer)?,
            // Servers without that list have no scores to give.
            Stage::Scores { .. } | Stage::ScorePages { .. } if !answer.is_success() => (Page::default(), Stage::Done),
            Stage::Scores { .. } => {
                let (rows, cursor) = by_cursor(&answer)?;
                let next = cursor.map_or(Stage::Done, |at| Stage::Scores { cursor: Some(at) });
                (Page::turned(rows.into_iter().map(flat).collect()), next)
            }
            Stage::ScorePages { page } => {
                let mut body = answer.json()?;
                let rows = list(&mut body, "data")?;
                let pages = body.pointer("/meta/totalPages").and_then(Value::as_u64);
                let more = pages.map_or(!rows.is_empty(), |pages| page < pages);
                (Page::turned(rows), if more { Stage::ScorePages { page: page + 1 } } else { Stage::Done })
            }
            Stage::Done => (Page::default(), Stage::Done),
        };
        self.stage = next;
        Ok(page)
    }

    fn place(&self) -> Value {
        place_of(&self.stage)
    }
}

fn by_cursor(answer: &Answer) -> Result<(Vec<Value>, Option<String>), Shape> {
    let mut body = answer.json()?;
    let rows = list(&mut body, "data")?;
    Ok((rows, text(&body, "/meta/cursor")))
}

/// A score with what it is about beside its value, as older servers and exports have it; `subject` stays.
fn flat(mut score: Value) -> Value {
    let id = text(&score, "/subject/id");
    let (key, trace) = match text(&score, "/subject/kind").as_deref() {
        Some("trace") => ("traceId", None),
        Some("observation") => ("observationId", text(&score, "/subject/traceId")),
        Some("session") => ("sessionId", None),
        _ => return score,
    };
    if let Some(map) = score.as_object_mut() {
        for (key, value) in [(key, id), ("traceId", trace)] {
            if let Some(value) = value {
                map.entry(key).or_insert(json!(value));
            }
        }
    }
    score
}
