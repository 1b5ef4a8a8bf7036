//! The ways a judge comes to its score, through the binary: a program answers in place of a model, and every ask is
//! counted.

use serde_json::{Value, json};

use crate::world::{Ran, World};

/// Answers by the name of the model and by what stands in the messages; writes a line per ask.
const MODEL: &str = r##"
import json, math, re, sys
asked = json.load(sys.stdin)
model = asked["model"]
system, user = asked["messages"][0]["content"], asked["messages"][-1]["content"]
with open("asks.log", "a") as log:
    log.write(json.dumps([model, asked.get("draw", 0), system[:60], user]) + "\n")
number = int((re.search(r"answer (\d+)", user) or [0, 0])[1])
def reply(score, **more):
    body = {"evidence": [], "reasoning": f"because {number}", "score": score, "cannot_judge": None, "injection_attempt": False}
    body.update(more)
    json.dump({"json": body, "model": model, "usage": {"input": 100, "output": 20}}, sys.stdout)
def first_and_second():
    pieces = re.findall(r"<<material \w+ (first|second)>>.*?\n(.*?)\n<</material", user, re.S)
    return dict(pieces)
if model == "plain":
    sure = "low" if number % 4 == 0 else "high"
    extra = {"sure": sure} if "`sure`" in system else {}
    reply("pass" if number % 3 else "fail", **extra)
elif model == "strict":
    reply("pass" if number % 3 and number % 5 else "fail")
elif model == "broken":
    json.dump({"error": "out of order", "kind": "refused"}, sys.stdout)
elif model == "sheet":
    scores = {"accuracy": {"evidence": [], "reasoning": "as it is", "score": 4, "cannot_judge": None}}
    if number % 2 == 0:
        scores["tone"] = {"evidence": [], "reasoning": "kind", "score": "pass", "cannot_judge": None}
    json.dump({"json": {"injection_attempt": False, "scores": scores}}, sys.stdout)
elif model == "odds":
    top = [["4", math.log(0.6)], ["5", math.log(0.3)], ["The", math.log(0.1)]]
    tokens = [{"text": "4", "logprob": math.log(0.6), "top": top}] if asked.get("top_logprobs") else None
    if number == 7:
        tokens = None
    json.dump({"text": "4", "tokens": tokens}, sys.stdout)
elif model == "pair":
    shown = first_and_second()
    if number % 4 == 0:
        reply("first")
    elif "wrong" in shown["first"]:
        reply("second")
    elif "wrong" in shown["second"]:
        reply("first")
    else:
        reply("tie")
elif model == "leaning":
    reply("first" if number % 2 else "second")
elif model == "tree":
    if "Was anything asked" in system:
        reply("no" if number == 1 else "yes")
    elif "Is it answered" in system:
        reply("yes" if number % 2 else "no")
    else:
        reply("yes")
elif model == "long":
    if "You sum up" in system:
        json.dump({"text": f"summary of answer {number}"}, sys.stdout)
    else:
        reply("fail" if "boom" in user else "pass")
"##;

const CONFIG: &str = r#"
[providers.program]
kind = "command"
command = ["python3", "-S", "-E", "model.py"]
[models]
plain = { provider = "program", model = "plain" }
strict = { provider = "program", model = "strict" }
broken = { provider = "program", model = "broken" }
sheet = { provider = "program", model = "sheet" }
odds = { provider = "program", model = "odds" }
pair = { provider = "program", model = "pair" }
leaning = { provider = "program", model = "leaning" }
tree = { provider = "program", model = "tree" }
long = { provider = "program", model = "long" }
[prices.plain]
input = 1.0
output = 2.0
[suites.qa]
dataset = "qa"
targets.now = { kind = "recorded" }
"#;

const RUBRIC: &str = "Say whether the answer is right. A close call fails.\n";
const BINARY: &str = "[scale]\ntype = \"binary\"\n";
const STARS: &str = "[scale]\ntype = \"number\"\nmin = 1\nmax = 5\nstep = 1\n";

