//! What may stand around any kind of target: hooks, a folder of the trial's own, collected spans, a conversation, limits.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::stage::context_of;
use super::talk::Talk;
use super::{Collector, Hooks, Stage, Target, TargetCall, TargetReply, TraceIds};
use crate::model::{Digester, Failure, FailureKind, TargetInfo};
use crate::sys::Clock;

/// What stands around a target.
pub struct Staging {
    /// Commands of the user.
    pub hooks: Option<Hooks>,
    /// Whether each trial has a folder of its own even where no hook needs one.
    pub isolate: bool,
    /// Receives the target's spans, and how long late ones are waited for.
    pub collector: Option<(Arc<dyn Collector>, Duration)>,
    /// The trial is a conversation.
    pub talk: Option<Talk>,
    /// Time limit of one attempt, of one turn where it is a conversation.
    pub timeout: Option<Duration>,
    /// Most attempts.
    pub attempts: Option<u32>,
    /// What of all this changes an output, as it stands in the configuration; null for nothing.
    pub settings: Value,
    /// Clock.
    pub clock: Arc<dyn Clock>,
}

/// A target with what stands around it.
pub struct Staged {
    inner: Box<dyn Target>,
    around: Staging,
}

impl Staged {
    /// Puts a target on its stage.
    pub fn new(inner: Box<dyn Target>, around: Staging) -> Self {
        Self { inner, around }
    }

    fn needs_folder(&self) -> bool {
        self.around.isolate || self.around.hooks.as_ref().is_some_and(|hooks| !hooks.none_around_trials())
    }

    async fn attempt(&self, call: &TargetCall<'_>) -> Result<TargetReply, Failure> {
        let around = &self.around;
        let reply = match &around.talk {
            Some(talk) => talk.hold(self.inner.as_ref(), call, &around.clock).await,
            None => self.inner.run(call).await,
        };
        let (Some((collector, grace)), Some(ids)) = (&around.collector, &call.stage.trace) else { return reply };
        // What a failed attempt sent is taken, too: it must not be kept for ever.
        let grace = if reply.is_ok() { *grace } else { Duration::ZERO };
        let collected = collector.take(ids, grace).await;
        let mut reply = reply?;
        let output = &mut reply.output;
        let count = collected.trace.as_ref().map_or(0, |trace| trace.spans.len());
        output.metadata.insert("spans_collected".to_owned(), json!(count));
        if collected.rejected > 0 {
            output.metadata.insert("spans_rejected".to_owned(), json!(collected.rejected));
        }
        let Some(mut trace) = collected.trace else { return Ok(reply) };
        if output.usage.is_unknown() {
            output.usage = trace.usage();
        }
        output.cost_usd = output.cost_usd.or_else(|| trace.cost_usd());
        match &output.trace {
            // A conversation has its turns from here and the steps from the target.
            Some(told) if around.talk.is_some() => {
                let told = told.spans.iter().cloned();
                trace.spans.extend(told);
                trace
                    .spans
                    .sort_by(|left, right| (left.start_ns, &left.span_id).cmp(&(right.start_ns, &right.span_id)));
                output.trace = Some(Arc::new(trace));
            }
            // What the target says of itself in its reply is its last word.
            Some(_) => {}
            None => output.trace = Some(Arc::new(trace)),
        }
        if reply.spend.calls > 0 && reply.spend.cost_usd == 0.0 && reply.spend.usage.is_unknown() {
            reply.spend.usage = output.usage.clone();
            reply.spend.cost_usd = output.cost_usd.unwrap_or(0.0);
            reply.spend.unpriced_calls = u64::from(output.cost_usd.is_none() && !output.usage.is_unknown());
        }
        Ok(reply)
    }
}

#[async_trait]
impl Target for Staged {
    fn info(&self) -> TargetInfo {
        let mut info = self.inner.info();
        if let Value::Object(settings) = &self.around.settings {
            let text = crate::model::canonical_json(&self.around.settings);
            info.digest = Digester::new()
                .part("target", info.digest.as_str().as_bytes())
                .part("around", text.as_bytes())
                .finish();
            info.settings.extend(settings.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        info
    }

    async fn run(&self, call: &TargetCall<'_>) -> Result<TargetReply, Failure> {
        let around = &self.around;
        let folder = match self.needs_folder() {
            true => Some(tempfile::Builder::new().prefix("assize-trial-").tempdir().map_err(|error| {
                Failure::new(FailureKind::TargetError, format!("a folder for the trial cannot be made: {error}"))
            })?),
            false => None,
        };
        let stage = Stage {
            trace: Some(TraceIds::new(around.clock.as_ref())),
            collector: around.collector.as_ref().and_then(|(collector, _)| collector.endpoint()),
            folder: folder.as_ref().map(|folder| folder.path().to_owned()),
            said: None,
        };
        let call = &TargetCall { stage: &stage, ..*call };
        let Some(hooks) = &around.hooks else { return self.attempt(call).await };
        let mut input = context_of(call);
        hooks.around("before_each", hooks.before_each.as_ref(), call, &input).await?;
        let reply = self.attempt(call).await;
        input["outcome"] = match &reply {
            Ok(reply) => json!({"output": reply.output.value}),
            Err(failure) => json!({"failure": failure.to_string()}),
        };
        let after = hooks.around("after_each", hooks.after_each.as_ref(), call, &input).await;
        // The first failure is the one to be told.
        let reply = reply?;
        after.map(|()| reply)
    }

    fn retried_by_runner(&self) -> bool {
        self.inner.retried_by_runner()
    }

    fn limits(&self) -> (Option<Duration>, Option<u32>) {
        (self.around.timeout, self.around.attempts)
    }

    fn overtime(&self) -> Duration {
        let around = &self.around;
        let hooks = around.hooks.as_ref().filter(|hooks| !hooks.none_around_trials());
        let hooks = hooks.map_or(Duration::ZERO, |hooks| hooks.timeout.saturating_mul(2));
        let grace = around.collector.as_ref().map_or(Duration::ZERO, |(_, grace)| *grace);
        // Each turn has the limit of an attempt, and so has what the user says before it.
        let turn = around.timeout.unwrap_or(Duration::from_secs(60)).saturating_mul(2);
        let turns = around.talk.as_ref().map_or(Duration::ZERO, |talk| turn.saturating_mul(talk.max_turns()));
        self.inner.overtime() + hooks + grace + turns
    }

    fn width(&self) -> Option<usize> {
        self.inner.width()
    }

    async fn open(&self) -> Result<(), Failure> {
        // Ports first: they cost nothing, while a set-up may.
        if let Some((collector, _)) = &self.around.collector {
            collector.open().await?;
        }
        if let Some(hooks) = &self.around.hooks {
            hooks.once("set_up", hooks.set_up.as_ref()).await?;
        }
        self.inner.open().await
    }

    async fn close(&self) -> Vec<String> {
        let mut warnings = self.inner.close().await;
        if let Some(hooks) = &self.around.hooks
            && let Err(failure) = hooks.once("tear_down", hooks.tear_down.as_ref()).await
        {
            warnings.push(failure.message);
        }
        warnings
    }
}
