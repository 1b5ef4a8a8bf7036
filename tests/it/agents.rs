//! Agents under test through the binary: pools of workers, hooks, collected spans, conversations, variants side by side.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::mock::{Mock, Plan};
use crate::world::World;

mod servers;

/// A worker that does what its example says, well or badly.
const UNRULY: &str = r#"
import json, os, signal, subprocess, sys, time
def do(asked):
    what = asked["input"]
    if what == "hang": time.sleep(60)
    if what == "exit": print("no more", file=sys.stderr); sys.exit(3)
    if what == "flood": sys.stdout.write("x" * 3000000); sys.stdout.flush()
    if what == "half": sys.stdout.write('{"output": "hal'); sys.stdout.flush(); os._exit(0)
    if what == "fork": subprocess.Popen(["sleep", "60"]); os._exit(7)
    if what == "stubborn": signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)
    if what == "error": return {"error": "the database is gone"}
    if what == "nonsense": return [1, 2]
    if what == "secret": print("key " + os.environ["APP_KEY"], file=sys.stderr); sys.exit(4)
    return {"output": what.upper(), "pid": os.getpid()}
if os.environ.get("POOL"):
    for line in sys.stdin:
        asked = json.loads(line)
        told = do(asked)
        if isinstance(told, dict): told["request"] = asked["request"]
        print(json.dumps(told), flush=True)
        if asked["input"] == "chatty": print(json.dumps({"output": "late"}), flush=True)
else:
    print(json.dumps(do(json.load(sys.stdin))))
"#;

fn examples(inputs: &[&str]) -> String {
    let line = |input: &&str| json!({"id": *input, "input": *input, "reference": input.to_uppercase()}).to_string();
    inputs.iter().map(line).collect::<Vec<_>>().join("\n") + "\n"
}

/// A suite over one file with one exact grader; `targets` is TOML below `[suites.s]`.
fn world(inputs: &str, targets: &str) -> World {
    let mut world = World::new();
    world.set("APP_KEY", "sk-0123456789abcdef");
    world.set("OPENAI_API_KEY", "none-0123456789");
    world.write("e.jsonl", inputs);
    world.write("worker.py", UNRULY);
    world.write(
        "assize.toml",
        format!(
            "[suites.s]\nfile = \"e.jsonl\"\nconcurrency = {{ targets = 4 }}\ngraders = [{{ scorer = \"exact\" }}]\n\
             gate.max_target_failures = 1.0\n{targets}"
        ),
    );
    world
}

/// Runs the suite and gives the run's findings with the HTML report, where failures stand in words.
fn run(world: &World, arguments: &[&str]) -> (Value, String) {
    let all: Vec<&str> = ["run", "--json", "--report", "html=r.html"].iter().chain(arguments).copied().collect();
    let ran = world.run(&all);
    assert!([0, 1, 3, 4].contains(&ran.code), "{}\n{}", ran.stdout, ran.stderr);
    (ran.json(), world.read("r.html").replace("&quot;", "\"").replace("&#x27;", "'"))
}

fn totals(done: &Value) -> (u64, u64) {
    let totals = &done["view"]["run"]["totals"];
    (totals["trials_ok"].as_u64().unwrap_or(u64::MAX), totals["trials_failed"].as_u64().unwrap_or(u64::MAX))
}

#[test]
fn workers_that_misbehave_cost_their_own_trial_only() {
    let bad = ["hang", "exit", "flood", "half", "fork", "stubborn", "error", "nonsense", "secret"];
    let good: Vec<String> = (0..30).map(|number| format!("good{number}")).collect();
    let inputs: Vec<&str> = good.iter().map(String::as_str).chain(bad).collect();
    let common = "command = [\"python3\", \"worker.py\"]\npass_env = [\"APP_KEY\"]\nstdout_limit = 1000000\n\
                  timeout = \"12s\"\nattempts = 1\nformat = \"json\"\n";
    let pool = "[suites.s.targets.t]\nkind = \"command\"\nmode = \"pool\"\nworkers = 3\nenv = { POOL = \"1\" }\n";
    let process = "[suites.s.targets.t]\nkind = \"command\"\n";
    for kind in [pool, process] {
        let world = world(&examples(&inputs), &format!("{kind}{common}"));
        let (done, html) = run(&world, &[]);
        assert_eq!(totals(&done), (30, 9), "{done:#}");
        for words in [
            "did not end within 12 s and was killed",
            "it ignored TERM",
            "ended with exit code 3",
            "no more",
            "wrote more than 1000000 bytes",
            "hal",
            "said `the database is gone`",
            "no JSON object with `output`: `[1, 2]`",
            "key [secret]",
        ] {
            assert!(html.contains(words), "{words} is not told");
        }
        assert!(!html.contains("sk-0123456789abcdef"));
    }
}

