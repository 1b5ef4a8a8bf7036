//! `assize selftest`: its arguments and its tables.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;

use super::print::Printer;
use super::show::{count, table, thousands};
use crate::ops::selftest::{self, Ask, CasesDone, Check, FULL, MethodCases, QUICK, Shuffled, Simulated};
use crate::ops::{Done, Exit, Project, World};
use crate::sys::text::one_line;

/// Characters of a value that are shown; `--json` has all.
const VALUE: usize = 2_000;

/// Shown below the help of the verb.
pub const EXAMPLES: &str = "Example:\n  assize selftest --quick\n  assize selftest --run 1c9e44d0..7f3a91c2\n  \
                            assize selftest --cases tests/goldens";

/// `selftest`
#[derive(Debug, Args)]
pub struct SelftestArgs {
    /// A small simulation instead of the full one.
    #[arg(long, conflicts_with = "cases")]
    pub quick: bool,
    /// Replicates of each scenario, or permutations. Default: 2000, with `--quick` 100.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub replicates: Option<u64>,
    /// Seed of everything that draws.
    #[arg(long, default_value_t = 20_261)]
    pub seed: u64,
    /// Threads; results do not depend on them. Default: as many as the machine has.
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Permute the labels within the examples of a stored run with several trials, or of two as `BASE..CANDIDATE`.
    #[arg(long, value_name = "RUN", conflicts_with = "cases")]
    pub run: Option<String>,
    /// Run a folder of reference cases (JSON files of `method`, `tolerance` and `cases`).
    #[arg(long, value_name = "DIR")]
    pub cases: Option<PathBuf>,
}

/// Carries it out.
pub async fn run(project: &Project, world: &World, args: SelftestArgs, printer: &Printer) -> Done<Exit> {
    if let Some(folder) = &args.cases {
        let (done, exit) = selftest::run_cases(world, folder)?;
        printer.result(&done, || cases(&done))?;
        return Ok(exit);
    }
    let ask = Ask {
        quick: args.quick,
        replicates: args.replicates.unwrap_or(if args.quick { QUICK } else { FULL }),
        seed: args.seed,
        threads: args.threads.unwrap_or_else(selftest::threads),
    };
    if let Some(subject) = &args.run {
        let (done, exit) = selftest::permute(project, world, subject, ask).await?;
        printer.result(&done, || shuffled(&done))?;
        return Ok(exit);
    }
    if !args.quick {
        printer.note("The full simulation compares more than a million pairs of runs; `--quick` takes a small part.");
    }
    let (done, exit) = selftest::simulate(ask);
    printer.result(&done, || simulated(&done))?;
    Ok(exit)
}

fn simulated(done: &Simulated) -> String {
    let rows: Vec<Vec<String>> = done.checks.iter().map(row).collect();
    let head = ["promise", "of", "scenarios", "overall", "worst", "bound", "", "worst scenario"];
    let mut text = table(&head, &rows);
    for (check, again) in done.checks.iter().filter_map(|check| Some((check, check.again.as_ref()?))) {
        let _ = writeln!(
            text,
            "beyond its bound, drawn again {}: {} of {}: {:.4}, bound {:.4}, {} ({})",
            count(again.replicates, "time", "times"),
            check.what,
            check.group,
            again.worst,
            again.bound,
            if check.pass { "pass" } else { "FAIL" },
            again.worst_scenario
        );
    }
    let _ = write!(
        text,
        "{} scenarios, {} comparisons, {} replicates each, seed {}.\n{} passed, {} failed",
        done.scenarios,
        thousands(done.comparisons),
        thousands(done.replicates),
        done.seed,
        done.passed,
        done.failed
    );
    text
}

fn row(check: &Check) -> Vec<String> {
    let figure = |value: f64| if value >= 10.0 { format!("{value:.0}") } else { format!("{value:.3}") };
    vec![
        check.what.to_owned(),
        check.group.clone(),
        check.scenarios.to_string(),
        figure(check.overall),
        figure(check.worst),
        format!("{} {}", if check.at_least { ">=" } else { "<=" }, figure(check.bound)),
        if check.pass { "pass" } else { "FAIL" }.to_owned(),
        check.worst_scenario.clone(),
    ]
}

fn shuffled(done: &Shuffled) -> String {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let rows: Vec<Vec<String>> = done
        .metrics
        .iter()
        .map(|metric| {
            vec![
                one_line(&metric.name, 40),
                if metric.gated { "gate" } else { "inform" }.to_owned(),
                percent(metric.regressed),
                percent(metric.improved),
                percent(metric.equivalent),
                if metric.pass { "pass" } else { "FAIL" }.to_owned(),
            ]
        })
        .collect();
    let mut text = table(&["metric", "role", "regressed", "improved", "equivalent", ""], &rows);
    let _ = write!(
        text,
        "Labels permuted {} over {}: nothing differs but by chance.\nRegressed may be at most {} (error {} and three \
         errors of the simulation); the gate failed in {}.",
        count(done.replicates, "time", "times"),
        count(done.examples, "example", "examples"),
        percent(done.bound),
        percent(done.alpha),
        percent(done.gate_failed)
    );
    text
}

fn cases(done: &CasesDone) -> String {
    let rows: Vec<Vec<String>> = done
        .methods
        .iter()
        .map(|method| {
            let cells = [method.cases, method.agree, method.disagree, method.unread];
            std::iter::once(one_line(&method.method, 40)).chain(cells.iter().map(u64::to_string)).collect()
        })
        .collect();
    let mut text = table(&["method", "cases", "agree", "disagree", "unread"], &rows);
    done.methods.iter().for_each(|method| faults(method, &mut text));
    for method in &done.unknown {
        let _ =
            writeln!(text, "unknown method: {}; `assize selftest --help` says what a file holds", one_line(method, 60));
    }
    let _ = write!(text, "{} passed, {} failed", done.agree, done.disagree + done.unread);
    text
}

/// Every miss with its input, what was answered and what is expected; nothing is left out for their number.
fn faults(method: &MethodCases, text: &mut String) {
    let name = one_line(&method.method, 40);
    let first = method.faults.first().filter(|fault| fault.place.is_none());
    if let Some(first) =
        first.filter(|first| method.faults.len() > 1 && method.faults.iter().all(|f| f.words == first.words))
    {
        let _ = writeln!(text, "{name}: all {} unread: {}", method.unread, first.words);
        return;
    }
    for fault in &method.faults {
        let (file, case) = (one_line(&fault.file, 60), one_line(&fault.case, 60));
        let value = |value: &serde_json::Value| one_line(&value.to_string(), VALUE);
        let Some(place) = &fault.place else {
            let _ = writeln!(text, "{file} {case}: unread: {}", fault.words);
            continue;
        };
        let _ = writeln!(text, "{file} {case}: {}", one_line(place, 200));
        let _ = writeln!(text, "    input    {}", value(&fault.input));
        let _ = writeln!(text, "    got      {}", fault.found.as_ref().map_or("no answer".to_owned(), value));
        let _ = writeln!(text, "    expected {}", fault.expected.as_ref().map_or("nothing".to_owned(), value));
    }
}
