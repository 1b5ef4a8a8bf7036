//! Requests that went through Helicone: one row per call of a model, with the provider's own bodies.
//!
//! Helicone has no tree. A session is the trace, and `Helicone-Session-Path` names the steps: `/a/b` stands below the
//! step `/a`, which stands below the session. Rows do not know each other, so each brings the steps above it along;
//! of these the earliest is kept.

use serde_json::{Map, Value};

use crate::model::{Native, REVISION_KEY, ScoreOrigin, SpanKind, SpanStatus};

use super::admit::Gate;
use super::bodies::{count_body_tokens, put_input, put_output};
use super::error::{IngestError, Problem};
use super::json::{at, need_text, number, structured, take, take_object, take_words, words};
use super::open::{Head, Opened};
use super::platform::{
    Cache, Found, Ids, after_ms, count_tokens, has_tokens, moment, need_moment, score_of, state_cost, take_row,
};
use super::raw::RawSpan;
use super::shape::Shape;
use super::{SourceInfo, rows};

/// The row of this source.
pub(super) const SOURCE: SourceInfo = SourceInfo {
    name: "helicone",
    summary: "Helicone requests: rows of the API, JSON of its export",
    recognise,
    read,
    row: Some(row),
};

const LISTS: &[&str] = &["data"];
/// Steps deeper than this are left out of a path.
const DEPTH: usize = 32;

fn recognise(head: &Head<'_>) -> Option<String> {
    let shape = Shape::of(head);
    let marks = ["request_created_at", "response_created_at", "request_body", "response_status", "request_model"];
    let mark = marks.iter().find(|mark| shape.rows_have(LISTS, &["request_id", mark]))?;
    Some(format!("JSON rows with `request_id` and `{mark}`"))
}

fn read(opened: Opened, gate: &mut Gate<'_>) -> Result<(), IngestError> {
    rows::each_in(opened, gate, LISTS, row)
}

fn row(value: Value, line: Option<u64>, gate: &mut Gate<'_>) -> Result<(), IngestError> {
    take_row(value, line, gate, request)
}

/// Where a request stands.
struct Place {
    session: Option<String>,
    name: Option<String>,
    steps: Vec<String>,
}

fn request(mut map: Map<String, Value>, found: &mut Found) -> Result<(), Problem> {
    let id = need_text(&mut map, &["request_id"], "the id of the request")?;
    let start = need_moment(&mut map, &["request_created_at", "created_at"])?;
    let mut properties = take_object(&mut map, &["request_properties"])?;
    properties.extend(take_object(&mut map, &["properties"])?);
    let mut place = place(&mut properties);
    let name = place.steps.pop();
    let trace = place.session.clone().unwrap_or_else(|| id.clone());
    let parent = place.session.as_ref().map(|_| step_id(&place.steps));
    let ids = Ids { platform: "helicone", trace: &trace, span: &id, parent: parent.as_deref(), project: None };
    let mut raw = ids.begin(String::new(), start);
    raw.end_ns = moment(&mut map, &["response_created_at"])?;
    let delay = take(&mut map, &["delay_ms", "latency"]);
    raw.end_ns = raw.end_ns.or_else(|| after_ms(start, delay.as_ref()));
    raw.set("session.id", place.session.clone());
    raw.set("user.id", take_words(&mut map, &["request_user_id", "user_id"]));
    raw.set("gen_ai.prompt.name", take_words(&mut map, &["prompt_id"]));
    raw.set("gen_ai.prompt.version", take_words(&mut map, &["prompt_version"]));
    raw.set("gen_ai.provider.name", take_words(&mut map, &["provider"]).map(|provider| provider.to_lowercase()));
    raw.set("gen_ai.request.model", take_words(&mut map, &["request_model", "model"]));
    bodies(&mut raw, &mut map, found);
    raw.set("gen_ai.response.model", take_words(&mut map, &["response_model", "model_override"]));
    let said = ["gen_ai.tool.name", "gen_ai.request.model"].iter().find_map(|key| raw.attributes.get(*key));
    raw.name = name.or_else(|| said.and_then(words)).unwrap_or_else(|| "request".to_owned());
    if !has_tokens(&raw) {
        count_tokens(&mut raw, &map, Cache::Unsaid);
    }
    state_cost(&mut raw, take(&mut map, &["cost", "costUSD", "cost_usd"]).as_ref());
    raw.keep_below("properties", Some(Value::Object(properties)));
    scores(&raw, &mut map, found)?;
    map.retain(|key, _| !key.contains("tokens") && key != "signed_body_url");
    raw.keep_below("helicone", Some(Value::Object(map)));
    found.spans.extend(steps(&raw, &trace, &place));
    found.spans.push(raw);
    Ok(())
}

