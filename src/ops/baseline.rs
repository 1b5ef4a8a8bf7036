//! Which run a candidate is compared with: a run that is named, a file, the blessed one, the newest with a tag, or the one
//! at the merge base in git. Says in words which it is and why.

use std::path::{Path, PathBuf};

use anyhow::anyhow;

use super::bundles;
use super::exit::{Done, Failed};
use super::project::{Project, World};
use super::refs::{find_run, no_baseline};
use crate::config::Suite;
use crate::model::{RunHeader, RunId, RunStatus};
use crate::store::Store;
use crate::sys::{Env, git};

/// Runs of a suite that are looked through.
const MOST_RUNS: u32 = 10_000;
/// Commits before the merge base that are looked at where it has no run of its own.
const MOST_COMMITS: usize = 50;

/// What a candidate is compared with.
pub enum Against {
    /// A run that is in the store now.
    Run {
        /// The run.
        id: RunId,
        /// Which it is and why, in words.
        told: String,
    },
    /// A target to run now.
    Target(String),
}

/// Where a baseline is looked for.
pub struct Wish<'a> {
    /// Baseline, as typed.
    pub typed: Option<&'a str>,
    /// Folder of bundles beside the store.
    pub bundles: Option<&'a Path>,
}

/// Finds the baseline; a run out of a file is taken into the store. Bundles that cannot be read are told in `warnings`.
pub async fn find(
    project: &Project,
    world: &World,
    suite: &Suite,
    wish: Wish<'_>,
    warnings: &mut Vec<String>,
) -> Done<Against> {
    let typed = wish.typed.or(wish.bundles.map(|_| "merge-base"));
    let Some(typed) = typed else { return usual(project, world, suite).await };
    if let Some(target) = typed.strip_prefix("target:") {
        return Ok(Against::Target(target.to_owned()));
    }
    if let Some(file) = bundles::path_of(typed, world) {
        let taken = bundles::import(project, world, &file).await?;
        let told = format!("run {}, from bundle `{}`", taken.run.short(), bundles::shown(&file, world));
        return Ok(Against::Run { id: taken.run, told });
    }
    let reference = match typed.split_once(':') {
        Some(("merge-base", reference)) if !reference.is_empty() => Some(vec![reference.to_owned()]),
        _ if typed == "merge-base" => Some(references(&world.env)),
        _ => None,
    };
    let candidates = Candidates { project, world, suite: &suite.name, bundles: wish.bundles };
    if let Some(references) = reference {
        return candidates.at_merge_base(&references, warnings).await;
    }
    if let Some(tag) = typed.strip_prefix("tag:") {
        return candidates.with_tag(tag, warnings).await;
    }
    let store = project.store(&world.env).await?;
    let id = find_run(project, store.as_ref(), typed, Some(&suite.name)).await?;
    let told = match typed {
        "baseline" => blessed(store.as_ref(), &suite.name, &id).await?,
        _ => format!("run {}, as named", id.short()),
    };
    Ok(Against::Run { id, told })
}

/// Without a word: the blessed run, else the suite's `baseline` target.
async fn usual(project: &Project, world: &World, suite: &Suite) -> Done<Against> {
    let store = project.store(&world.env).await?;
    match store.baseline(&suite.name).await.map_err(Failed::instrument)? {
        Some(baseline) => {
            let told = blessed(store.as_ref(), &suite.name, &baseline.run).await?;
            Ok(Against::Run { id: baseline.run, told })
        }
        None => suite.baseline.clone().map(Against::Target).ok_or_else(|| no_baseline(&suite.name)),
    }
}

async fn blessed(store: &dyn Store, suite: &str, id: &RunId) -> Done<String> {
    let found = store.baseline(suite).await.map_err(Failed::instrument)?;
    Ok(match found.filter(|found| found.run == *id) {
        Some(found) => format!(
            "run {}, blessed by {} on {}: {}",
            id.short(),
            found.by,
            found.at.strftime("%Y-%m-%d"),
            found.reason
        ),
        None => format!("run {}, the blessed one", id.short()),
    })
}

/// Branches that a change is meant for, as the CI service says it, else the usual ones. Where it says one, no other is
/// taken in its place.
fn references(env: &Env) -> Vec<String> {
    const SAID: &[&str] = &[
        "GITHUB_BASE_REF",
        "CI_MERGE_REQUEST_TARGET_BRANCH_NAME",
        "CHANGE_TARGET",
        "BUILDKITE_PULL_REQUEST_BASE_BRANCH",
    ];
    let said = SAID.iter().find_map(|name| env.get(name)).filter(|branch| !branch.is_empty());
    match said {
        Some(branch) => vec![format!("origin/{branch}"), branch.to_owned()],
        None => ["origin/HEAD", "origin/main", "origin/master", "main", "master"].map(str::to_owned).into(),
    }
}

/// Where a run lies.
enum Source {
    Store,
    File(PathBuf),
}

