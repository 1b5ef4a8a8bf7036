//! `assize flaky`: which examples waver, what is left out of the gate for it, and how they come back.

use anyhow::anyhow;
use jiff::ToSpan;
use jiff::civil::Date;
use serde::Serialize;

use super::exit::{Done, Failed};
use super::findings;
use super::project::{Project, World};
use super::quarantine::{Entry, FILE, Quarantine, Returned, today};
use super::trail;
use crate::compare::{self, Flaky, FlakyRow, RunResults};
use crate::model::{ExampleId, RunStatus};

/// Longest time an example may be in quarantine before somebody looks at it again.
const LONGEST_DAYS: i32 = 90;

/// Which runs are looked at.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// Suite.
    pub suite: Option<String>,
    /// Target by name; that of the newest run when absent.
    pub target: Option<String>,
    /// Most runs, the newest.
    pub runs: u32,
    /// Least flip rate that makes an example flaky.
    pub threshold: f64,
}

/// What wavers in a suite.
#[derive(Debug, Serialize)]
pub struct FlakyReport {
    /// Suite.
    pub suite: String,
    /// Target by name.
    pub target: String,
    /// Runs looked at, oldest first, by their short ids.
    pub runs: Vec<String>,
    /// Runs left out because their target, dataset or standing differs.
    pub left_out: u64,
    /// Per yes-or-no metric.
    pub metrics: Vec<Flaky>,
    /// Entries of the suite that hold.
    pub quarantined: Vec<Entry>,
    /// Entries of the suite whose last day is past.
    pub expired: Vec<Entry>,
}

/// Lists what wavers.
pub async fn list(project: &Project, world: &World, look: &Look) -> Done<FlakyReport> {
    let suite = project.suite(look.suite.as_deref())?.name.clone();
    let file = Quarantine::read(project)?;
    let seen = runs(project, world, &suite, look).await?;
    let Some(newest) = seen.runs.last() else {
        return Err(Failed::usage(anyhow!(
            "suite `{suite}` has no complete run yet; `assize run {suite} --trials 3` makes one"
        )));
    };
    let now = today(world);
    let (quarantined, expired) =
        file.quarantine.iter().filter(|entry| entry.suite == suite).cloned().partition(|entry| entry.until >= now);
    Ok(FlakyReport {
        target: newest.header.target.name.clone(),
        runs: seen.runs.iter().map(|run| run.header.id.short().to_owned()).collect(),
        left_out: seen.left_out,
        metrics: compare::flaky(&seen.runs, look.threshold),
        quarantined,
        expired,
        suite,
    })
}

struct Seen {
    /// Oldest first.
    runs: Vec<RunResults>,
    left_out: u64,
}

/// Complete runs of one target over one task, the newest `look.runs` of them.
async fn runs(project: &Project, world: &World, suite: &str, look: &Look) -> Done<Seen> {
    let store = project.store(&world.env).await?;
    let listed = store.runs(Some(suite), look.runs.max(1).saturating_mul(4)).await.map_err(Failed::instrument)?;
    let complete = listed.iter().filter(|run| run.status == RunStatus::Complete);
    let named = |name: &str| look.target.as_deref().is_none_or(|wanted| wanted == name);
    let Some(newest) = complete.clone().find(|run| named(&run.header.target.name)) else {
        return Ok(Seen { runs: Vec::new(), left_out: listed.len() as u64 });
    };
    // Recorded outputs are the same in every run: counted again, they would look steadier than they are.
    let most = if newest.header.target.kind == "recorded" { 1 } else { look.runs.max(1) as usize };
    let alike: Vec<_> = complete
        .filter(|run| {
            run.header.target.digest == newest.header.target.digest
                && run.header.dataset_digest == newest.header.dataset_digest
        })
        .take(most)
        .collect();
    let mut runs = Vec::new();
    for run in alike.iter().rev() {
        runs.push(findings::load(store.as_ref(), &run.header.id).await?.results);
    }
    Ok(Seen { left_out: (listed.len() - runs.len()) as u64, runs })
}

/// What is asked of a quarantine.
#[derive(Clone, Debug)]
pub struct PutAway {
    /// Suite.
    pub suite: Option<String>,
    /// Examples.
    pub examples: Vec<String>,
    /// Why.
    pub reason: String,
    /// Last day, or how many days from now as `14d`.
    pub until: String,
    /// Who; from git or the environment when absent.
    pub by: Option<String>,
}

/// Puts examples in quarantine. An example that is there already gets the new reason and day.
pub async fn quarantine(project: &Project, world: &World, ask: PutAway) -> Done<Vec<Entry>> {
    let suite = project.suite(ask.suite.as_deref())?.name.clone();
    let reason = reasoned(&ask.reason, "why it wavers, and who looks into it")?;
    let now = today(world);
    let until = last_day(&ask.until, now)?;
    let by = ask.by.unwrap_or_else(|| trail::actor(project, world));
    known(project, world, &suite, &ask.examples).await?;
    let mut file = Quarantine::read(project)?;
    let mut made = Vec::new();
    for example in ask.examples {
        let entry = Entry {
            suite: suite.clone(),
            example: ExampleId::new(example),
            reason: reason.clone(),
            since: world.clock.now(),
            until,
            by: by.clone(),
        };
        file.quarantine.retain(|other| !(other.suite == entry.suite && other.example == entry.example));
        file.quarantine.push(entry.clone());
        made.push(entry);
    }
    file.quarantine.sort_by(|a, b| (&a.suite, &a.example).cmp(&(&b.suite, &b.example)));
    file.write(project)?;
    let store = project.store(&world.env).await?;
    for entry in &made {
        let detail = format!("suite {suite}, until {until}: {reason}");
        trail::record(store.as_ref(), world, &by, "quarantine", entry.example.as_str(), &detail).await?;
    }
    Ok(made)
}

