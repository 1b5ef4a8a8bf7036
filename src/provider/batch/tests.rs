//! Batches against a server that takes them in both shapes.

use std::collections::BTreeMap;
use std::path::Path;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::http::{StatusCode, Uri};
use axum::routing::any;
use futures::future::join_all;
use serde_json::json;

use super::*;
use crate::model::{AnswerFormat, ChatMessage, Role};
use crate::provider::{BuildContext, Client, EndpointOptions, PriceFn};
use crate::sys::{Env, SystemClock, http_client};

const QUICK: Pace = Pace {
    least: 3,
    quiet: Duration::from_millis(50),
    look: Duration::from_millis(30),
    slowest: Duration::from_millis(60),
    longest: Duration::from_secs(20),
};

/// A service: what came, and its batches with the looks that were taken at each.
#[derive(Default)]
struct Service {
    files: Mutex<BTreeMap<String, String>>,
    batches: Mutex<BTreeMap<String, (Vec<Value>, u32)>>,
    live: Mutex<u32>,
    /// Looks that are answered with a failure first.
    faults: Mutex<u32>,
    /// Whether batches never end.
    stuck: Mutex<bool>,
}

fn reply(body: &Value, anthropic: bool) -> Value {
    let asked = body["messages"].as_array().unwrap().last().unwrap()["content"].as_str().unwrap();
    let text = format!("answer to {asked}");
    if anthropic {
        return json!({"model": "m", "content": [{"type": "text", "text": text}], "stop_reason": "end_turn",
            "usage": {"input_tokens": 10, "output_tokens": 10}});
    }
    json!({"model": "m", "choices": [{"message": {"content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 10}})
}

async fn serve(Shared(service): Shared<Arc<Service>>, uri: Uri, body: Bytes) -> (StatusCode, String) {
    let text = String::from_utf8_lossy(&body).into_owned();
    let json: Value = serde_json::from_str(&text).unwrap_or_default();
    let path: Vec<&str> = uri.path().trim_start_matches("/v1/").split('/').collect();
    let anthropic = path[0] == "messages";
    let fails = |body: &Value| body.to_string().contains("broken");
    let ok = |value: Value| (StatusCode::OK, value.to_string());
    match (path.as_slice(), body.is_empty()) {
        (["files"], false) => {
            let content: String =
                text.lines().filter(|line| line.starts_with('{')).map(|line| format!("{line}\n")).collect();
            assert!(text.contains("name=\"purpose\"") && text.contains("filename=\"batch.jsonl\""));
            let mut files = service.files.lock().unwrap();
            let id = format!("file-{}", files.len());
            files.insert(id.clone(), content);
            ok(json!({"id": id}))
        }
        (["batches"], false) | (["messages", "batches"], false) => {
            let requests = match json["input_file_id"].as_str() {
                Some(id) => {
                    let lines = service.files.lock().unwrap()[id].clone();
                    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
                }
                None => json["requests"].as_array().unwrap().clone(),
            };
            let mut batches = service.batches.lock().unwrap();
            let id = format!("batch_{}", batches.len());
            batches.insert(id.clone(), (requests, 0));
            ok(json!({"id": id, "status": "validating", "processing_status": "in_progress"}))
        }
        (["batches", id] | ["messages", "batches", id], true) => {
            let mut faults = service.faults.lock().unwrap();
            if *faults > 0 {
                *faults -= 1;
                return (StatusCode::SERVICE_UNAVAILABLE, "{}".to_owned());
            }
            let mut batches = service.batches.lock().unwrap();
            let looks = &mut batches.get_mut(*id).unwrap().1;
            *looks += 1;
            let done = *looks > 1 && !*service.stuck.lock().unwrap();
            let (status, processing) = if done { ("completed", "ended") } else { ("in_progress", "in_progress") };
            ok(
                json!({"id": id, "status": status, "processing_status": processing, "output_file_id": format!("out-{id}")}),
            )
        }
        (["files", file, "content"], true) => {
            let batches = service.batches.lock().unwrap();
            let (requests, _) = &batches[file.trim_start_matches("out-")];
            // In another order than asked, without those that failed.
            let lines = requests.iter().rev().filter(|request| !fails(request)).map(|request| {
                json!({"custom_id": request["custom_id"],
                    "response": {"status_code": 200, "body": reply(&request["body"], false)}, "error": null})
            });
            (StatusCode::OK, lines.map(|line| format!("{line}\n")).collect())
        }
        (["messages", "batches", id, "results"], true) => {
            let batches = service.batches.lock().unwrap();
            let lines = batches[*id].0.iter().rev().map(|request| {
                let result = match fails(request) {
                    true => json!({"type": "errored", "error": {"type": "invalid_request"}}),
                    false => json!({"type": "succeeded", "message": reply(&request["params"], true)}),
                };
                json!({"custom_id": request["custom_id"], "result": result})
            });
            (StatusCode::OK, lines.map(|line| format!("{line}\n")).collect())
        }
        _ => {
            *service.live.lock().unwrap() += 1;
            ok(reply(&json, anthropic))
        }
    }
}

async fn start() -> (Arc<Service>, String) {
    let service = Arc::new(Service::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(any(serve)).with_state(Arc::clone(&service));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (service, address)
}

fn client(provider: &str, address: &str, state: &Path) -> Client {
    let env = Env::of_pairs(&[("OPENAI_API_KEY", "sk-0123456789abc"), ("ANTHROPIC_API_KEY", "sk-0123456789abc")]);
    let http = http_client().unwrap();
    let clock = Arc::new(SystemClock);
    let context = BuildContext { endpoint: "e", env: &env, http: &http, clock, base: state, state };
    let base_url = Some(format!("{address}/v1"));
    let options = EndpointOptions { base_url, batch: true, pace: QUICK, ..EndpointOptions::default() };
    let model = options.build(provider, &context).unwrap();
    let price: PriceFn = Arc::new(|_, usage| usage.total().map(|tokens| tokens as f64));
    Client::builder(model).limits(options.limits()).price(price).build()
}

fn request(text: &str) -> ChatRequest {
    ChatRequest {
        model: "m".to_owned(),
        messages: vec![ChatMessage { role: Role::User, content: text.to_owned() }],
        answer: AnswerFormat::Text,
        temperature: None,
        max_tokens: None,
        seed: None,
        top_logprobs: None,
        extra: serde_json::Map::new(),
    }
}

fn key() -> AskKey {
    AskKey { asker: Digest::of(b"judge"), draw: 0 }
}

async fn ask_all(client: &Client, texts: &[String]) -> (Vec<String>, f64) {
    let requests: Vec<ChatRequest> = texts.iter().map(|text| request(text)).collect();
    let (key, tell) = (key(), |_| {});
    let answers = join_all(requests.iter().map(|request| client.ask(request, &key, &tell))).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    let cost = answers.iter().map(|answer| answer.spend.cost_usd).sum();
    (answers.into_iter().map(|answer| answer.reply.text).collect(), cost)
}

#[tokio::test]
async fn one_batch_answers_all_at_half_the_price_and_the_rest_is_asked_live() {
    for provider in ["openai", "anthropic"] {
        let (service, address) = start().await;
        *service.faults.lock().unwrap() = 2;
        let folder = tempfile::tempdir().unwrap();
        let client = client(provider, &address, folder.path());
        let mut texts: Vec<String> = (0..30).map(|n| format!("question {n}")).collect();
        texts.push("a broken question".to_owned());
        let (answers, cost) = ask_all(&client, &texts).await;
        let expected: Vec<String> = texts.iter().map(|text| format!("answer to {text}")).collect();
        assert_eq!(answers, expected, "{provider}");
        let batches = service.batches.lock().unwrap();
        assert_eq!((batches.len(), batches["batch_0"].0.len()), (1, 31), "{provider}");
        assert_eq!(*service.live.lock().unwrap(), 1, "only what the batch failed");
        assert_eq!(cost, 30.0 * 10.0 + 20.0, "{provider}: half for the batch, the whole price live");
        assert!(client.waits_long());
    }
}

#[tokio::test]
async fn a_handful_is_not_worth_a_batch() {
    let (service, address) = start().await;
    let folder = tempfile::tempdir().unwrap();
    let client = client("openai", &address, folder.path());
    let (answers, cost) = ask_all(&client, &["one".to_owned(), "two".to_owned()]).await;
    assert_eq!((answers.len(), cost), (2, 40.0));
    assert_eq!((service.batches.lock().unwrap().len(), *service.live.lock().unwrap()), (0, 2));
}

#[tokio::test]
async fn another_process_takes_up_what_is_under_way() {
    let (service, address) = start().await;
    *service.stuck.lock().unwrap() = true;
    let folder = tempfile::tempdir().unwrap();
    let texts: Vec<String> = (0..10).map(|n| format!("question {n}")).collect();
    let first = client("openai", &address, folder.path());
    let killed = tokio::time::timeout(Duration::from_millis(400), ask_all(&first, &texts)).await;
    assert!(killed.is_err(), "the batch does not end");
    drop(first);
    // Half a line at the end, as a kill leaves it.
    let file = folder.path().join("batches-e.jsonl");
    let noted = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{noted}{{\"event\":\"se")).unwrap();
    *service.stuck.lock().unwrap() = false;
    let second = client("openai", &address, folder.path());
    let (answers, cost) = ask_all(&second, &texts).await;
    assert!(answers.iter().zip(&texts).all(|(answer, text)| *answer == format!("answer to {text}")));
    assert_eq!((service.batches.lock().unwrap().len(), *service.live.lock().unwrap(), cost), (1, 0, 100.0));
    assert!(unfinished(&file).unwrap().is_empty(), "it is noted as done");
}

#[test]
fn batches_stay_below_the_services_limits() {
    let waiting =
        |size: usize| Waiting { name: String::new(), body: json!("x".repeat(size)), tell: oneshot::channel().0 };
    let many = parts((0..MOST + 5).map(|_| waiting(1)).collect());
    assert_eq!(many.iter().map(Vec::len).collect::<Vec<_>>(), [MOST, 5]);
    let large = parts((0..3).map(|_| waiting(MOST_BYTES / 2)).collect());
    assert_eq!(large.len(), 3);
}