fn place(properties: &mut Map<String, Value>) -> Place {
    let mut take = |wanted: &str| {
        let key = properties.keys().find(|key| key.eq_ignore_ascii_case(wanted)).cloned()?;
        properties.remove(&key).as_ref().and_then(words)
    };
    let path = take("Helicone-Session-Path").unwrap_or_default();
    let steps = path.split('/').filter(|step| !step.trim().is_empty()).take(DEPTH).map(str::to_owned).collect();
    Place { session: take("Helicone-Session-Id"), name: take("Helicone-Session-Name"), steps }
}

/// The id of the step a path leads to; that of the session itself for the empty path.
fn step_id(steps: &[String]) -> String {
    format!("/{}", steps.join("/"))
}

/// The steps above a request, the session first.
fn steps(request: &RawSpan, trace: &str, place: &Place) -> Vec<RawSpan> {
    let Some(session) = &place.session else { return Vec::new() };
    let depths = 0..=place.steps.len();
    let step = |depth: usize| {
        let (path, above) =
            (place.steps.get(..depth)?, depth.checked_sub(1).and_then(|above| place.steps.get(..above)));
        let (span, parent) = (step_id(path), above.map(step_id));
        let ids = Ids { platform: "helicone", trace, span: &span, parent: parent.as_deref(), project: None };
        let name = path.last().or(place.name.as_ref()).unwrap_or(session);
        let mut raw = ids.begin(name.clone(), request.start_ns);
        raw.kind = Some(SpanKind::Step);
        raw.end_ns = request.end_ns;
        raw.set("session.id", Some(session.clone()));
        // The earlier a request, the higher the number: its steps replace those of later ones.
        raw.attributes.insert(REVISION_KEY.to_owned(), Value::from(i64::MAX - request.start_ns.max(0)));
        raw.native = Some(Native { span: None, ..raw.native? });
        Some(raw)
    };
    depths.filter_map(step).collect()
}

/// What went over the wire, and how it ended.
fn bodies(raw: &mut RawSpan, map: &mut Map<String, Value>, found: &mut Found) {
    let body = |map: &mut Map<String, Value>, key: &str| take(map, &[key]).map(structured);
    let (asked, answered) = (body(map, "request_body"), body(map, "response_body"));
    if asked.is_none() && map.get("signed_body_url").is_some_and(|url| !url.is_null()) {
        found.ignore("request bodies that the export only links to", 1);
    }
    let error = answered.as_ref().and_then(Value::as_object).and_then(|body| {
        at(body, "error.message").or_else(|| at(body, "error").filter(|error| !error.is_boolean())).and_then(words)
    });
    let status = take(map, &["response_status", "status"]);
    match status.as_ref().and_then(number) {
        Some(code) if (200.0..300.0).contains(&code) => raw.status = SpanStatus::Ok,
        Some(code) => {
            raw.set("error.type", Some(code.to_string()));
            raw.fail(error);
        }
        None if error.is_some() => raw.fail(error),
        None => {}
    }
    let path = map.get("request_path").and_then(Value::as_str).unwrap_or_default();
    let custom = asked.as_ref().and_then(|body| body.get("_type")).and_then(Value::as_str);
    raw.kind = Some(match custom {
        Some("tool") => SpanKind::Tool,
        Some("vector_db") => SpanKind::Retrieval,
        _ if path.contains("embedding") || path.contains("rerank") => SpanKind::Retrieval,
        _ => SpanKind::Model,
    });
    if custom.is_some() {
        let field = |body: Option<&Value>, key: &str| body.and_then(|body| body.get(key)).cloned();
        raw.set("gen_ai.tool.name", field(asked.as_ref(), "toolName"));
        raw.set("input.value", field(asked.as_ref(), "input").or(asked));
        raw.set("output.value", answered);
        return;
    }
    // The provider's own count says more than Helicone's columns.
    if let Some(usage) = answered.as_ref().and_then(|body| body.get("usage")).and_then(Value::as_object) {
        count_body_tokens(raw, usage);
    }
    put_input(raw, asked);
    put_output(raw, answered);
}

fn scores(raw: &RawSpan, map: &mut Map<String, Value>, found: &mut Found) -> Result<(), Problem> {
    for (name, said) in take_object(map, &["scores"])? {
        // Some interfaces wrap the number.
        let said = said.get("value").cloned().unwrap_or(said);
        let mut score = score_of(raw, name, &said);
        score.origin = ScoreOrigin::Evaluator;
        found.scores.push(score);
    }
    if let Some(rating) = take(map, &["feedback_rating"]) {
        let mut score = score_of(raw, "feedback", &rating);
        score.origin = ScoreOrigin::User;
        found.scores.push(score);
    }
    Ok(())
}
