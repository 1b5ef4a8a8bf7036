//! One judge with its model: from an output to a score or a reason why there is none.
//!
//! At most five asks per cell: the question, once more with twice the room when it was cut off, one repair that sees
//! only the raw reply, one fresh question (methods 3.3), and once without a temperature where the model takes none.
//! Retries of failed calls are the client's. Never maps a failure to a score.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::{Grade, Graded};
use crate::model::{
    AnswerFormat, ChatMessage, ChatReply, ChatRequest, Digest, Digester, Failure, FailureKind, FinishReason,
    GraderInfo, GraderKind, Score, ScoreInput, Spend, Unscored, UnscoredReason, canonical_json,
};
use crate::provider::{AskKey, Client, OnNotice};
use crate::rubric::{
    FRESH_NOTE, JudgeSpec, Judgement, Material, PARSER_VERSION, PROMPT_VERSION, Prompt, ReplyProblem, nonce,
    parse_reply, render, repair_messages, reply_schema, stands_in,
};

/// The model a judge asks, with its parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgeModel {
    /// Name as the provider knows it.
    pub name: String,
    /// Sampling temperature; not sent when absent.
    pub temperature: Option<f64>,
    /// Most tokens of a reply.
    pub max_tokens: u32,
    /// Seed; the draw number is added.
    pub seed: Option<u64>,
    /// Further fields of the provider's body, verbatim.
    pub extra: Map<String, Value>,
}

impl JudgeModel {
    /// A model with the judge's own defaults.
    pub fn of_defaults(name: impl Into<String>, spec: &JudgeSpec) -> Self {
        let defaults = &spec.model;
        Self {
            name: name.into(),
            temperature: defaults.temperature,
            max_tokens: defaults.max_tokens,
            seed: defaults.seed,
            extra: Map::new(),
        }
    }
}

/// How large one question is, for the plan of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PromptSize {
    /// Characters of all messages; 0 when the judge does not apply. Four characters to a token is a fair estimate for
    /// English, and only an estimate.
    pub prompt_chars: usize,
    /// Most tokens of the reply.
    pub max_output_tokens: u32,
}

/// A rubric, a client and a model.
pub struct Judge {
    spec: Arc<JudgeSpec>,
    client: Arc<Client>,
    model: JudgeModel,
    schema: Value,
    digest: Digest,
    /// Set once the model has refused a temperature; some current models take none.
    no_temperature: AtomicBool,
}

impl Judge {
    /// Puts a judge together.
    pub fn new(spec: Arc<JudgeSpec>, client: Arc<Client>, model: JudgeModel) -> Self {
        let schema = reply_schema(&spec.scale);
        let parameters = json!({
            "model": model.name,
            "temperature": model.temperature,
            "max_tokens": model.max_tokens,
            "seed": model.seed,
            "extra": model.extra,
        });
        let digest = Digester::new()
            .part("spec", spec.digest().as_str().as_bytes())
            .part("schema", canonical_json(&schema).as_bytes())
            .part("prompt", PROMPT_VERSION.as_bytes())
            .part("parser", PARSER_VERSION.as_bytes())
            .part("parameters", canonical_json(&parameters).as_bytes())
            .finish();
        Self { spec, client, model, schema, digest, no_temperature: AtomicBool::new(false) }
    }

    /// Its rubric.
    pub fn spec(&self) -> &JudgeSpec {
        &self.spec
    }

    /// Digest of all that can change its findings: rubric, layout, scale, wording, reading rules, model, parameters.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// How it enters a run's header under the name the suite gives it.
    pub fn info(&self, name: &str, draws: u32) -> GraderInfo {
        GraderInfo {
            name: name.to_owned(),
            kind: GraderKind::Judge,
            component: self.spec.name.clone(),
            version: self.spec.version.clone(),
            digest: self.digest.clone(),
            scale: self.spec.scale.to_scale(),
            direction: self.spec.direction,
            draws,
            model: Some(self.model.name.clone()),
        }
    }

    /// The size of the question about one output; nothing is asked.
    pub fn estimate(&self, input: &ScoreInput<'_>) -> PromptSize {
        match self.prompt(input) {
            Ok((prompt, _)) => PromptSize { prompt_chars: prompt.chars(), max_output_tokens: self.model.max_tokens },
            Err(_) => PromptSize::default(),
        }
    }