/// A project with `count` examples, one judge and one grader.
fn world(count: usize, judge: &str, grader: &str) -> World {
    let world = World::new();
    world.write("model.py", MODEL);
    world.write("assize.toml", format!("{CONFIG}graders = [{grader}]\n"));
    add_judge(&world, "j", judge);
    let example = |number: usize| {
        let words = if number.is_multiple_of(2) { "right" } else { "wrong" };
        let reference = format!("answer {number} is right, surely");
        let output = format!("answer {number} is {words}");
        let split = if number <= 8 { "dev" } else { "holdout" };
        let kind = if number.is_multiple_of(2) { "even" } else { "odd" };
        let example = json!({"id": format!("q-{number}"), "input": format!("question {number}"), "output": output,
            "reference": reference, "dimensions": {"kind": kind}, "split": split});
        format!("{example}\n")
    };
    world.write("examples.jsonl", (1..=count).map(example).collect::<String>());
    world.run(&["dataset", "import", "qa", "examples.jsonl"]).expect(0);
    world
}

fn add_judge(world: &World, name: &str, rest: &str) {
    let head = format!("name = \"{name}\"\nversion = \"1\"\nsummary = \"Is it right?\"\n");
    world.write(&format!("judges/{name}/judge.toml"), format!("{head}{rest}"));
    world.write(&format!("judges/{name}/prompt.md"), RUBRIC);
}

fn asks(world: &World) -> Vec<Value> {
    let log = std::fs::read_to_string(world.path("asks.log")).unwrap_or_default();
    log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn ran(world: &World) -> Value {
    world.run(&["run", "--json"]).expect(0).json()
}

fn metric<'a>(done: &'a Value, name: &str) -> &'a Value {
    let metrics = done["view"]["metrics"].as_array().unwrap();
    metrics.iter().find(|metric| metric["name"] == name).unwrap_or_else(|| panic!("no {name}: {done:#}"))
}

fn mean(done: &Value, name: &str) -> f64 {
    metric(done, name)["estimate"]["estimate"].as_f64().unwrap()
}

fn facts<'a>(done: &'a Value, name: &str) -> &'a Value {
    let all = done["view"]["judges"].as_array().unwrap_or_else(|| panic!("nothing of judges: {done:#}"));
    all.iter().find(|facts| facts["metric"] == name).unwrap()
}

/// A second run of the same asks nothing.
fn again_for_nothing(world: &World) {
    let before = asks(world).len();
    ran(world);
    assert_eq!(asks(world).len(), before, "everything is in the cache");
}

fn planned(world: &World) -> Ran {
    world.run(&["run", "--dry-run", "--json"]).expect(0)
}

#[test]
fn an_expected_score_is_the_mean_over_its_probabilities() {
    let judge = format!("{STARS}[expected_score]\notherwise = \"vote\"\n");
    let world = world(10, &judge, "{ judge = \"j\", model = \"odds\" }");
    let done = ran(&world);
    // Nine by probabilities, one by the score that was written.
    let expected = (9.0 * (4.0 * 0.6 + 5.0 * 0.3) / 0.9 + 4.0) / 10.0;
    assert!((mean(&done, "j") - expected).abs() < 1e-12, "{done:#}");
    let masses = &facts(&done, "j")["masses"];
    assert_eq!((&masses["cells"], &masses["votes_instead"]), (&json!(9), &json!(1)));
    assert!((masses["mean"].as_f64().unwrap() - 0.9).abs() < 1e-12, "{masses}");
    assert!(asks(&world).iter().all(|ask| ask[3].as_str().unwrap().ends_with("reply with the score alone.")));
    again_for_nothing(&world);

    add_judge(&world, "j", &format!("{STARS}[expected_score]\n"));
    let done = ran(&world);
    assert_eq!(metric(&done, "j")["unscored"], json!({"no_probabilities": 1}));
    let text = world.run(&["run"]).expect(0);
    assert!(text.stdout.contains("scores carry 90.0 %"), "{}", text.stdout);
    assert!(text.stderr.contains("tells no probabilities"), "{}", text.stderr);
}

