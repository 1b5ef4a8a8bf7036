//! Every form a judge's reply can take, through the binary: what is read, what is not, why, and what it costs to find out.

use std::collections::BTreeMap;

use assize::model::{ScoreValue, Scored, UnscoredReason as Reason};
use serde_json::{Value, json};

use super::{Bench, Suite, judgement, marker};
use crate::mock::Plan;

/// One reply and how its cell must end.
struct Case {
    about: &'static str,
    choice: Value,
    end: Result<ScoreValue, Reason>,
    /// Asks that the cell pays for: the question, a repair, a fresh question, once more with more room.
    asks: u64,
}

fn pass(pass: bool) -> Result<ScoreValue, Reason> {
    Ok(ScoreValue::Pass { pass })
}

fn says(about: &'static str, text: impl Into<String>, end: Result<ScoreValue, Reason>, asks: u64) -> Case {
    let choice = json!({"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text.into()}});
    Case { about, choice, end, asks }
}

fn call(name: &str, arguments: &Value) -> Value {
    let call = json!({"id": "c", "type": "function", "function": {"name": name, "arguments": arguments.to_string()}});
    json!({"index": 0, "finish_reason": "tool_calls",
        "message": {"role": "assistant", "content": null, "tool_calls": [call]}})
}

fn ended(about: &'static str, message: Value, finish: &str, reason: Reason, asks: u64) -> Case {
    let choice = json!({"index": 0, "finish_reason": finish, "message": message});
    Case { about, choice, end: Err(reason), asks }
}

/// Replies of a judge that says pass or fail. A repair always says pass, so that it counts only where the reply did.
fn of_words() -> Vec<Case> {
    let (good, bad) = (judgement("pass").to_string(), judgement("fail").to_string());
    let with = |score: &str| good.replace("\"pass\"", score);
    let cut = |at: &str| good.split(at).next().unwrap().to_owned();
    let mut cases = vec![
        says("as asked for", good.clone(), pass(true), 1),
        says("fenced", format!("```json\n{good}\n```"), pass(true), 1),
        says("fenced, with prose around", format!("Here it is:\n```\n{bad}\n```\nI hope it helps."), pass(false), 1),
        says("prose around", format!("Let me think. The answer is short.\n{bad}\nThat is all."), pass(false), 1),
        says("the same twice", format!("{bad}\n{bad}"), pass(false), 1),
        says("in a list", format!("[{bad}]"), pass(false), 1),
        says("a mark of byte order before it", format!("\u{feff}{bad}"), pass(false), 1),
        says("other case and spaces", with("\" PASS \""), pass(true), 1),
        says("a word only", "fail", pass(false), 1),
        says("reasons in another language", good.replace("It is as it is.", "Es ist, wie es ist."), pass(true), 1),
        says("members of its own beside it", good.replacen('{', "{\"confidence\": 0.3, ", 1), pass(true), 1),
        says("two that differ", format!("{good}\n{bad}"), Err(Reason::ReplyUnreadable), 2),
        says("a member twice", good.replacen('{', "{\"score\": \"fail\", ", 1), Err(Reason::ReplyUnreadable), 2),
        says("empty", "", Err(Reason::ReplyUnreadable), 2),
        says("white space", " \n\t ", Err(Reason::ReplyUnreadable), 2),
        says("cut off before the score", cut(" it is."), Err(Reason::ReplyUnreadable), 3),
        says("another word", with("\"maybe\""), Err(Reason::OffMenu), 2),
        says("both words", with("\"pass/fail\""), Err(Reason::OffMenu), 2),
        says("a number", with("0.8"), Err(Reason::OffMenu), 2),
        says("a truth value", with("true"), Err(Reason::OffMenu), 2),
        says("a fraction", with("8/10"), Err(Reason::OffMenu), 2),
        says("not a number", with("NaN"), Err(Reason::OffMenu), 2),
        says("a word of another language", with("\"bestanden\""), Err(Reason::OffMenu), 2),
        says("abstains", good.replace("null", "\"no output is shown\""), Err(Reason::CannotJudge), 1),
        says("prose that holds the score", "I looked twice. I would let it pass.", pass(true), 2),
        says("prose that holds another score", "I looked twice. It has to fail.", Err(Reason::ReplyUnreadable), 3),
        says("something else", "{\"hello\": \"world\"}", Err(Reason::ReplyUnreadable), 3),
        Case {
            about: "the tool it was offered",
            choice: call("judgement", &judgement("fail")),
            end: pass(false),
            asks: 1,
        },
    ];
    let refusal = json!({"role": "assistant", "content": null, "refusal": "I cannot help with that."});
    let nothing = json!({"role": "assistant", "content": null});
    let half = json!({"role": "assistant", "content": cut(" it is.")});
    cases.extend([
        ended("refuses", refusal, "stop", Reason::JudgeRefused, 1),
        ended("the content filter", nothing.clone(), "content_filter", Reason::ContentFilter, 1),
        ended("the length limit", half, "length", Reason::ReplyTruncated, 2),
        // Not a reply at all: the client asks again as often as the endpoint allows, three times here.
        ended("no content", nothing, "stop", Reason::ProviderFailed, 3),
        Case {
            about: "a tool that nobody offered",
            choice: call("send_email", &judgement("pass")),
            end: Err(Reason::ProviderFailed),
            asks: 3,
        },
    ]);
    cases
}

/// Replies of a judge that gives whole numbers from 1 to 5. A repair always says 4.
fn of_numbers() -> Vec<Case> {
    let number = |number: f64| Ok(ScoreValue::Number { number: assize::model::Finite::new(number).unwrap() });
    let with = |score: &str| judgement("4").to_string().replace("\"4\"", score);
    let off = || Err(Reason::OffMenu);
    vec![
        says("as asked for", with("4"), number(4.0), 1),
        says("with a point", with("4.0"), number(4.0), 1),
        says("as text", with("\"2\""), number(2.0), 1),
        says("alone", "5", number(5.0), 1),
        says("above the scale", with("9"), off(), 2),
        says("below the scale", with("-1"), off(), 2),
        says("between the levels", with("3.5"), off(), 2),
        says("a fraction", with("\"8/10\""), off(), 2),
        says("a fraction that is no JSON", with("8/10"), off(), 2),
        says("not a number", with("NaN"), off(), 2),
        says("infinite", with("Infinity"), off(), 2),
        says("as text, not a number", with("\"nan\""), off(), 2),
        says("with an exponent in text", with("\"4e0\""), off(), 2),
        says("a word", with("\"four\""), off(), 2),
        says("a truth value", with("true"), off(), 2),
        says("a list", with("[4]"), off(), 2),
        says("a range", with("\"3-4\""), off(), 2),
        says("two that differ", format!("{}{}", with("4"), with("2")), Err(Reason::ReplyUnreadable), 2),
        says("no score and no reason", with("null").replace("It is as it is.", ""), Err(Reason::CannotJudge), 1),
    ]
}

const RATE: &str = "name = \"rate\"\nversion = \"1\"\nsummary = \"How good is it?\"\ninputs = [\"input\", \"output\"]\n\
                    [scale]\ntype = \"number\"\nmin = 1\nmax = 5\nstep = 1\n";

/// Runs one cell per case and compares its end and what it paid with what the case says.
async fn each_ends_as_it_must(cases: &[Case], judge: &str, repair: Value) {
    let suite = Suite::recorded(cases.len());
    let choices = cases.iter().enumerate().map(|(number, case)| (marker(number), case.choice.clone())).collect();
    let plan = Plan { choices, answers: vec![repair], ..Plan::default() };
    let bench = Bench::new(suite, plan).await;
    bench.world.write("judges/rate/judge.toml", RATE);
    bench.world.write("judges/rate/prompt.md", "Rate the answer from bad to good. In doubt, the lower one.");
    let config = bench.suite.text(&bench.mock.openai_url()).replace("answer_relevance", judge);
    bench.world.write("assize.toml", config);
    bench.world.run(&["run"]);
    let journal = bench.journal(&bench.run_id()).await;
    journal.check_complete(cases.len(), cases.len());
    let cells: BTreeMap<String, (Scored, u64)> = journal
        .cells()
        .into_iter()
        .map(|(cell, mut ends)| (cell.trial.example.as_str().to_owned(), ends.remove(0)))
        .map(|(id, (scored, spend))| (id, (scored, spend.calls)))
        .collect();
    let mut wrong = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let (scored, kept) = &cells[&format!("q-{number}")];
        let end = scored.as_ref().map(|score| score.value.clone()).map_err(|unscored| unscored.reason);
        // A failed call carries no spend: what it cost is told beside the totals.
        let kept = if end == Err(Reason::ProviderFailed) { case.asks } else { *kept };
        if (&end, kept) != (&case.end, case.asks) {
            wrong.push(format!(
                "{}: {scored:?} after {kept} asks, expected {:?} after {}",
                case.about, case.end, case.asks
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let asks: u64 = cases.iter().map(|case| case.asks).sum();
    assert_eq!((bench.mock.count() as u64, bench.mock.billed() as u64), (asks, asks), "a call that no cell needed");
    let scored = cases.iter().filter(|case| case.end.is_ok()).count();
    println!("{} replies: {scored} scored, {} unscored, {asks} paid calls", cases.len(), cases.len() - scored);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reply_in_words_ends_as_it_must() {
    each_ends_as_it_must(&of_words(), "answer_relevance", judgement("pass")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reply_in_numbers_ends_as_it_must() {
    each_ends_as_it_must(&of_numbers(), "rate", judgement(4)).await;
}