    /// The exact messages about one output, for people who want to see them.
    ///
    /// # Errors
    /// The reason why the judge does not ask.
    pub fn messages(&self, input: &ScoreInput<'_>) -> Result<Vec<ChatMessage>, Unscored> {
        self.prompt(input).map(|(prompt, _)| prompt.messages)
    }

    fn prompt(&self, input: &ScoreInput<'_>) -> Result<(Prompt, Material), Unscored> {
        let material = Material::collect(&self.spec, input)?;
        let prompt = render(&self.spec, &material, &material.nonce()).map_err(|cause| {
            Unscored::new(UnscoredReason::ScorerFault, format!("the prompt cannot be made: {cause}"))
        })?;
        Ok((prompt, material))
    }

    fn request(&self, messages: Vec<ChatMessage>, draw: u32) -> ChatRequest {
        let refused = self.no_temperature.load(Ordering::Relaxed);
        ChatRequest {
            model: self.model.name.clone(),
            messages,
            answer: AnswerFormat::Json { name: "judgement".to_owned(), schema: self.schema.clone() },
            temperature: self.model.temperature.filter(|_| !refused),
            max_tokens: Some(self.model.max_tokens),
            seed: self.model.seed.map(|seed| seed.wrapping_add(u64::from(draw))),
            top_logprobs: None,
            extra: self.model.extra.clone(),
        }
    }
}

#[async_trait]
impl Grade for Judge {
    async fn grade(&self, input: &ScoreInput<'_>, draw: u32, on_notice: OnNotice<'_>) -> Graded {
        let (prompt, material) = match self.prompt(input) {
            Ok(made) => made,
            Err(unscored) => return Graded::without_asking(unscored),
        };
        let mut asking = Asking::new(self, draw, on_notice);
        let outcome = asking.judge(&prompt.messages).await;
        let (scored, fatal) = match outcome {
            Ok(judgement) => (Ok(score(judgement, &prompt, &material, &asking)), None),
            Err(End { unscored, fatal }) => (Err(unscored), fatal),
        };
        Graded { scored, spend: asking.spend, cached: asking.cached, took_ms: asking.took_ms, fatal }
    }
}

impl Graded {
    /// An outcome for which nothing was asked.
    pub fn without_asking(unscored: Unscored) -> Self {
        Self { scored: Err(unscored), spend: Spend::default(), cached: false, took_ms: 0, fatal: None }
    }
}

/// Why a cell ends without a score.
struct End {
    unscored: Unscored,
    fatal: Option<Failure>,
}

impl End {
    fn of(reason: UnscoredReason, detail: impl Into<String>) -> Self {
        Self { unscored: Unscored::new(reason, detail), fatal: None }
    }
}

impl From<ReplyProblem> for End {
    fn from(problem: ReplyProblem) -> Self {
        Self::of(problem.reason, problem.detail)
    }
}

/// The asks of one cell with their sums.
struct Asking<'a> {
    judge: &'a Judge,
    key: AskKey,
    on_notice: OnNotice<'a>,
    spend: Spend,
    cached: bool,
    took_ms: u64,
    asks: u32,
    widened: bool,
    repaired: bool,
    answered_by: Option<String>,
}

impl<'a> Asking<'a> {
    fn new(judge: &'a Judge, draw: u32, on_notice: OnNotice<'a>) -> Self {
        let key = AskKey { asker: judge.digest.clone(), draw };
        Self {
            judge,
            key,
            on_notice,
            spend: Spend::default(),
            cached: true,
            took_ms: 0,
            asks: 0,
            widened: false,
            repaired: false,
            answered_by: None,
        }
    }

    /// The question, one repair, one fresh question.
    async fn judge(&mut self, messages: &[ChatMessage]) -> Result<Judgement, End> {
        let scale = &self.judge.spec.scale;
        let raw = self.read(messages.to_vec()).await?;
        let problem = match parse_reply(scale, &raw) {
            Ok(judgement) => return Ok(judgement),
            Err(problem) if problem.reason == UnscoredReason::CannotJudge => return Err(problem.into()),
            Err(problem) => problem,
        };
        if problem.repairable
            && let Some(judgement) = self.repair(&raw).await?
        {
            self.repaired = true;
            return Ok(judgement);
        }
        // The note makes the question another one, so that the cache does not give the same reply again.
        let mut again = messages.to_vec();
        if let Some(last) = again.last_mut() {
            last.content.push_str(FRESH_NOTE);
        }
        let raw = self.read(again).await?;
        Ok(parse_reply(scale, &raw)?)
    }