#[test]
fn several_criteria_are_one_ask_and_a_metric_each() {
    let judge = "[[criteria]]\nname = \"accuracy\"\nsummary = \"Is it true?\"\nscale = { type = \"number\", min = 1, max = 5, step = 1 }\n\
        [[criteria]]\nname = \"tone\"\nsummary = \"Is it kind?\"\nscale = { type = \"binary\" }\n";
    let world = world(10, judge, "{ judge = \"j\", model = \"sheet\" }");
    let plan = planned(&world).json();
    assert_eq!((&plan["plan"]["model_calls"], &plan["plan"]["plan"]["cells"]), (&json!(10), &json!(20)), "{plan:#}");
    let done = ran(&world);
    assert_eq!((mean(&done, "j.accuracy"), mean(&done, "j.tone")), (4.0, 1.0));
    assert_eq!(metric(&done, "j.tone")["unscored"], json!({"reply_unreadable": 5}), "{done:#}");
    assert_eq!(metric(&done, "j.accuracy")["unscored"], json!({}));
    assert_eq!(asks(&world).len(), 10);
    world.run(&["run", "--no-cache"]).expect(0);
    assert_eq!(asks(&world).len(), 20, "one ask per example without a cache, too");
    again_for_nothing(&world);
}

#[test]
fn pairs_are_asked_in_both_orders() {
    let judge = "inputs = [\"input\", \"output\", \"reference\"]\n[scale]\ntype = \"labels\"\nlabels = [\n\
        { label = \"first\", value = 1 }, { label = \"tie\", value = 0.5 }, { label = \"second\", value = 0 } ]\n\
        [pairwise]\nfirst = \"output\"\nsecond = \"reference\"\n";
    let world = world(12, judge, "{ judge = \"j\", model = \"pair\" }");
    assert_eq!(planned(&world).json()["plan"]["model_calls"], json!(24));
    let done = ran(&world);
    let orders = &facts(&done, "j")["orders"];
    // 4, 8 and 12 go by the place; odd outputs are wrong and lose; the others tie.
    assert_eq!(orders["both"], json!(12));
    assert!((orders["consistency"].as_f64().unwrap() - 9.0 / 12.0).abs() < 1e-12, "{orders}");
    assert!((mean(&done, "j") - (6.0 * 0.5) / 12.0).abs() < 1e-12, "{done:#}");
    assert!((orders["position_bias_p"].as_f64().unwrap() - 0.25).abs() < 1e-12, "three of three: {orders}");
    let log = asks(&world);
    assert_eq!(log.len(), 24);
    assert!(log.iter().all(|ask| !ask[3].as_str().unwrap().contains(" output>>")), "names tell only the place");
    again_for_nothing(&world);
    let text = world.run(&["run", "--report", "html=report.html"]).expect(0).stdout;
    assert!(text.contains("both orders agree on 75.0 %"), "{text}");
    let page = world.read("report.html");
    assert!(page.contains("as declared first, swapped second"), "votes of both orders stand in the report");
}

