//! Targets from end to end: servers, programs, prompts, and what the dataset holds.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use assize::model::{Example, Failure, FailureKind};
use assize::provider::{CacheUse, Client, ModelHandle, PriceFn, ReplyCache};
use assize::sys::{Env, SystemClock, http_client};
use assize::target::{BuildContext, Stage, Target, TargetCall, TargetReply, find};
use serde_json::{Value, json};

use super::{openai, request};
use crate::mock::{Fault, Mock, Plan};

const TOKEN: &str = "app-token-0123456789-0123456789";

fn built(kind: &str, options: &Value, client: Option<Arc<Client>>, base: &Path) -> Result<Box<dyn Target>, String> {
    let path = std::env::var_os("PATH").unwrap();
    let env = Env::of_pairs(&[("PATH", path.to_str().unwrap()), ("APP_TOKEN", TOKEN), ("PRIVATE", "not passed on")]);
    let http = http_client().unwrap();
    let models = |alias: &str| match &client {
        Some(client) => Ok(ModelHandle::new(Arc::clone(client), "test-model")),
        None => Err(format!("no model `{alias}`")),
    };
    let context =
        BuildContext { name: "v2", env: &env, http: &http, clock: Arc::new(SystemClock), models: &models, base };
    (find(kind).unwrap().build)(options, &context)
}

fn example(input: Value) -> Example {
    let mut example = Example::new("e1".into(), input);
    example.metadata.insert("tone".to_owned(), json!("kind"));
    example
}

async fn run_within(target: &dyn Target, input: Value, timeout: Duration) -> Result<TargetReply, Failure> {
    let example = example(input);
    target
        .run(&TargetCall { example: &example, trial: 1, attempt: 1, timeout, on_notice: &|_| {}, stage: &Stage::BARE })
        .await
}

async fn run(target: &dyn Target, input: Value) -> Result<TargetReply, Failure> {
    run_within(target, input, Duration::from_secs(20)).await
}

#[tokio::test]
async fn http_sends_what_is_configured_and_finds_the_output() {
    let mock = Mock::start(Plan::default()).await;
    let options = json!({
        "url": format!("{}/ask/{{{{id}}}}?q={{{{input}}}}", mock.url()),
        "headers": {"authorization": {"env": "APP_TOKEN", "prefix": "Bearer "}, "x-kind": "test"},
        "body": {"question": "{{input}} ({{metadata.tone}})", "all": "{{json metadata}}", "trial": "{{json trial}}"},
        "output": "/output/echo/question", "usage": "/usage",
    });
    let target = built("http", &options, None, Path::new(".")).unwrap();
    let reply = run(target.as_ref(), json!("say \"hi\" & go")).await.unwrap();
    assert_eq!(reply.output.value, json!("say \"hi\" & go (kind)"));
    assert_eq!((reply.output.usage.input, reply.spend.unpriced_calls), (Some(7), 1));
    assert!(reply.output.latency_ms.unwrap() > 0.0);
    let seen = &mock.seen()[0];
    assert_eq!((seen.path.as_str(), seen.query.as_deref()), ("/ask/e1", Some("q=say%20%22hi%22%20%26%20go")));
    assert_eq!((seen.header("authorization"), seen.header("x-kind")), (format!("Bearer {TOKEN}").as_str(), "test"));
    assert_eq!((&seen.body["trial"], &seen.body["all"]["tone"]), (&json!(1), &json!("kind")));
    let trace_id = reply.output.metadata["trace_id"].as_str().unwrap();
    assert!(seen.header("traceparent").starts_with(&format!("00-{trace_id}-")));

    let plain = json!({"url": mock.url(), "body": "{\"input\": \"{{input}}\"}", "output": "/output/echo/input"});
    let text = built("http", &plain, None, Path::new(".")).unwrap();
    assert_eq!(run(text.as_ref(), json!("a\"\nb")).await.unwrap().output.value, json!("a\"\nb"));
    assert_ne!(text.info().digest, target.info().digest);
    assert!(!format!("{:?}", target.info()).contains(TOKEN));
}

