//! A model server that answers from a recorded trace, in the shape of OpenAI's chat completions.
//!
//! Tool results in a request are replaced by the recorded ones, or by what the user set; as long as the conversation is
//! then the recorded one, the recorded answer is given. Afterwards the real server is asked, where there is one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::replay::steps_of;
use crate::model::{Message, Part, SpanKind, Trace, canonical_json};
use crate::sys::text::one_line;

/// The recorded side of a conversation.
#[derive(Default)]
pub(super) struct Script {
    turns: Vec<Turn>,
    /// Tool results by the id of their call.
    results: BTreeMap<String, ToolResult>,
    /// Step from which the real server is asked although nothing differs.
    live_from: Option<usize>,
}

/// One recorded answer of the model.
struct Turn {
    /// Its step.
    step: usize,
    /// What it was asked, message by message; `None` where the trace does not say.
    asked: Option<Vec<String>>,
    /// The answer as a message.
    says: Value,
    model: String,
}

struct ToolResult {
    step: usize,
    /// The call, name and arguments: servers give ids that are not unique, or the same again.
    call: String,
    recorded: Option<String>,
    set: Option<String>,
}

/// One request that came, and how it was answered.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// Whether the recorded answer was given.
    pub recorded: bool,
    /// What was answered, in words.
    pub said: String,
}

impl Script {
    /// Reads a trace.
    pub fn of(trace: &Trace) -> Self {
        let mut script = Self::default();
        // Calls that the model asked for, until the tool's step is met: id, name, arguments.
        let mut open: Vec<(String, String, Value)> = Vec::new();
        for (place, span) in steps_of(trace).into_iter().enumerate() {
            let step = place + 1;
            if span.kind == SpanKind::Model {
                let Some(message) = span.messages_out.first() else { continue };
                let (says, calls) = completion(message, step);
                open.extend(calls);
                let asked = (!span.messages_in.is_empty()).then(|| conversation_of(&span.messages_in));
                let model =
                    span.model.as_ref().and_then(|model| model.response.clone().or_else(|| model.request.clone()));
                script.turns.push(Turn { step, asked, says, model: model.unwrap_or_default() });
                continue;
            }
            let Some(tool) = &span.tool else { continue };
            let by_id = |(id, ..): &(String, String, Value)| Some(id) == tool.call_id.as_ref();
            let by_call = |(_, name, arguments): &(String, String, Value)| {
                *name == tool.name && tool.arguments.as_ref().is_none_or(|made| made == arguments)
            };
            let found = open.iter().position(by_id).or_else(|| open.iter().position(by_call));
            let Some((id, name, arguments)) = found.map(|place| open.remove(place)) else { continue };
            let call = format!("{name}({})", arguments_line(&arguments));
            let recorded = tool.result.as_ref().or(span.output.as_ref()).map(plain);
            script.results.insert(id, ToolResult { step, call, recorded, set: None });
        }
        script
    }

    /// Whether it holds no answer.
    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// Asks the real server from a step on.
    pub fn live_from(&mut self, step: Option<usize>) {
        self.live_from = step;
    }

    /// Sets the result of a tool otherwise.
    pub fn set_result(&mut self, trace: &Trace, step: usize, value: &str) -> Result<(), String> {
        let steps = steps_of(trace);
        let listed = || {
            let tools = steps.iter().enumerate().filter(|(_, span)| span.kind == SpanKind::Tool);
            let named = tools.map(|(place, span)| format!("{} ({})", place + 1, one_line(&span.name, 40)));
            named.collect::<Vec<_>>().join(", ")
        };
        let result = self.results.values_mut().find(|result| result.step == step);
        match result {
            Some(result) => {
                result.set = Some(value.to_owned());
                Ok(())
            }
            None => Err(format!("step {step} is no tool call that the model asked for; tool calls are {}", listed())),
        }
    }

    /// What was set at a step.
    pub fn set_at(&self, step: usize) -> Option<&str> {
        self.results.values().find(|result| result.step == step)?.set.as_deref()
    }

    /// The recorded answer of a step, in words.
    pub fn answer_of(&self, step: usize) -> Option<String> {
        self.turns.iter().find(|turn| turn.step == step).map(|turn| said(&turn.says))
    }
}

