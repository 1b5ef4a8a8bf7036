//! From the vocabularies that attributes are written in to the fields of [`Span`].
//!
//! Several generations of several vocabularies are live at once, often in one span, so nothing is configured and no
//! span belongs to one vocabulary: each field is read from the first attribute of one precedence table (`keys`, and
//! `content` for messages) that says something. An attribute leaves `attributes` when the field holds all that it
//! said; whatever is left stays verbatim. Knows no wire format.

mod bag;
mod content;
mod events;
mod keys;
mod kind;
mod messages;
mod parts;
mod scores;
mod usage;
mod usual;

use serde_json::Value;

use crate::model::{
    AgentRef, Digest, Message, ModelRef, PromptRef, SessionId, Source, Span, SpanError, SpanId, SpanKind, SpanStatus,
    ToolUse, TraceId,
};

pub(crate) use bag::flatten;
use events::apply as apply_events;
pub(crate) use events::{identity as event_identity, is_message_event, join as join_events, message_fields};
pub(crate) use scores::{EVALUATION, number, of_event as score_of_event, origin as score_origin, take as take_scores};
pub(crate) use usage::of_buckets as usage_of_buckets;

use super::raw::RawSpan;
use bag::Bag;

/// Gives a raw span its meaning.
pub(crate) fn span_of(raw: RawSpan) -> Span {
    let mut bag = Bag::new(raw.attributes);
    bag.undump("mlflow.");
    let dialect = raw.native.as_ref().map_or_else(|| name_of(&bag).to_owned(), |native| native.platform.clone());
    let kind = raw.kind.unwrap_or_else(|| kind::of(&bag, &raw.name));
    let model = model(&mut bag);
    let provider = model.as_ref().and_then(|model| model.provider.as_deref());
    let usage = raw.usage.unwrap_or_else(|| usage::usage(&mut bag, provider));
    let cost_usd = raw.cost_usd.or_else(|| usage::cost(&mut bag));
    let speaks = matches!(kind, SpanKind::Model | SpanKind::Agent | SpanKind::Step);
    let mut messages_in = content::messages_in(&mut bag, speaks);
    let (mut messages_out, mut reasons) = content::messages_out(&mut bag, speaks);
    let stated = bag.take(keys::FINISH, texts);
    let tool = if matches!(kind, SpanKind::Tool | SpanKind::Handoff) { tool(&mut bag, &raw.name) } else { None };
    let (input, output) = raw_content(&mut bag, kind, &mut messages_in, &mut messages_out, &mut reasons);
    let finish_reasons = stated.unwrap_or(reasons);
    let prompt = prompt(&mut bag, kind, &messages_in);
    let agent = agent(&mut bag, kind, &raw.name, &raw.resource);
    let error = error(&mut bag, raw.status_message);
    let failed = raw.status == SpanStatus::Unset && error.as_ref().is_some_and(|error| error.kind.is_some());
    let mut span = Span {
        trace_id: TraceId::new(raw.trace_id),
        span_id: SpanId::new(raw.span_id),
        parent_id: raw.parent_id.map(SpanId::new),
        session_id: bag.text(keys::SESSION).map(SessionId::new),
        user_id: bag.text(keys::USER),
        kind,
        name: raw.name,
        start_ns: raw.start_ns,
        end_ns: raw.end_ns,
        // `error.type` is only set on operations that failed (OpenTelemetry, "Recording errors").
        status: if failed { SpanStatus::Error } else { raw.status },
        error,
        agent,
        model,
        prompt,
        tool,
        messages_in,
        messages_out,
        input,
        output,
        usage,
        cost_usd,
        finish_reasons,
        attributes: bag.into_left(),
        resource: raw.resource,
        source: Source { dialect: Some(dialect), native: raw.native, ..Source::default() },
    };
    if !raw.events.is_empty() {
        apply_events(&mut span, raw.events);
    }
    span
}

