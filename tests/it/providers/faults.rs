//! Every fault ends in the right failure, or in an answer after the exact number of requests.

use std::time::{Duration, Instant};

use assize::model::{FailureKind, FinishReason};
use assize::provider::Limits;
use assize::sys::RetryPolicy;
use futures::future::join_all;
use serde_json::{Value, json};

use super::{KEY, QUICK, Told, anthropic, key, openai, request};
use crate::mock::{Fault, Mock, Plan};

async fn scripted(faults: &[Option<Fault>]) -> Mock {
    Mock::start(Plan { script: faults.to_vec(), key: Some(KEY), ..Plan::default() }).await
}

#[tokio::test]
async fn both_formats_give_an_answer_that_fits_the_schema() {
    let mock = scripted(&[]).await;
    for (client, input) in [(openai(&mock).build(), 100), (anthropic(&mock).build(), 100)] {
        let answer = client.ask(&request("q"), &key(0), &|_| {}).await.unwrap();
        let verdict: Value = serde_json::from_str(&answer.reply.text).unwrap();
        assert!(verdict["pass"].is_boolean() && ["good", "bad"].contains(&verdict["grade"].as_str().unwrap()));
        assert_eq!(answer.reply.model.as_deref(), Some("test-model-2026-01-01"));
        assert_eq!((answer.reply.usage.input, answer.reply.usage.output), (Some(input), Some(20)));
        assert_eq!((answer.spend.calls, answer.spend.unpriced_calls, answer.cached), (1, 1, false));
    }
    assert_eq!((mock.count_at("/v1/chat/completions"), mock.count_at("/v1/messages")), (1, 1));
    let seen = mock.seen();
    assert_eq!(seen[0].header("authorization"), format!("Bearer {KEY}"));
    assert_eq!((seen[1].header("x-api-key"), seen[1].header("anthropic-version")), (KEY, "2023-06-01"));
    assert_eq!(seen[1].body["system"], "You judge.");
}

#[tokio::test]
async fn passing_faults_are_repeated_until_the_answer_and_others_are_not() {
    use FailureKind as Kind;
    let passing = [
        (Fault::Status(500), Kind::Server),
        (Fault::Status(503), Kind::Server),
        (Fault::Status(408), Kind::Timeout),
        (Fault::RateLimited(None), Kind::RateLimited),
        (Fault::Overloaded, Kind::RateLimited),
        (Fault::Reset, Kind::Connection),
        (Fault::Hang, Kind::Timeout),
        (Fault::Truncated, Kind::BadReply),
        (Fault::NotJson, Kind::BadReply),
        (Fault::WrongShape, Kind::BadReply),
        (Fault::Huge, Kind::BadReply),
        (Fault::EmptyChoices, Kind::BadReply),
    ];
    for (fault, kind) in passing {
        for of_anthropic in [false, true] {
            let mock = scripted(&[Some(fault.clone()), None]).await;
            let client = if of_anthropic { anthropic(&mock) } else { openai(&mock) };
            let attempt_timeout = Duration::from_millis(if fault == Fault::Hang { 500 } else { 10_000 });
            let client = client.retry(RetryPolicy { attempt_timeout, ..QUICK }).build();
            let told = Told::default();
            let tell = |notice| told.0.lock().unwrap().push(notice);
            let answer = client.ask(&request("q"), &key(0), &tell).await;
            assert!(answer.is_ok(), "{fault:?}: {answer:?}");
            assert_eq!((told.kinds(), mock.count()), (vec![kind], 2), "{fault:?}: {}", told.texts());
        }
    }
    let lasting = [
        (Fault::Status(400), Kind::BadRequest),
        (Fault::Status(401), Kind::Auth),
        (Fault::Status(403), Kind::Auth),
        (Fault::Status(404), Kind::NotFound),
        (Fault::Status(422), Kind::BadRequest),
        (Fault::NoQuota, Kind::Auth),
        (Fault::PromptFiltered, Kind::ContentFilter),
    ];
    for (fault, kind) in lasting {
        let mock = scripted(&[Some(fault.clone())]).await;
        let failure = openai(&mock).build().ask(&request("q"), &key(0), &|_| {}).await.unwrap_err();
        assert_eq!((failure.kind, mock.count()), (kind, 1), "{fault:?}: {failure}");
    }
}

#[tokio::test]
async fn attempts_end_at_the_policys_number() {
    let mock = scripted(&vec![Some(Fault::Status(500)); 10]).await;
    let client = openai(&mock).build();
    let failure = client.ask(&request("q"), &key(0), &|_| {}).await.unwrap_err();
    assert_eq!((failure.kind, mock.count()), (FailureKind::Server, 4));
    let once = openai(&mock).retry(RetryPolicy { max_attempts: 1, ..RetryPolicy::default() }).build();
    once.ask(&request("q"), &key(0), &|_| {}).await.unwrap_err();
    assert_eq!(mock.count(), 5, "one attempt is one attempt");
}

