//! A conversation as one trial: what the user says comes from a script, or from a model that plays the user.
//!
//! The output is the target's last reply; every turn stands in the trial's trace, with the steps that the target told.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::stage::context_of;
use super::template::Template;
use super::{Stage, Target, TargetCall, TargetReply};
use crate::model::{
    AnswerFormat, ChatMessage, Digest, Digester, Example, Failure, FailureKind, Message, Output, Role, Span, SpanId,
    SpanKind, Spend, Trace, TraceId,
};
use crate::provider::{AskKey, ModelHandle};
use crate::sys::Clock;

/// What a model that plays a user says when it is done, unless told otherwise.
const DONE: &str = "[DONE]";

/// How a conversation is led.
pub struct Talk {
    user: User,
    max_turns: u32,
    /// Texts in a reply of the target that end the conversation.
    until: Vec<String>,
}

/// Who speaks for the user.
pub enum User {
    /// The example: its `turns`, or the user's messages of its input.
    Script,
    /// A model.
    Model(Box<Goals>),
}

/// A model that plays a user.
pub struct Goals {
    model: ModelHandle,
    prompt: Template,
    /// What it says when it is done.
    stop: Vec<String>,
    digest: Digest,
}

impl Goals {
    /// A player with its instructions, a template over the example.
    ///
    /// # Errors
    /// The template cannot be read.
    pub fn new(model: ModelHandle, prompt: Option<&str>, stop: Vec<String>) -> Result<Self, String> {
        let stop = if stop.is_empty() { vec![DONE.to_owned()] } else { stop };
        let wish = prompt.unwrap_or("You want this: {{input}}");
        let words = stop.join("` or `");
        let text = format!(
            "You play a person who talks to an assistant. Stay in your part: you ask and answer as that person, in your \
             own words, one message at a time, and never do the assistant's work.\n\n{wish}\n\nWhen you have what you \
             want, or see that you will not get it, answer with `{words}` and nothing else."
        );
        let digest = Digester::new()
            .part("endpoint", model.client.identity().as_bytes())
            .part("model", model.model.as_bytes())
            .part("prompt", text.as_bytes())
            .finish();
        Ok(Self { model, prompt: Template::plain(&text)?, stop, digest })
    }
}

impl Talk {
    /// A conversation of at most so many turns of the user.
    pub fn new(user: User, max_turns: u32, until: Vec<String>) -> Self {
        Self { user, max_turns: max_turns.max(1), until }
    }

    /// Most turns.
    pub fn max_turns(&self) -> u32 {
        self.max_turns
    }

    /// Holds one conversation.
    pub(super) async fn hold(
        &self,
        target: &dyn Target,
        call: &TargetCall<'_>,
        clock: &Arc<dyn Clock>,
    ) -> Result<TargetReply, Failure> {
        let script = match self.user {
            User::Script => Some(turns_of(call.example)?),
            User::Model(_) => None,
        };
        let mut so_far = SoFar::new(call);
        while so_far.turns < self.max_turns {
            let said = match (&script, &self.user) {
                (Some(turns), _) => turns.get(so_far.turns as usize).cloned(),
                (None, User::Model(goals)) => goals.speak(call, &mut so_far).await?,
                (None, User::Script) => None,
            };
            let Some(said) = said else { break };
            let reply = so_far.turn(target, call, said, clock).await?;
            if self.until.iter().any(|text| reply.contains(text)) {
                break;
            }
        }
        so_far.finish(call)
    }
}

impl Goals {
    /// What the user says next; `None` when it is done.
    async fn speak(&self, call: &TargetCall<'_>, so_far: &mut SoFar) -> Result<Option<String>, Failure> {
        let system = ChatMessage { role: Role::System, content: self.prompt.render(&context_of(call))? };
        // Seen from the other side: what the user said is the player's own.
        let turned = so_far.said.iter().map(|message| {
            let role = if message.role == Role::User { Role::Assistant } else { Role::User };
            ChatMessage { role, content: message.content.clone() }
        });
        let begin = ChatMessage { role: Role::User, content: "Hello, how can I help you?".to_owned() };
        let messages = [system, begin].into_iter().chain(turned).collect();
        let request = self.model.request(messages, AnswerFormat::Text);
        let key = AskKey { asker: self.digest.clone(), draw: call.trial };
        let answer = self.model.client.ask(&request, &key, call.on_notice).await.map_err(|mut failure| {
            failure.message = format!("the model that plays the user: {}", failure.message);
            failure
        })?;
        so_far.spend.add(&answer.spend);
        let text = answer.reply.text.trim().to_owned();
        let done = text.is_empty() || self.stop.iter().any(|stop| text.contains(stop));
        Ok((!done).then_some(text))
    }
}

