//! Telling the alarms of a project what fires and what is over: state transitions only, by what the outbox says was
//! told before.

use std::time::Duration;

use anyhow::anyhow;
use jiff::civil::Date;
use jiff::{Timestamp, tz::TimeZone};
use serde::Serialize;
use serde_json::Value;

use super::exit::{Done, Failed};
use super::project::{Project, World};
use crate::compare::Watched;
use crate::feed::alarm::{self, AlarmInfo, Notice, State};
use crate::feed::{FeedOptions, Machine, Stop, Wire};
use crate::model::Digest;
use crate::store::{OutboxEntry, OutboxMark, OutboxPut, OutboxState, Store};
use crate::sys;

/// What an alarm was told.
#[derive(Clone, Debug, Serialize)]
pub struct AlarmTold {
    /// Alarm.
    pub alarm: String,
    /// What it is about.
    pub key: String,
    /// `fired`, `resolved`, `told again`, `kept back` or `failed`.
    pub what: &'static str,
    /// Why it was kept back or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// An alarm, ready.
struct Ready<'a> {
    name: &'a str,
    info: &'static AlarmInfo,
    options: FeedOptions,
    cooldown: Duration,
}

/// What is to be done about one rule at one alarm.
#[derive(Debug, PartialEq)]
enum Step {
    Nothing,
    /// Tell it, under this word.
    Tell(&'static str),
    /// It fires anew too soon after the last notice.
    KeptBack,
    /// It began and ended without anyone having been told.
    Forget,
}

/// Tells every alarm what changed since it was last told something. An alarm that cannot be told is no error of others.
pub(super) async fn tell(project: &Project, world: &World, rules: &[Watched]) -> Done<Vec<AlarmTold>> {
    if project.config.alarms.is_empty() {
        let kinds: Vec<&str> = alarm::ALARMS.iter().map(|info| info.name).collect();
        let mend = format!("add one under `[alarms.NAME]` with `kind` as one of {}", kinds.join(", "));
        return Err(Failed::usage(anyhow!("no alarm in `{}`; {mend}", project.file.display())));
    }
    let store = project.store(&world.env).await?;
    let machine = Machine {
        http: sys::http_client().map_err(Failed::instrument)?,
        clock: world.clock.clone(),
        env: world.env.clone(),
    };
    let mut told = Vec::new();
    for (name, config) in &project.config.alarms {
        let wrong = |message: String| Failed::usage(anyhow!("alarm `{name}`: {message}"));
        let info = alarm::find(&config.kind).ok_or_else(|| wrong(format!("no kind of alarm `{}`", config.kind)))?;
        let options: FeedOptions =
            serde_json::from_value(Value::Object(config.options.clone())).map_err(|error| wrong(error.to_string()))?;
        let cooldown = info.cooldown(&options).map_err(wrong)?;
        let ready = Ready { name, info, options, cooldown };
        for rule in rules {
            told.extend(one(store.as_ref(), world, &machine, &ready, rule).await?);
        }
    }
    Ok(told)
}

async fn one(
    store: &dyn Store,
    world: &World,
    machine: &Machine,
    ready: &Ready<'_>,
    rule: &Watched,
) -> Done<Option<AlarmTold>> {
    let sink = format!("alarm:{}", ready.name);
    let key = Notice::key_of(rule.rule, rule.score.as_deref());
    let known = store.outbox_get(&sink, &key).await.map_err(Failed::instrument)?;
    let now = world.clock.now();
    let step = step(rule, known.as_ref(), now, ready.cooldown, ready.info.refresh);
    let said = |what, why| Ok(Some(AlarmTold { alarm: ready.name.to_owned(), key: key.clone(), what, why }));
    let what = match step {
        Step::Nothing => return Ok(None),
        Step::KeptBack => return said("kept back", Some("it fired within the cool-down".to_owned())),
        Step::Forget => "",
        Step::Tell(what) => what,
    };
    let Some(notice) = notice(rule, known.as_ref(), now) else { return Ok(None) };
    let payload = serde_json::to_string(&notice).map_err(Failed::instrument)?;
    let digest = Digest::of(payload.as_bytes()).as_str().to_owned();
    let put = OutboxPut { key: key.clone(), digest: digest.clone(), payload };
    store.outbox_put(&sink, &[put], now).await.map_err(Failed::instrument)?;
    let done = if what.is_empty() { Ok(()) } else { send(machine, ready, &notice).await };
    let (state, error) = match &done {
        Ok(()) => (OutboxState::Sent, None),
        Err(why) => (OutboxState::Waiting, Some(why.clone())),
    };
    let mark = OutboxMark { key: key.clone(), digest, state, error };
    store.outbox_mark(&sink, &[mark], now).await.map_err(Failed::instrument)?;
    match done {
        Ok(()) if what.is_empty() => Ok(None),
        Ok(()) => said(what, None),
        Err(why) => said("failed", Some(why)),
    }
}

async fn send(machine: &Machine, ready: &Ready<'_>, notice: &Notice) -> Result<(), String> {
    let mut wire = Wire::open(&ready.info.door(ready.name, &ready.options, machine))?;
    ready.info.tell(&mut wire, notice, &ready.options).await.map_err(|stop| match stop {
        Stop::Refused(why) | Stop::Bad(why) | Stop::Failed(why) => why,
    })
}

/// The last notice of a rule, with whether it was told.
fn last(known: Option<&OutboxEntry>) -> Option<(Notice, bool)> {
    let known = known?;
    let notice = serde_json::from_str(&known.put.payload).ok()?;
    Some((notice, known.state == OutboxState::Sent))
}

fn step(
    rule: &Watched,
    known: Option<&OutboxEntry>,
    now: Timestamp,
    cooldown: Duration,
    refresh: Option<Duration>,
) -> Step {
    let since = |from: Timestamp| Duration::try_from(now.duration_since(from)).unwrap_or_default();
    let before = last(known);
    match (rule.state, before) {
        ("firing", Some((before, told))) if before.state == State::Firing => match (told, refresh) {
            (false, _) => Step::Tell("fired"),
            (true, Some(refresh)) if since(before.at) >= refresh => Step::Tell("told again"),
            (true, _) => Step::Nothing,
        },
        // The end of the last incident was the last notice: its beginning lies before that.
        ("firing", Some((before, true))) if since(before.at) < cooldown => Step::KeptBack,
        ("firing", _) => Step::Tell("fired"),
        ("ok", Some((before, true))) if before.state == State::Firing => Step::Tell("resolved"),
        ("ok", Some((before, false))) if before.state == State::Firing => {
            // A firing that was once told may wait only to be told again.
            if known.is_some_and(|known| known.sent_at.is_some()) { Step::Tell("resolved") } else { Step::Forget }
        }
        ("ok", Some((_, false))) => Step::Tell("resolved"),
        // What is not known is neither a beginning nor an end.
        _ => Step::Nothing,
    }
}

/// The notice of a rule as it stands; an end keeps the beginning of what ended.
fn notice(rule: &Watched, known: Option<&OutboxEntry>, now: Timestamp) -> Option<Notice> {
    let seen = rule.days.last()?;
    let firing = rule.is_firing();
    let before = last(known).map(|(notice, _)| notice.since);
    let since = if firing { rule.since.clone() } else { before }.unwrap_or_else(|| seen.day.clone());
    let began = since.parse::<Date>().ok().and_then(|day| day.to_zoned(TimeZone::UTC).ok());
    Some(Notice {
        rule: rule.rule.to_owned(),
        score: rule.score.clone(),
        state: if firing { State::Firing } else { State::Resolved },
        began: began.map_or(now, |began| began.timestamp()),
        since,
        at: now,
        day: seen.day.clone(),
        estimate: seen.estimate,
        bound: seen.bound,
        limit: seen.limit,
        n: seen.n,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Seen;

    fn rule(state: &'static str) -> Watched {
        let seen = Seen {
            day: "2026-11-21".to_owned(),
            level: "critical",
            estimate: Some(0.7),
            bound: Some(0.75),
            limit: 0.8,
            n: 50,
            baseline_n: 300,
        };
        let since = (state == "firing").then(|| "2026-11-20".to_owned());
        Watched {
            rule: "quality_drop",
            score: None,
            state,
            since,
            events: Vec::new(),
            days: vec![seen],
            evidence: None,
        }
    }

    fn now() -> Timestamp {
        "2026-11-21T12:00:00Z".parse().unwrap()
    }

    /// What the outbox holds after `rule` was told `ago` hours before now.
    fn after(rule: &Watched, state: OutboxState, ago: i64) -> OutboxEntry {
        let at = now().checked_sub(jiff::SignedDuration::from_hours(ago)).unwrap();
        let payload = serde_json::to_string(&notice(rule, None, at).unwrap()).unwrap();
        let put = OutboxPut { key: "k".to_owned(), digest: "d".to_owned(), payload };
        let sent_at = (state == OutboxState::Sent).then_some(at);
        OutboxEntry { put, state, attempts: 1, error: None, changed_at: at, sent_at }
    }

    #[test]
    fn only_transitions_are_told() {
        let (firing, ok, blind) = (rule("firing"), rule("ok"), rule("unknown"));
        let hour = Duration::from_secs(3600);
        let step = |rule: &Watched, known: Option<&OutboxEntry>| step(rule, known, now(), 6 * hour, None);
        assert_eq!(step(&firing, None), Step::Tell("fired"));
        assert_eq!(step(&ok, None), Step::Nothing);
        let told = after(&firing, OutboxState::Sent, 2);
        assert_eq!(step(&firing, Some(&told)), Step::Nothing);
        assert_eq!(step(&blind, Some(&told)), Step::Nothing, "what is not known ends nothing");
        assert_eq!(step(&ok, Some(&told)), Step::Tell("resolved"));
        let untold = after(&firing, OutboxState::Waiting, 2);
        assert_eq!(step(&firing, Some(&untold)), Step::Tell("fired"), "tried again");
        assert_eq!(step(&ok, Some(&untold)), Step::Forget, "an end of what nobody heard of");
        let over = after(&ok, OutboxState::Sent, 2);
        assert_eq!(step(&ok, Some(&over)), Step::Nothing);
        assert_eq!(step(&firing, Some(&over)), Step::KeptBack);
        assert_eq!(step(&firing, Some(&after(&ok, OutboxState::Sent, 7))), Step::Tell("fired"));
    }

    #[test]
    fn what_a_receiver_forgets_is_told_again() {
        let firing = rule("firing");
        let hour = Duration::from_secs(3600);
        let told = after(&firing, OutboxState::Sent, 5);
        assert_eq!(step(&firing, Some(&told), now(), Duration::ZERO, Some(4 * hour)), Step::Tell("told again"));
        assert_eq!(step(&firing, Some(&told), now(), Duration::ZERO, Some(6 * hour)), Step::Nothing);
    }

    #[test]
    fn an_end_says_when_it_began() {
        let told = after(&rule("firing"), OutboxState::Sent, 2);
        let over = notice(&rule("ok"), Some(&told), now()).unwrap();
        assert_eq!((over.state, over.since.as_str()), (State::Resolved, "2026-11-20"));
    }
}
