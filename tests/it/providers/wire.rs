//! What goes over the wire, word for word, and what is read from replies in the form that the services document.
//!
//! The bodies stand in `tests/goldens/wire`, where `scripts/check-wire.py` holds them against the types of the
//! providers' own SDKs. A body that changes is written anew with `ASSIZE_WRITE_WIRE=1` and checked again.

use std::fs;
use std::path::PathBuf;

use assize::model::{AnswerFormat, ChatMessage, ChatRequest, FailureKind, FinishReason, Role, Usage};
use assize::provider::Client;
use assize::rubric::{JudgeSpec, reply_schema};
use serde_json::{Map, Value, json};

use super::{key, model_at, quick};
use crate::mock::{Mock, Plan};

fn golden(name: &str) -> PathBuf {
    PathBuf::from(format!("{}/tests/goldens/wire/{name}.json", env!("CARGO_MANIFEST_DIR")))
}

/// The schema of a judge's reply, as the judges of the catalogue ask for it.
fn schema(scale: &str) -> Value {
    let toml = format!("name = \"j\"\nversion = \"1\"\nsummary = \"s\"\n[scale]\n{scale}\n");
    reply_schema(&JudgeSpec::parse("j", &toml, "Judge.", "").unwrap().scale)
}

fn request(answer: AnswerFormat) -> ChatRequest {
    let said = |role, content: &str| ChatMessage { role, content: content.to_owned() };
    ChatRequest {
        model: "test-model".to_owned(),
        messages: vec![
            said(Role::System, "You judge."),
            said(Role::User, "Is it so?"),
            said(Role::Assistant, "Show me."),
            said(Role::User, "Here it is: <ü \"quoted\">\n"),
        ],
        answer,
        temperature: Some(0.5),
        max_tokens: Some(800),
        seed: Some(7),
        top_logprobs: None,
        extra: Map::new(),
    }
}

fn json_answer(scale: &str) -> AnswerFormat {
    AnswerFormat::Json { name: "judgement".to_owned(), schema: schema(scale) }
}

