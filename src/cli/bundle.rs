//! `assize bundle`: its words, and what is said of files written and taken in.

use std::path::PathBuf;

use clap::Subcommand;

use super::print::Printer;
use super::show::count;
use crate::ops::bundles::{self, Exported, Imported};
use crate::ops::{Done, Exit, Project, World, shards};
use crate::sys::text::one_line;

/// Examples of use.
pub const EXAMPLES: &str = "Example:\n  assize bundle export latest -o main.assize\n  \
                            assize compare main.assize latest\n  \
                            assize ci --baseline main.assize";

/// `bundle`
#[derive(Debug, Subcommand)]
pub enum BundleVerb {
    /// Write a finished run to one file: journal, examples, outputs. The same run gives the same bytes.
    Export {
        /// Run: an id, its last characters, `baseline` or `latest`.
        run: String,
        /// File, by custom `NAME.assize`.
        #[arg(long, short = 'o', value_name = "FILE")]
        output: PathBuf,
        /// Suite, for `baseline` and `latest`.
        #[arg(long)]
        suite: Option<String>,
    },
    /// Put the bundles of all shards of a run together to one.
    Merge {
        /// Bundles, one for each shard.
        #[arg(required = true, value_name = "BUNDLE")]
        shards: Vec<PathBuf>,
        /// File, by custom `NAME.assize`.
        #[arg(long, short = 'o', value_name = "FILE")]
        output: PathBuf,
    },
    /// Take the run of a file into the store. The same one again changes nothing.
    Import {
        /// Bundle.
        file: PathBuf,
    },
}

/// Carries out the verb.
pub async fn run(project: &Project, world: &World, verb: BundleVerb, printer: &Printer) -> Done<Exit> {
    match verb {
        BundleVerb::Export { run, output, suite } => {
            let done = bundles::export(project, world, &run, suite.as_deref(), &output).await?;
            printer.result(&done, || exported(&done))?;
        }
        BundleVerb::Merge { shards, output } => {
            let done = shards::merge(world, &shards, &output)?;
            printer.result(&done, || exported(&done))?;
        }
        BundleVerb::Import { file } => {
            let done = bundles::import(project, world, &file).await?;
            printer.result(&done, || imported(&done))?;
        }
    }
    Ok(Exit::Pass)
}

fn exported(done: &Exported) -> String {
    format!(
        "Run {} in {}: {}, {}, {}{}.",
        done.run.short(),
        done.file.display(),
        count(done.bytes, "byte", "bytes"),
        count(done.entries, "event", "events"),
        count(done.contents, "content", "contents"),
        if done.dataset { ", with the dataset's manifest" } else { "" }
    )
}

fn imported(done: &Imported) -> String {
    let suite = one_line(&done.suite, 60);
    let mut text = if done.already {
        format!("Run {} of {suite} was in the store already; nothing changed.", done.run.short())
    } else {
        format!("Run {} of {suite} is in the store: {}.", done.run.short(), count(done.entries, "event", "events"))
    };
    if let Some(blessing) = &done.blessing {
        text.push_str(&format!(
            "\nElsewhere it was blessed by {} on {}: {}\nHere `assize bless {} -m WHY` does that.",
            one_line(&blessing.by, 100),
            blessing.at.strftime("%Y-%m-%d"),
            one_line(&blessing.reason, 200),
            done.run.short()
        ));
    }
    text
}
