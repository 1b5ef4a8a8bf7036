//! AgentOps: a token for the key, then each named trace with its spans. The interface has no list of traces.

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::pager::{Answer, Page, Pager, Plan, Request, Shape, place_of, restore, segment, text};
use super::{KEY, PlatformInfo};
use crate::ingest::json::describe;

pub(super) const PLATFORM: PlatformInfo = PlatformInfo {
    name: "agentops",
    summary: "AgentOps: traces by their ids, with every span's attributes",
    url: Some("https://api.agentops.ai"),
    keys: &[KEY.named("AGENTOPS_API_KEY")],
    requests_per_minute: 120,
    takes: &["key_env", "trace_ids"],
    requires: &["trace_ids"],
    sample: "trace_ids = [\"5b8efff798038103d269b633813fc60c\"]\n",
    // The key is exchanged for a token; nothing goes along before.
    headers: |_, _| Vec::new(),
    new,
};

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct State {
    /// Traces that were handed out.
    through: usize,
}

struct AgentOps {
    ids: Vec<String>,
    state: State,
    /// A token is there. Tokens are no part of the place.
    open: bool,
    /// A token was refused right after it was given.
    hopeless: bool,
    /// The trace being put together, and how many of its spans are whole.
    trace: Option<(Value, usize)>,
}

fn new(plan: &Plan, place: Option<Value>) -> Result<Box<dyn Pager>, String> {
    let state = restore(place, State::default())?;
    let ids = plan.options.trace_ids.clone();
    Ok(Box::new(AgentOps { ids, state, open: false, hopeless: false, trace: None }))
}

fn spans(trace: &Value) -> &[Value] {
    trace.get("spans").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

impl AgentOps {
    fn settle(&mut self) -> Vec<Value> {
        match self.trace.take() {
            Some((trace, whole)) if whole >= spans(&trace).len() => {
                self.state.through += 1;
                vec![trace]
            }
            other => {
                self.trace = other;
                Vec::new()
            }
        }
    }
}

impl Pager for AgentOps {
    fn next(&self) -> Option<Request> {
        let id = self.ids.get(self.state.through)?;
        if !self.open {
            let ask = Request::post("/public/v1/auth/access_token", json!({}));
            return Some(Request { key_field: Some("api_key"), ..ask });
        }
        let span = self.trace.as_ref().and_then(|(trace, whole)| text(spans(trace).get(*whole)?, "/span_id"));
        Some(match span {
            Some(span) => Request::get(format!("/public/v1/spans/{}", segment(&span))).accepting(&[404]),
            None => Request::get(format!("/public/v1/traces/{}", segment(id))).accepting(&[404]),
        })
    }

    fn take(&mut self, answer: Answer) -> Result<Page, Shape> {
        if !self.open {
            let given = answer.json()?;
            let token = ["/bearer", "/access_token", "/token"].iter().find_map(|at| text(&given, at));
            let token = token.ok_or_else(|| Shape::new("an object without a token", "a token as `bearer`"))?;
            self.open = true;
            return Ok(Page { token: Some(SecretString::from(token)), ..Page::default() });
        }
        self.hopeless = false;
        let body = answer.is_success().then(|| answer.json()).transpose()?;
        match (&mut self.trace, body) {
            (None, None) => self.state.through += 1,
            (None, Some(trace)) => {
                if !trace.get("spans").is_some_and(Value::is_array) {
                    return Err(Shape::new(describe(&trace), "a trace with `spans`"));
                }
                self.trace = Some((trace, 0));
            }
            (Some((trace, whole)), details) => {
                let at = *whole;
                *whole += 1;
                let span = trace.pointer_mut(&format!("/spans/{at}")).and_then(Value::as_object_mut);
                if let (Some(span), Some(Value::Object(details))) = (span, details) {
                    for (key, value) in details {
                        span.entry(key).or_insert(value);
                    }
                }
            }
        }
        Ok(Page::detail(self.settle()))
    }

    fn place(&self) -> Value {
        place_of(&self.state)
    }

    fn refused(&mut self) -> bool {
        // Tokens live for days; a key that gives only dead ones is asked for no third.
        let again = self.open && !self.hopeless;
        (self.open, self.hopeless) = (false, true);
        again
    }
}