#[tokio::test]
async fn http_faults_are_told_apart() {
    let faults = [
        (Fault::Status(500), FailureKind::Server),
        (Fault::Status(401), FailureKind::Auth),
        (Fault::RateLimited(Some(2.0)), FailureKind::RateLimited),
        (Fault::Reset, FailureKind::Connection),
        (Fault::Hang, FailureKind::Timeout),
        (Fault::Truncated, FailureKind::BadReply),
        (Fault::NotJson, FailureKind::BadReply),
    ];
    for (fault, kind) in faults {
        let mock = Mock::start(Plan { script: vec![Some(fault.clone())], ..Plan::default() }).await;
        let headers = json!({"authorization": {"env": "APP_TOKEN", "prefix": "Bearer "}});
        let options = json!({"url": mock.url(), "headers": headers, "output": "/output"});
        let target = built("http", &options, None, Path::new(".")).unwrap();
        let timeout = Duration::from_millis(if fault == Fault::Hang { 300 } else { 10_000 });
        let failure = run_within(target.as_ref(), json!("q"), timeout).await.unwrap_err();
        assert_eq!((failure.kind, mock.count()), (kind, 1), "{fault:?}: {failure}");
        assert!(!failure.message.contains(TOKEN), "{failure}");
        assert_eq!(failure.retry_after_ms.is_some(), matches!(fault, Fault::RateLimited(_)));
    }
    let wrong = [
        (json!({"url": "host/x"}), "`url`"),
        (json!({"url": "http://h/", "output": "answer"}), "write `/answer`"),
        (json!({"url": "http://h/", "headers": {"a": {"env": "NOT_SET"}}}), "export NOT_SET="),
        (json!({"url": "http://h/", "body": {"a": "{{#if"}}), "`body`"),
        (json!({}), "url"),
    ];
    for (options, expected) in wrong {
        let error = built("http", &options, None, Path::new(".")).err().unwrap();
        assert!(error.contains(expected), "{error}");
    }
}

#[cfg(unix)]
mod command {
    use super::*;

    fn sh(script: &str, more: Value) -> Box<dyn Target> {
        let mut options = json!({"command": ["sh", "-c", script]});
        options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        built("command", &options, None, Path::new("/")).unwrap()
    }

    #[tokio::test]
    async fn programs_get_json_and_give_text_or_json() {
        let cat = sh("cat", json!({"format": "text"}));
        let reply = run(cat.as_ref(), json!({"a": [1]})).await.unwrap();
        let got: Value = serde_json::from_str(reply.output.value.as_str().unwrap()).unwrap();
        let expected =
            json!({"id": "e1", "input": {"a": [1]}, "trial": 1, "metadata": {"tone": "kind"}, "dimensions": {}});
        assert_eq!(got, expected);
        assert_eq!((reply.spend.cost_usd, reply.spend.unpriced_calls), (0.0, 0));

        let envelope = r#"echo '{"output": {"x": 1}, "cost_usd": 0.25, "usage": {"input": 3, "output": 4},
            "trace": [{"kind": "tool", "name": "search"}]}'"#;
        let output = run(sh(envelope, json!({})).as_ref(), json!("q")).await.unwrap().output;
        assert_eq!((&output.value, output.cost_usd, output.usage.total()), (&json!({"x": 1}), Some(0.25), Some(7)));
        assert_eq!(output.trace.unwrap().tools_used()[0].name, "search");

        let script = "echo \"$PRIVATE|$APP_TOKEN|$PLAIN|${TRACEPARENT%%-*}\"";
        let env = json!({"env": {"PLAIN": "yes"}, "pass_env": ["APP_TOKEN"]});
        let text = run(sh(script, env).as_ref(), json!("q")).await.unwrap().output.text();
        assert_eq!(text, format!("|{TOKEN}|yes|00"), "only what is named is passed on");

