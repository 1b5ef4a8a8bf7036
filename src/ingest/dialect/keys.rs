//! The precedence table: for each field of the model, the attributes it is read from, first match wins.
//!
//! Order of vocabularies within a row: what a platform's own SDK says explicitly (`langfuse.*`), current
//! OpenTelemetry GenAI (1.37 and later), OpenTelemetry GenAI before that, OpenInference, Traceloop (OpenLLMetry),
//! AgentOps, Sentry, Vercel, MLflow, others. Sources: OpenTelemetry semantic conventions 1.36 to 1.41 and
//! `semantic-conventions-genai`; the OpenInference specification; `opentelemetry-semantic-conventions-ai`;
//! AI SDK 4 to 7; Sentry's conventions. Message content, which is more than a key each, is in `content`.
//! `docs/dialects.md` shows this table to users; a test holds the two together.

/// Conversation. Never filled from anything that does not mean a conversation.
pub(super) const SESSION: &[&str] = &[
    "langfuse.session.id",
    "session.id",
    "gen_ai.conversation.id",
    "langsmith.trace.session_id",
    "langsmith.metadata.session_id",
    "langsmith.metadata.thread_id",
    "langsmith.metadata.conversation_id",
    "traceloop.association.properties.session_id",
    "traceloop.association.properties.chat_id",
    "traceloop.association.properties.conversation_id",
    "traceloop.association.properties.thread_id",
    "ai.telemetry.metadata.sessionId",
    "mlflow.trace.session",
    "workflow.session_id",
];

/// User.
pub(super) const USER: &[&str] = &[
    "langfuse.user.id",
    "user.id",
    "enduser.id",
    "gen_ai.user",
    "langsmith.metadata.user_id",
    "traceloop.association.properties.user_id",
    "ai.telemetry.metadata.userId",
    "mlflow.trace.user",
    "workflow.user_id",
];

/// Name of the agent; `traceloop.entity.name` and the span's own name follow for agent spans.
pub(super) const AGENT_NAME: &[&str] = &["gen_ai.agent.name", "agent.name", "agent_name", "ai.telemetry.functionId"];
/// Id of the agent.
pub(super) const AGENT_ID: &[&str] = &["gen_ai.agent.id", "agent.id"];
/// Version of the agent; `service.version` of the resource follows for agent spans.
pub(super) const AGENT_VERSION: &[&str] = &["gen_ai.agent.version", "langfuse.version", "langfuse.release"];

/// Requested model.
pub(super) const MODEL_REQUEST: &[&str] = &[
    "langfuse.observation.model.name",
    "gen_ai.request.model",
    "llm.request.model_name",
    "llm.model_name",
    "embedding.model_name",
    "reranker.model_name",
    "ai.model.id",
    "ai.model_id",
    "mlflow.llm.model",
    "llm.request.model",
    "langsmith.metadata.ls_model_name",
    "model_name",
];
/// Answering model.
pub(super) const MODEL_RESPONSE: &[&str] =
    &["gen_ai.response.model", "llm.response.model_name", "ai.response.model", "llm.response.model"];
/// Provider.
pub(super) const PROVIDER: &[&str] = &[
    "gen_ai.provider.name",
    "gen_ai.system",
    "llm.provider",
    "llm.system",
    "ai.model.provider",
    "mlflow.llm.provider",
    "langsmith.metadata.ls_provider",
];

/// Name of the prompt.
pub(super) const PROMPT_NAME: &[&str] =
    &["gen_ai.prompt.name", "langfuse.observation.prompt.name", "prompt.id", "traceloop.prompt.key"];
/// Version of the prompt.
pub(super) const PROMPT_VERSION: &[&str] = &[
    "gen_ai.prompt.version",
    "langfuse.observation.prompt.version",
    "llm.prompt_template.version",
    "traceloop.prompt.version",
];