/// A conversation that goes on.
struct SoFar {
    said: Vec<ChatMessage>,
    turns: u32,
    spans: Vec<Span>,
    spend: Spend,
    cached: bool,
    last: Option<Output>,
    trace: TraceId,
    usage: crate::model::Usage,
    cost_usd: Option<f64>,
    took_ms: f64,
}

impl SoFar {
    fn new(call: &TargetCall<'_>) -> Self {
        let trace = call.stage.trace.as_ref().map_or("", |ids| ids.trace.as_str());
        Self {
            said: Vec::new(),
            turns: 0,
            spans: Vec::new(),
            spend: Spend::default(),
            cached: true,
            last: None,
            trace: TraceId::new(trace),
            usage: crate::model::Usage::default(),
            cost_usd: None,
            took_ms: 0.0,
        }
    }

    async fn turn(
        &mut self,
        target: &dyn Target,
        call: &TargetCall<'_>,
        said: String,
        clock: &Arc<dyn Clock>,
    ) -> Result<String, Failure> {
        let example = Example { input: Value::String(said.clone()), ..call.example.clone() };
        let stage = Stage { said: Some(self.said.clone()), ..call.stage.clone() };
        let inner = TargetCall { example: &example, stage: &stage, ..*call };
        let start_ns = nanos(clock.as_ref());
        let started = Instant::now();
        let number = self.turns + 1;
        let reply = target.run(&inner).await.map_err(|mut failure| {
            failure.message = format!("turn {number}: {}", failure.message);
            // The turns before it have taken effect.
            if number > 1 { failure.not_repeated() } else { failure }
        })?;
        self.took_ms += reply.output.latency_ms.unwrap_or_else(|| started.elapsed().as_secs_f64() * 1000.0);
        let text = reply.output.text();
        let mut span = self.span(number, start_ns);
        span.end_ns = Some(nanos(clock.as_ref()).max(start_ns));
        span.messages_in = vec![Message::text("user", said.clone())];
        span.messages_out = vec![Message::text("assistant", text.clone())];
        let parent = span.span_id.clone();
        self.spans.push(span);
        if let Some(trace) = &reply.output.trace {
            self.spans.extend(trace.spans.iter().map(|step| below(step, &parent, number, start_ns, &self.trace)));
        }
        self.said.push(ChatMessage { role: Role::User, content: said });
        self.said.push(ChatMessage { role: Role::Assistant, content: text.clone() });
        self.spend.add(&reply.spend);
        self.cached &= reply.cached;
        self.usage = self.usage.plus(&reply.output.usage);
        self.cost_usd = reply.output.cost_usd.map(|cost| cost + self.cost_usd.unwrap_or(0.0)).or(self.cost_usd);
        self.turns = number;
        self.last = Some(reply.output);
        Ok(text)
    }

    fn span(&self, number: u32, start_ns: i64) -> Span {
        let id = SpanId::new(format!("{number:016x}"));
        let mut span = Span::new(self.trace.clone(), id, SpanKind::Agent, format!("turn {number}"), start_ns);
        span.parent_id = Some(SpanId::new(ROOT));
        span
    }

