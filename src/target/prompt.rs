//! A prompt under test: a template filled in with the example and put to a model.

use std::collections::BTreeMap;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::stage::context_of;
use super::template::Template;
use super::{BuildContext, Target, TargetCall, TargetReply, options};
use crate::model::{
    AnswerFormat, ChatMessage, ChatRequest, Digest, Digester, Failure, FailureKind, FinishReason, Output, Role,
    TargetInfo, canonical_json,
};
use crate::provider::{AskKey, ModelHandle};
use crate::sys::files::read_text;

pub(super) const SAMPLE: &str = r#"model = "small"
system = "You answer in one sentence."
user = "{{input}}"
temperature = 0.0
"#;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Alias of a model in the configuration.
    model: String,
    /// Template of the system message.
    system: Option<String>,
    /// File with the template of the system message, relative to the configuration.
    system_file: Option<String>,
    /// Template of the user message; the input when neither this nor `user_file` is given.
    user: Option<String>,
    /// File with the template of the user message, relative to the configuration.
    user_file: Option<String>,
    /// Whether the output is JSON; text that is not stays text, for a scorer to find fault with.
    #[serde(default)]
    json: bool,
    /// JSON Schema that the model is held to, where its provider can; implies `json`.
    schema: Option<Value>,
    /// Sampling temperature instead of the model's.
    temperature: Option<f64>,
    /// Most tokens to write instead of the model's.
    max_tokens: Option<u32>,
}

pub(super) fn schema() -> Value {
    schemars::schema_for!(Options).to_value()
}

pub(super) fn build(value: &Value, context: &BuildContext<'_>) -> Result<Box<dyn Target>, String> {
    let read: Options = options(value)?;
    let mut model = (context.models)(&read.model).map_err(|error| format!("`model`: {error}"))?;
    model.temperature = read.temperature.or(model.temperature);
    model.max_tokens = read.max_tokens.or(model.max_tokens);
    let system = text_of("system", read.system, read.system_file, context)?;
    let user = text_of("user", read.user, read.user_file, context)?.unwrap_or_else(|| "{{input}}".to_owned());
    let template = |name: &str, text: &str| Template::plain(text).map_err(|error| format!("`{name}`: {error}"));
    let answer = match &read.schema {
        Some(schema) => AnswerFormat::Json { name: "answer".to_owned(), schema: schema.clone() },
        None => AnswerFormat::Text,
    };
    let json = read.json || read.schema.is_some();
    Ok(Box::new(PromptTarget {
        name: context.name.to_owned(),
        digest: digest_of(&model, system.as_deref(), &user, &answer, json),
        alias: read.model,
        prompt: Digester::new()
            .part("system", system.as_deref().unwrap_or_default().as_bytes())
            .part("user", user.as_bytes())
            .finish(),
        system: system.as_deref().map(|text| template("system", text)).transpose()?,
        user: template("user", &user)?,
        model,
        answer,
        json,
    }))
}

fn text_of(
    name: &str,
    text: Option<String>,
    file: Option<String>,
    context: &BuildContext<'_>,
) -> Result<Option<String>, String> {
    match (text, file) {
        (Some(_), Some(_)) => Err(format!("both `{name}` and `{name}_file` are given; keep one")),
        (None, Some(file)) => read_text(&context.base.join(file)).map(Some).map_err(|error| error.to_string()),
        (text, None) => Ok(text),
    }
}

/// Everything that can change an output: templates, model, parameters, server.
fn digest_of(model: &ModelHandle, system: Option<&str>, user: &str, answer: &AnswerFormat, json: bool) -> Digest {
    // The request without an example: model, parameters and form of the answer in one.
    let request = model.request(Vec::new(), answer.clone());
    let request = serde_json::to_value(&request).unwrap_or_default();
    Digester::new()
        .part("kind", b"prompt")
        .part("endpoint", model.client.identity().as_bytes())
        .part("request", canonical_json(&request).as_bytes())
        .part("system", system.unwrap_or_default().as_bytes())
        .part("has_system", &[u8::from(system.is_some())])
        .part("user", user.as_bytes())
        .part("json", &[u8::from(json)])
        .finish()
}

