//! Scores for Langfuse: a list at a time for servers of version 4, one by one for version 3.
//!
//! Same id and same time make the same score: the id is made of the entry's key, the time is that of the trace. A
//! batch answered with 207 is never sent again by itself.

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::wire::{Call, KeyInfo, Reply, basic};
use super::{Entry, FeedOptions, Formed, Knows, Outcome, Outlet, SinkInfo, Stop, Wire, about, all_taken, finding};
use super::{told, turned_away};

pub(super) const SINK: SinkInfo = SinkInfo {
    name: "langfuse",
    summary: "Langfuse: scores of traces",
    url: Some("https://cloud.langfuse.com"),
    keys: &[KeyInfo::key("LANGFUSE_PUBLIC_KEY"), KeyInfo::secret("LANGFUSE_SECRET_KEY")],
    requests_per_minute: 600,
    batch: 50,
    knows: Knows::OwnAndOtel,
    scores: true,
    figures: false,
    takes: &["url", "key_env", "secret_env", "api", "environment", "metrics", "batch"],
    requires: &[],
    sample: "url = \"https://cloud.langfuse.com\"\nenvironment = \"production\"\n",
    headers: |keys, _| basic(keys.key.as_ref(), keys.secret.as_ref()),
    new,
};

const PATH: &str = "/api/public/scores";
/// Longest text that stands for a score.
const LONGEST_LABEL: usize = 500;

struct Langfuse {
    environment: Option<String>,
    /// Whether lists are taken; found out once.
    lists: OnceCell<bool>,
}

fn new(options: &FeedOptions) -> Result<Box<dyn Outlet>, String> {
    let lists = match options.api.as_deref() {
        None => OnceCell::new(),
        Some("v4") => OnceCell::new_with(Some(true)),
        Some("v3") => OnceCell::new_with(Some(false)),
        Some(other) => return Err(format!("`api` must be `v4` or `v3`, found `{other}`")),
    };
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    if let Some(name) = options.environment.as_ref()
        && (name.is_empty() || name.starts_with("langfuse") || !name.chars().all(plain))
    {
        let rule = "lower-case letters, digits, `-` and `_`, and does not begin with `langfuse`";
        return Err(format!("`environment` must be {rule}, found `{name}`"));
    }
    Ok(Box::new(Langfuse { environment: options.environment.clone(), lists }))
}

impl Langfuse {
    async fn lists(&self, wire: &mut Wire) -> Result<bool, Stop> {
        if let Some(known) = self.lists.get() {
            return Ok(*known);
        }
        let health = wire.send(&Call::get("/api/public/health").accepting(&[404])).await?.json();
        let version = health.get("version").and_then(Value::as_str);
        let major = version.and_then(|text| text.trim_start_matches('v').split('.').next()?.parse::<u32>().ok());
        let lists = major.is_some_and(|major| major >= 4);
        // Somebody else may have found the same meanwhile.
        let _ = self.lists.set(lists);
        Ok(lists)
    }
}

#[async_trait]
impl Outlet for Langfuse {
    fn form(&self, entry: &Entry, id: Uuid) -> Result<Value, String> {
        let found = finding(entry)?;
        let (kind, value) = match (&found.label, found.pass, found.value) {
            (Some(label), _, _) if (1..=LONGEST_LABEL).contains(&label.chars().count()) => {
                ("CATEGORICAL", json!(label))
            }
            (Some(_), _, _) => return Err(format!("a label must have 1 to {LONGEST_LABEL} characters")),
            (None, Some(pass), _) => ("BOOLEAN", json!(u8::from(pass))),
            (None, None, Some(value)) => ("NUMERIC", json!(value)),
            (None, None, None) => return Err("it has no value".to_owned()),
        };
        let mut body = json!({
            "id": id,
            "traceId": found.subject.trace,
            "name": found.name,
            "value": value,
            "dataType": kind,
            "comment": found.explanation.as_deref().map(told),
            "metadata": about(found),
            "source": "API",
            "timestamp": found.subject.began,
        });
        if let (Some(environment), Some(map)) = (&self.environment, body.as_object_mut()) {
            map.insert("environment".to_owned(), json!(environment));
        }
        Ok(body)
    }

