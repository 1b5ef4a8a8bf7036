//! Every wire format against a server that speaks it: where a question goes, what is in it, how each end is read.

use std::sync::Arc;

use assize::model::{AnswerFormat, FailureKind, FinishReason};
use assize::provider::{Client, ClientBuilder};
use serde_json::{Value, json};

use super::{KEY, Told, key, model_at, quick, request};
use crate::mock::{Fault, Mock, Plan};

/// Provider, what its base address ends with, where the question goes, the header that carries the key.
const FORMATS: &[(&str, &str, &str, &str)] = &[
    ("anthropic", "", "/v1/messages", "x-api-key"),
    ("azure", "/openai/v1", "/openai/v1/chat/completions", "api-key"),
    ("bedrock", "", "/model/test-model/converse", "authorization"),
    ("gemini", "", "/v1beta/models/test-model:generateContent", "x-goog-api-key"),
    ("openai", "/v1", "/v1/chat/completions", "authorization"),
    ("openai_responses", "/v1", "/v1/responses", "authorization"),
];

fn client(mock: &Mock, provider: &str, ending: &str) -> ClientBuilder {
    quick(Client::builder(model_at(provider, format!("{}{ending}", mock.url()))))
}

#[tokio::test]
async fn every_format_asks_at_its_place_and_counts_its_tokens() {
    for (provider, ending, path, header) in FORMATS {
        let mock = Mock::start(Plan { key: Some(KEY), ..Plan::default() }).await;
        let answer = client(&mock, provider, ending).build().ask(&request("q"), &key(0), &|_| {}).await;
        let answer = answer.unwrap_or_else(|failure| panic!("{provider}: {failure}"));
        let verdict: Value = serde_json::from_str(&answer.reply.text).unwrap();
        assert!(verdict["pass"].is_boolean(), "{provider}: {}", answer.reply.text);
        let usage = &answer.reply.usage;
        assert_eq!((usage.input, usage.output), (Some(100), Some(20)), "{provider}");
        assert!(usage.cache_read.is_some_and(|cached| cached > 0), "{provider}");
        let seen = mock.seen();
        assert_eq!((seen.len(), seen[0].path.as_str()), (1, *path));
        assert!(seen[0].header(header).contains(KEY), "{provider}");
    }
}

#[tokio::test]
async fn ends_of_every_format_are_told_apart() {
    use FinishReason as End;
    for (provider, ending, ..) in FORMATS {
        // Where a tool carries the answer, a finished one ends with the call.
        let done = if ["anthropic", "bedrock"].contains(provider) { End::ToolCall } else { End::Stop };
        let refused = match *provider {
            "gemini" | "bedrock" => End::ContentFilter,
            _ => End::Refusal,
        };
        let ends = [
            (Fault::Length, Ok(End::Length)),
            (Fault::Refusal, Ok(refused)),
            (Fault::WrongSchema, Ok(done)),
            (Fault::EmptyChoices, Err(FailureKind::BadReply)),
            (Fault::WrongShape, Err(FailureKind::BadReply)),
            (Fault::Status(403), Err(FailureKind::Auth)),
            (Fault::Status(404), Err(FailureKind::NotFound)),
            (Fault::Status(503), Err(FailureKind::Server)),
        ];
        for (fault, expected) in ends {
            let mock = Mock::start(Plan { script: vec![Some(fault.clone())], ..Plan::default() }).await;
            let model = model_at(provider, format!("{}{ending}", mock.url()));
            let got = Client::new(model).ask(&request("q"), &key(0), &|_| {}).await;
            let got = got.map(|answer| answer.reply.finish).map_err(|failure| failure.kind);
            assert_eq!(got, expected, "{provider}: {fault:?}");
        }
    }
}