struct PromptTarget {
    name: String,
    alias: String,
    /// Digest of its templates: which prompt it is, whatever model it is put to.
    prompt: Digest,
    digest: Digest,
    system: Option<Template>,
    user: Template,
    model: ModelHandle,
    answer: AnswerFormat,
    json: bool,
}

#[async_trait]
impl Target for PromptTarget {
    fn info(&self) -> TargetInfo {
        let settings = [
            ("model", Some(json!(self.model.model))),
            ("alias", Some(json!(self.alias))),
            ("temperature", self.model.temperature.map(|temperature| json!(temperature))),
            ("max_tokens", self.model.max_tokens.map(|most| json!(most))),
            ("prompt", Some(json!(self.prompt.short()))),
        ];
        let settings: BTreeMap<String, Value> =
            settings.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        TargetInfo { kind: "prompt".to_owned(), name: self.name.clone(), digest: self.digest.clone(), settings }
    }

    /// The client's own time limits and retries hold, not the call's: there is one retry layer.
    async fn run(&self, call: &TargetCall<'_>) -> Result<TargetReply, Failure> {
        let request = self.request(call)?;
        let key = AskKey { asker: self.digest.clone(), draw: call.trial };
        let answer = self.model.client.ask(&request, &key, call.on_notice).await?;
        let reply = answer.reply;
        if reply.finish == FinishReason::ContentFilter && reply.text.is_empty() {
            let text = format!("target `{}`: the provider's content filter left nothing of the answer", self.name);
            return Err(Failure::new(FailureKind::ContentFilter, text));
        }
        let cost_usd = self.model.client.cost_usd(&request.model, &reply);
        let mut metadata = BTreeMap::from([("finish".to_owned(), json!(reply.finish))]);
        metadata.extend(reply.model.map(|model| ("model".to_owned(), json!(model))));
        let output = Output {
            value: if self.json { json_or_text(reply.text) } else { Value::String(reply.text) },
            trace: None,
            usage: reply.usage,
            cost_usd,
            latency_ms: Some(answer.took_ms as f64),
            metadata,
        };
        Ok(TargetReply { output, spend: answer.spend, cached: answer.cached })
    }

    fn retried_by_runner(&self) -> bool {
        false
    }
}

impl PromptTarget {
    fn request(&self, call: &TargetCall<'_>) -> Result<ChatRequest, Failure> {
        let context = context_of(call);
        let said = call.stage.said.as_deref().unwrap_or_default();
        let mut messages = Vec::with_capacity(said.len() + 2);
        if let Some(system) = &self.system {
            messages.push(ChatMessage { role: Role::System, content: system.render(&context)? });
        }
        messages.extend_from_slice(said);
        messages.push(ChatMessage { role: Role::User, content: self.user.render(&context)? });
        Ok(self.model.request(messages, self.answer.clone()))
    }
}

/// The JSON of a reply, a code fence around it left out; the text where it is none.
fn json_or_text(text: String) -> Value {
    let inner = text.trim();
    let unfenced = inner
        .strip_prefix("```json")
        .or_else(|| inner.strip_prefix("```"))
        .and_then(|rest| rest.trim_end().strip_suffix("```"))
        .unwrap_or(inner);
    serde_json::from_str(unfenced).unwrap_or(Value::String(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fences_are_left_out_and_text_stays_text() {
        assert_eq!(json_or_text("```json\n{\"a\": 1}\n```".to_owned()), json!({"a": 1}));
        assert_eq!(json_or_text(" [1] ".to_owned()), json!([1]));
        assert_eq!(json_or_text("not json".to_owned()), json!("not json"));
    }
}