#[test]
fn workers_live_on_are_recycled_and_never_answer_out_of_step() {
    let inputs: Vec<String> = (0..40).map(|n| format!("good{n}")).chain(["chatty".to_owned()]).collect();
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let world = world(
        &examples(&inputs),
        "targets.t = { kind = \"command\", mode = \"pool\", workers = 2, recycle = 10, env = { POOL = \"1\" }, \
         command = [\"python3\", \"worker.py\"] }\n",
    );
    let (done, _) = run(&world, &[]);
    assert_eq!(totals(&done), (41, 0), "{done:#}");
    let exact = &done["view"]["metrics"][0]["estimate"];
    assert_eq!(exact["estimate"], 1.0, "a late line was taken for an answer: {exact}");
}

#[test]
fn hooks_stand_around_runs_and_trials() {
    let target = "[suites.s.targets.t]\nkind = \"command\"\n\
                  command = [\"sh\", \"-c\", \"cat $ASSIZE_FOLDER/fixture; pwd >> pwd.txt\"]\n\
                  [suites.s.targets.t.hooks]\nset_up = [\"sh\", \"-c\", \"echo up >> trail\"]\n\
                  before_each = [\"sh\", \"-c\", \"test $ASSIZE_EXAMPLE != bad || { echo no room >&2; exit 9; }; \
                  printf %s $ASSIZE_EXAMPLE | tr a-z A-Z > $ASSIZE_FOLDER/fixture\"]\n\
                  after_each = [\"sh\", \"-c\", \"cat >> after; echo >> after\"]\n\
                  tear_down = [\"sh\", \"-c\", \"echo down >> trail\"]\n";
    let world_of = |target: &str| world(&examples(&["one", "two", "bad"]), target);
    let world = world_of(target);
    let (done, html) = run(&world, &[]);
    assert_eq!(totals(&done), (2, 1), "{done:#}");
    assert_eq!(done["view"]["metrics"][0]["estimate"]["estimate"], 1.0);
    assert!(html.contains("hook `before_each`") && html.contains("ended with exit code 9; stderr: no room"));
    assert_eq!(world.read("trail"), "up\ndown\n");
    let after = world.read("after");
    assert_eq!(after.lines().filter(|line| line.contains("\"outcome\":{\"output\":")).count(), 2, "{after}");

    let world = world_of(&target.replace("echo up >> trail", "echo no database >&2; exit 1"));
    let ran = world.run(&["run"]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stderr.contains("the run does not begin: hook `set_up`") && ran.stderr.contains("no database"));
    assert_eq!(world.run(&["runs", "--json"]).json(), json!([]), "no run was begun");
    assert_eq!(world.read("trail"), "down\n");
}

/// A program that sends a span of a tool over OTLP, as an instrumented agent does, and answers.
const TRACED: &str = r#"
import json, os, sys, time, urllib.request
asked = json.load(sys.stdin)
version, trace, parent, flags = os.environ["TRACEPARENT"].split("-")
now = time.time_ns()
def attributes(**pairs):
    return [{"key": key.replace("__", "."), "value": {"stringValue": value}} for key, value in pairs.items()]
def send(*spans):
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": list(spans)}]}]}).encode()
    url = os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] + "/v1/traces"
    urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": "application/json"})).read()
def span(id, parent, name, **pairs):
    return {"traceId": trace, "spanId": id, "parentSpanId": parent, "name": name, "startTimeUnixNano": str(now),
            "endTimeUnixNano": str(now + 5000000), "attributes": attributes(**pairs)}
send(span("00000000000000b2", "00000000000000a1", "execute_tool search", gen_ai__operation__name="execute_tool",
          gen_ai__tool__name="search"))