#[tokio::test]
async fn ends_that_are_no_failures_are_passed_up() {
    let ends = [
        (Fault::Refusal, FinishReason::Refusal, FinishReason::Refusal),
        (Fault::ContentFilter, FinishReason::ContentFilter, FinishReason::Refusal),
        (Fault::Length, FinishReason::Length, FinishReason::Length),
        (Fault::WrongSchema, FinishReason::Stop, FinishReason::ToolCall),
        (Fault::BrokenJson, FinishReason::Stop, FinishReason::ToolCall),
    ];
    for (fault, of_openai, of_anthropic) in ends {
        let mock = scripted(&[Some(fault.clone()), Some(fault.clone())]).await;
        let clients = [(openai(&mock).build(), of_openai), (anthropic(&mock).build(), of_anthropic)];
        for (client, expected) in clients {
            let answer = client.ask(&request("q"), &key(0), &|_| {}).await.unwrap();
            assert_eq!(answer.reply.finish, expected, "{fault:?}");
        }
        assert_eq!(mock.count(), 2, "{fault:?} is not asked again");
    }
}

#[tokio::test]
async fn the_servers_wish_holds_for_the_whole_endpoint() {
    let mock = scripted(&[Some(Fault::RateLimited(Some(0.5)))]).await;
    let client = openai(&mock).build();
    let start = Instant::now();
    client.ask(&request("first"), &key(0), &|_| {}).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(500));

    let mock = scripted(&[Some(Fault::RateLimited(Some(0.5)))]).await;
    let client = openai(&mock).build();
    let later = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        client.ask(&request("second"), &key(0), &|_| {}).await
    };
    let (question, key) = (request("first"), key(0));
    let (first, second) = tokio::join!(client.ask(&question, &key, &|_| {}), later);
    assert!(first.is_ok() && second.is_ok());
    let seen = mock.seen();
    assert_eq!(seen.len(), 3, "the second was not sent into the pause");
    assert!(seen[1].at.duration_since(seen[0].at) >= Duration::from_millis(499));
    assert_eq!(client.stats().throttled, 1);
}

#[tokio::test]
async fn a_wrong_key_is_said_without_the_key() {
    let mock = Mock::start(Plan { key: Some("another"), ..Plan::default() }).await;
    for client in [openai(&mock).build(), anthropic(&mock).build()] {
        let failure = client.ask(&request("q"), &key(0), &|_| {}).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Auth);
        assert!(failure.message.contains("_API_KEY") && failure.message.contains("[secret]"), "{failure}");
        assert!(!format!("{failure:?}").contains(KEY));
    }
    assert_eq!(mock.count(), 2);
    let mock = scripted(&vec![Some(Fault::Status(500)); 4]).await;
    let failure = openai(&mock).build().ask(&request("q"), &key(0), &|_| {}).await.unwrap_err();
    assert!(failure.message.contains("[secret]") && !failure.message.contains(KEY), "{failure}");
}

#[tokio::test]
async fn a_refused_parameter_is_dropped_once_and_remembered() {
    let refuses = vec!["temperature", "max_tokens", "response_format=json_schema"];
    let mock = Mock::start(Plan { refuses, ..Plan::default() }).await;
    let client = openai(&mock).build();
    let told = Told::default();
    let tell = |notice| told.0.lock().unwrap().push(notice);
    let answer = client.ask(&request("q"), &key(0), &tell).await.unwrap();
    assert!(serde_json::from_str::<Value>(&answer.reply.text).unwrap()["pass"].is_boolean());
    assert_eq!((mock.count(), told.kinds().len()), (4, 3), "{}", told.texts());
    client.ask(&request("q2"), &key(0), &tell).await.unwrap();
    assert_eq!((mock.count(), told.kinds().len()), (5, 3), "the second ask knows");
    let last = &mock.seen()[4].body;
    assert_eq!(
        (&last["max_completion_tokens"], &last["response_format"]["type"]),
        (&json!(100), &json!("json_object"))
    );
    assert!(last.get("temperature").is_none() && last.get("max_tokens").is_none());
    assert!(last["messages"][1]["content"].as_str().unwrap().contains("JSON Schema"), "json mode is told the schema");
    let mut other = request("q");
    other.model = "other-model".to_owned();
    client.ask(&other, &key(0), &tell).await.unwrap();
    assert_eq!(told.kinds().len(), 6, "another model may take it");

    let mock = Mock::start(Plan { refuses: vec!["tool_choice", "temperature"], ..Plan::default() }).await;
    let client = anthropic(&mock).build();
    client.ask(&request("q"), &key(0), &tell).await.unwrap();
    assert_eq!((mock.count(), told.kinds().len()), (4, 9), "forced tool, offered tool, temperature: {}", told.texts());
    assert!(mock.seen()[3].body["messages"][0]["content"].as_str().unwrap().contains("JSON Schema"));
}