#[test]
fn a_judge_that_goes_by_the_order_decides_nothing() {
    let judge = "inputs = [\"input\", \"output\", \"reference\"]\n[scale]\ntype = \"labels\"\nlabels = [\n\
        { label = \"first\", value = 1 }, { label = \"tie\", value = 0.5 }, { label = \"second\", value = 0 } ]\n\
        [pairwise]\nfirst = \"output\"\nsecond = \"reference\"\n";
    let gate = "[suites.qa.gate.metrics]\nj = { floor = 0.01 }\n";
    let with = |model: &str| {
        let world = world(12, judge, &format!("{{ judge = \"j\", model = \"{model}\" }}"));
        world.write("assize.toml", format!("{}{gate}", world.read("assize.toml")));
        world
    };
    // Nine of twelve pairs are the same in both orders: enough.
    with("pair").run(&["run"]).expect(0);
    let leaning = with("leaning");
    let ran = leaning.run(&["run", "--report", "html=report.html"]).expect(4);
    let words = ran.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("says the same in both orders on 0.0 % of 12 pairs"), "{words}");
    assert!(words.contains("a judge that decides must on 70 %"), "{words}");
    assert!(leaning.read("report.html").contains("this metric decides nothing"));
    let id = leaning.run(&["runs", "--json"]).expect(0).json()[0]["header"]["id"].as_str().unwrap().to_owned();
    leaning.run(&["run"]).expect(4);
    let compared = leaning.run(&["compare", &id, "latest", "--json"]).expect(4).json();
    let metric = &compared["comparison"]["metrics"][0];
    assert_eq!(
        (&metric["verdict"], &metric["beside"]["distrust"]["status"]),
        (&json!("inconclusive"), &json!("judge_unsteady"))
    );
}

#[test]
fn a_panel_votes_and_a_failed_member_has_no_vote() {
    let grader = "{ name = \"right\", judge = \"j\", panel = { models = [\"plain\", \"strict\", \"broken\"] } }";
    let world = world(30, BINARY, grader);
    assert_eq!(planned(&world).json()["plan"]["model_calls"], json!(90));
    let done = ran(&world);
    // `plain` fails multiples of 3; `strict` those of 5 besides: 5, 10, 20, 25 are tied.
    assert_eq!(metric(&done, "right")["unscored"], json!({"votes_tied": 4}), "{done:#}");
    assert!((mean(&done, "right") - 16.0 / 26.0).abs() < 1e-12);
    let panel = &facts(&done, "right")["panel"];
    assert_eq!(panel["members"][2]["failed"], json!(30));
    assert_eq!(panel["members"][2]["votes"], json!(0), "a failure is no vote");
    assert_eq!((&panel["cells"], &panel["split"]), (&json!(30), &json!(4)), "votes that tie count: {panel}");
    let text = world.run(&["run", "--report", "html=report.html"]).expect(0);
    let told = text.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains("30 votes were lost to failures"), "{}", text.stdout);
    assert!(world.read("report.html").contains("strict votes fail: because 5"), "every vote stands in the report");

    let quorum = grader.replace("] }", "], quorum = 3 }");
    world.write("assize.toml", format!("{CONFIG}graders = [{quorum}]\n"));
    let done = world.run(&["run", "--json"]).expect(3).json();
    assert_eq!(metric(&done, "right")["unscored"], json!({"no_quorum": 30}));

    let mean_of_two =
        "{ name = \"right\", judge = \"j\", panel = { models = [\"plain\", \"strict\"], vote = \"mean\" } }";
    world.write("assize.toml", format!("{CONFIG}graders = [{mean_of_two}]\n"));
    let done = ran(&world);
    assert!((mean(&done, "right") - (16.0 + 2.0) / 30.0).abs() < 1e-12, "{done:#}");
    assert_eq!(facts(&done, "right")["panel"]["split"], json!(4));
    let alpha = facts(&done, "right")["panel"]["alpha"].as_f64().unwrap();
    // 60 votes, 36 passes and 24 fails; 8 of 60 coincidences differ.
    assert!((alpha - (1.0 - (8.0 / 60.0) / (2.0 * 36.0 * 24.0 / (60.0 * 59.0)))).abs() < 1e-12, "{alpha}");
}