/// The vocabulary a span is mainly written in, for people; nothing depends on it.
fn name_of(bag: &Bag) -> &'static str {
    if bag.has("openinference.span.kind") || bag.has_prefix("llm.input_messages.") || bag.has_prefix("llm.token_count.")
    {
        "openinference"
    } else if bag.has_prefix("agentops.") {
        "agentops"
    } else if bag.has_prefix("traceloop.") || bag.has("llm.request.type") || bag.has_prefix("gen_ai.prompt.0.") {
        "openllmetry"
    } else if bag.has("ai.operationId") {
        "vercel"
    } else if bag.has_prefix("langfuse.") {
        "langfuse"
    } else if bag.has("sentry.op") {
        "sentry"
    } else if bag.has_prefix("mlflow.") {
        "mlflow"
    } else if bag.has_prefix("langsmith.") {
        "langsmith"
    } else if bag.has_prefix("logfire.") || bag.has_prefix("pydantic_ai.") {
        "logfire"
    } else if bag.has_prefix("gen_ai.") {
        "otel_genai"
    } else {
        "otel"
    }
}

fn model(bag: &mut Bag) -> Option<ModelRef> {
    // Vercel says `openai.responses`: more than the provider, so it stays as well.
    let vercel = bag.get("ai.model.provider").cloned();
    let model = ModelRef {
        request: bag.text(keys::MODEL_REQUEST),
        response: bag.text(keys::MODEL_RESPONSE),
        provider: bag.text(keys::PROVIDER).map(provider),
    };
    if let Some(vercel) = vercel {
        bag.insert("ai.model.provider", vercel);
    }
    (model != ModelRef::default()).then_some(model)
}

/// Providers under their current OpenTelemetry names.
fn provider(said: String) -> String {
    let current = match said.as_str() {
        "gemini" => "gcp.gemini",
        "vertex_ai" => "gcp.vertex_ai",
        "az.ai.inference" => "azure.ai.inference",
        "az.ai.openai" => "azure.ai.openai",
        "xai" => "x_ai",
        other => match other.split_once('.') {
            Some((name, "chat" | "responses" | "messages" | "completion" | "embedding" | "image")) => name,
            _ => other,
        },
    };
    current.to_owned()
}

fn texts(value: &Value) -> Option<Vec<String>> {
    let texts: Vec<String> = match super::json::structured(value.clone()) {
        Value::Array(items) => items.iter().filter_map(bag::as_text).collect(),
        other => bag::as_text(&other).into_iter().collect(),
    };
    (!texts.is_empty()).then_some(texts)
}

fn tool(bag: &mut Bag, name: &str) -> Option<ToolUse> {
    let named = bag.text(keys::TOOL_NAME).or_else(|| bag.text(&["traceloop.entity.name"]));
    let name = named.unwrap_or_else(|| name.strip_prefix("execute_tool ").unwrap_or(name).to_owned());
    let tool = ToolUse {
        name,
        call_id: bag.text(keys::TOOL_CALL_ID),
        arguments: bag.value(keys::TOOL_ARGUMENTS),
        result: bag.value(keys::TOOL_RESULT),
    };
    drop_mime(bag, "input.value", "input.mime_type", tool.arguments.is_some());
    drop_mime(bag, "output.value", "output.mime_type", tool.result.is_some());
    (!tool.name.is_empty()).then_some(tool)
}

/// Says how a text was to be parsed; of no use once it has been.
fn drop_mime(bag: &mut Bag, value: &str, mime: &str, taken: bool) {
    if taken && !bag.has(value) {
        bag.remove(mime);
    }
}

