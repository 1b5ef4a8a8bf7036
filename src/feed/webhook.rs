//! A webhook of anyone's: entries as JSON, a batch at a time, with a key by which the receiver knows a repetition.

use async_trait::async_trait;
use serde_json::{Value, json};
use uuid::Uuid;

use super::wire::{Call, KeyInfo, bearer};
use super::{Entry, FeedOptions, Formed, Knows, Outcome, Outlet, SinkInfo, Stop, Wire, all_taken, id_of};

pub(super) const SINK: SinkInfo = SinkInfo {
    name: "webhook",
    summary: "Any webhook: scores and figures of runs as JSON",
    url: None,
    keys: &[KeyInfo::key("ASSIZE_WEBHOOK_TOKEN").optional()],
    requests_per_minute: 600,
    batch: 100,
    knows: Knows::Any,
    scores: true,
    figures: true,
    takes: &["url", "url_env", "key_env", "metrics", "labels", "batch"],
    requires: &[],
    sample: "url = \"https://example.com/scores\"\n",
    headers: |keys, _| bearer(&keys.key),
    new,
};

struct Webhook {
    labels: Value,
}

fn new(options: &FeedOptions) -> Result<Box<dyn Outlet>, String> {
    if options.url.is_none() && options.url_env.is_none() {
        return Err("`url` is missing; or name the variable that holds it with `url_env`".to_owned());
    }
    Ok(Box::new(Webhook { labels: json!(options.labels) }))
}

#[async_trait]
impl Outlet for Webhook {
    fn form(&self, entry: &Entry, id: Uuid) -> Result<Value, String> {
        let mut body = serde_json::to_value(entry).map_err(|error| error.to_string())?;
        body["id"] = json!(id);
        body["labels"] = self.labels.clone();
        Ok(body)
    }

    async fn send(&self, wire: &mut Wire, batch: &[Formed]) -> Result<Vec<Outcome>, Stop> {
        let entries: Vec<&Value> = batch.iter().map(|entry| &entry.body).collect();
        let body = json!({"format": 1, "source": "assize", "entries": entries});
        let mut call = Call::post("", body.clone());
        call.headers.push(("idempotency-key", id_of("webhook", &body.to_string()).to_string()));
        wire.send(&call).await?;
        Ok(all_taken(batch))
    }
}
