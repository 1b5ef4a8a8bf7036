//! Scores for Helicone, on the last request of a trace: whole numbers and truth values only. Shares become percent.

use async_trait::async_trait;
use serde_json::{Value, json};
use uuid::Uuid;

use super::wire::{Call, KeyInfo, bearer, segment};
use super::{Entry, FeedOptions, Finding, Formed, Knows, Outcome, Outlet, SinkInfo, Stop, Wire, finding};

pub(super) const SINK: SinkInfo = SinkInfo {
    name: "helicone",
    summary: "Helicone: scores of requests, whole numbers only",
    url: Some("https://api.helicone.ai"),
    keys: &[KeyInfo::key("HELICONE_API_KEY")],
    requests_per_minute: 300,
    batch: 20,
    knows: Knows::Own,
    scores: true,
    figures: false,
    takes: &["url", "key_env", "metrics", "batch"],
    requires: &[],
    sample: "url = \"https://api.helicone.ai\"\n",
    headers: |keys, _| bearer(&keys.key),
    new: |_: &FeedOptions| Ok(Box::new(Helicone)),
};

struct Helicone;

/// A value as Helicone takes it: a share becomes percent, a whole number stays.
fn whole(found: &Finding) -> Result<Value, String> {
    if let Some(pass) = found.pass {
        return Ok(json!(pass));
    }
    let value = found.value.ok_or("Helicone takes whole numbers and truth values only, and the label has no number")?;
    let scaled = if found.bounds == Some((0.0, 1.0)) { (value * 100.0).round() } else { value };
    if scaled.fract() != 0.0 || scaled.abs() > 1e15 {
        return Err(format!("Helicone takes whole numbers only, and {value} is no share from 0 to 1 either"));
    }
    Ok(json!(scaled as i64))
}

#[async_trait]
impl Outlet for Helicone {
    fn form(&self, entry: &Entry, _: Uuid) -> Result<Value, String> {
        let found = finding(entry)?;
        // Sessions and their steps have no request of their own: the last request gave the answer.
        let subject = &found.subject;
        let request = subject.span.as_ref().or(subject.last.as_ref());
        let request = request.ok_or("no request of its trace has an id")?;
        Ok(json!({"request": request, "scores": {(found.name.as_str()): whole(found)?}}))
    }

    async fn send(&self, wire: &mut Wire, batch: &[Formed]) -> Result<Vec<Outcome>, Stop> {
        for entry in batch {
            let path = format!("/v1/request/{}/score", segment(entry.body["request"].as_str().unwrap_or_default()));
            wire.send(&Call::post(path, json!({"scores": entry.body["scores"]}))).await?;
        }
        Ok(super::all_taken(batch))
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::samples::score;
    use super::*;

    #[test]
    fn shares_become_percent_and_fractions_are_refused() {
        let form = |entry: Entry| Helicone.form(&entry, Uuid::nil());
        assert_eq!(form(score(|_| ())).unwrap()["scores"]["task_success"], 82);
        let stars = score(|found| (found.value, found.bounds) = (Some(4.0), Some((1.0, 5.0))));
        assert_eq!(form(stars).unwrap()["scores"]["task_success"], 4);
        let between = score(|found| (found.value, found.bounds) = (Some(4.5), Some((1.0, 5.0))));
        assert!(form(between).is_err_and(|why| why.contains("whole numbers")));
        let session = form(score(|found| found.subject.span = None)).unwrap();
        assert_eq!(session["request"], "b2b2b2b2b2b2b2b2");
    }
}