        // It reads nothing, although more is written than a pipe holds.
        let big = json!("x".repeat(1 << 20));
        assert_eq!(run(sh("echo done", json!({})).as_ref(), big).await.unwrap().output.text(), "done");
    }

    #[tokio::test]
    async fn programs_that_fail_say_how() {
        let env = json!({"pass_env": ["APP_TOKEN"]});
        let cases = [
            (sh("echo \"bad key $APP_TOKEN\" >&2; exit 3", env), "exit code 3; stderr: bad key [secret]"),
            (sh("kill -9 $$", json!({})), "killed by signal 9"),
            (sh("yes", json!({"stdout_limit": 1000})), "more than 1000 bytes"),
            (sh("echo hello", json!({"format": "json"})), "no JSON object with `output`: `hello`"),
            (sh("echo '{\"error\": \"no luck\"}'", json!({"format": "json"})), "said `no luck`"),
        ];
        for (target, expected) in cases {
            let failure = run(target.as_ref(), json!("q")).await.unwrap_err();
            assert_eq!(failure.kind, FailureKind::TargetError, "{failure}");
            assert!(failure.message.contains(expected), "{failure}");
        }
        let missing = built("command", &json!({"command": ["no-such-program-here"]}), None, Path::new("/")).unwrap();
        let failure = run(missing.as_ref(), json!("q")).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::NotFound, "{failure}");
    }

    fn lives(pid: &str) -> bool {
        // A killed process that nobody has waited for yet is a zombie, which runs no more.
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
    }

    async fn dies(pid: &str) -> bool {
        for _ in 0..100 {
            if !lives(pid) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    }

    async fn pids(file: &Path) -> Vec<String> {
        for _ in 0..200 {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            if text.lines().count() == 2 {
                return text.lines().map(str::to_owned).collect();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the program did not start");
    }

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn a_hanging_program_is_killed_with_its_grandchildren() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pids");
        let script = format!("sleep 600 & echo $! >> {0}; echo $$ >> {0}; wait", file.display());
        let target = sh(&script, json!({}));
        let failure = run_within(target.as_ref(), json!("q"), Duration::from_millis(700)).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Timeout, "{failure}");
        for pid in pids(&file).await {
            assert!(dies(&pid).await, "{pid} still lives after the time limit");
        }

        std::fs::remove_file(&file).unwrap();
        let task = tokio::spawn(async move { run(target.as_ref(), json!("q")).await.is_ok() });
        let alive = pids(&file).await;
        task.abort();
        for pid in alive {
            assert!(dies(&pid).await, "{pid} still lives after the run was dropped");
        }
    }

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn what_a_program_leaves_running_holds_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pids");
        let script = format!("sleep 600 & echo $! >> {0}; echo $$ >> {0}; echo done", file.display());
        let start = Instant::now();
        let reply = run(sh(&script, json!({})).as_ref(), json!("q")).await.unwrap();
        assert_eq!(reply.output.text(), "done");
        assert!(start.elapsed() < Duration::from_secs(10));
        assert!(dies(&pids(&file).await[0]).await);
    }

    #[tokio::test]
    async fn a_changed_file_is_a_changed_target() {
        let folder = tempfile::tempdir().unwrap();
        let digest = |content: &str| {
            std::fs::write(folder.path().join("agent.py"), content).unwrap();
            let options = json!({"command": ["python3", "agent.py"], "files": ["agent.py"]});
            built("command", &options, None, folder.path()).unwrap().info().digest
        };
        assert_ne!(digest("a"), digest("b"));
        assert_eq!(digest("a"), digest("a"));
        let error =
            built("command", &json!({"command": ["sh"], "files": ["gone"]}), None, folder.path()).err().unwrap();
        assert!(error.contains("gone"), "{error}");
    }
}

