//! Reading chat completions.

use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use crate::model::{ChatReply, Failure, FinishReason, TokenChance, Usage};
use crate::provider::Attempted;
use crate::provider::wire::Wire;
use crate::sys::failure_of_status;
use crate::sys::text::one_line;

#[derive(Deserialize)]
struct Completion {
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    choices: Vec<Choice>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    message: Option<Said>,
    #[serde(default)]
    finish_reason: Option<String>,
    #[serde(default)]
    logprobs: Option<Value>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    content: Option<Value>,
    #[serde(default)]
    refusal: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<ToolCall>>,
}

#[derive(Deserialize)]
struct ToolCall {
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    arguments: String,
}

#[derive(Default, Deserialize)]
struct Tokens {
    #[serde(default)]
    prompt_tokens: Option<u64>,
    #[serde(default)]
    completion_tokens: Option<u64>,
    #[serde(default)]
    total_tokens: Option<u64>,
    #[serde(default)]
    prompt_tokens_details: Option<PromptDetails>,
    #[serde(default)]
    completion_tokens_details: Option<CompletionDetails>,
    /// DeepSeek's name for cached tokens.
    #[serde(default)]
    prompt_cache_hit_tokens: Option<u64>,
}

#[derive(Default, Deserialize)]
struct PromptDetails {
    #[serde(default)]
    cached_tokens: Option<u64>,
    #[serde(default)]
    cache_write_tokens: Option<u64>,
}

#[derive(Default, Deserialize)]
struct CompletionDetails {
    #[serde(default)]
    reasoning_tokens: Option<u64>,
}

fn usage_of(tokens: &Tokens) -> Usage {
    let written = tokens.completion_tokens;
    // Some servers (xAI, Gemini) leave reasoning out of `completion_tokens` but not out of the total.
    let rest = tokens.total_tokens.zip(tokens.prompt_tokens).and_then(|(total, read)| total.checked_sub(read));
    Usage {
        input: tokens.prompt_tokens,
        output: written.map(|written| rest.map_or(written, |rest| rest.max(written))),
        cache_read: tokens
            .prompt_tokens_details
            .as_ref()
            .and_then(|details| details.cached_tokens)
            .or(tokens.prompt_cache_hit_tokens),
        cache_write: tokens.prompt_tokens_details.as_ref().and_then(|details| details.cache_write_tokens),
        reasoning: tokens.completion_tokens_details.as_ref().and_then(|details| details.reasoning_tokens),
    }
}

/// Reads a reply, whatever server of this format sent it.
pub(super) fn read_reply(wire: &Wire, reply: Value) -> Attempted {
    // Read apart: an odd count must not cost the reply, nor an odd reply the count.
    let usage = reply.get("usage").and_then(|usage| Tokens::deserialize(usage).ok());
    let usage = usage.as_ref().map(usage_of).unwrap_or_default();
    let completion = match Completion::deserialize(&reply) {
        Ok(completion) => completion,
        Err(error) => {
            let failure = wire.bad_reply(&format!("the reply is not a chat completion: {error}"));
            return Attempted::billed(failure, usage);
        }
    };
    match read_choice(wire, &completion, &usage) {
        Ok(answered) => Attempted::answered(answered),
        Err(failure) => Attempted::billed(failure, usage),
    }
}

/// The reply, and the tool that was called where nothing was said beside it.
fn read_choice(wire: &Wire, completion: &Completion, usage: &Usage) -> Result<(ChatReply, Option<String>), Failure> {
    if let Some(error) = completion.error.as_ref().filter(|error| !error.is_null()) {
        return Err(upstream_failure(wire, error));
    }
    let choice = completion.choices.first().ok_or_else(|| wire.bad_reply("the reply has no choices"))?;
    if let Some(error) = choice.error.as_ref().filter(|error| !error.is_null()) {
        return Err(upstream_failure(wire, error));
    }
    let said = choice.message.as_ref().ok_or_else(|| wire.bad_reply("the reply's choice has no message"))?;
    let mut finish = finish_of(choice.finish_reason.as_deref());
    let mut called = None;
    let call = || {
        let function = &said.tool_calls.as_ref()?.first()?.function;
        called.clone_from(&function.name);
        Some(function.arguments.clone())
    };
    let text = match said.refusal.as_ref().filter(|refusal| !refusal.is_empty()) {
        Some(refusal) => {
            finish = FinishReason::Refusal;
            Some(refusal.clone())
        }
        None => said.content.as_ref().and_then(content_text).or_else(call),
    };
    let empty_is_fine = matches!(finish, FinishReason::Length | FinishReason::ContentFilter);
    let text = match text {
        Some(text) => text,
        None if empty_is_fine => String::new(),
        None => return Err(wire.bad_reply("the reply's message has no content")),
    };
    let text = wire.secrets.scrub_reply(text);
    let tokens = choice.logprobs.as_ref().and_then(|logprobs| logprobs.get("content")).map(chances);
    let tokens = tokens.filter(|tokens| !tokens.is_empty());
    Ok((ChatReply { text, finish, model: completion.model.clone(), usage: usage.clone(), tokens }, called))
}

/// Tokens with their chances; the responses interface writes them the same way.
pub(in crate::provider) fn chances(list: &Value) -> Vec<TokenChance> {
    let token = |one: &Value| {
        let text = one.get("token").and_then(Value::as_str)?;
        Some((text.to_owned(), one.get("logprob").and_then(Value::as_f64)?))
    };
    let place = |one: &Value| {
        let (text, logprob) = token(one)?;
        let top = one.get("top_logprobs").and_then(Value::as_array);
        Some(TokenChance { text, logprob, top: top.into_iter().flatten().filter_map(token).collect() })
    };
    list.as_array().into_iter().flatten().filter_map(place).collect()
}

/// Routers answer 200 and put the failure of the server behind them into the body.
fn upstream_failure(wire: &Wire, error: &Value) -> Failure {
    let code = error.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
    let status = code.and_then(|code| StatusCode::from_u16(code).ok()).filter(|status| !status.is_success());
    let text = wire.secrets.scrub(&error.to_string());
    match status {
        Some(status) => failure_of_status(&wire.what(), status, &text),
        None => wire.bad_reply(&format!("the reply is an error: {}", one_line(&text, 300))),
    }
}

/// Text, or the text parts of a list of parts; `None` for anything else.
fn content_text(content: &Value) -> Option<String> {
    match content {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => {
            let texts = parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str));
            Some(texts.collect::<Vec<_>>().concat())
        }
        _ => None,
    }
}

fn finish_of(reason: Option<&str>) -> FinishReason {
    match reason {
        Some("stop" | "eos" | "end_turn") => FinishReason::Stop,
        Some("length" | "max_tokens" | "model_length") => FinishReason::Length,
        Some("tool_calls" | "function_call") => FinishReason::ToolCall,
        Some("content_filter") => FinishReason::ContentFilter,
        Some("refusal") => FinishReason::Refusal,
        _ => FinishReason::Other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tokens_are_counted_in_subset_semantics() {
        let tokens: Tokens = serde_json::from_value(json!({
            "prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 150,
            "prompt_tokens_details": {"cached_tokens": 60}, "completion_tokens_details": {"reasoning_tokens": 30},
        }))
        .unwrap();
        let usage = usage_of(&tokens);
        assert_eq!((usage.input, usage.output), (Some(100), Some(50)));
        assert_eq!((usage.cache_read, usage.reasoning), (Some(60), Some(30)));
    }
}