send(span("00000000000000a1", parent, "agent", gen_ai__operation__name="invoke_agent", gen_ai__agent__name="shop"))
print(asked["input"].upper())
"#;

#[test]
fn spans_that_a_target_sends_become_the_trace_of_its_trial() {
    let inputs: Vec<String> = (0..12).map(|number| format!("e{number}")).collect();
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let config = |collect: &str| {
        format!(
            "graders = [{{ scorer = \"tool_used\", tools = [\"search\"] }}]\n\
             targets.t = {{ kind = \"command\", command = [\"python3\", \"traced.py\"], collect = {collect} }}\n"
        )
    };
    let made = |collect: &str| {
        let world = World::new();
        world.write("traced.py", TRACED);
        world.write("e.jsonl", examples(&inputs));
        world.write("assize.toml", format!("[suites.s]\nfile = \"e.jsonl\"\n{}", config(collect)));
        world
    };
    let world = made("true");
    let (done, _) = run(&world, &[]);
    assert_eq!(totals(&done), (12, 0), "{done:#}");
    assert_eq!(done["view"]["metrics"][0]["estimate"]["estimate"], 1.0, "{done:#}");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let world = made(&format!("{{ address = \"{address}\" }}"));
    let ran = world.run(&["run"]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stderr.contains(&format!("spans cannot be received at `{address}`")), "{}", ran.stderr);
    assert_eq!(world.run(&["runs", "--json"]).json(), json!([]), "nothing was begun");
}