/// A recorded message in the shape of a completion, and the calls it asks for.
fn completion(message: &Message, step: usize) -> (Value, Vec<(String, String, Value)>) {
    let text = message.plain_text();
    let (mut calls, mut made) = (Vec::new(), Vec::new());
    for part in &message.parts {
        if let Part::ToolCall { id, name, arguments } = part {
            let id = id.clone().unwrap_or_else(|| format!("call_{step}_{}", calls.len()));
            let arguments_text = plain(arguments);
            made.push(json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments_text}}));
            calls.push((id, name.clone(), arguments.clone()));
        }
    }
    let content = if text.is_empty() && !made.is_empty() { Value::Null } else { json!(text) };
    let mut says = json!({"role": "assistant", "content": content});
    if !made.is_empty() {
        says["tool_calls"] = Value::Array(made);
    }
    (says, calls)
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A conversation as lines that can be compared. Instructions are left out: traces keep them elsewhere or not at all.
fn conversation_of(messages: &[Message]) -> Vec<String> {
    let spoken = messages.iter().filter(|message| !matches!(message.role.as_str(), "system" | "developer"));
    let line = |message: &Message| {
        let parts = message.parts.iter().map(|part| match part {
            Part::Text { content } => content.clone(),
            Part::ToolCall { name, arguments, .. } => format!("{name}({})", arguments_line(arguments)),
            Part::ToolResult { result, .. } => result_line(result),
            Part::Reasoning { .. } | Part::Other { .. } => String::new(),
        });
        parts.collect::<Vec<_>>().concat()
    };
    spoken.map(line).collect()
}

/// The same of a request.
fn conversation_in(body: &Value) -> Vec<String> {
    let messages = body.get("messages").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let role = |message: &Value| message.get("role").and_then(Value::as_str).unwrap_or_default().to_owned();
    let spoken = messages.iter().filter(|message| !matches!(role(message).as_str(), "system" | "developer"));
    let line = |message: &Value| {
        if role(message) == "tool" {
            return result_line(message.get("content").unwrap_or(&Value::Null));
        }
        said(message)
    };
    spoken.map(line).collect()
}

/// Results come as text or as JSON, and mean the same.
fn result_line(result: &Value) -> String {
    match result.as_str().map(serde_json::from_str::<Value>) {
        Some(Ok(inner)) => canonical_json(&inner),
        Some(Err(_)) => plain(result),
        None => canonical_json(result),
    }
}

fn arguments_line(arguments: &Value) -> String {
    result_line(arguments)
}

/// What a message of a request or a completion says, in words.
fn said(message: &Value) -> String {
    let text = match message.get("content") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str)).collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    };
    let calls = message.get("tool_calls").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let call = |call: &Value| {
        let name = call.pointer("/function/name").and_then(Value::as_str).unwrap_or_default();
        format!("{name}({})", arguments_line(call.pointer("/function/arguments").unwrap_or(&Value::Null)))
    };
    text + calls.iter().map(call).collect::<Vec<_>>().concat().as_str()
}

/// Answers requests.
pub(super) struct Server {
    script: Script,
    upstream: Option<String>,
    http: reqwest::Client,
    timeout: Duration,
    state: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    asked: Vec<Asked>,
    diverged: bool,
}

impl Server {
    /// A server of one conversation.
    pub fn new(script: Script, upstream: Option<String>, http: reqwest::Client, timeout: Duration) -> Self {
        Self { script, upstream, http, timeout, state: Mutex::default() }
    }

    /// What it answers from.
    pub fn script(&self) -> &Script {
        &self.script
    }

    /// What was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).asked.clone()
    }

    fn note(&self, recorded: bool, said: String) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).asked.push(Asked { recorded, said });
    }

    /// The recorded answer, as long as nothing differs.
    fn recorded(&self, body: &Value) -> Option<&Turn> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = self.script.turns.get(state.asked.len()).filter(|_| !state.diverged);
        let turn = turn.filter(|turn| self.script.live_from.is_none_or(|step| turn.step < step));
        let was_set = |id: &str| self.script.results.get(id).is_some_and(|result| result.set.is_some());
        let set = tool_messages(body).any(|(id, _)| was_set(id));
        let turn = turn.filter(|turn| !set && turn.asked.as_ref().is_none_or(|asked| *asked == conversation_in(body)));
        state.diverged = turn.is_none();
        turn
    }

    /// Puts recorded results, and those that were set, in place of what the tools gave now.
    fn with_results(&self, mut body: Value) -> Value {
        let known: Vec<String> = {
            let called = calls_in(&body);
            let is = |id: &String, call: &String| called.iter().any(|(made, said)| made == id && said == call);
            self.script.results.iter().filter(|(id, result)| is(id, &result.call)).map(|(id, _)| id.clone()).collect()
        };
        let messages = body.get_mut("messages").and_then(Value::as_array_mut);
        for message in messages.into_iter().flatten() {
            let id = message.get("tool_call_id").and_then(Value::as_str).unwrap_or_default();
            let result = self.script.results.get(id).filter(|_| known.iter().any(|known| known == id));
            if let Some(text) = result.and_then(|result| result.set.as_ref().or(result.recorded.as_ref())) {
                message["content"] = json!(text);
            }
        }
        body
    }

    async fn ask_upstream(&self, body: &Value, headers: &HeaderMap) -> Result<Value, String> {
        let Some(upstream) = &self.upstream else {
            return Err(
                "the conversation is not the recorded one from here on, and no `--upstream` is given".to_owned()
            );
        };
        let mut body = body.clone();
        body["stream"] = json!(false);
        if let Value::Object(fields) = &mut body {
            fields.remove("stream_options");
        }
        let url = format!("{}/chat/completions", upstream.trim_end_matches('/'));
        let mut request = self.http.post(url).timeout(self.timeout).json(&body);
        if let Some(key) = headers.get(header::AUTHORIZATION) {
            request = request.header(header::AUTHORIZATION, key.clone());
        }
        let response = request.send().await.map_err(|error| format!("the upstream cannot be asked: {error}"))?;
        let status = response.status();
        let text = response.text().await.map_err(|error| format!("the upstream's answer broke off: {error}"))?;
        if !status.is_success() {
            return Err(format!("the upstream answered {}: {}", status.as_u16(), one_line(&text, 200)));
        }
        serde_json::from_str(&text).map_err(|error| format!("the upstream's answer is not JSON: {error}"))
    }
}

