//! Nothing is paid twice: cache, recording, identical asks under way.

use std::sync::Arc;
use std::time::Duration;

use assize::model::{Digest, FailureKind};
use assize::provider::{AskKey, CacheUse, Cassette, Client, Recorder, Replay, ReplyCache};
use assize::sys::SystemClock;
use futures::future::join_all;
use serde_json::json;

use super::{KEY, key, openai, request};
use crate::mock::{Fault, Mock, Plan};

async fn cache_in(folder: &tempfile::TempDir) -> Arc<ReplyCache> {
    let path = folder.path().join("cache.db");
    Arc::new(ReplyCache::open(&path, Arc::new(SystemClock)).await.unwrap())
}

#[tokio::test]
async fn a_second_identical_ask_makes_no_call_and_a_changed_one_does() {
    let folder = tempfile::tempdir().unwrap();
    let mock = Mock::start(Plan::default()).await;
    let client = openai(&mock).cache(cache_in(&folder).await, CacheUse::ReadWrite).build();
    let first = client.ask(&request("q"), &key(0), &|_| {}).await.unwrap();
    let second = client.ask(&request("q"), &key(0), &|_| {}).await.unwrap();
    assert_eq!((mock.count(), second.cached, second.spend.calls), (1, true, 0));
    assert_eq!((&first.reply, first.took_ms), (&second.reply, second.took_ms));

    let mut hotter = request("q");
    hotter.temperature = Some(0.1);
    let mut other = request("q");
    other.model = "m2".to_owned();
    let asker = AskKey { asker: Digest::of(b"changed judge"), draw: 0 };
    let changed =
        [(request("q "), key(0)), (request("q"), key(1)), (hotter, key(0)), (other, key(0)), (request("q"), asker)];
    for (index, (request, key)) in changed.iter().enumerate() {
        for _ in 0..2 {
            client.ask(request, key, &|_| {}).await.unwrap();
        }
        assert_eq!(mock.count(), 2 + index);
    }

    // Another process with the same file, and another server with the same question.
    let again = openai(&mock).cache(cache_in(&folder).await, CacheUse::ReadWrite).build();
    assert!(again.ask(&request("q"), &key(0), &|_| {}).await.unwrap().cached);
    let elsewhere = Mock::start(Plan::default()).await;
    let moved = openai(&elsewhere).cache(cache_in(&folder).await, CacheUse::ReadWrite).build();
    assert!(!moved.ask(&request("q"), &key(0), &|_| {}).await.unwrap().cached);
    let anew = openai(&mock).cache(cache_in(&folder).await, CacheUse::Refresh).build();
    assert!(!anew.ask(&request("q"), &key(0), &|_| {}).await.unwrap().cached);
    assert_eq!(client.stats().cache_hits, 6);
}

#[tokio::test]
async fn failures_are_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mock = Mock::start(Plan { script: vec![Some(Fault::Status(400))], ..Plan::default() }).await;
    let client = openai(&mock).cache(cache_in(&folder).await, CacheUse::ReadWrite).build();
    client.ask(&request("q"), &key(0), &|_| {}).await.unwrap_err();
    client.ask(&request("q"), &key(0), &|_| {}).await.unwrap();
    assert_eq!(mock.count(), 2);
}

#[tokio::test]
async fn a_cache_that_breaks_costs_the_saving_and_not_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.db");
    std::fs::write(&path, "this is not a database, and long enough to be looked at".repeat(100)).unwrap();
    let cache = Arc::new(ReplyCache::open_or_off(&path, Arc::new(SystemClock)).await);
    let mock = Mock::start(Plan::default()).await;
    let client = openai(&mock).cache(cache, CacheUse::ReadWrite).build();
    for _ in 0..2 {
        client.ask(&request("q"), &key(0), &|_| {}).await.unwrap();
    }
    assert_eq!((mock.count(), client.warnings().len()), (2, 1), "{:?}", client.warnings());
}

#[tokio::test]
async fn identical_asks_under_way_are_one_call() {
    let mock = Mock::start(Plan { latency: Duration::from_millis(50), ..Plan::default() }).await;
    let client = openai(&mock).build();
    let (question, key, tell) = (request("q"), key(0), |_| {});
    let answers = join_all((0..10).map(|_| client.ask(&question, &key, &tell))).await;
    let calls: u64 = answers.iter().map(|answer| answer.as_ref().unwrap().spend.calls).sum();
    assert_eq!((mock.count(), calls, client.stats().shared), (1, 1, 9));
}

#[tokio::test]
async fn what_was_recorded_is_replayed_without_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cassette.jsonl");
    // The model repeats the key: it must not get into a file that is checked in.
    let answer = json!({"pass": true, "grade": KEY});
    let mock = Mock::start(Plan { answer: Some(answer), ..Plan::default() }).await;
    let cache = cache_in(&folder).await;
    let mut live = Vec::new();
    for round in 0..2 {
        // In the second round the answers come from the cache, and are recorded all the same.
        if round == 1 {
            std::fs::remove_file(&path).unwrap();
        }
        let recorder = Arc::new(Recorder::open(&path).unwrap());
        let client = openai(&mock).cache(Arc::clone(&cache), CacheUse::ReadWrite).recorder(recorder).build();
        live.clear();
        for draw in 0..3 {
            live.push(client.ask(&request("q"), &key(draw), &|_| {}).await.unwrap());
        }
    }
    assert_eq!(mock.count(), 3);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains(KEY) && text.contains("[secret]") && !text.contains("You judge."), "{text}");
    assert_eq!(text.lines().count(), 3);

    let replay = Client::new(Arc::new(Replay::new(Arc::new(Cassette::open(&path).unwrap()))));
    for draw in 0..3 {
        let answer = replay.ask(&request("q"), &key(draw), &|_| {}).await.unwrap();
        let original = &live[draw as usize];
        assert_eq!((&answer.reply, answer.took_ms), (&original.reply, original.took_ms));
        assert_eq!((answer.spend.calls, answer.spend.cost_usd), (0, 0.0));
    }
    let failure = replay.ask(&request("q!"), &key(0), &|_| {}).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::NotRecorded);
    for part in ["b3:", "--record", "cassette.jsonl", "draw 0"] {
        assert!(failure.message.contains(part), "{failure}");
    }
    assert_eq!(replay.smoke("test-model").await.unwrap(), "test-model");
    assert!(replay.smoke("m9").await.unwrap_err().message.contains("`test-model`"));
}