#[tokio::test]
async fn prompts_are_filled_in_asked_and_priced() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("user.md"), "Q: {{input}} as {{metadata.tone}}").unwrap();
    let mock = Mock::start(Plan::default()).await;
    let cache = Arc::new(ReplyCache::open(&folder.path().join("c.db"), Arc::new(SystemClock)).await.unwrap());
    let price: PriceFn = Arc::new(|_, usage| Some(usage.total()? as f64 / 1000.0));
    let client = Arc::new(openai(&mock).cache(cache, CacheUse::ReadWrite).price(price).build());
    let options = json!({"model": "small", "system": "Be brief.", "user_file": "user.md", "temperature": 0.5});
    let target = built("prompt", &options, Some(Arc::clone(&client)), folder.path()).unwrap();
    assert!(!target.retried_by_runner());
    let first = run(target.as_ref(), json!("why?")).await.unwrap();
    let again = run(target.as_ref(), json!("why?")).await.unwrap();
    assert_eq!((mock.count(), first.spend.calls, again.spend.calls, again.cached), (1, 1, 0, true));
    assert_eq!((first.output.cost_usd, again.output.cost_usd), (Some(0.12), Some(0.12)));
    assert_eq!((&first.output.value, first.output.usage.input), (&again.output.value, Some(100)));
    let body = &mock.seen()[0].body;
    assert_eq!((&body["messages"][0]["content"], &body["temperature"]), (&json!("Be brief."), &json!(0.5)));
    assert_eq!(body["messages"][1]["content"], "Q: why? as kind");
    assert_eq!(first.output.metadata["model"], "test-model-2026-01-01");

    let digest =
        |options: Value| built("prompt", &options, Some(Arc::clone(&client)), folder.path()).unwrap().info().digest;
    let base = json!({"model": "small", "user": "{{input}}"});
    for (name, value) in
        [("user", json!("{{input}}!")), ("system", json!("")), ("max_tokens", json!(5)), ("json", json!(true))]
    {
        let mut changed = base.clone();
        changed[name] = value;
        assert_ne!(digest(base.clone()), digest(changed), "{name}");
    }
    let error = built("prompt", &json!({"model": "nobody"}), None, folder.path()).err().unwrap();
    assert!(error.contains("no model `nobody`"), "{error}");
}

#[tokio::test]
async fn prompts_may_ask_for_json() {
    let mock = Mock::start(Plan { script: vec![None, Some(Fault::BrokenJson)], ..Plan::default() }).await;
    let client = Arc::new(openai(&mock).build());
    let assize::model::AnswerFormat::Json { schema, .. } = request("q").answer else { panic!() };
    let options = json!({"model": "m", "schema": schema});
    let target = built("prompt", &options, Some(client), Path::new(".")).unwrap();
    let value = run(target.as_ref(), json!("a")).await.unwrap().output.value;
    assert!(value["pass"].is_boolean(), "{value}");
    let value = run(target.as_ref(), json!("b")).await.unwrap().output.value;
    assert_eq!(value, json!("{\"pass\": tr"), "what is no JSON stays text for a scorer to find fault with");
}

#[tokio::test]
async fn recorded_outputs_cost_nothing_now() {
    let mut example = example(json!("q"));
    let output = assize::model::Output { cost_usd: Some(3.0), ..assize::model::Output::of_text("a") };
    example.recorded.push(assize::model::Recorded { variant: Some("v1".to_owned()), trial: 0, output });
    let target = built("recorded", &json!({"variant": "v1"}), None, Path::new(".")).unwrap();
    let call = TargetCall {
        example: &example,
        trial: 0,
        attempt: 1,
        timeout: Duration::from_secs(1),
        on_notice: &|_| {},
        stage: &Stage::BARE,
    };
    let reply = target.run(&call).await.unwrap();
    assert_eq!((reply.output.cost_usd, reply.spend.calls, reply.spend.cost_usd), (Some(3.0), 0, 0.0));
}