#[test]
fn a_script_of_turns_is_one_trial() {
    let inputs = [
        json!({"id": "a", "input": {"turns": ["one", "two", "three"]}, "reference": "3:THREE after ONE"}),
        json!({"id": "b", "input": [{"role": "user", "content": "solo"}], "reference": "1:SOLO after "}),
    ];
    let lines = inputs.map(|line| line.to_string()).join("\n");
    let script = "import json, sys\na = json.load(sys.stdin)\nm = a['messages']\n\
                  print(f\"{a['turn'] + 1}:{m[-1]['content'].upper()} after {m[1]['content'].split(':')[1].split(' ')[0] if len(m) > 1 else ''}\")\n";
    let world = world(
        &lines,
        "targets.t = { kind = \"command\", command = [\"python3\", \"talk.py\"], conversation = { max_turns = 5 } }\n",
    );
    world.write("talk.py", script);
    let (done, html) = run(&world, &[]);
    assert_eq!(totals(&done), (2, 0), "{html}");
    assert_eq!(done["view"]["metrics"][0]["estimate"]["estimate"], 1.0, "{done:#}");
    assert!(html.contains("turn 3"), "the transcript stands in the report");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_plays_the_user_until_it_is_done() {
    let said =
        |text: &str| json!({"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"});
    let choices = vec![
        ("ANSWER 2".to_owned(), said("[DONE]")),
        ("ANSWER 1".to_owned(), said("and then?")),
        ("play".to_owned(), said("hello")),
    ];
    let mock = Mock::start(Plan { choices, ..Plan::default() }).await;
    let world = world(
        &examples(&["find my order"]),
        "targets.t = { kind = \"command\", command = [\"python3\", \"talk.py\"], timeout = \"60s\", conversation = \
         { model = \"player\", prompt = \"You want: {{input}}\", max_turns = 6 } }\n",
    );
    world.write("talk.py", "import json, sys\nprint('ANSWER', json.load(sys.stdin)['turn'] + 1)\n");
    let config = world.read("assize.toml");
    let models = format!(
        "[providers.p]\nkind = \"openai\"\nbase_url = \"{}\"\n[models.player]\nprovider = \"p\"\nmodel = \"m\"\n",
        mock.openai_url()
    );
    world.write("assize.toml", format!("{config}{models}"));
    let (done, html) = run(&world, &[]);
    assert_eq!(totals(&done), (1, 0), "{html}");
    assert_eq!(mock.count(), 3, "two turns and the end");
    let last = mock.seen().pop().unwrap().body;
    let roles: Vec<&str> = last["messages"].as_array().unwrap().iter().map(|m| m["role"].as_str().unwrap()).collect();
    assert_eq!(
        roles,
        ["system", "user", "assistant", "user", "assistant", "user"],
        "seen from the user's side: {last}"
    );
    assert!(last["messages"][0]["content"].as_str().unwrap().contains("You want: find my order"));
    assert!(html.contains("ANSWER 2") && html.contains("turn 2") && !html.contains("turn 3"));
}

#[test]
fn variants_of_the_same_name_are_refused_with_their_line() {
    let world = world(
        &examples(&["a"]),
        "targets.t = { kind = \"command\", command = [\"cat\"] }\n[suites.s.variants.t]\nextends = \"t\"\n",
    );
    let ran = world.run(&["run"]).expect(2);
    assert!(ran.stderr.contains("a second target is named `t`, after `suites.s.targets.t`"), "{}", ran.stderr);
}

/// The model server that the example ships; ends with this.
struct Rules(Child, String);

impl Rules {
    fn start(folder: &Path) -> Self {
        let mut command = Command::new("python3");
        command.arg("mock_model.py").current_dir(folder).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self(child, address.trim().to_owned())
    }
}

impl Drop for Rules {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_example_of_two_agents_gives_a_verdict_and_a_report_in_one_command() {
    let mut world = World::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/agents");
    for entry in std::fs::read_dir(&source).unwrap() {
        let entry = entry.unwrap();
        world.write(entry.file_name().to_str().unwrap(), std::fs::read(entry.path()).unwrap());
    }
    let rules = Rules::start(world.folder());
    world.set("MODEL_BASE_URL", &rules.1);
    world.set("MODEL_API_KEY", "none");
    let done = world.run(&["versus", "--json"]).expect(0).json();
    let comparison = &done["comparison"];
    assert_eq!(comparison["verdict"], "pass", "{comparison:#}");
    assert_eq!(comparison["metrics"][0]["change"], "improved", "{comparison:#}");
    let differs = comparison["comparability"]["differences"].as_array().unwrap();
    let tools = differs.iter().find(|difference| difference["what"] == "target.env.AGENT_TOOLS").unwrap();
    assert_eq!((&tools["baseline"], &tools["candidate"]), (&json!("none"), &json!("all")));
    let html = world.read(".assize/reports/versus-orders.html");
    assert!(html.contains("env.AGENT_TOOLS"));

    // The two runs took turns: what the one called lies between what the other called.
    let runs = world.run(&["runs", "--json"]).expect(0).json();
    assert_eq!(runs.as_array().unwrap().len(), 2);
    let text = world.run(&["versus", "shell", "with_tools", "--trials", "1"]);
    assert!(text.code == 0 || text.code == 4, "{}\n{}", text.stdout, text.stderr);
    assert!(text.stdout.contains("right_answer"), "{}", text.stdout);
    let alone = world.run(&["versus", "shell", "shell"]).expect(2);
    assert!(alone.stderr.contains("compared with itself"));
}

/// Spans as an instrumented run of the example's agent sends them: two calls of the model, one of a tool between them.
fn recorded_trace() -> String {
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let text = |role: &str, content: &str| json!({"role": role, "parts": [{"type": "text", "content": content}]});
    let call = json!({"role": "assistant", "parts": [{"type": "tool_call", "id": "call_lookup_order", "name": "lookup_order",
        "arguments": {"order_id": "A-1001"}}]});
    let result = r#"{"status": "delivered", "item": "lamp", "price": "10"}"#;
    let response = json!({"role": "tool", "parts": [{"type": "tool_call_response", "id": "call_lookup_order",
        "response": result}]});
    let question = text("user", "Where is my order A-1001?");
    let span = |id: u32, start: u32, pairs: Vec<(&str, String)>| {
        let attributes: Vec<Value> =
            pairs.into_iter().map(|(key, value)| json!({"key": key, "value": {"stringValue": value}})).collect();
        let parent = if id == 1 { "" } else { "0000000000000001" };
        json!({"traceId": trace, "spanId": format!("{id:016x}"), "parentSpanId": parent, "name": format!("step {id}"),
            "startTimeUnixNano": format!("17600000000{start:02}000000"), "endTimeUnixNano": format!("17600000000{:02}000000", start + 1),
            "attributes": attributes})
    };
    let pair = |key: &'static str, value: &str| (key, value.to_owned());
    let model = |conversation: Value, says: Value| {
        vec![
            pair("gen_ai.operation.name", "chat"),
            pair("gen_ai.request.model", "gpt-5-mini"),
            pair("gen_ai.input.messages", &conversation.to_string()),
            pair("gen_ai.output.messages", &json!([says]).to_string()),
        ]
    };
    let tool = vec![
        pair("gen_ai.operation.name", "execute_tool"),
        pair("gen_ai.tool.name", "lookup_order"),
        pair("gen_ai.tool.call.id", "call_lookup_order"),
        pair("gen_ai.tool.call.arguments", r#"{"order_id": "A-1001"}"#),
        pair("gen_ai.tool.call.result", result),
    ];
    let answer = text("assistant", "Order A-1001, your lamp, is delivered.");
    let agent = vec![
        pair("gen_ai.operation.name", "invoke_agent"),
        pair("gen_ai.agent.name", "shop"),
        pair("gen_ai.input.messages", &json!([question]).to_string()),
        pair("gen_ai.output.messages", &json!([answer]).to_string()),
    ];
    let spans = [
        span(1, 10, agent),
        span(2, 11, model(json!([question]), call.clone())),
        span(3, 13, tool),
        span(4, 15, model(json!([question, call, response]), answer)),
    ];
    json!({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).to_string()
}

#[test]
fn a_trace_is_run_again_with_another_tool_result_and_shows_where_it_diverges() {
    let mut world = World::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/agents");
    for entry in std::fs::read_dir(&source).unwrap() {
        let entry = entry.unwrap();
        world.write(entry.file_name().to_str().unwrap(), std::fs::read(entry.path()).unwrap());
    }
    let rules = Rules::start(world.folder());
    world.set("MODEL_API_KEY", "none");
    world.write("trace.json", recorded_trace());
    world.run(&["ingest", "trace.json"]).expect(0);
    let replay = |more: &[&str]| {
        let all: Vec<&str> = ["traces", "replay", "0af7", "--json"].iter().chain(more).copied().collect();
        world.run(&all)
    };
    let standings = |done: &Value| -> Vec<String> {
        let steps = done["steps"].as_array().unwrap();
        steps.iter().map(|step| format!("{} {}", step["kind"], step["standing"]).replace('"', "")).collect()
    };
    // Nothing set: recorded answers all the way, and no server is asked.
    let same = replay(&[]).expect(0).json();
    assert_eq!(standings(&same), ["model same", "tool same", "model same"], "{same:#}");
    assert_eq!(
        (&same["diverges_at"], &same["output"]),
        (&Value::Null, &json!("Order A-1001, your lamp, is delivered."))
    );

    // Another result of the tool: the first model call is answered from the recording, the second by the server.
    let set = r#"tool.result={"status": "lost", "item": "lamp"}"#;
    let done = replay(&["--from", "2", "--set", set, "--upstream", &rules.1]).expect(0).json();
    assert_eq!(standings(&done), ["model same", "tool set", "model changed"], "{done:#}");
    assert_eq!((&done["diverges_at"], &done["output"]), (&json!(2), &json!("Order A-1001, your lamp, is lost.")));

    // Without a server behind it, the divergence is told and the target's failure with it.
    let alone = replay(&["--from", "2", "--set", set]).expect(3).json();
    assert!(alone["failure"].as_str().unwrap().contains("501"), "{alone:#}");

    // Another input diverges at once.
    let other = replay(&["--set", "input=Where is my order A-1002?", "--upstream", &rules.1]).expect(0).json();
    assert_eq!(other["diverges_at"], 1, "{other:#}");
    assert_eq!(other["output"], "Order A-1002, your chair, is cancelled.");

    let wrong = replay(&["--from", "1", "--set", set]).expect(2);
    assert!(wrong.stderr.contains("step 1 is no tool call") && wrong.stderr.contains("2 ("), "{}", wrong.stderr);
    let text =
        world.run(&["traces", "replay", "0af7", "--from", "2", "--set", set, "--upstream", &rules.1]).expect(0).stdout;
    assert!(text.contains("Diverges at step 2.") && text.contains("+ Order A-1001, your lamp, is lost."), "{text}");
}