    async fn send(&self, wire: &mut Wire, batch: &[Formed]) -> Result<Vec<Outcome>, Stop> {
        if self.lists(wire).await? {
            let list = batch.iter().map(|entry| entry.body.clone()).collect();
            let reply = wire.send(&Call::post(PATH, Value::Array(list))).await?;
            return Ok(outcomes(&reply, batch));
        }
        // One call each: what is left after a stop was not sent, and repeating what was sent changes nothing.
        for entry in batch {
            wire.send(&Call::post(PATH, entry.body.clone())).await?;
        }
        Ok(all_taken(batch))
    }
}

/// What a list became: 207 says that a part of it was turned away.
fn outcomes(reply: &Reply, batch: &[Formed]) -> Vec<Outcome> {
    if reply.status != 207 {
        return all_taken(batch);
    }
    let body = reply.json();
    let errors = body.get("errors").and_then(Value::as_array).cloned().unwrap_or_default();
    let rejected = match body.get("rejected") {
        Some(Value::Array(list)) => Some(list.len() as u64),
        other => other.and_then(Value::as_u64),
    };
    let mut outcomes = all_taken(batch);
    let mut named = 0_u64;
    for error in &errors {
        let id = error.get("id").or_else(|| error.get("scoreId")).and_then(Value::as_str);
        let place = id
            .and_then(|id| batch.iter().position(|entry| entry.id.to_string() == id))
            .or_else(|| usize::try_from(error.get("index")?.as_u64()?).ok());
        if let Some(outcome) = place.and_then(|place| outcomes.get_mut(place)) {
            let why = ["error", "message"].iter().find_map(|key| error.get(*key)?.as_str());
            *outcome = Outcome::Rejected(why.map_or_else(|| error.to_string(), str::to_owned));
            named += 1;
        }
    }
    match rejected {
        Some(count) if count != named => turned_away(count, batch.len(), &reply.text()),
        None if named == 0 => turned_away(errors.len() as u64, batch.len(), &reply.text()),
        _ => outcomes,
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::samples::score;
    use super::*;

    fn formed(count: u128) -> Vec<Formed> {
        let one = |n: u128| Formed { key: n.to_string(), id: Uuid::from_u128(n), body: Value::Null, again: false };
        (1..=count).map(one).collect()
    }

    fn reply(status: u16, body: Value) -> Reply {
        Reply { status, body: body.to_string().into_bytes() }
    }

    #[test]
    fn only_what_a_207_names_is_turned_away() {
        let batch = formed(3);
        let said =
            json!({"accepted": 2, "rejected": 1, "errors": [{"id": Uuid::from_u128(2), "error": "no such trace"}]});
        let found = outcomes(&reply(207, said), &batch);
        assert_eq!(found, [Outcome::Taken, Outcome::Rejected("no such trace".to_owned()), Outcome::Taken]);
        let unsaid = outcomes(&reply(207, json!({"accepted": 2, "rejected": 1, "errors": []})), &batch);
        assert!(unsaid.iter().all(|outcome| matches!(outcome, Outcome::Rejected(why) if why.contains("does not say"))));
        assert_eq!(outcomes(&reply(202, json!({})), &batch), all_taken(&batch));
    }

    #[test]
    fn values_have_the_type_the_grader_gives() {
        let sink = new(&FeedOptions::default()).unwrap();
        let form = |entry: Entry| sink.form(&entry, Uuid::nil());
        let number = form(score(|_| ())).unwrap();
        assert_eq!((&number["dataType"], &number["value"]), (&json!("NUMERIC"), &json!(0.82)));
        assert_eq!(number["timestamp"], "2026-11-21T08:00:00.1Z");
        let pass = form(score(|found| (found.pass, found.value) = (Some(false), Some(0.0)))).unwrap();
        assert_eq!((&pass["dataType"], &pass["value"]), (&json!("BOOLEAN"), &json!(0)));
        let word = form(score(|found| found.label = Some("polite".to_owned()))).unwrap();
        assert_eq!((&word["dataType"], &word["value"]), (&json!("CATEGORICAL"), &json!("polite")));
        assert!(form(score(|found| found.label = Some("x".repeat(501)))).is_err());
        let bad = FeedOptions { environment: Some("langfuse-x".to_owned()), ..FeedOptions::default() };
        assert!(new(&bad).is_err_and(|error| error.contains("environment")));
    }
}
