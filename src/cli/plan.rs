//! `assize plan`: arguments, call, printing.

use std::fmt::Write as _;

use clap::Args;

use super::print::Printer;
use super::show::{dollars, table};
use crate::compare::{Forecast, Point};
use crate::ops::plan::{Ask, Assumed, Planned, plan};
use crate::ops::{Done, Exit, Project, World};
use crate::sys::text::one_line;

/// What is said under the help.
pub const EXAMPLES: &str = "\
Example:
  assize plan support
  assize plan support --pilot 1c9e44d0..7f3a91c2 --margin 0.03 --budget 20
  assize plan --discordant 0.12 --examples 200 --margin 0.05 --trial-cost 0.004

Learns from the blessed run and the latest, else from the latest alone. A change is \"seen\" when it is found with the power asked for; \"proven\" is the margin within which a candidate that \
changes nothing is shown to be equivalent with that power. Prices are those of both runs.";

/// `plan`
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Suite; may be left out when there is only one.
    pub suite: Option<String>,
    /// Run to learn from, or two as `BASE..CANDIDATE`; two with repeated trials tell most.
    #[arg(long, value_name = "RUN", conflicts_with_all = ["discordant", "sd"])]
    pub pilot: Option<String>,
    /// Only this metric; the gated ones when left out.
    #[arg(long)]
    pub metric: Option<String>,
    /// Smallest change that matters; as the gate says when left out.
    #[arg(long, value_name = "CHANGE")]
    pub margin: Option<f64>,
    /// Probability of finding what is there.
    #[arg(long, default_value_t = 0.8)]
    pub power: f64,
    /// Examples there are; those of the pilot or the dataset when left out.
    #[arg(long, value_name = "N")]
    pub examples: Option<u64>,
    /// Most examples there can be.
    #[arg(long, value_name = "N")]
    pub max_examples: Option<u64>,
    /// Trials per example.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub trials: Option<u32>,
    /// Draws of the judge per trial.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub draws: Option<u32>,
    /// US dollars for both runs: also says what sees most for them.
    #[arg(long, value_name = "USD")]
    pub budget: Option<f64>,
    /// Without a pilot: share of the examples of a yes-or-no metric that change sides.
    #[arg(long, value_name = "SHARE", conflicts_with = "sd")]
    pub discordant: Option<f64>,
    /// How much of that is chance and would be gone with many trials.
    #[arg(long, value_name = "SHARE", default_value_t = 0.5, requires = "discordant")]
    pub noise: f64,
    /// Without a pilot: standard deviation of a number over examples.
    #[arg(long, value_name = "SD")]
    pub sd: Option<f64>,
    /// Correlation of the true scores of two versions, for `--sd` and for a pilot of one run. Default 0.9, with `--sd` 0.5.
    #[arg(long, value_name = "R")]
    pub correlation: Option<f64>,
    /// US dollars of one more example, to write or label it.
    #[arg(long, value_name = "USD")]
    pub example_cost: Option<f64>,
    /// US dollars of one trial; as the pilot paid when left out.
    #[arg(long, value_name = "USD")]
    pub trial_cost: Option<f64>,
    /// US dollars of one draw of the judge.
    #[arg(long, value_name = "USD")]
    pub draw_cost: Option<f64>,
}

/// Carries it out.
pub async fn run(project: &Project, world: &World, args: PlanArgs, printer: &Printer) -> Done<Exit> {
    let assumed = match (args.discordant, args.sd) {
        (Some(share), _) => Some(Assumed::Discordance(share, args.noise)),
        (None, Some(sd)) => Some(Assumed::Deviation(sd, args.correlation.unwrap_or(0.5))),
        (None, None) => None,
    };
    let ask = Ask {
        suite: args.suite,
        pilot: args.pilot,
        metric: args.metric,
        margin: args.margin,
        power: Some(args.power),
        examples: args.examples,
        most: args.max_examples,
        trials: args.trials,
        draws: args.draws,
        budget: args.budget,
        assumed,
        correlation: args.correlation,
        costs: (args.example_cost, args.trial_cost, args.draw_cost),
    };
    let planned = plan(project, world, ask).await?;
    printer.result(&planned, || shown(&planned))?;
    Ok(Exit::Pass)
}

fn shown(planned: &Planned) -> String {
    let mut text = String::new();
    for reason in planned.hopeless.iter().chain(&planned.judges) {
        let _ = writeln!(text, "! {}", one_line(reason, 400));
    }
    if !planned.pilot.is_empty() {
        let _ = writeln!(text, "pilot: {}", planned.pilot.join(" against "));
    }
    for forecast in &planned.forecasts {
        let _ = write!(text, "\n{}", of_metric(forecast));
    }
    text.trim_start_matches('\n').to_owned()
}

fn of_metric(forecast: &Forecast) -> String {
    let size = |value: f64| {
        if forecast.spread.binary { format!("{:.1} points", 100.0 * value) } else { format!("{value:.3}") }
    };
    let mut text = format!("{}\n", one_line(&forecast.sentence, 600));
    for note in &forecast.spread.notes {
        let _ = writeln!(text, "  {}", one_line(note, 400));
    }
    let _ = writeln!(text, "  variance of a difference: {}", parts(forecast));
    if let Some(power) = forecast.exact_power {
        let _ = writeln!(
            text,
            "  exact power of McNemar's test for a fall of {}: {:.0} %",
            size(forecast.margin),
            100.0 * power
        );
    }
    if let Some((trials, draws)) = forecast.optimal {
        let _ = writeln!(text, "  best split where examples cost money: {trials:.1} trials of {draws:.1} draws each");
    }
    for (what, point) in
        [("cheapest for the margin", &forecast.cheapest), ("best for the budget", &forecast.best_for_budget)]
    {
        if let Some(point) = point {
            let _ = writeln!(
                text,
                "  {what}: {} examples x {} trials x {} draws, sees {}, proves {}{}",
                point.examples,
                point.trials,
                point.draws,
                size(point.detectable),
                size(point.provable),
                point.price_usd.map(|price| format!(", {}", dollars(price))).unwrap_or_default()
            );
        }
    }
    let head = ["", "examples", "trials", "draws", "sees", "proves", "price"];
    let rows: Vec<Vec<String>> = forecast.curve.iter().map(|point| cells(point, forecast, &size)).collect();
    let _ = write!(text, "\n{}", table(&head, &rows));
    let _ = writeln!(text, "* nothing cheaper sees as much; = reaches the margin of {}", size(forecast.margin));
    text
}

fn cells(point: &Point, forecast: &Forecast, size: &dyn Fn(f64) -> String) -> Vec<String> {
    let mut mark = String::new();
    mark.push(if point.efficient { '*' } else { ' ' });
    mark.push(if point.provable <= forecast.margin { '=' } else { ' ' });
    vec![
        mark,
        point.examples.to_string(),
        point.trials.to_string(),
        point.draws.to_string(),
        size(point.detectable),
        size(point.provable),
        point.price_usd.map_or_else(|| "-".to_owned(), dollars),
    ]
}

/// `0.050 between examples, 0.120 by trials, 0.010 by draws`.
fn parts(forecast: &Forecast) -> String {
    let spread = &forecast.spread;
    let mut parts = vec![format!("{:.4} by what changes between versions", spread.between)];
    parts.extend(spread.trial.map(|trial| format!("{:.4} by each trial", 2.0 * trial)));
    parts.extend(spread.draw.map(|draw| format!("{:.4} by each draw", 2.0 * draw)));
    if spread.design_effect > 1.0 {
        parts.push(format!("times {:.2} for clusters", spread.design_effect));
    }
    parts.join(", ")
}