/// Calls that the assistant's messages of a request ask for: id, and name with arguments.
fn calls_in(body: &Value) -> Vec<(String, String)> {
    let messages = body.get("messages").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let calls = messages.iter().filter_map(|message| message.get("tool_calls")?.as_array()).flatten();
    let told = |call: &Value| {
        let name = call.pointer("/function/name").and_then(Value::as_str).unwrap_or_default();
        let arguments = arguments_line(call.pointer("/function/arguments").unwrap_or(&Value::Null));
        let id = call.get("id").and_then(Value::as_str).unwrap_or_default();
        (id.to_owned(), format!("{name}({arguments})"))
    };
    calls.map(told).collect()
}

fn tool_messages(body: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let messages = body.get("messages").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    messages.iter().filter_map(|message| Some((message.get("tool_call_id")?.as_str()?, message)))
}

async fn answer(State(server): State<Arc<Server>>, headers: HeaderMap, body: Bytes) -> Response {
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return refused(StatusCode::BAD_REQUEST, "the body is not JSON");
    };
    let stream = body.get("stream").is_some_and(|stream| stream == true);
    let body = server.with_results(body);
    if let Some(turn) = server.recorded(&body) {
        server.note(true, said(&turn.says));
        return completed(&turn.says, &turn.model, stream);
    }
    match server.ask_upstream(&body, &headers).await {
        Ok(reply) => {
            let message = reply.pointer("/choices/0/message").cloned().unwrap_or(Value::Null);
            server.note(false, said(&message));
            if stream {
                let model = reply.get("model").and_then(Value::as_str).unwrap_or_default();
                return completed(&message, model, true);
            }
            axum::Json(reply).into_response()
        }
        Err(cause) => {
            server.note(false, format!("({cause})"));
            refused(StatusCode::NOT_IMPLEMENTED, &cause)
        }
    }
}

fn refused(status: StatusCode, cause: &str) -> Response {
    (status, axum::Json(json!({"error": {"message": cause, "type": "replay"}}))).into_response()
}

/// A message as a completion, whole or as a stream of one piece.
fn completed(message: &Value, model: &str, stream: bool) -> Response {
    let finish = if message.get("tool_calls").is_some() { "tool_calls" } else { "stop" };
    if !stream {
        let choice = json!({"index": 0, "message": message, "finish_reason": finish});
        let reply =
            json!({"id": "replay", "object": "chat.completion", "created": 0, "model": model, "choices": [choice]});
        return axum::Json(reply).into_response();
    }
    let mut delta = message.clone();
    let calls = delta.get_mut("tool_calls").and_then(Value::as_array_mut);
    for (place, call) in calls.into_iter().flatten().enumerate() {
        call["index"] = json!(place);
    }
    let piece = |delta: Value, finish: Value| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
        let chunk = json!({"id": "replay", "object": "chat.completion.chunk", "created": 0, "model": model, "choices": [choice]});
        format!("data: {chunk}\n\n")
    };
    let text = piece(delta, Value::Null) + piece(json!({}), json!(finish)).as_str() + "data: [DONE]\n\n";
    ([(header::CONTENT_TYPE, "text/event-stream")], text).into_response()
}

/// Serves until it is dropped.
pub(super) async fn serve(listener: TcpListener, server: Arc<Server>) {
    let router = Router::new()
        .route("/v1/chat/completions", post(answer))
        .route("/chat/completions", post(answer))
        .layer(axum::extract::DefaultBodyLimit::max(64 << 20))
        .with_state(server);
    // It ends with the command; what goes wrong before that is seen by the target.
    let _ = axum::serve(listener, router).await;
}