/// Takes raw input and output. Where a side has messages, its raw form stays an attribute: it says the same again,
/// in a provider's own words. Where it has none and the raw form looks like messages, it becomes messages.
fn raw_content(
    bag: &mut Bag,
    kind: SpanKind,
    messages_in: &mut Vec<Message>,
    messages_out: &mut Vec<Message>,
    reasons: &mut Vec<String>,
) -> (Option<Value>, Option<Value>) {
    let speaks = matches!(kind, SpanKind::Model | SpanKind::Agent | SpanKind::Step);
    let mut input = if messages_in.is_empty() { bag.value(keys::INPUT) } else { None };
    if let Some(found) = input.as_ref().filter(|_| speaks).and_then(|value| messages::read(value, "user")) {
        *messages_in = found;
        input = None;
    }
    if kind == SpanKind::Model && messages_out.is_empty() {
        *messages_out = content::plain_answer(bag);
    }
    let mut output = if messages_out.is_empty() { bag.value(keys::OUTPUT) } else { None };
    if let Some(value) = output.as_ref().filter(|_| speaks)
        && let Some(found) = content::raw_answer(value)
    {
        *messages_out = found;
        if reasons.is_empty() {
            *reasons = messages::finish_reasons(value);
        }
        output = None;
    }
    // What a model wrote is a message even when it was recorded as nothing but text.
    if kind == SpanKind::Model {
        match output {
            Some(Value::String(text)) => {
                *messages_out = vec![Message::text("assistant", text)];
                output = None;
            }
            other => output = other,
        }
    }
    drop_mime(bag, "input.value", "input.mime_type", input.is_some() || !messages_in.is_empty());
    drop_mime(bag, "output.value", "output.mime_type", output.is_some() || !messages_out.is_empty());
    (input, output)
}

fn prompt(bag: &mut Bag, kind: SpanKind, messages: &[Message]) -> Option<PromptRef> {
    let speaks = matches!(kind, SpanKind::Model | SpanKind::Agent);
    let prompt = PromptRef {
        name: bag.text(keys::PROMPT_NAME),
        version: bag.text(keys::PROMPT_VERSION),
        digest: if speaks { prompt_digest(messages) } else { None },
    };
    (prompt != PromptRef::default()).then_some(prompt)
}

/// Digests the system instructions once more, after something was taken out of them.
pub(crate) fn digest_prompt_again(span: &mut Span) {
    if let Some(prompt) = span.prompt.as_mut().filter(|prompt| prompt.digest.is_some()) {
        prompt.digest = prompt_digest(&span.messages_in);
    }
}

/// Digest of the system instructions, if there are any.
fn prompt_digest(messages: &[Message]) -> Option<String> {
    let system: Vec<String> =
        messages.iter().filter(|message| message.role == "system").map(Message::plain_text).collect();
    if system.iter().all(|text| text.trim().is_empty()) {
        return None;
    }
    Some(Digest::of(system.join("\n").as_bytes()).to_string())
}

fn agent(bag: &mut Bag, kind: SpanKind, name: &str, resource: &super::Attributes) -> Option<AgentRef> {
    let mut agent = AgentRef {
        id: bag.text(keys::AGENT_ID),
        name: bag.text(keys::AGENT_NAME),
        version: bag.text(keys::AGENT_VERSION),
    };
    if kind == SpanKind::Agent {
        agent.name = agent.name.or_else(|| bag.text(&["traceloop.entity.name"])).or_else(|| {
            // Google's agents write `agent_run [name]`.
            let bracketed = || name.strip_prefix("agent_run [")?.strip_suffix(']');
            let named = name.strip_prefix("invoke_agent ").or_else(bracketed).map(str::trim);
            named.filter(|name| !name.is_empty()).map(str::to_owned)
        });
        agent.version = agent.version.or_else(|| bag.text(&["traceloop.entity.version"]));
    }
    if agent == AgentRef::default() && kind != SpanKind::Agent {
        return None;
    }
    // The service is what is deployed with the agent; its version stands in where the agent has none of its own.
    agent.version = agent.version.or_else(|| resource.get("service.version").and_then(bag::as_text));
    (agent != AgentRef::default()).then_some(agent)
}

fn error(bag: &mut Bag, status_message: Option<String>) -> Option<SpanError> {
    let error = SpanError {
        kind: bag.text(keys::ERROR_KIND),
        message: status_message.or_else(|| bag.text(keys::ERROR_MESSAGE)),
    };
    (error != SpanError::default()).then_some(error)
}
