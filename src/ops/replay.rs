//! `assize traces replay`: a target run again on a recorded trace, with one thing set otherwise.
//!
//! The target talks to a model server of ours (`replaying`), which gives the recorded answers as long as the conversation
//! is the recorded one. From the first difference on, the real server is asked. What came out is told step by step.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::build::Builder;
use super::exit::{Done, Failed};
use super::project::{Project, World};
use super::replaying::{Asked, Script, Server, serve};
use super::services::Services;
use super::traces;
use crate::config::TargetConfig;
use crate::model::{Example, SpanKind, Trace};
use crate::sys::text::one_line;
use crate::target::{Stage, TargetCall};

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// Trace id, or its first characters.
    pub trace: String,
    /// Suite of the target.
    pub suite: Option<String>,
    /// Target; the suite's candidate when absent.
    pub target: Option<String>,
    /// Step that is set otherwise, from 1.
    pub from: Option<usize>,
    /// What is set, as typed: `tool.result=JSON` or `input=TEXT`.
    pub set: Vec<String>,
    /// Variable by which the target learns the address of its model server.
    pub base_url_env: String,
    /// Base address of the real server.
    pub upstream: Option<String>,
    /// Time limit of the target.
    pub timeout: Duration,
}

/// How a step compares with the recorded one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// As recorded.
    Same,
    /// Set otherwise by the user.
    Set,
    /// Asked anew, and the answer is the recorded one.
    SameAgain,
    /// Asked anew, with another answer.
    Changed,
    /// There was no such step.
    New,
    /// The recorded step that did not happen again.
    NotReached,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// Number, from 1; those that are new go on counting.
    pub number: usize,
    /// `model` or `tool`.
    pub kind: &'static str,
    /// Name of the tool or model.
    pub name: String,
    /// What was recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorded: Option<String>,
    /// What came now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<String>,
    /// How they compare.
    pub standing: Standing,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Replayed {
    /// The trace.
    pub trace: String,
    /// The target that was run.
    pub target: String,
    /// Steps in order.
    pub steps: Vec<Step>,
    /// First step that is not as recorded; `None` when all are.
    pub diverges_at: Option<usize>,
    /// Recorded output.
    pub recorded_output: Option<Value>,
    /// What the target gave now; absent when it failed.
    pub output: Option<Value>,
    /// Why it failed.
    pub failure: Option<String>,
    /// What should be known of it.
    pub notes: Vec<String>,
}

/// Runs the target again.
pub async fn replay(project: &Project, world: &World, ask: &Ask) -> Done<Replayed> {
    let usage = |text: String| Failed::usage(anyhow!(text));
    let trace = traces::show(project, world, &ask.trace)?.trace;
    let suite = project.suite(ask.suite.as_deref())?;
    let name = ask.target.clone().unwrap_or_else(|| suite.candidate.clone());
    let known = suite.targets.keys().cloned().collect::<Vec<_>>().join(", ");
    let config = suite.targets.get(&name).ok_or_else(|| usage(format!("no target `{name}`; there is {known}")))?;
    let (script, input) = scripted(&trace, ask)?;
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(Failed::instrument)?;
    let address = listener.local_addr().map_err(Failed::instrument)?;
    let config = pointed(config, &ask.base_url_env, &format!("http://{address}/v1")).map_err(usage)?;
    let services = Services::open(project, world, true, None).await?;
    let target = Builder::new(project, world, &services).target_of(&name, &config)?;
    let server = Arc::new(Server::new(script, ask.upstream.clone(), services.http().clone(), ask.timeout));
    let serving = tokio::spawn(serve(listener, Arc::clone(&server)));
    let example = Example::new(trace.id.as_str().into(), input);
    let stage = &Stage::BARE;
    let call = TargetCall { example: &example, trial: 0, attempt: 1, timeout: ask.timeout, on_notice: &|_| {}, stage };
    let opened = target.open().await;
    let reply = match opened {
        Ok(()) => target.run(&call).await,
        Err(failure) => Err(failure),
    };
    let mut notes = target.close().await;
    serving.abort();
    let asked = server.asked();
    if asked.is_empty() {
        let variable = &ask.base_url_env;
        notes.push(format!("the target asked no model at the address in `{variable}`; `--base-url-env` names another"));
    }
    let steps = steps(&trace, server.script(), &asked);
    let differs = |step: &&Step| step.standing != Standing::Same;
    let (output, failure) = match reply {
        Ok(reply) => (Some(reply.output.value), None),
        Err(failure) => (None, Some(failure.to_string())),
    };
    Ok(Replayed {
        trace: trace.id.as_str().to_owned(),
        target: name,
        diverges_at: steps.iter().find(differs).map(|step| step.number),
        recorded_output: trace.final_output(),
        steps,
        output,
        failure,
        notes,
    })
}