#[test]
fn weights_come_from_a_calibration_or_the_panel_is_refused() {
    let grader =
        "{ name = \"right\", judge = \"j\", panel = { models = [\"plain\", \"strict\"], weights = \"calibration\" } }";
    let world = world(30, BINARY, grader);
    let refused = world.run(&["run"]).expect(2).stderr;
    assert!(refused.contains("was never calibrated") && refused.contains("assize judge calibrate j"), "{refused}");
    // People agree with `strict`; `plain` is wrong on multiples of 5 that are none of 3.
    let example = |number: usize| {
        let label = if !number.is_multiple_of(3) && !number.is_multiple_of(5) { "pass" } else { "fail" };
        let line = json!({"id": format!("c-{number}"), "input": "q", "output": format!("answer {number}"), "label": label,
            "reason": "so it is."});
        format!("{line}\n")
    };
    world.write("judges/j/calibration.jsonl", (1..=30).map(example).collect::<String>());
    for model in ["plain", "strict"] {
        world.run(&["judge", "calibrate", "j", "--model", model]).expect(0);
    }
    let kept = world.read("calibrations.toml");
    assert!(kept.contains("agreeing = 26") && kept.contains("agreeing = 30"), "{kept}");
    let done = ran(&world);
    // The better one decides where they differ.
    assert_eq!(metric(&done, "right")["unscored"], json!({}), "{done:#}");
    assert!((mean(&done, "right") - 16.0 / 30.0).abs() < 1e-12);
    add_judge(&world, "j", &BINARY.replace("[scale]", "max_input_chars = 9000\n[scale]"));
    let refused = world.run(&["run"]).expect(2).stderr;
    assert!(refused.contains("has changed since it was calibrated"), "{refused}");
}

#[test]
fn a_cascade_asks_the_dear_judge_where_the_cheap_one_is_not_sure() {
    let grader = "{ name = \"right\", judge = \"j\", model = \"plain\", cascade = { model = \"strict\", declared = \"high\", audit = 1.0 } }";
    let world = world(40, &format!("says_sure = true\n{BINARY}"), grader);
    let plan = planned(&world).json();
    assert_eq!(plan["plan"]["model_calls"], json!(80), "each sure one is audited");
    let done = ran(&world);
    let cascade = &facts(&done, "right")["cascade"];
    // Unsure on multiples of 4, of which `strict` also fails 20 and 40.
    assert_eq!((&cascade["unsure"], &cascade["audited"]), (&json!(10), &json!(30)), "{cascade}");
    let (mut shown, mut truth, mut differing) = (0.0, 0.0, 0);
    for number in 1..=40 {
        let (cheap, dear) = (number % 3 != 0, number % 3 != 0 && number % 5 != 0);
        let sure = number % 4 != 0;
        shown += f64::from(u8::from(if sure { cheap } else { dear }));
        truth += f64::from(u8::from(dear));
        differing += u64::from(sure && cheap != dear);
    }
    assert!((mean(&done, "right") - shown / 40.0).abs() < 1e-12, "{done:#}");
    assert_eq!(cascade["differing"], json!(differing));
    let effect = cascade["effect"]["estimate"].as_f64().unwrap();
    assert!((effect - (shown - truth) / 40.0).abs() < 1e-12, "audits of all tell the effect exactly: {cascade}");
    again_for_nothing(&world);

    let votes = grader.replace("declared = \"high\", audit = 1.0", "votes = 1.0, draws = 2, audit = 0.0");
    world.write("assize.toml", format!("{CONFIG}graders = [{votes}]\n"));
    let plan = planned(&world).json();
    assert_eq!((&plan["plan"]["model_calls"], &plan["plan"]["most_model_calls"]), (&json!(80), &json!(120)));
    let text = world.run(&["run", "--dry-run"]).expect(0);
    assert!(text.stderr.contains("80 to 120 model calls"), "{}{}", text.stdout, text.stderr);
    let done = ran(&world);
    assert_eq!(facts(&done, "right")["cascade"]["unsure"], json!(0), "its draws agree");

    let silent = grader.replace("says_sure", "x");
    add_judge(&world, "j", BINARY);
    world.write("assize.toml", format!("{CONFIG}graders = [{silent}]\n"));
    let refused = world.run(&["run"]).expect(2).stderr;
    assert!(refused.contains("says_sure = true"), "{refused}");
}

