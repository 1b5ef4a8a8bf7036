//! `assize cache`: its words, its calls, its printing.

use std::fmt::Write as _;

use clap::{ArgGroup, Args, Subcommand};

use super::print::Printer;
use super::show::{count, table, thousands};
use crate::ops::cache::{self, Choice, Held, Share};
use crate::ops::{Done, Exit, Project, World};
use crate::provider::Pruned;
use crate::sys::text::one_line;

/// `cache`
#[derive(Debug, Subcommand)]
pub enum CacheVerb {
    /// Say how much is kept, since when, of which model and for whom.
    Ls,
    /// Take answers out. Says what it would do; `--yes` does it.
    #[command(
        after_help = "Example:\n  assize cache prune --older-than 30d\n  assize cache prune --max-size 200MB --yes\n  \
                            assize cache prune --judge groundedness --model gpt-4o --yes\n\n\
        What is said together must all hold. What is taken out is asked and paid anew when it is needed again; findings \
        are never touched."
    )]
    Prune(PruneArgs),
}

/// `cache prune`
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).multiple(true)))]
pub struct PruneArgs {
    /// Answers kept longer ago than this (`30d`), or before a time or a date.
    #[arg(long, value_name = "AGE", group = "what")]
    pub older_than: Option<String>,
    /// Only the oldest, until the answers take up no more than this, such as `200MB`.
    #[arg(long, value_name = "SIZE", group = "what")]
    pub max_size: Option<String>,
    /// Answers to this judge or target, of every version that a run knows.
    #[arg(long, value_name = "NAME", group = "what")]
    pub judge: Option<String>,
    /// Answers of this model, as the provider calls it.
    #[arg(long, value_name = "NAME", group = "what")]
    pub model: Option<String>,
    /// All answers.
    #[arg(long, group = "what")]
    pub all: bool,
    /// Do it.
    #[arg(long)]
    pub yes: bool,
    /// Only say what would be done; this is also what happens without `--yes`.
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
}

/// Carries out `cache`.
pub async fn verb(project: &Project, world: &World, verb: CacheVerb, printer: &Printer) -> Done<Exit> {
    match verb {
        CacheVerb::Ls => {
            let held = cache::held(project, world).await?;
            printer.result(&held, || listed(&held))?;
        }
        CacheVerb::Prune(args) => {
            let PruneArgs { older_than, max_size, judge, model, all, yes, .. } = args;
            let choice = Choice { older_than, max_size, judge, model, all };
            let done = cache::prune(project, world, choice, yes).await?;
            printer.result(&done, || pruned(&done))?;
        }
    }
    Ok(Exit::Pass)
}

fn listed(held: &Held) -> String {
    let place = one_line(&held.path.display().to_string(), 200);
    if held.stats.entries == 0 {
        return format!("No answers are kept in {place}.");
    }
    let answers = count(held.stats.entries, "answer", "answers");
    let mut text = format!("{answers} in {place}, {} bytes on the disk.\n\n", thousands(held.file_bytes));
    let row = |share: &Share| {
        let digest = share.digest.as_deref().unwrap_or("an older program");
        let asker = share.asker.clone().unwrap_or_else(|| format!("({})", one_line(digest, 12)));
        vec![
            one_line(&asker, 40),
            one_line(&share.model, 40),
            thousands(share.stats.entries),
            thousands(share.stats.reply_bytes),
            day(share.stats.oldest),
            day(share.stats.newest),
        ]
    };
    let rows: Vec<Vec<String>> = held.shares.iter().map(row).collect();
    let _ = write!(text, "{}", table(&["asked by", "model", "answers", "bytes", "oldest", "newest"], &rows));
    text
}

fn day(moment: Option<jiff::Timestamp>) -> String {
    moment.map_or_else(|| "-".to_owned(), |moment| moment.strftime("%Y-%m-%d %H:%M").to_string())
}

fn pruned(done: &Pruned) -> String {
    let what = format!("{} ({} bytes)", count(done.entries, "answer", "answers"), thousands(done.reply_bytes));
    match (done.entries, done.done) {
        (0, _) => "No answer is chosen by that.".to_owned(),
        (_, false) => format!("Would take out {what}.\nNothing was changed; add --yes to do it."),
        (_, true) if done.file_shrunk => format!("Took out {what}."),
        (_, true) => {
            format!("Took out {what}. The file is as large as before: another process uses it. Its room is used again.")
        }
    }
}