/// Tokens read.
pub(super) const INPUT_TOKENS: &[&str] = &[
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.prompt_tokens",
    "llm.token_count.prompt",
    "ai.usage.inputTokens",
    "ai.usage.promptTokens",
    "ai.usage.tokens",
    "llm.usage.prompt_tokens",
    "ai.prompt_tokens.used",
];
/// Tokens written.
pub(super) const OUTPUT_TOKENS: &[&str] = &[
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.completion_tokens",
    "llm.token_count.completion",
    "ai.usage.outputTokens",
    "ai.usage.completionTokens",
    "llm.usage.completion_tokens",
    "ai.completion_tokens.used",
];
/// Tokens read from a cache.
pub(super) const CACHE_READ: &[&str] = &[
    "gen_ai.usage.cache_read.input_tokens",
    "llm.token_count.prompt_details.cache_read",
    "llm.token_count.prompt_details.cache_input",
    "gen_ai.usage.cache_read_input_tokens",
    "gen_ai.usage.input_tokens.cached",
    "ai.usage.inputTokenDetails.cacheReadTokens",
    "ai.usage.cachedInputTokens",
    "gen_ai.usage.details.cache_read_tokens",
    "gen_ai.usage.details.cache_read_input_tokens",
    "gen_ai.usage.details.cached_tokens",
];
/// Tokens written to a cache.
pub(super) const CACHE_WRITE: &[&str] = &[
    "gen_ai.usage.cache_write.input_tokens",
    "gen_ai.usage.cache_creation.input_tokens",
    "llm.token_count.prompt_details.cache_write",
    "gen_ai.usage.cache_creation_input_tokens",
    "gen_ai.usage.cache_write_input_tokens",
    "gen_ai.usage.input_tokens.cache_write",
    "ai.usage.inputTokenDetails.cacheWriteTokens",
    "gen_ai.usage.details.cache_write_tokens",
    "gen_ai.usage.details.cache_creation_input_tokens",
];
/// Tokens spent on reasoning.
pub(super) const REASONING: &[&str] = &[
    "gen_ai.usage.reasoning.output_tokens",
    "llm.token_count.completion_details.reasoning",
    "gen_ai.usage.reasoning_tokens",
    "gen_ai.usage.reasoning_output_tokens",
    "gen_ai.usage.output_tokens.reasoning",
    "ai.usage.outputTokenDetails.reasoningTokens",
    "ai.usage.reasoningTokens",
    "gen_ai.usage.details.reasoning_tokens",
    "gen_ai.usage.details.thoughts_tokens",
];
/// Totals: taken out when they are the sum, never trusted otherwise.
pub(super) const TOTAL_TOKENS: &[&str] =
    &["gen_ai.usage.total_tokens", "llm.token_count.total", "llm.usage.total_tokens", "ai.usage.totalTokens"];

/// JSON that holds all counts of a call, read where no attribute of their own states them; left in place.
pub(super) const USAGE_OBJECTS: &[&str] = &["langsmith.usage_metadata", "mlflow.chat.tokenUsage"];
/// JSON that holds Langfuse's buckets, which are added up; left in place.
pub(super) const USAGE_BUCKETS: &[&str] = &["langfuse.observation.usage_details"];
/// JSON that holds parts of the input and of the output, beside plain counts; left in place.
pub(super) const USAGE_DETAILS: &[&str] = &["gen_ai.usage.input_token_details", "gen_ai.usage.output_token_details"];

/// Stated cost in US dollars.
pub(super) const COST: &[&str] = &[
    "llm.cost.total",
    "gen_ai.usage.cost",
    "gen_ai.usage.total_cost",
    "gen_ai.cost.total_tokens",
    "mlflow.llm.cost.total_cost",
    "ai.total_cost",
    "operation.cost",
];
/// JSON that holds a total cost; left in place.
pub(super) const COST_OBJECTS: &[(&str, &str)] =
    &[("langfuse.observation.cost_details", "total"), ("mlflow.llm.cost", "total_cost")];
/// Stated cost in two halves: input, output.
pub(super) const COST_HALVES: &[(&str, &str)] = &[
    ("llm.cost.prompt", "llm.cost.completion"),
    ("gen_ai.usage.input_cost", "gen_ai.usage.output_cost"),
    ("gen_ai.cost.input_tokens", "gen_ai.cost.output_tokens"),
];