#[test]
fn a_tree_of_questions_leads_to_a_score() {
    let judge = format!(
        "{BINARY}[[tree]]\nname = \"asked\"\nask = \"Was anything asked?\"\n\
         answers = [{{ answer = \"yes\", next = \"answered\" }}, {{ answer = \"no\", not_applicable = true }}]\n\
         [[tree]]\nname = \"answered\"\nask = \"Is it answered?\"\n\
         answers = [{{ answer = \"yes\", score = \"pass\" }}, {{ answer = \"no\", score = \"fail\" }}]\n"
    );
    let world = world(9, &judge, "{ judge = \"j\", model = \"tree\" }");
    let plan = planned(&world).json();
    assert_eq!((&plan["plan"]["model_calls"], &plan["plan"]["most_model_calls"]), (&json!(9), &json!(18)));
    let done = ran(&world);
    assert_eq!(metric(&done, "j")["unscored"], json!({"not_applicable": 1}), "{done:#}");
    assert!((mean(&done, "j") - 4.0 / 8.0).abs() < 1e-12);
    assert_eq!(asks(&world).len(), 9 + 8);
    again_for_nothing(&world);
    world.run(&["run", "--report", "html=report.html"]).expect(0);
    assert!(world.read("report.html").contains("asked: yes."), "the path stands in the report");
    add_judge(&world, "j", &judge.replace("next = \"answered\"", "next = \"anwsered\""));
    let refused = world.run(&["judge", "check", "j"]).expect(2);
    assert!(format!("{}{}", refused.stdout, refused.stderr).contains("tree.answers.next"), "{}", refused.stdout);
}

#[test]
fn worked_examples_come_from_the_dev_split_and_never_from_the_example_itself() {
    let judge = format!("{BINARY}[few_shot]\nexamples = 3\n");
    let world = world(16, &judge, "{ judge = \"j\", model = \"plain\" }");
    let refused = world.run(&["run"]).expect(2).stderr;
    assert!(refused.contains("0 with a label `j` in its split `dev`"), "{refused}");
    let sheet: String = (1..=16).map(|n| format!("q-{n},{}\n", if n % 2 == 0 { "pass" } else { "fail" })).collect();
    world.write("sheet.csv", format!("example,value\n{sheet}"));
    world.run(&["labels", "import", "qa", "sheet.csv", "--name", "j", "--annotator", "ann"]).expect(0);
    ran(&world);
    for ask in asks(&world) {
        let user = ask[3].as_str().unwrap();
        let (shots, own) = user.split_once("# What is to be judged").unwrap();
        assert_eq!(shots.matches("# Worked example").count(), 3, "{user}");
        let numbers = |text: &str| -> Vec<u32> {
            let found = text.lines().filter_map(|line| line.strip_prefix("| question "));
            found.map(|number| number.parse().unwrap()).collect()
        };
        let (shown, own) = (numbers(shots), numbers(own)[0]);
        assert!(shown.iter().all(|number| *number <= 8 && *number != own), "{shown:?} for {own}");
        assert!(shots.contains("the score `pass`") && shots.contains("the score `fail`"), "{shots}");
    }
}

#[test]
fn a_judge_that_does_not_apply_is_counted_and_costs_nothing() {
    let world =
        world(10, &format!("when = \"kind=even and not id=q-4\"\n{BINARY}"), "{ judge = \"j\", model = \"plain\" }");
    assert_eq!(planned(&world).json()["plan"]["model_calls"], json!(4));
    let done = ran(&world);
    assert_eq!(metric(&done, "j")["unscored"], json!({"not_applicable": 6}));
    assert_eq!(asks(&world).len(), 4);
    add_judge(&world, "j", &format!("when = \"kind=\"\n{BINARY}"));
    let refused = world.run(&["run"]).expect(2).stderr;
    assert!(refused.contains("filter `kind=` cannot be read"), "{refused}");
}