/// What is asked of a return.
#[derive(Clone, Debug)]
pub struct Return {
    /// Suite.
    pub suite: Option<String>,
    /// Example.
    pub example: String,
    /// Why it may be trusted again.
    pub reason: String,
    /// Although it still wavers, or nothing was seen of it since.
    pub anyway: bool,
    /// Who.
    pub by: Option<String>,
}

/// A return with what speaks for it.
#[derive(Debug, Serialize)]
pub struct Came {
    /// The entry.
    pub returned: Returned,
    /// Trials in runs since it was put away, and how many agree with the most.
    pub trials: u64,
    /// Metrics on which it wavered since.
    pub wavers: Vec<FlakyRow>,
}

/// Takes an example back into the gate: with a reason, and with evidence from runs made since.
pub async fn take_back(project: &Project, world: &World, ask: Return) -> Done<Came> {
    let suite = project.suite(ask.suite.as_deref())?.name.clone();
    let reason = reasoned(&ask.reason, "what was mended")?;
    let mut file = Quarantine::read(project)?;
    let example = ExampleId::new(ask.example);
    let place = file.quarantine.iter().position(|entry| entry.suite == suite && entry.example == example);
    let Some(place) = place else {
        let error = anyhow!(
            "example `{}` of suite `{suite}` is not in quarantine; `assize flaky ls` lists those that are",
            example.as_str()
        );
        return Err(Failed::usage(error));
    };
    let since = file.quarantine.get(place).map(|entry| entry.since);
    let look = Look { suite: Some(suite.clone()), runs: 50, ..Look::default() };
    let mut seen = runs(project, world, &suite, &look).await?.runs;
    seen.retain(|run| since.is_none_or(|since| run.header.created_at > since));
    let trials = seen.iter().filter_map(|run| run.examples.get(&example)).map(|found| found.trials.len() as u64).sum();
    let wavers: Vec<FlakyRow> = compare::flaky(&seen, 0.0)
        .into_iter()
        .flat_map(|metric| metric.rows)
        .filter(|row| row.example == example)
        .collect();
    if !ask.anyway && (trials < 2 || !wavers.is_empty()) {
        let why = match wavers.first() {
            Some(row) => {
                format!("it wavered since: {} of {} trials passed on `{}`", row.passes, row.trials, row.metric)
            }
            None => format!("{trials} trials were run since, and it takes at least 2 to show that it holds"),
        };
        return Err(Failed::usage(anyhow!(
            "example `{}` stays in quarantine: {why}; run it again with `--trials 5`, or say `--anyway`",
            example.as_str()
        )));
    }
    file.quarantine.remove(place);
    let by = ask.by.unwrap_or_else(|| trail::actor(project, world));
    let returned = Returned { suite: suite.clone(), example, reason: reason.clone(), on: today(world), by: by.clone() };
    file.returned.push(returned.clone());
    file.write(project)?;
    let store = project.store(&world.env).await?;
    let detail = format!("suite {suite}: {reason}");
    trail::record(store.as_ref(), world, &by, "return", returned.example.as_str(), &detail).await?;
    Ok(Came { returned, trials, wavers })
}

fn reasoned(reason: &str, what: &str) -> Done<String> {
    let reason = reason.trim();
    if reason.is_empty() {
        return Err(Failed::usage(anyhow!("a reason is needed: `-m \"{what}\"`")));
    }
    Ok(reason.to_owned())
}

/// The last day: a date, or so many days from now.
fn last_day(text: &str, now: Date) -> Done<Date> {
    let wrong = |what: &str| Failed::usage(anyhow!("`--until {text}`: {what}"));
    let day = match text.strip_suffix('d').and_then(|days| days.parse::<i32>().ok()) {
        Some(days) => now.checked_add(days.days()).map_err(|_| wrong("that is not a number of days"))?,
        None => text.parse().map_err(|_| wrong("expected a day such as `2026-12-31`, or so many days as `14d`"))?,
    };
    if day < now {
        return Err(wrong("that day is past"));
    }
    let longest = now.checked_add(LONGEST_DAYS.days()).map_err(|_| wrong("that is too far away"))?;
    if day > longest {
        return Err(wrong(&format!("at most {LONGEST_DAYS} days, so that somebody looks at it again")));
    }
    Ok(day)
}

/// Refuses examples that the suite's newest run does not have: a misspelled one would seem to be in quarantine.
async fn known(project: &Project, world: &World, suite: &str, examples: &[String]) -> Done<()> {
    let look = Look { runs: 1, ..Look::default() };
    let seen = runs(project, world, suite, &look).await?;
    let Some(run) = seen.runs.last() else {
        return Err(Failed::usage(anyhow!(
            "suite `{suite}` has no complete run, so that no example of it is known to waver"
        )));
    };
    let unknown = examples.iter().find(|name| !run.examples.contains_key(&ExampleId::from(name.as_str())));
    match unknown {
        Some(name) => {
            let names = run.examples.keys().map(ExampleId::as_str);
            let hint = crate::sys::text::nearest(name, names).map(|near| format!("; did you mean `{near}`?"));
            let hint = hint.unwrap_or_default();
            Err(Failed::usage(anyhow!(
                "no example `{name}` in the newest run of suite `{suite}`{hint}; nothing was changed in `{FILE}`"
            )))
        }
        None => Ok(()),
    }
}