/// Why the model stopped.
pub(super) const FINISH: &[&str] = &[
    "gen_ai.response.finish_reasons",
    "llm.finish_reason",
    "gen_ai.response.finish_reason",
    "gen_ai.response.stop_reason",
    "ai.response.finishReason",
    "ai.finishReason",
    "ai.finish_reason",
];

/// Name of the tool; `traceloop.entity.name` and the span's own name follow for tool spans.
pub(super) const TOOL_NAME: &[&str] = &["gen_ai.tool.name", "tool.name", "ai.toolCall.name", "mcp.tool.name"];
/// Id of the tool call.
pub(super) const TOOL_CALL_ID: &[&str] = &["gen_ai.tool.call.id", "tool.id", "tool_call.id", "ai.toolCall.id"];
/// Arguments of the tool call; the raw input follows.
pub(super) const TOOL_ARGUMENTS: &[&str] = &[
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.input",
    "ai.toolCall.args",
    "gen_ai.tool.args",
    "tool_arguments",
    "gcp.vertex.agent.tool_call_args",
    "input.value",
    "traceloop.entity.input",
    "langfuse.observation.input",
    "mlflow.spanInputs",
    "agentops.entity.input",
    "tool.parameters",
];
/// Result of the tool call; the raw output follows.
pub(super) const TOOL_RESULT: &[&str] = &[
    "gen_ai.tool.call.result",
    "gen_ai.tool.output",
    "ai.toolCall.result",
    "tool_response",
    "gcp.vertex.agent.tool_response",
    "output.value",
    "traceloop.entity.output",
    "langfuse.observation.output",
    "mlflow.spanOutputs",
    "agentops.entity.output",
    "tool.result",
    "gen_ai.output",
];

/// Raw input.
pub(super) const INPUT: &[&str] = &[
    "langfuse.observation.input",
    "input.value",
    "traceloop.entity.input",
    "agentops.entity.input",
    "gen_ai.retrieval.query.text",
    "ai.value",
    "ai.values",
    "mlflow.spanInputs",
    "langfuse.trace.input",
    "workflow.input",
    "gcp.vertex.agent.llm_request",
];
/// Raw output.
pub(super) const OUTPUT: &[&str] = &[
    "langfuse.observation.output",
    "output.value",
    "traceloop.entity.output",
    "agentops.entity.output",
    "gen_ai.retrieval.documents",
    "mlflow.spanOutputs",
    "langfuse.trace.output",
    "workflow.output",
    "gen_ai.output",
    "final_result",
    "gcp.vertex.agent.llm_response",
];

/// Class of the error.
pub(super) const ERROR_KIND: &[&str] = &["error.type", "exception.type"];
/// Text of the error; the status message comes before.
pub(super) const ERROR_MESSAGE: &[&str] =
    &["error.message", "exception.message", "langfuse.observation.status_message"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_for_users_shows_every_key_in_order() {
        let page = include_str!("../../../docs/dialects.md");
        let rows: &[&[&str]] = &[
            SESSION,
            USER,
            AGENT_NAME,
            AGENT_ID,
            AGENT_VERSION,
            MODEL_REQUEST,
            MODEL_RESPONSE,
            PROVIDER,
            PROMPT_NAME,
            PROMPT_VERSION,
            INPUT_TOKENS,
            OUTPUT_TOKENS,
            CACHE_READ,
            CACHE_WRITE,
            REASONING,
            TOTAL_TOKENS,
            USAGE_OBJECTS,
            USAGE_BUCKETS,
            USAGE_DETAILS,
            COST,
            FINISH,
            TOOL_NAME,
            TOOL_CALL_ID,
            TOOL_ARGUMENTS,
            TOOL_RESULT,
            INPUT,
            OUTPUT,
            ERROR_KIND,
            ERROR_MESSAGE,
        ];
        for row in rows {
            let shown = row.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
            assert!(page.contains(&format!("| {shown} |")), "docs/dialects.md lacks the row {shown}");
        }
        for (left, right) in COST_OBJECTS.iter().chain(COST_HALVES) {
            assert!(page.contains(&format!("`{left}`")) && page.contains(&format!("`{right}`")), "{left}, {right}");
        }
    }
}