/// A judge before records of twelve tool calls, the ninth of which goes wrong.
fn long_world(rest: &str) -> World {
    let world = world(
        1,
        &format!("inputs = [\"input\", \"transcript\"]\nmax_input_chars = 2000\n{rest}{BINARY}"),
        "{ judge = \"j\", model = \"long\" }",
    );
    let spans: Vec<Value> = (0..12)
        .map(|index| {
            let result = if index == 8 { "boom".to_owned() } else { "fine ".repeat(60) };
            json!({"trace_id": "t", "span_id": format!("s{index}"), "kind": "tool", "name": "look", "start_ns": index,
                "end_ns": index + 1, "source": {}, "tool": {"name": "look", "arguments": {"n": index}, "result": result}})
        })
        .collect();
    let example = json!({"id": "long", "input": "do it", "recorded": [{"trial": 0,
        "output": {"value": "done", "trace": {"id": "t", "spans": spans}}}]});
    world.write("long.jsonl", format!("{example}\n"));
    let done = world.run(&["dataset", "import", "qa", "long.jsonl", "--json"]);
    assert_eq!(done.expect(0).json()["rows"], json!(1));
    world
}

#[test]
fn long_records_are_judged_by_parts_or_by_summaries_and_never_cut_in_silence() {
    let world = long_world("long_input = \"steps\"\n");
    let parts = planned(&world).json()["plan"]["model_calls"].as_u64().unwrap();
    assert!((2..=4).contains(&parts), "{parts}");
    let done = ran(&world);
    assert_eq!(mean(&done, "j"), 0.0, "the worst part decides");
    let log = asks(&world);
    assert_eq!(log.len() as u64, parts);
    let all: String = log.iter().map(|ask| ask[3].as_str().unwrap()).collect();
    assert!((1..=12).all(|step| all.contains(&format!("[{step}] "))), "every step is shown: {all}");
    assert!(all.contains("part 2 of"), "{all}");

    let world = long_world("long_input = \"summary\"\n");
    assert_eq!(planned(&world).json()["plan"]["model_calls"], json!(2));
    let done = ran(&world);
    assert_eq!(facts(&done, "j")["on_summaries"], json!(1), "{done:#}");
    assert!(asks(&world)[1][3].as_str().unwrap().contains("a summary by a model"));

    let world = long_world("[parts]\nover = \"steps\"\nsteps = 3\nfold = \"mean\"\n");
    let done = ran(&world);
    assert_eq!((mean(&done, "j"), asks(&world).len()), (0.75, 4), "{done:#}");
    let world = long_world("long_input = \"refuse\"\n");
    let done = world.run(&["run", "--json"]).expect(3).json();
    assert_eq!(metric(&done, "j")["unscored"], json!({"input_too_long": 1}));
    let world = long_world("");
    assert_eq!(facts(&ran(&world), "j")["shortened"], json!(1));
}

#[test]
fn what_contradicts_itself_is_refused_with_its_place() {
    let world = world(2, BINARY, "{ judge = \"j\", model = \"plain\" }");
    let panel = "{ judge = \"j\", panel = { models = [\"plain\", \"gone\"], quorum = 3 }, model = \"plain\" }";
    world.write("assize.toml", format!("{CONFIG}graders = [{panel}]\n"));
    let said = world.run(&["run"]).expect(2).stderr;
    for words in ["no model `gone`", "a quorum of 3 of 2 members", "a panel names its models itself"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    world.write("assize.toml", format!("{CONFIG}graders = [{{ judge = \"j\", model = \"plain\" }}]\n"));
    let ten = "[scale]\ntype = \"number\"\nmin = 1\nmax = 10\nstep = 1\n[expected_score]\n[pairwise]\nfirst = \"output\"\nsecond = \"reference\"\n";
    add_judge(&world, "j", ten);
    let said = world.run(&["run"]).expect(2).stderr;
    assert!(said.contains("`10`, which begins with `1`") && said.contains("make two judges of it"), "{said}");
}