    /// Has a raw reply put into form by a model that does not see the material. `None` when that gives no score, or
    /// one that the raw reply does not hold.
    async fn repair(&mut self, raw: &str) -> Result<Option<Judgement>, End> {
        let scale = &self.judge.spec.scale;
        let repaired = match self.read(repair_messages(scale, raw, &nonce(&[raw]))).await {
            Ok(text) => parse_reply(scale, &text).ok(),
            // The fresh question may still go through, unless nothing will.
            Err(end) if end.fatal.is_none() => None,
            Err(end) => return Err(end),
        };
        Ok(repaired.filter(|judgement| stands_in(&judgement.value, raw)))
    }

    /// One question to its text; asks once more with twice the room when the reply was cut off.
    async fn read(&mut self, messages: Vec<ChatMessage>) -> Result<String, End> {
        let mut request = self.judge.request(messages, self.key.draw);
        if self.widened {
            request.max_tokens = request.max_tokens.map(|tokens| tokens.saturating_mul(2));
        }
        let mut reply = self.ask(&mut request).await?;
        if reply.finish == FinishReason::Length && !self.widened {
            self.widened = true;
            request.max_tokens = request.max_tokens.map(|tokens| tokens.saturating_mul(2));
            reply = self.ask(&mut request).await?;
        }
        match reply.finish {
            FinishReason::Length => {
                let room = request.max_tokens.unwrap_or_default();
                let detail = format!("the reply is longer than {room} tokens; raise `max_tokens` of the judge");
                Err(End::of(UnscoredReason::ReplyTruncated, detail))
            }
            FinishReason::ContentFilter => Err(End::of(UnscoredReason::ContentFilter, "the content filter cut in")),
            FinishReason::Refusal => Err(End::of(UnscoredReason::JudgeRefused, excerpt(&reply.text))),
            FinishReason::Stop | FinishReason::ToolCall | FinishReason::Other => Ok(reply.text),
        }
    }

    /// One ask; once more without a temperature when the model takes none.
    async fn ask(&mut self, request: &mut ChatRequest) -> Result<ChatReply, End> {
        let client = &self.judge.client;
        let mut answer = client.ask(request, &self.key, self.on_notice).await;
        if request.temperature.is_some() && answer.as_ref().is_err_and(refuses_temperature) {
            self.judge.no_temperature.store(true, Ordering::Relaxed);
            request.temperature = None;
            answer = client.ask(request, &self.key, self.on_notice).await;
        }
        let answer = answer.map_err(|failure| end_of_failure(&failure))?;
        self.spend.add(&answer.spend);
        self.cached &= answer.cached;
        self.took_ms = self.took_ms.saturating_add(answer.took_ms);
        self.asks += 1;
        self.answered_by = answer.reply.model.clone();
        Ok(answer.reply)
    }
}

fn refuses_temperature(failure: &Failure) -> bool {
    failure.kind == FailureKind::BadRequest && failure.message.to_ascii_lowercase().contains("temperature")
}

/// The reason of a failed call. Nothing becomes a score.
fn end_of_failure(failure: &Failure) -> End {
    let too_long = || {
        let message = failure.message.to_ascii_lowercase();
        let signs = [
            "context_length",
            "context length",
            "context window",
            "prompt is too long",
            "too many tokens",
            "maximum context",
            "input is too long",
        ];
        signs.iter().any(|sign| message.contains(sign))
    };
    let reason = match failure.kind {
        FailureKind::Timeout => UnscoredReason::Timeout,
        FailureKind::RateLimited => UnscoredReason::RateLimited,
        FailureKind::Refused => UnscoredReason::JudgeRefused,
        FailureKind::ContentFilter => UnscoredReason::ContentFilter,
        FailureKind::NotRecorded => UnscoredReason::NotRecorded,
        FailureKind::BadRequest if too_long() => UnscoredReason::InputTooLong,
        FailureKind::Server
        | FailureKind::Connection
        | FailureKind::BadReply
        | FailureKind::Auth
        | FailureKind::NotFound
        | FailureKind::BadRequest
        | FailureKind::TargetError
        | FailureKind::BudgetSpent
        | FailureKind::Cancelled => UnscoredReason::ProviderFailed,
    };
    // A spent budget and a stopped run meet every further cell just as a wrong key does.
    let stops =
        failure.kind.stops_the_run() || matches!(failure.kind, FailureKind::BudgetSpent | FailureKind::Cancelled);
    End { unscored: Unscored::new(reason, failure.message.clone()), fatal: stops.then(|| failure.clone()) }
}