/// What a body is asked for with: the request, and the parameters that the server refuses one after the other.
fn variants(provider: &str) -> Vec<(&'static str, ChatRequest, Vec<&'static str>)> {
    let (binary, levels) = ("type = \"binary\"", "type = \"number\"\nmin = 1\nmax = 5\nstep = 1");
    let labels = "type = \"labels\"\nlabels = [{ label = \"good\", value = 1 }, { label = \"bad\", value = 0 }]";
    let extra = match provider {
        "anthropic" => {
            json!({"thinking": {"type": "enabled", "budget_tokens": 2048}, "max_tokens": 4096, "temperature": 1})
        }
        "openai_responses" => json!({"reasoning": {"effort": "low"}}),
        "gemini" => json!({"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}}),
        "bedrock" => json!({"additionalModelRequestFields": {"top_k": 50}}),
        _ => json!({"reasoning_effort": "low"}),
    };
    let thinking = ChatRequest { extra: extra.as_object().unwrap().clone(), ..request(json_answer(binary)) };
    let chances = ChatRequest { top_logprobs: Some(5), ..request(AnswerFormat::Text) };
    let refused: Vec<&str> = match provider {
        "anthropic" => vec!["tool_choice"],
        "bedrock" => vec!["toolConfig"],
        "gemini" => vec!["responseJsonSchema"],
        "openai_responses" => vec!["text"],
        _ => vec!["response_format=json_schema"],
    };
    let mut bare = refused.clone();
    bare.extend(match provider {
        "gemini" => vec!["responseSchema", "responseMimeType", "temperature", "seed"],
        "anthropic" => vec!["tools", "temperature"],
        "bedrock" => vec![],
        "openai_responses" => vec!["temperature"],
        _ => vec!["response_format", "max_tokens", "temperature", "seed"],
    });
    vec![
        ("text", request(AnswerFormat::Text), vec![]),
        ("chances", chances, vec![]),
        ("binary", request(json_answer(binary)), vec![]),
        ("labels", request(json_answer(labels)), vec![]),
        ("levels", request(json_answer(levels)), vec![]),
        ("number", request(json_answer("type = \"number\"\nmin = 0\nmax = 1")), vec![]),
        ("extra", thinking, vec![]),
        ("second", request(json_answer(levels)), refused),
        ("least", request(json_answer(binary)), bare),
    ]
}

const PROVIDERS: &[(&str, &str)] = &[
    ("anthropic", ""),
    ("azure", "/openai/v1"),
    ("bedrock", ""),
    ("gemini", ""),
    ("openai", "/v1"),
    ("openai_responses", "/v1"),
];

#[tokio::test]
async fn bodies_are_those_that_were_checked() {
    let write = std::env::var_os("ASSIZE_WRITE_WIRE").is_some();
    let mut changed = Vec::new();
    for (provider, ending) in PROVIDERS {
        for (variant, request, refuses) in variants(provider) {
            let mock = Mock::start(Plan { refuses, ..Plan::default() }).await;
            let client = quick(Client::builder(model_at(provider, format!("{}{ending}", mock.url())))).build();
            // Whether the mock's answer is of use does not matter here.
            let _ = client.ask(&request, &key(0), &|_| {}).await;
            let seen = mock.seen();
            let body = &seen.last().unwrap().body;
            let path = golden(&format!("{provider}.{variant}"));
            if write {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(&path, format!("{}\n", serde_json::to_string_pretty(body).unwrap())).unwrap();
            }
            let kept: Value = serde_json::from_slice(&fs::read(&path).unwrap_or_default()).unwrap_or_default();
            if *body != kept {
                changed.push(format!("{provider}.{variant}: {body}"));
            }
        }
    }
    assert!(changed.is_empty(), "run with ASSIZE_WRITE_WIRE=1, then scripts/check-wire.py: {}", changed.join("\n"));
}

/// Provider and name of a documented reply, and what must be read from it: text and end, or the kind of failure; tokens
/// read, written, from the cache and thought.
type Documented = (&'static str, &'static str, Result<(&'static str, FinishReason), FailureKind>, [Option<u64>; 4]);

fn documented() -> Vec<Documented> {
    use FinishReason as End;
    let verdict = "{\"score\":\"pass\"}";
    vec![
        (
            "openai",
            "text",
            Ok(("Hello! How can I assist you today?", End::Stop)),
            [Some(19), Some(10), Some(0), Some(0)],
        ),
        (
            "openai",
            "refusal",
            Ok(("I'm sorry, I cannot assist with that request.", End::Refusal)),
            [Some(81), Some(11), Some(0), Some(0)],
        ),
        ("openai", "filtered", Ok(("", End::ContentFilter)), [Some(81), Some(0), None, None]),
        ("openai", "tool", Err(FailureKind::BadReply), [None; 4]),
        ("azure", "filtered", Ok(("This system is", End::ContentFilter)), [Some(15), Some(3), None, None]),
        (
            "openai_responses",
            "text",
            Ok(("Hello! How can I help?", End::Stop)),
            [Some(36), Some(87), Some(0), Some(64)],
        ),
        (
            "openai_responses",
            "refusal",
            Ok(("I cannot help with that.", End::Refusal)),
            [Some(36), Some(12), Some(0), Some(0)],
        ),
        ("openai_responses", "incomplete", Ok(("Hello! How", End::Length)), [Some(36), Some(16), Some(0), Some(0)]),
        ("openai_responses", "failed", Err(FailureKind::Server), [None; 4]),
        ("anthropic", "text", Ok(("Hi! My name is Claude.", End::Stop)), [Some(2095), Some(503), Some(0), None]),
        ("anthropic", "tool", Ok((verdict, End::ToolCall)), [Some(472), Some(65), Some(0), None]),
        ("anthropic", "thinking", Ok(("Yes.", End::Stop)), [Some(30), Some(40), Some(10), None]),
        ("anthropic", "refusal", Ok(("", End::Refusal)), [Some(20), Some(1), Some(0), None]),
        ("anthropic", "another_tool", Err(FailureKind::BadReply), [None; 4]),
        ("gemini", "text", Ok(("Hello there.", End::Stop)), [Some(8), Some(31), None, Some(28)]),
        ("gemini", "blocked", Ok(("the prompt was blocked: SAFETY", End::ContentFilter)), [Some(8), None, None, None]),
        ("gemini", "safety", Ok(("", End::ContentFilter)), [Some(8), None, None, None]),
        ("gemini", "length", Ok(("Hello th", End::Length)), [Some(8), Some(2), None, None]),
        ("bedrock", "text", Ok(("Here is a list.", End::Stop)), [Some(30), Some(628), None, None]),
        ("bedrock", "tool", Ok((verdict, End::ToolCall)), [Some(425), Some(73), Some(20), None]),
        (
            "bedrock",
            "guardrail",
            Ok(("Sorry, the model cannot answer this.", End::ContentFilter)),
            [Some(0), Some(0), None, None],
        ),
        ("bedrock", "malformed_tool", Err(FailureKind::BadReply), [None; 4]),
    ]
}

#[tokio::test]
async fn documented_replies_are_read() {
    for (provider, name, expected, [read, written, cached, thought]) in documented() {
        let path = golden(&format!("replies/{provider}.{name}"));
        let text = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mock = Mock::start(Plan { reply: Some(serde_json::from_slice(&text).unwrap()), ..Plan::default() }).await;
        let ending = PROVIDERS.iter().find(|row| row.0 == provider).unwrap().1;
        let model = model_at(provider, format!("{}{ending}", mock.url()));
        let got = Client::new(model).ask(&request(json_answer("type = \"binary\"")), &key(0), &|_| {}).await;
        match (got, expected) {
            (Ok(answer), Ok((text, finish))) => {
                let reply = answer.reply;
                assert_eq!((reply.text.as_str(), reply.finish), (text, finish), "{provider}.{name}");
                let Usage { input, output, cache_read, reasoning, .. } = reply.usage;
                assert_eq!(
                    [input, output, cache_read, reasoning],
                    [read, written, cached, thought],
                    "{provider}.{name}"
                );
            }
            (Err(failure), Err(kind)) => assert_eq!(failure.kind, kind, "{provider}.{name}: {failure}"),
            (got, expected) => panic!("{provider}.{name}: {got:?}, expected {expected:?}"),
        }
    }
}
