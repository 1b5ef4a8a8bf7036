//! What a span stands for, told from its attributes.
//!
//! The keys read here stay in the attributes: they say more than the kind does (`embeddings` and `rerank` are both
//! retrieval).

use serde_json::Value;

use crate::model::SpanKind;

use super::bag::Bag;
use super::keys;

/// Where the kind is read, first match wins; a value that is not known falls through to the next row.
type Row = (&'static str, fn(&str) -> Option<SpanKind>);
const TABLE: &[Row] = &[
    ("langfuse.observation.type", by_type),
    ("openinference.span.kind", by_type),
    ("gen_ai.operation.name", by_operation),
    ("ai.operationId", by_vercel),
    ("traceloop.span.kind", by_type),
    ("llm.request.type", by_request),
    ("agentops.span.kind", by_type),
    ("langsmith.span.kind", by_type),
    ("sentry.op", by_sentry),
    ("mlflow.spanType", by_type),
    ("mcp.method.name", by_mcp),
];

/// The kind of a span. A tool whose name says that it passes control on is a handoff, since no vocabulary but
/// Sentry's and AgentOps' has a word for that.
pub(super) fn of(bag: &Bag, name: &str) -> SpanKind {
    // Langfuse calls the outer span of the AI SDK a generation too, which it is not.
    let outer = bag.peek("ai.operationId").and_then(|text| by_vercel(&text.to_lowercase()));
    let said = outer.filter(|kind| *kind == SpanKind::Step).or_else(|| said_by_table(bag));
    let kind = said.unwrap_or_else(|| guess(bag));
    let tool = keys::TOOL_NAME.iter().chain(&["traceloop.entity.name"]).find_map(|key| bag.peek(key)).unwrap_or(name);
    if kind == SpanKind::Tool && hands_off(tool) { SpanKind::Handoff } else { kind }
}

fn said_by_table(bag: &Bag) -> Option<SpanKind> {
    TABLE
        .iter()
        .find_map(|(key, read)| bag.get(key).and_then(Value::as_str).and_then(|text| read(&text.to_lowercase())))
}

fn by_type(text: &str) -> Option<SpanKind> {
    Some(match text {
        "llm" | "generation" | "chat_model" | "chat" => SpanKind::Model,
        "agent" => SpanKind::Agent,
        "tool" => SpanKind::Tool,
        "retriever" | "retrieval" | "embedding" | "reranker" => SpanKind::Retrieval,
        "guardrail" => SpanKind::Guardrail,
        "evaluator" => SpanKind::Evaluator,
        "handoff" => SpanKind::Handoff,
        "chain" | "workflow" | "task" | "operation" | "session" | "prompt" | "parser" | "decision" => SpanKind::Step,
        "event" => SpanKind::Other,
        _ => return None,
    })
}

fn by_operation(text: &str) -> Option<SpanKind> {
    Some(match text {
        "chat" | "generate_content" | "text_completion" | "call_llm" | "responses" => SpanKind::Model,
        "invoke_agent" => SpanKind::Agent,
        "execute_tool" => SpanKind::Tool,
        "embeddings" | "retrieval" | "rerank" | "search_memory" => SpanKind::Retrieval,
        "handoff" => SpanKind::Handoff,
        // Making an agent is not an invocation of it.
        "invoke_workflow" | "plan" | "agent_step" | "create_agent" => SpanKind::Step,
        _ => return None,
    })
}

/// Only the inner `.do…` span is a call of the model; the outer one repeats its usage.
fn by_vercel(text: &str) -> Option<SpanKind> {
    Some(match text {
        "ai.toolcall" => SpanKind::Tool,
        _ if text.starts_with("ai.embed") || text == "ai.rerank" => SpanKind::Retrieval,
        _ if text.ends_with(".dogenerate") || text.ends_with(".dostream") => SpanKind::Model,
        _ if text.starts_with("ai.") => SpanKind::Step,
        _ => return None,
    })
}

fn by_request(text: &str) -> Option<SpanKind> {
    Some(match text {
        "chat" | "completion" => SpanKind::Model,
        "embedding" | "rerank" => SpanKind::Retrieval,
        _ => return None,
    })
}

fn by_sentry(text: &str) -> Option<SpanKind> {
    if text.starts_with("ai.chat_completions.") {
        return Some(SpanKind::Model);
    }
    if text.starts_with("ai.pipeline") || text.starts_with("ai.run") {
        return Some(SpanKind::Step);
    }
    match text.strip_prefix("gen_ai.")? {
        // Decisions and extractions of an application; not scores.
        "evaluate" | "decide" | "extract" => Some(SpanKind::Step),
        "memory.client" => Some(SpanKind::Retrieval),
        operation => by_operation(operation),
    }
}

fn by_mcp(text: &str) -> Option<SpanKind> {
    (text == "tools/call").then_some(SpanKind::Tool)
}

/// Without a word for it: what the span names decides.
fn guess(bag: &Bag) -> SpanKind {
    // Pydantic AI repeats the tokens of its calls on the span of the agent.
    if bag.has("agent_name")
        && ["all_messages_events", "pydantic_ai.all_messages", "final_result"].iter().any(|key| bag.has(key))
    {
        return SpanKind::Agent;
    }
    if keys::TOOL_NAME.iter().any(|key| bag.has(key)) {
        return SpanKind::Tool;
    }
    let answers = keys::MODEL_RESPONSE.iter().chain(keys::OUTPUT_TOKENS).any(|key| bag.has(key));
    let asks = keys::MODEL_REQUEST.iter().any(|key| bag.has(key));
    if answers || asks {
        return SpanKind::Model;
    }
    if bag.has("from_agent") || bag.has("to_agent") {
        return SpanKind::Handoff;
    }
    if bag.has("gen_ai.evaluation.name") {
        return SpanKind::Evaluator;
    }
    if bag.has("agent.name") {
        return SpanKind::Agent;
    }
    // Langfuse's plain span: a step of an application.
    if bag.has("langfuse.observation.type") { SpanKind::Step } else { SpanKind::Other }
}

fn hands_off(tool: &str) -> bool {
    ["transfer_to_", "handoff_to_"]
        .iter()
        .any(|prefix| tool.strip_prefix(prefix).is_some_and(|agent| !agent.is_empty()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kind(attributes: Value) -> SpanKind {
        of(&Bag::new(serde_json::from_value(attributes).unwrap()), "")
    }

    #[test]
    fn each_vocabulary_is_understood() {
        for (attributes, expected) in [
            (json!({"gen_ai.operation.name": "chat"}), SpanKind::Model),
            (json!({"gen_ai.operation.name": "invoke_agent", "gen_ai.request.model": "x"}), SpanKind::Agent),
            (json!({"gen_ai.operation.name": "embeddings"}), SpanKind::Retrieval),
            (json!({"openinference.span.kind": "LLM", "gen_ai.operation.name": "invoke_agent"}), SpanKind::Model),
            (json!({"openinference.span.kind": "unknown", "tool.name": "x"}), SpanKind::Tool),
            (json!({"traceloop.span.kind": "workflow"}), SpanKind::Step),
            (json!({"llm.request.type": "rerank"}), SpanKind::Retrieval),
            (json!({"ai.operationId": "ai.streamText", "ai.model.id": "x"}), SpanKind::Step),
            (json!({"ai.operationId": "ai.streamText.doStream"}), SpanKind::Model),
            (json!({"ai.operationId": "ai.toolCall"}), SpanKind::Tool),
            (json!({"sentry.op": "gen_ai.handoff"}), SpanKind::Handoff),
            (json!({"sentry.op": "gen_ai.responses"}), SpanKind::Model),
            (json!({"sentry.op": "gen_ai.rerank"}), SpanKind::Retrieval),
            (json!({"sentry.op": "gen_ai.evaluate"}), SpanKind::Step),
            (json!({"sentry.op": "gen_ai.memory.client"}), SpanKind::Retrieval),
            (json!({"sentry.op": "ai.pipeline.x"}), SpanKind::Step),
            (json!({"sentry.op": "ai.chat_completions.create.openai"}), SpanKind::Model),
            (json!({"langsmith.span.kind": "llm"}), SpanKind::Model),
            (json!({"langfuse.observation.type": "generation", "ai.operationId": "ai.generateText"}), SpanKind::Step),
            (json!({"langfuse.observation.type": "SPAN", "openinference.span.kind": "AGENT"}), SpanKind::Agent),
            (json!({"langfuse.observation.type": "SPAN"}), SpanKind::Step),
            (json!({"agent_name": "a", "final_result": "x", "gen_ai.usage.output_tokens": 3}), SpanKind::Agent),
            (json!({"mcp.method.name": "tools/call"}), SpanKind::Tool),
            (
                json!({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "transfer_to_billing"}),
                SpanKind::Handoff,
            ),
            (json!({"gen_ai.operation.name": "made_up", "gen_ai.request.model": "x"}), SpanKind::Model),
            (json!({"from_agent": "a", "to_agent": "b"}), SpanKind::Handoff),
            (json!({"http.method": "GET"}), SpanKind::Other),
        ] {
            assert_eq!(kind(attributes.clone()), expected, "{attributes}");
        }
    }
}
