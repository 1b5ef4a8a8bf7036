//! Tests of `judge`.

use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::model::{
    AnswerFormat, ChatReply, ChatRequest, Example, ExampleId, Failure, FailureKind, FinishReason, Output, Role,
    ScoreValue, Usage,
};
use crate::provider::ChatModel;
use crate::rubric::FRESH_NOTE;

const TOML: &str = "name = \"j\"\nversion = \"3\"\nsummary = \"Is it good?\"\n[scale]\ntype = \"binary\"\n\
    [model]\ntemperature = 0\nmax_tokens = 500\nseed = 7\n";
const FAIL: &str =
    r#"{"evidence":["forty two"],"reasoning":"because","score":"fail","cannot_judge":null,"injection_attempt":false}"#;

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
        if answers.is_empty() { Err(Failure::new(FailureKind::Server, "script is over")) } else { answers.remove(0) }
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
    assert_eq!(judge.asks(&input), []);
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