/// The finished runs that a rule chooses from.
struct Candidates<'a> {
    project: &'a Project,
    world: &'a World,
    suite: &'a str,
    bundles: Option<&'a Path>,
}

impl Candidates<'_> {
    /// Complete runs of the suite in store and folder, newest first; where both have one, the store's.
    async fn list(&self, warnings: &mut Vec<String>) -> Done<Vec<(RunHeader, Source)>> {
        let store = self.project.store(&self.world.env).await?;
        let found = store.runs(Some(self.suite), MOST_RUNS).await.map_err(Failed::instrument)?;
        let complete = found.into_iter().filter(|run| run.status == RunStatus::Complete);
        let mut list: Vec<(RunHeader, Source)> = complete.map(|run| (run.header, Source::Store)).collect();
        if let Some(folder) = self.bundles {
            for (file, manifest) in bundles::shelf_of(&self.world.here.join(folder), warnings)? {
                let header = manifest.header;
                let known = list.iter().any(|(other, _)| other.id == header.id);
                if manifest.status == RunStatus::Complete && header.suite == self.suite && !known {
                    list.push((header, Source::File(file)));
                }
            }
        }
        list.sort_by(|(a, _), (b, _)| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        Ok(list)
    }

    async fn at_merge_base(&self, references: &[String], warnings: &mut Vec<String>) -> Done<Against> {
        let folder = &self.project.root;
        let base = git::merge_base(folder, references).map_err(Failed::usage)?;
        let mut commits = git::line_of_commits(folder, &base.commit, MOST_COMMITS + 1);
        // On the branch itself, the run before this commit is meant, not one of this very commit.
        let place = if base.is_head && !commits.is_empty() {
            commits.remove(0);
            format!("the commit before HEAD, which is on `{}`", base.reference)
        } else {
            format!("the merge base with `{}`", base.reference)
        };
        let list = self.list(warnings).await?;
        for (back, commit) in commits.iter().enumerate() {
            let Some((header, source)) = list.iter().find(|(header, _)| is_of(header, commit)) else { continue };
            let short = commit.get(..12).unwrap_or(commit);
            let place = match back {
                0 => place,
                1 => format!("1 commit before {place}, which has no run of its own"),
                _ => format!("{back} commits before {place}, which has no run of its own"),
            };
            return self.take(header, source, &format!("newest of commit {short}, {place}")).await;
        }
        let looked = list.len();
        let first = commits.first().and_then(|commit| commit.get(..12)).unwrap_or("(none)");
        Err(Failed::usage(anyhow!(
            "no baseline: none of the {looked} finished runs of suite `{0}` {1} is of commit {first} ({place}) or of the \
             {2} before it. On a first run, run the suite there once: `assize run {0}`, and keep the store or `assize \
             bundle export latest -o DIR/main.assize` where the next run finds it; or name another baseline with \
             `--baseline`",
            self.suite,
            if self.bundles.is_some() { "in store and bundles" } else { "in the store" },
            commits.len().saturating_sub(1),
        )))
    }

    async fn with_tag(&self, tag: &str, warnings: &mut Vec<String>) -> Done<Against> {
        let (key, value) = tag.split_once('=').map_or((tag, None), |(key, value)| (key, Some(value)));
        let list = self.list(warnings).await?;
        let fits =
            |header: &RunHeader| header.tags.get(key).is_some_and(|found| value.is_none_or(|value| value == found));
        match list.iter().find(|(header, _)| fits(header)) {
            Some((header, source)) => self.take(header, source, &format!("newest with tag `{tag}`")).await,
            None => Err(Failed::usage(anyhow!(
                "no baseline: no finished run of suite `{0}` has the tag `{tag}`; `assize run {0} --tag {tag}` makes one",
                self.suite
            ))),
        }
    }

    async fn take(&self, header: &RunHeader, source: &Source, why: &str) -> Done<Against> {
        let id = header.id.clone();
        let told = match source {
            Source::Store => format!("run {}, {why}", id.short()),
            Source::File(file) => {
                bundles::import(self.project, self.world, file).await?;
                format!("run {}, {why}, from bundle `{}`", id.short(), bundles::shown(file, self.world))
            }
        };
        Ok(Against::Run { id, told })
    }
}

/// Whether a run was made of exactly this commit: the `+` of files changed since makes it another.
fn is_of(header: &RunHeader, commit: &str) -> bool {
    header.git_commit.as_ref().is_some_and(|known| known.len() >= 7 && commit.starts_with(known.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_that_the_service_names_is_the_only_one() {
        assert_eq!(references(&Env::of_pairs(&[("GITHUB_BASE_REF", "next")])), ["origin/next", "next"]);
        let usual = references(&Env::of_pairs(&[("GITHUB_BASE_REF", "")]));
        assert_eq!(usual.first().map(String::as_str), Some("origin/HEAD"), "a push has no base: {usual:?}");
    }
}