#[tokio::test]
async fn what_the_newer_formats_refuse_is_dropped_once() {
    let cases: [(&str, &str, Vec<&str>, usize); 3] = [
        ("openai_responses", "/v1", vec!["temperature", "text"], 3),
        ("gemini", "", vec!["responseJsonSchema", "responseSchema", "temperature"], 4),
        ("bedrock", "", vec!["toolConfig"], 2),
    ];
    for (provider, ending, refuses, asks) in cases {
        let mock = Mock::start(Plan { refuses, answer: Some(json!({"pass": true})), ..Plan::default() }).await;
        let client = client(&mock, provider, ending).build();
        let told = Told::default();
        let tell = |notice| told.0.lock().unwrap().push(notice);
        client.ask(&request("q"), &key(0), &tell).await.unwrap_or_else(|failure| panic!("{provider}: {failure}"));
        assert_eq!((mock.count(), told.kinds().len()), (asks, asks - 1), "{provider}: {}", told.texts());
        client.ask(&request("q2"), &key(0), &tell).await.unwrap();
        assert_eq!((mock.count(), told.kinds().len()), (asks + 1, asks - 1), "{provider}: the second ask knows");
        assert!(mock.seen().last().unwrap().body.to_string().contains("JSON Schema"), "{provider}: told in words");
    }
}

#[tokio::test]
async fn a_parameter_that_a_format_has_not_is_told_and_left_out() {
    for (provider, ending, ..) in FORMATS.iter().filter(|row| ["anthropic", "bedrock"].contains(&row.0)) {
        let mock = Mock::start(Plan::default()).await;
        let client = client(&mock, provider, ending).build();
        let mut question = request("q");
        (question.seed, question.top_logprobs) = (Some(7), Some(5));
        let told = Told::default();
        for _ in 0..2 {
            client.ask(&question, &key(0), &|notice| told.0.lock().unwrap().push(notice)).await.unwrap();
        }
        assert_eq!(told.kinds(), [FailureKind::BadRequest], "{provider}");
        assert!(told.texts().contains("takes no `seed` and no `logprobs`"), "{}", told.texts());
        assert!(!mock.seen()[0].body.to_string().contains("seed"), "{provider}");
    }
}

#[tokio::test]
async fn what_an_endpoint_is_said_not_to_take_is_not_tried() {
    let mock = Mock::start(Plan { refuses: vec!["temperature", "response_format"], ..Plan::default() }).await;
    let without = ["temperature", "structured"].map(str::to_owned).to_vec();
    let model = super::built("openai", mock.openai_url(), |options| options.without = without).unwrap();
    let told = Told::default();
    let client = quick(Client::builder(Arc::clone(&model))).build();
    client.ask(&request("q"), &key(0), &|notice| told.0.lock().unwrap().push(notice)).await.unwrap();
    assert_eq!((mock.count(), told.kinds().len()), (1, 0));
    let wrong = super::built("openai", mock.openai_url(), |options| options.without = vec!["heat".to_owned()]);
    assert!(wrong.err().unwrap().contains("`without` has `heat`"));
}

#[tokio::test]
async fn chances_of_tokens_are_asked_for_and_read() {
    let list = json!([{"token": "4", "logprob": -0.2, "bytes": null,
        "top_logprobs": [{"token": "4", "logprob": -0.2}, {"token": "5", "logprob": -1.7}]}]);
    let question = || {
        let mut question = request("q");
        (question.answer, question.top_logprobs) = (AnswerFormat::Text, Some(5));
        question
    };
    for (provider, ending, asked) in [
        ("openai", "/v1", json!({"logprobs": true, "top_logprobs": 5})),
        ("openai_responses", "/v1", json!({"include": ["message.output_text.logprobs"], "top_logprobs": 5})),
        ("gemini", "", json!({"generationConfig": {"responseLogprobs": true, "logprobs": 5}})),
    ] {
        let mock = Mock::start(Plan { tokens: Some(list.clone()), ..Plan::default() }).await;
        let answer = client(&mock, provider, ending).build().ask(&question(), &key(0), &|_| {}).await.unwrap();
        let tokens = answer.reply.tokens.unwrap_or_else(|| panic!("{provider} gave no tokens"));
        assert_eq!((tokens[0].text.as_str(), tokens[0].top[1].1), ("4", -1.7), "{provider}");
        let body = &mock.seen()[0].body;
        let held = |body: &Value, wanted: &Value| {
            wanted.as_object().unwrap().iter().all(|(name, value)| match value {
                Value::Object(inner) => inner.iter().all(|(name2, value)| body[name][name2] == *value),
                value => body[name] == *value,
            })
        };
        assert!(held(body, &asked), "{provider}: {body}");
    }
}