#[tokio::test]
async fn what_cannot_be_dropped_stays_a_failure() {
    let mock = Mock::start(Plan { refuses: vec!["top_p"], ..Plan::default() }).await;
    let mut request = request("q");
    request.extra.insert("top_p".to_owned(), json!(0.5));
    let failure = openai(&mock).build().ask(&request, &key(0), &|_| {}).await.unwrap_err();
    assert_eq!((failure.kind, mock.count()), (FailureKind::BadRequest, 1), "the user's own word is not dropped");
}

#[tokio::test]
async fn billed_and_unusable_replies_are_counted() {
    let mock = scripted(&[Some(Fault::EmptyChoices), None]).await;
    let price: assize::provider::PriceFn = std::sync::Arc::new(|_, usage| Some(usage.total()? as f64));
    let client = openai(&mock).price(price.clone()).build();
    let answer = client.ask(&request("q"), &key(0), &|_| {}).await.unwrap();
    assert_eq!((answer.spend.calls, answer.spend.cost_usd), (2, 240.0));

    let mock = scripted(&vec![Some(Fault::EmptyChoices); 4]).await;
    let client = openai(&mock).price(price).build();
    client.ask(&request("q"), &key(0), &|_| {}).await.unwrap_err();
    let lost = client.stats().lost;
    assert_eq!((lost.calls, lost.cost_usd), (4, 480.0));
}

#[tokio::test]
async fn limits_hold_and_give_way_under_pressure() {
    let latency = Duration::from_millis(5);
    let mock = Mock::start(Plan { latency, ..Plan::default() }).await;
    let limits = Limits { max_concurrency: 5, ..Limits::default() };
    let client = openai(&mock).limits(limits).build();
    let questions: Vec<_> = (0..50).map(|n| request(&format!("q{n}"))).collect();
    let tell = |_| {};
    let key = key(0);
    let answers = join_all(questions.iter().map(|question| client.ask(question, &key, &tell))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!((mock.count(), mock.most_at_a_time()), (50, 5));

    // A server that bears eight at a time, asked by sixty-four: all are answered, and the limit comes down.
    let mock = Mock::start(Plan { latency, most_at_a_time: Some(8), ..Plan::default() }).await;
    let limits = Limits { max_concurrency: 64, ..Limits::default() };
    let client = openai(&mock).limits(limits).build();
    let questions: Vec<_> = (0..400).map(|n| request(&format!("q{n}"))).collect();
    let answers = join_all(questions.iter().map(|question| client.ask(question, &key, &tell))).await;
    let failed = answers.iter().filter(|answer| answer.is_err()).count();
    let stats = client.stats();
    assert_eq!(failed, 0, "{stats:?}");
    assert!(stats.throttled > 0 && stats.concurrency_limit < 64, "{stats:?}");
    assert_eq!(stats.attempts, mock.count() as u64);
}

#[tokio::test]
async fn a_hundred_mixed_fates_all_end_well_and_alike() {
    let chances = vec![
        (Fault::Status(500), 0.1),
        (Fault::RateLimited(Some(0.01)), 0.1),
        (Fault::Reset, 0.05),
        (Fault::Truncated, 0.05),
        (Fault::NotJson, 0.05),
        (Fault::EmptyChoices, 0.05),
    ];
    let mut texts = Vec::new();
    for _ in 0..2 {
        let mock = Mock::start(Plan { seed: 7, chances: chances.clone(), ..Plan::default() }).await;
        let patient = RetryPolicy { max_attempts: 12, base: Duration::from_millis(1), ..RetryPolicy::default() };
        let client = openai(&mock).retry(patient).build();
        let questions: Vec<_> = (0..100).map(|n| request(&format!("q{n}"))).collect();
        let (tell, key) = (|_| {}, key(0));
        let answers = join_all(questions.iter().map(|question| client.ask(question, &key, &tell))).await;
        texts.push((mock.count(), answers.into_iter().map(|answer| answer.unwrap().reply.text).collect::<Vec<_>>()));
        let stats = client.stats();
        assert!(stats.retries > 20 && stats.answered == 100, "{stats:?}");
    }
    assert_eq!(texts[0], texts[1], "the same seed gives the same fates");
}

#[tokio::test]
async fn a_smoke_test_names_who_answered_or_why_not() {
    let mock = scripted(&[]).await;
    assert_eq!(openai(&mock).build().smoke("test-model").await.unwrap(), "test-model-2026-01-01");
    assert_eq!(anthropic(&mock).build().smoke("claude").await.unwrap(), "claude-2026-01-01");
    let mock = scripted(&[Some(Fault::Status(404))]).await;
    assert_eq!(openai(&mock).build().smoke("nobody").await.unwrap_err().kind, FailureKind::NotFound);
}