/// A judgement as a score, with what is worth knowing about how it came about.
fn score(judgement: Judgement, prompt: &Prompt, material: &Material, asking: &Asking<'_>) -> Score {
    let mut details = prompt.details();
    if judgement.injection_attempt {
        details.insert("injection_attempt".to_owned(), json!(true));
    }
    let not_found = material.quotes_not_found(&judgement.evidence);
    if not_found > 0 {
        details.insert("evidence_not_found".to_owned(), json!(not_found));
    }
    if asking.asks > 1 {
        details.insert("asks".to_owned(), json!(asking.asks));
    }
    if asking.repaired {
        details.insert("repaired".to_owned(), json!(true));
    }
    if let Some(model) = asking.answered_by.as_ref().filter(|model| **model != asking.judge.model.name) {
        details.insert("answered_by".to_owned(), json!(model));
    }
    if asking.judge.model.temperature.is_some() && asking.judge.no_temperature.load(Ordering::Relaxed) {
        details.insert("temperature".to_owned(), json!("not taken by the model"));
    }
    let mut score = Score::of(judgement.value, judgement.reasoning);
    score.evidence = judgement.evidence;
    if !details.is_empty() {
        score.details = Value::Object(details);
    }
    score
}

fn excerpt(text: &str) -> String {
    if text.trim().is_empty() {
        return "the judge's model refused without a word".to_owned();
    }
    crate::sys::text::one_line(text, 300)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;
    use crate::model::{Example, ExampleId, Output, Role, ScoreValue, Usage};
    use crate::provider::ChatModel;

    const TOML: &str = "name = \"j\"\nversion = \"3\"\nsummary = \"Is it good?\"\n[scale]\ntype = \"binary\"\n\
        [model]\ntemperature = 0\nmax_tokens = 500\nseed = 7\n";
    const FAIL: &str = r#"{"evidence":["forty two"],"reasoning":"because","score":"fail","cannot_judge":null,"injection_attempt":false}"#;

    /// Gives scripted answers in order and keeps the requests.
    struct Script {
        answers: Mutex<Vec<Result<ChatReply, Failure>>>,
        asked: Mutex<Vec<ChatRequest>>,
    }

    #[async_trait]
    impl ChatModel for Script {
        async fn attempt(&self, request: &ChatRequest, _: Duration) -> Result<ChatReply, Failure> {
            self.asked.lock().unwrap().push(request.clone());
            let mut answers = self.answers.lock().unwrap();
            if answers.is_empty() {
                Err(Failure::new(FailureKind::Server, "script is over"))
            } else {
                answers.remove(0)
            }
        }
    }

    fn reply(text: &str, finish: FinishReason) -> Result<ChatReply, Failure> {
        let usage = Usage { input: Some(100), output: Some(10), ..Usage::default() };
        Ok(ChatReply { text: text.into(), finish, model: Some("m-2026".into()), usage, tokens: None })
    }

    fn stop(text: &str) -> Result<ChatReply, Failure> {
        reply(text, FinishReason::Stop)
    }

    fn judge(toml: &str, answers: Vec<Result<ChatReply, Failure>>) -> (Judge, Arc<Script>) {
        let script = Arc::new(Script { answers: Mutex::new(answers), asked: Mutex::default() });
        let spec = Arc::new(JudgeSpec::parse("j", toml, "Judge it.", "").unwrap());
        let model = JudgeModel::of_defaults("m", &spec);
        (Judge::new(spec, Arc::new(Client::new(Arc::clone(&script) as Arc<dyn ChatModel>)), model), script)
    }

    async fn grade(answers: Vec<Result<ChatReply, Failure>>) -> (Graded, Vec<ChatRequest>) {
        let (judge, script) = judge(TOML, answers);
        let example = Example::new(ExampleId::new("e"), "how much?".into());
        let output = Output::of_text("It is forty-two.");
        let graded = judge.grade(&ScoreInput { example: &example, output: &output }, 2, &|_| {}).await;
        let asked = script.asked.lock().unwrap().clone();
        (graded, asked)
    }

    fn reason(graded: &Graded) -> Option<UnscoredReason> {
        graded.scored.as_ref().err().map(|unscored| unscored.reason)
    }

    #[tokio::test]
    async fn one_good_reply_is_one_score() {
        let (graded, asked) = grade(vec![stop(FAIL)]).await;
        let score = graded.scored.unwrap();
        assert_eq!(score.value, ScoreValue::Pass { pass: false });
        assert_eq!(score.explanation.as_deref(), Some("because"));
        assert_eq!(score.details, json!({"answered_by": "m-2026"}));
        assert_eq!((asked.len(), graded.spend.calls), (1, 1));
        assert_eq!((asked[0].temperature, asked[0].max_tokens, asked[0].seed), (Some(0.0), Some(500), Some(9)));
        assert_eq!(asked[0].messages.iter().map(|m| m.role).collect::<Vec<_>>(), [Role::System, Role::User]);
        assert!(asked[0].messages[1].content.contains("| It is forty-two."));
        assert!(
            matches!(&asked[0].answer, AnswerFormat::Json { schema, .. } if schema["additionalProperties"] == json!(false))
        );
    }

    #[tokio::test]
    async fn a_repair_sees_the_raw_reply_and_not_the_material() {
        let (graded, asked) = grade(vec![stop("I find it bad: my verdict is fail."), stop(FAIL)]).await;
        assert_eq!(graded.scored.as_ref().unwrap().details["repaired"], json!(true));
        assert_eq!(graded.spend.calls, 2);
        assert_eq!(graded.spend.usage.total(), Some(220));
        let repair = format!("{:?}", asked[1].messages);
        assert!(repair.contains("I find it bad") && !repair.contains("forty-two") && !repair.contains("how much"));
    }

    #[tokio::test]
    async fn a_repair_that_invents_a_score_is_not_taken() {
        let pass = FAIL.replace("fail", "pass");
        let (graded, asked) = grade(vec![stop("hm, hard to say"), stop(&pass), stop("still nothing")]).await;
        assert_eq!(reason(&graded), Some(UnscoredReason::ReplyUnreadable));
        assert_eq!(asked.len(), 3);
        assert!(asked[2].messages[1].content.ends_with(FRESH_NOTE));
        assert_eq!(graded.spend.calls, 3);
    }

    #[tokio::test]
    async fn differing_scores_are_asked_afresh_and_never_repaired() {
        let both = format!("{FAIL}\n{}", FAIL.replace("fail", "pass"));
        let (graded, asked) = grade(vec![stop(&both), stop(FAIL)]).await;
        assert_eq!(graded.scored.unwrap().value, ScoreValue::Pass { pass: false });
        assert!(asked[1].messages[1].content.contains("| It is forty-two."));
    }

    #[tokio::test]
    async fn a_reply_that_is_cut_off_gets_twice_the_room_once() {
        let cut = || reply("{\"evidence\": [", FinishReason::Length);
        let (graded, asked) = grade(vec![cut(), stop(FAIL)]).await;
        assert!(graded.scored.is_ok());
        assert_eq!(asked[1].max_tokens, Some(1000));
        let (graded, asked) = grade(vec![cut(), cut()]).await;
        assert_eq!((reason(&graded), asked.len()), (Some(UnscoredReason::ReplyTruncated), 2));
    }

    #[tokio::test]
    async fn a_model_that_takes_no_temperature_is_asked_without() {
        let refusal = Failure::new(FailureKind::BadRequest, "400: 'temperature' does not support 0 with this model");
        let (graded, asked) = grade(vec![Err(refusal), stop(FAIL)]).await;
        assert_eq!(graded.scored.unwrap().details["temperature"], json!("not taken by the model"));
        assert_eq!(asked[1].temperature, None);
    }

    #[tokio::test]
    async fn every_failure_has_its_reason_and_none_becomes_a_score() {
        use FailureKind as F;
        use UnscoredReason as R;
        for (kind, expected, stops) in [
            (F::Timeout, R::Timeout, false),
            (F::RateLimited, R::RateLimited, false),
            (F::Server, R::ProviderFailed, false),
            (F::Connection, R::ProviderFailed, false),
            (F::BadReply, R::ProviderFailed, false),
            (F::Auth, R::ProviderFailed, true),
            (F::NotFound, R::ProviderFailed, true),
            (F::BadRequest, R::ProviderFailed, false),
            (F::Refused, R::JudgeRefused, false),
            (F::ContentFilter, R::ContentFilter, false),
            (F::NotRecorded, R::NotRecorded, false),
            (F::BudgetSpent, R::ProviderFailed, true),
        ] {
            let (graded, asked) = grade(vec![Err(Failure::new(kind, "x"))]).await;
            assert_eq!((reason(&graded), graded.fatal.is_some()), (Some(expected), stops), "{kind:?}");
            assert_eq!(asked.len(), 1);
        }
        let long = Failure::new(F::BadRequest, "This model's maximum context length is 8192 tokens");
        assert_eq!(reason(&grade(vec![Err(long)]).await.0), Some(R::InputTooLong));
        assert_eq!(reason(&grade(vec![reply("", FinishReason::ContentFilter)]).await.0), Some(R::ContentFilter));
        assert_eq!(reason(&grade(vec![reply("no", FinishReason::Refusal)]).await.0), Some(R::JudgeRefused));
        let abstains = r#"{"cannot_judge": "no tool results are shown", "score": null}"#;
        let (graded, asked) = grade(vec![stop(abstains)]).await;
        assert_eq!((reason(&graded), asked.len()), (Some(R::CannotJudge), 1));
    }

    #[tokio::test]
    async fn what_does_not_apply_costs_nothing() {
        let toml = TOML.replace("[scale]", "inputs = [\"output\", \"reference\"]\n[scale]");
        let (judge, script) = judge(&toml, Vec::new());
        let example = Example::new(ExampleId::new("e"), "q".into());
        let output = Output::of_text("a");
        let input = ScoreInput { example: &example, output: &output };
        let graded = judge.grade(&input, 0, &|_| {}).await;
        assert_eq!(reason(&graded), Some(UnscoredReason::NotApplicable));
        assert_eq!(judge.estimate(&input), PromptSize::default());
        assert!(script.asked.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn long_material_is_cut_with_a_mark_or_refused() {
        let text = format!("begin {} end", "x".repeat(5_000));
        let example = Example::new(ExampleId::new("e"), "q".into());
        let output = Output::of_text(&text);
        let input = ScoreInput { example: &example, output: &output };
        let (cutting, script) = judge(&format!("max_input_chars = 1000\n{TOML}"), vec![stop(FAIL)]);
        let score = cutting.grade(&input, 0, &|_| {}).await.scored.unwrap();
        assert_eq!(score.details["input_truncated"][0]["piece"], json!("output"));
        let asked = script.asked.lock().unwrap()[0].messages[1].content.clone();
        assert!(asked.contains("characters are left out)") && asked.contains("begin") && asked.contains("end"));
        assert!(asked.chars().count() < 2_000);
        let (refusing, _) = judge(&format!("max_input_chars = 1000\nlong_input = \"refuse\"\n{TOML}"), Vec::new());
        let graded = refusing.grade(&input, 0, &|_| {}).await;
        assert_eq!(reason(&graded), Some(UnscoredReason::InputTooLong));
    }

    #[test]
    fn the_digest_covers_model_and_parameters() {
        let digest = |change: &dyn Fn(&mut JudgeModel)| {
            let spec = Arc::new(JudgeSpec::parse("j", TOML, "Judge it.", "").unwrap());
            let mut model = JudgeModel::of_defaults("m", &spec);
            change(&mut model);
            let script = Arc::new(Script { answers: Mutex::default(), asked: Mutex::default() });
            Judge::new(spec, Arc::new(Client::new(script)), model).digest().clone()
        };
        let base = digest(&|_| {});
        assert_eq!(base, digest(&|_| {}));
        assert_ne!(base, digest(&|model| model.name = "n".into()));
        assert_ne!(base, digest(&|model| model.temperature = None));
        assert_ne!(base, digest(&|model| model.max_tokens = 501));
        assert_ne!(base, digest(&|model| model.seed = None));
        assert_ne!(base, digest(&|model| drop(model.extra.insert("reasoning_effort".into(), json!("low")))));
    }
}