    fn finish(self, call: &TargetCall<'_>) -> Result<TargetReply, Failure> {
        let Some(last) = self.last else {
            let text = format!("example `{}`: the user said nothing, so there is no conversation", call.example.id);
            return Err(Failure::new(FailureKind::BadRequest, text));
        };
        let mut root = Span::new(
            self.trace.clone(),
            SpanId::new(ROOT),
            SpanKind::Step,
            "conversation",
            self.spans.first().map_or(0, |span| span.start_ns),
        );
        root.end_ns = self.spans.iter().filter_map(|span| span.end_ns).max();
        let word = |message: &ChatMessage| if message.role == Role::User { "user" } else { "assistant" };
        let mut told = self.said.iter().map(|message| Message::text(word(message), message.content.clone()));
        let last_word = told.next_back();
        root.messages_in = told.collect();
        root.messages_out = last_word.into_iter().collect();
        let mut spans = vec![root];
        spans.extend(self.spans);
        spans.sort_by(|left, right| (left.start_ns, &left.span_id).cmp(&(right.start_ns, &right.span_id)));
        let mut metadata = last.metadata;
        metadata.insert("turns".to_owned(), json!(self.turns));
        let trace = Trace { id: self.trace, session_id: None, spans, faults: Vec::new() };
        let output = Output {
            value: last.value,
            trace: Some(Arc::new(trace)),
            usage: self.usage,
            cost_usd: self.cost_usd,
            latency_ms: Some(self.took_ms),
            metadata,
        };
        Ok(TargetReply { output, spend: self.spend, cached: self.cached })
    }
}

/// Id of the span that stands for the whole conversation; sorts before those of its turns.
const ROOT: &str = "0000000000000000";

/// A step that the target told about one turn, under that turn's span.
fn below(step: &Span, turn: &SpanId, number: u32, start_ns: i64, trace: &TraceId) -> Span {
    let mut step = step.clone();
    step.span_id = within(number, &step.span_id);
    step.parent_id = Some(step.parent_id.as_ref().map_or_else(|| turn.clone(), |id| within(number, id)));
    // Steps without times keep their order after the turn's beginning.
    if step.start_ns == 0 {
        step.start_ns = start_ns;
    }
    step.trace_id = trace.clone();
    step
}

/// Ids of steps are unique within a turn only.
fn within(number: u32, id: &SpanId) -> SpanId {
    SpanId::new(format!("{number}.{}", id.as_str()))
}

fn nanos(clock: &dyn Clock) -> i64 {
    i64::try_from(clock.now().as_nanosecond()).unwrap_or(0)
}

/// What the user says, turn by turn: `turns` of the input or of the metadata, the user's messages of the input, or the
/// input itself.
fn turns_of(example: &Example) -> Result<Vec<String>, Failure> {
    let bad = || {
        let text = format!("example `{}`: `turns` must be a list of texts", example.id);
        Failure::new(FailureKind::BadRequest, text)
    };
    let listed = example.input.get("turns").or_else(|| example.metadata.get("turns"));
    if let Some(turns) = listed {
        let turns = turns.as_array().ok_or_else(bad)?;
        return turns.iter().map(|turn| turn.as_str().map(str::to_owned).ok_or_else(bad)).collect();
    }
    let messages = example.input.get("messages").unwrap_or(&example.input).as_array();
    let Some(messages) = messages else { return Ok(vec![example.input_text()]) };
    let of_user = messages.iter().filter(|message| message.get("role").and_then(Value::as_str) == Some("user"));
    let text = |message: &Value| match message.get("content") {
        Some(Value::String(text)) => text.clone(),
        other => other.map(Value::to_string).unwrap_or_default(),
    };
    Ok(of_user.map(text).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_stand_in_several_places() {
        let turns = |input: Value| turns_of(&Example::new("e".into(), input)).map_err(|failure| failure.message);
        assert_eq!(turns(json!("hi")).unwrap(), ["hi"]);
        assert_eq!(turns(json!({"turns": ["a", "b"]})).unwrap(), ["a", "b"]);
        let messages = json!([
            {"role": "system", "content": "s"}, {"role": "user", "content": "a"},
            {"role": "assistant", "content": "x"}, {"role": "user", "content": "b"},
        ]);
        assert_eq!(turns(messages.clone()).unwrap(), ["a", "b"]);
        assert_eq!(turns(json!({"messages": messages})).unwrap(), ["a", "b"]);
        assert!(turns(json!({"turns": "a"})).unwrap_err().contains("list of texts"));
        let mut example = Example::new("e".into(), json!("hi"));
        example.metadata.insert("turns".to_owned(), json!(["one", "two"]));
        assert_eq!(turns_of(&example).unwrap(), ["one", "two"]);
    }
}