/// The recording with what is set otherwise, and what the target is asked.
fn scripted(trace: &Trace, ask: &Ask) -> Done<(Script, Value)> {
    let usage = |text: String| Failed::usage(anyhow!(text));
    let mut script = Script::of(trace);
    if script.is_empty() {
        let text = format!(
            "trace `{}` holds no model call with its messages, so there is nothing to answer from; record it with the \
             content of messages switched on",
            trace.id
        );
        return Err(usage(text));
    }
    let mut input = trace.input().unwrap_or(Value::Null);
    if ask.set.is_empty() {
        script.live_from(ask.from);
    }
    for typed in &ask.set {
        let mend = "write `--set tool.result=JSON` or `--set input=TEXT`";
        let (key, value) = typed.split_once('=').ok_or_else(|| usage(format!("`{typed}` sets nothing; {mend}")))?;
        match key {
            "input" => input = serde_json::from_str(value).unwrap_or_else(|_| json!(value)),
            "tool.result" => {
                let from = ask.from.ok_or_else(|| usage("`--set tool.result` needs `--from STEP`".to_owned()))?;
                script.set_result(trace, from, value).map_err(usage)?;
            }
            _ => return Err(usage(format!("`{key}` cannot be set; {mend}"))),
        }
    }
    Ok((script, input))
}

/// The target with the address of our server in its environment.
fn pointed(config: &TargetConfig, variable: &str, address: &str) -> Result<TargetConfig, String> {
    if config.kind != "command" {
        return Err(format!(
            "a `{}` target cannot be told where its model server is; replay needs a `command` target",
            config.kind
        ));
    }
    let mut config = config.clone();
    if let Some(Value::Array(passed)) = config.options.get_mut("pass_env") {
        passed.retain(|name| name.as_str() != Some(variable));
    }
    let env = config.options.entry("env").or_insert_with(|| json!({}));
    if let Value::Object(env) = env {
        env.insert(variable.to_owned(), json!(address));
    }
    Ok(config)
}

/// Model calls and tool calls of a trace in order: what `--from` counts.
pub(super) fn steps_of(trace: &Trace) -> Vec<&crate::model::Span> {
    let counts = |kind: SpanKind| matches!(kind, SpanKind::Model | SpanKind::Tool);
    let mut spans: Vec<_> = trace.spans.iter().filter(|span| counts(span.kind)).collect();
    spans.sort_by(|left, right| (left.start_ns, &left.span_id).cmp(&(right.start_ns, &right.span_id)));
    spans
}

fn steps(trace: &Trace, script: &Script, asked: &[Asked]) -> Vec<Step> {
    let mut steps = Vec::new();
    let recorded = steps_of(trace);
    let reached = asked.len();
    let mut turn = 0;
    for (place, span) in recorded.iter().enumerate() {
        let number = place + 1;
        if span.kind == SpanKind::Tool {
            let tool = span.tool.clone().unwrap_or_default();
            let was = tool.result.or_else(|| span.output.clone()).map(|result| text_of(&result));
            let set = script.set_at(number).map(str::to_owned);
            let standing = match (&set, turn < reached || turn == 0) {
                (Some(_), _) => Standing::Set,
                (None, true) => Standing::Same,
                (None, false) => Standing::NotReached,
            };
            let name = if tool.name.is_empty() { span.name.clone() } else { tool.name };
            let now = if standing == Standing::Same { was.clone() } else { set };
            steps.push(Step { number, kind: "tool", name, recorded: was, now, standing });
            continue;
        }
        let Some(was) = script.answer_of(number) else { continue };
        let name = span.model.as_ref().and_then(|model| model.response.clone().or_else(|| model.request.clone()));
        let (now, standing) = match asked.get(turn) {
            None => (None, Standing::NotReached),
            Some(asked) if asked.recorded => (Some(was.clone()), Standing::Same),
            Some(asked) if asked.said == was => (Some(asked.said.clone()), Standing::SameAgain),
            Some(asked) => (Some(asked.said.clone()), Standing::Changed),
        };
        turn += 1;
        let name = name.unwrap_or_else(|| span.name.clone());
        steps.push(Step { number, kind: "model", name, recorded: Some(was), now, standing });
    }
    for (place, asked) in asked.iter().skip(turn).enumerate() {
        steps.push(Step {
            number: recorded.len() + 1 + place,
            kind: "model",
            name: String::new(),
            recorded: None,
            now: Some(asked.said.clone()),
            standing: Standing::New,
        });
    }
    steps
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| one_line(&value.to_string(), 400), |text| one_line(text, 400))
}
