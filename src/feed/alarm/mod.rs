//! Alarms: one notice when a rule begins to fire and one when it is over, to people and to what wakes them. One row of
//! [`ALARMS`] for each kind.
//!
//! What fires is decided elsewhere; which notices were told before is in the outbox.

mod notice;

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

pub use notice::{Notice, State};

use super::wire::{Body, Call, KeyInfo, bearer};
use super::{Door, FeedOptions, Keys, Machine, SecretHeaders, Stop, Wire, options, wire};
use crate::sys::text::one_line;
use secrecy::ExposeSecret;

/// How long an alert holds at an Alertmanager that hears nothing more of it.
const HOLDS: Duration = Duration::from_secs(7 * 24 * 3600);
/// How serious a notice may be, in PagerDuty's words.
const SEVERITIES: &[&str] = &["critical", "error", "warning", "info"];

/// What a notice becomes: path, and body without secrets.
type BodyFn = fn(&Notice, &FeedOptions) -> (&'static str, Value);

/// A kind of alarm.
#[derive(Clone, Copy)]
pub struct AlarmInfo {
    /// Name in the configuration: `kind = "NAME"`.
    pub name: &'static str,
    /// One line for lists.
    pub summary: &'static str,
    /// Address when the alarm names none.
    pub url: Option<&'static str>,
    /// Secrets, by variable of the environment.
    pub keys: &'static [KeyInfo],
    /// Options it takes beside the common ones.
    pub takes: &'static [&'static str],
    /// A working set of options as TOML.
    pub sample: &'static str,
    /// After this time a notice that still holds is told again, where the receiver would forget it.
    pub refresh: Option<Duration>,
    /// Field of the body that the key goes into.
    key_field: Option<&'static str>,
    headers: fn(&Keys, &FeedOptions) -> SecretHeaders,
    body: BodyFn,
}

/// All kinds, by name.
pub const ALARMS: &[AlarmInfo] = &[
    AlarmInfo {
        name: "alertmanager",
        summary: "Prometheus Alertmanager, version 2 of its interface",
        url: Some("http://localhost:9093"),
        keys: &[KeyInfo::key("ALERTMANAGER_TOKEN").optional()],
        takes: &["url", "key_env", "severity", "labels", "link", "cooldown"],
        sample: "url = \"http://localhost:9093\"\nseverity = \"warning\"\n",
        refresh: Some(Duration::from_secs(HOLDS.as_secs() / 2)),
        key_field: None,
        headers: |keys, _| bearer(&keys.key),
        body: alertmanager,
    },
    AlarmInfo {
        name: "pagerduty",
        summary: "PagerDuty, version 2 of its events",
        url: Some("https://events.pagerduty.com"),
        keys: &[KeyInfo::key("PAGERDUTY_ROUTING_KEY")],
        takes: &["url", "key_env", "severity", "labels", "link", "cooldown"],
        sample: "severity = \"critical\"\n",
        refresh: None,
        key_field: Some("routing_key"),
        headers: |_, _| Vec::new(),
        body: pagerduty,
    },
    AlarmInfo {
        name: "slack",
        summary: "Slack and what takes its webhooks (Mattermost, Rocket.Chat, Discord's `/slack`)",
        url: None,
        keys: &[],
        takes: &["url", "url_env", "link", "cooldown"],
        sample: "url_env = \"SLACK_WEBHOOK_URL\"\n",
        refresh: None,
        key_field: None,
        headers: |_, _| Vec::new(),
        body: slack,
    },
    AlarmInfo {
        name: "webhook",
        summary: "Any webhook: the notice as JSON",
        url: None,
        keys: &[KeyInfo::key("ASSIZE_WEBHOOK_TOKEN").optional()],
        takes: &["url", "url_env", "key_env", "severity", "labels", "link", "cooldown"],
        sample: "url = \"https://example.com/alarms\"\n",
        refresh: None,
        key_field: None,
        headers: |keys, _| bearer(&keys.key),
        body: webhook,
    },
];

/// The kind of a name.
pub fn find(name: &str) -> Option<&'static AlarmInfo> {
    ALARMS.iter().find(|alarm| alarm.name == name)
}

impl AlarmInfo {
    /// JSON Schema of the options, closed.
    pub fn schema(&self) -> Value {
        options::schema(self.takes, &[])
    }

    /// Finds what the schema does not show to be wrong with options.
    ///
    /// # Errors
    /// Says what.
    pub fn check(&self, options: &FeedOptions) -> Result<(), String> {
        options.timeout()?;
        options.cooldown()?;
        if let Some(severity) = options.severity.as_deref().filter(|word| !SEVERITIES.contains(word)) {
            return Err(format!("`severity` must be one of {}, found `{severity}`", SEVERITIES.join(", ")));
        }
        match (&options.url, &options.url_env, self.url) {
            (None, None, None) => Err("`url` is missing; or name the variable that holds it with `url_env`".to_owned()),
            (Some(url), ..) => wire::base(url).map(drop),
            _ => Ok(()),
        }
    }

    /// Time between two notices that the same thing fires.
    ///
    /// # Errors
    /// When it is no time.
    pub fn cooldown(&self, options: &FeedOptions) -> Result<Duration, String> {
        options.cooldown()
    }

    /// The way to it, for [`Wire::open`].
    pub fn door<'a>(&self, name: &'a str, options: &'a FeedOptions, machine: &Machine) -> Door<'a> {
        Door {
            what: "alarm",
            name,
            kind: self.name,
            url: self.url,
            keys: self.keys,
            requests_per_minute: 60,
            headers: self.headers,
            options,
            http: machine.http.clone(),
            clock: machine.clock.clone(),
            env: machine.env.clone(),
        }
    }

