//! Servers under test that stream, that take jobs, that fail in ways which must not be tried again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::json;

use super::{examples, run, totals, world};

#[derive(Clone, Default)]
struct Counts {
    asked: Arc<AtomicU32>,
    broken: Arc<AtomicU32>,
    keyed: Arc<AtomicU32>,
}

async fn stream(body: String) -> Response {
    let input = serde_json::from_str::<serde_json::Value>(&body).unwrap()["input"].as_str().unwrap().to_uppercase();
    let (start, end) = input.split_at(input.len() / 2);
    let event = |text: &str| format!("data: {}\r\n\r\n", json!({"choices": [{"delta": {"content": text}}]}));
    let usage = json!({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}});
    let stop = if input == "CUT" { String::new() } else { "data: [DONE]\n\n".to_owned() };
    let text = format!(": hello\n\n{}{}data: {usage}\n\n{stop}", event(start), event(end));
    let body = match input.as_str() {
        "REFUSED" => return axum::Json(json!({"error": {"message": "out of credit"}})).into_response(),
        _ => text,
    };
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}

async fn submit(State(counts): State<Counts>, body: String) -> Response {
    counts.asked.store(0, Ordering::SeqCst);
    let input = serde_json::from_str::<serde_json::Value>(&body).unwrap()["input"].clone();
    axum::Json(json!({"id": input, "state": "queued"})).into_response()
}

async fn state(State(counts): State<Counts>, axum::extract::Path(id): axum::extract::Path<String>) -> Response {
    let times = counts.asked.fetch_add(1, Ordering::SeqCst);
    if times == 0 {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    let state = match id.as_str() {
        "fails" => "failed",
        "slow" => "running",
        _ if times < 3 => "running",
        _ => "done",
    };
    axum::Json(json!({"state": state, "result": id.to_uppercase()})).into_response()
}

async fn broken(State(counts): State<Counts>, headers: HeaderMap) -> Response {
    counts.broken.fetch_add(1, Ordering::SeqCst);
    if headers.contains_key("idempotency-key") {
        counts.keyed.fetch_add(1, Ordering::SeqCst);
    }
    (StatusCode::INTERNAL_SERVER_ERROR, "half done").into_response()
}

async fn start(counts: Counts) -> String {
    let router = Router::new()
        .route("/stream", post(stream))
        .route("/jobs", post(submit))
        .route("/jobs/{id}", get(state))
        .route("/broken", post(broken))
        .with_state(counts);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}")
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_joined_and_broken_ones_are_failures() {
    let url = start(Counts::default()).await;
    let world = world(
        &examples(&["hello world", "cut", "refused"]),
        &format!(
            "targets.t = {{ kind = \"http\", url = \"{url}/stream\", attempts = 1, error = \"/error/message\", usage = \"/usage\", \
             stream = {{ delta = \"/choices/0/delta/content\", done = \"[DONE]\" }} }}\n"
        ),
    );
    let (done, html) = run(&world, &[]);
    assert_eq!(totals(&done), (1, 2), "{html}");
    assert_eq!(done["view"]["metrics"][0]["estimate"]["estimate"], 1.0);
    assert_eq!(done["view"]["run"]["totals"]["target_spend"]["usage"]["input"], 5);
    assert!(html.contains("the stream broke off before `[DONE]`") && html.contains("said `out of credit`"));
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_waited_for() {
    let url = start(Counts::default()).await;
    let world = world(
        &examples(&["ready", "fails", "slow"]),
        &format!(
            "targets.t = {{ kind = \"http\", url = \"{url}/jobs\", timeout = \"2s\", output = \"/result\", \
             poll = {{ url = \"{url}/jobs/{{{{reply.id}}}}\", status = \"/state\", done = [\"done\"], failed = [\"failed\"], \
             interval_s = 0.05 }} }}\n"
        ),
    );
    let config = world.read("assize.toml").replace("targets = 4", "targets = 1");
    world.write("assize.toml", config);
    let (done, html) = run(&world, &[]);
    assert_eq!(totals(&done), (1, 2), "{html}");
    assert_eq!(done["view"]["metrics"][0]["estimate"]["estimate"], 1.0);
    assert!(html.contains("the job failed") && html.contains("its last state was `running`"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_taken_effect_is_not_sent_again() {
    for (more, times, keyed) in
        [("", 1, 0), (", retry = \"all\"", 3, 0), (", idempotency_header = \"Idempotency-Key\"", 3, 3)]
    {
        let counts = Counts::default();
        let url = start(counts.clone()).await;
        let target = format!("targets.t = {{ kind = \"http\", url = \"{url}/broken\", attempts = 3{more} }}\n");
        let world = world(&examples(&["a"]), &target);
        let (done, html) = run(&world, &[]);
        assert_eq!(totals(&done), (0, 1), "{html}");
        assert_eq!(
            (counts.broken.load(Ordering::SeqCst), counts.keyed.load(Ordering::SeqCst)),
            (times, keyed),
            "{more}"
        );
        assert_eq!(html.contains("not tried again, since it may have taken effect"), times == 1);
    }
}