    /// Tells a notice.
    ///
    /// # Errors
    /// When it was not taken.
    pub async fn tell(&self, wire: &mut Wire, notice: &Notice, options: &FeedOptions) -> Result<(), Stop> {
        let (path, mut body) = (self.body)(notice, options);
        if let (Some(field), Some(key)) = (self.key_field, &wire.keys.key) {
            body[field] = Value::from(key.expose_secret());
        }
        wire.send(&Call::new(Method::POST, path, Body::Json(body))).await.map(drop)
    }
}

fn severity(options: &FeedOptions) -> &str {
    options.severity.as_deref().unwrap_or("error")
}

fn alertmanager(notice: &Notice, options: &FeedOptions) -> (&'static str, Value) {
    let mut labels = json!(options.labels);
    labels["alertname"] = json!("AssizeDrift");
    labels["rule"] = json!(notice.rule);
    labels["severity"] = json!(severity(options));
    if let Some(score) = &notice.score {
        labels["score"] = json!(one_line(score, 120));
    }
    let ends = match notice.state {
        State::Firing => notice.at.checked_add(HOLDS).unwrap_or(notice.at),
        State::Resolved => notice.at,
    };
    let alert = json!({
        "labels": labels,
        "annotations": {"summary": notice.title(), "description": notice.text()},
        "startsAt": notice.began,
        "endsAt": ends,
        "generatorURL": options.link.as_deref().unwrap_or_default(),
    });
    ("/api/v2/alerts", json!([alert]))
}

fn pagerduty(notice: &Notice, options: &FeedOptions) -> (&'static str, Value) {
    let mut body = json!({
        "event_action": if notice.state == State::Firing { "trigger" } else { "resolve" },
        "dedup_key": notice.key(),
        "payload": {
            "summary": notice.title(),
            "source": "assize",
            "severity": severity(options),
            "timestamp": notice.at,
            "component": notice.score.as_deref().unwrap_or(notice.rule.as_str()),
            "class": notice.rule,
            "custom_details": {"text": notice.text(), "notice": notice, "labels": options.labels},
        },
        "client": "assize",
    });
    if let Some(link) = &options.link {
        body["client_url"] = json!(link);
        body["links"] = json!([{"href": link, "text": "assize"}]);
    }
    ("/v2/enqueue", body)
}

fn slack(notice: &Notice, options: &FeedOptions) -> (&'static str, Value) {
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let link = options.link.as_ref().map(|link| format!("\n{}", escape(link))).unwrap_or_default();
    ("", json!({"text": format!("*{}*\n{}{link}", escape(&notice.title()), escape(&notice.text()))}))
}

fn webhook(notice: &Notice, options: &FeedOptions) -> (&'static str, Value) {
    let body = json!({
        "format": 1,
        "source": "assize",
        "dedup_key": notice.key(),
        "severity": severity(options),
        "title": notice.title(),
        "text": notice.text(),
        "notice": notice,
        "labels": options.labels,
        "link": options.link,
    });
    ("", body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(state: State) -> Notice {
        Notice {
            rule: "quality_drop".to_owned(),
            score: Some("<correct>".to_owned()),
            state,
            since: "2026-11-20".to_owned(),
            began: "2026-11-20T00:00:00Z".parse().unwrap(),
            at: "2026-11-21T08:00:00Z".parse().unwrap(),
            day: "2026-11-21".to_owned(),
            estimate: Some(0.7),
            bound: Some(0.74),
            limit: 0.8,
            n: 120,
        }
    }

    #[test]
    fn every_alarm_has_a_sample_that_fits_its_schema() {
        for alarm in ALARMS {
            let sample: Value = toml::from_str(alarm.sample).unwrap();
            assert!(jsonschema::is_valid(&alarm.schema(), &sample), "{}: {sample}", alarm.name);
            let options: FeedOptions = serde_json::from_value(sample).unwrap();
            alarm.check(&options).unwrap_or_else(|error| panic!("{}: {error}", alarm.name));
        }
        let loud = FeedOptions { severity: Some("loud".to_owned()), ..FeedOptions::default() };
        assert!(find("pagerduty").unwrap().check(&loud).is_err());
        assert!(find("slack").unwrap().check(&FeedOptions::default()).is_err());
    }

    #[test]
    fn beginning_and_end_have_the_same_key() {
        let options = FeedOptions::default();
        let (_, begins) = pagerduty(&notice(State::Firing), &options);
        let (_, ends) = pagerduty(&notice(State::Resolved), &options);
        assert_eq!((&begins["event_action"], &ends["event_action"]), (&json!("trigger"), &json!("resolve")));
        assert_eq!(begins["dedup_key"], ends["dedup_key"]);
        let (_, alerts) = alertmanager(&notice(State::Firing), &options);
        let (_, over) = alertmanager(&notice(State::Resolved), &options);
        assert_eq!(alerts[0]["labels"], over[0]["labels"]);
        assert!(alerts[0]["endsAt"].as_str() > over[0]["endsAt"].as_str());
    }

    #[test]
    fn names_cannot_mention_people_in_slack() {
        let (_, body) = slack(&notice(State::Firing), &FeedOptions::default());
        let text = body["text"].as_str().unwrap();
        assert!(text.contains("&lt;correct&gt;") && !text.contains('<'), "{text}");
    }
}
