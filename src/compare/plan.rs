//! Planning: how many examples, trials and draws a wished margin takes, and at what price (methods 1.8).
//!
//! Where the variance comes from is `spread`'s. Everything else is arithmetic on
//! `deff (omega² + 2 (s_t² + s_j² / J) / K) / n`. Forecasts, not findings: nothing here is about a candidate.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Spread, contrast::POWER, words};
use crate::stats::{Budget, allocate, mcnemar_power, normal_quantile, t_quantile};

/// Trials and draws that the curve shows.
const REPEATS: [u32; 6] = [1, 2, 3, 5, 8, 16];
/// Most examples for which the exact power of McNemar's test is summed up.
const EXACT: u64 = 3_000;

/// What is planned for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wish {
    /// Smallest change that matters.
    pub margin: f64,
    /// One-sided error probability.
    pub alpha: f64,
    /// Probability of finding what is there.
    pub power: f64,
    /// Examples there are now.
    pub examples: u64,
    /// Most examples there can be; as many as needed when absent.
    pub most: Option<u64>,
    /// Trials per example now.
    pub trials: u32,
    /// Draws per trial now.
    pub draws: u32,
    /// US dollars of one more example (to write or label), one trial, one draw.
    pub cost: (f64, f64, f64),
    /// US dollars for both runs together.
    pub budget: Option<f64>,
}

impl Wish {
    /// US dollars of both runs.
    fn price(&self, examples: u64, trials: u32, draws: u32) -> f64 {
        let (example, trial, draw) = self.cost;
        let new = examples.saturating_sub(self.examples) as f64;
        new * example + 2.0 * examples as f64 * f64::from(trials) * (trial + f64::from(draws) * draw)
    }

    /// Quantiles between 0 and what is found with the power, at so many examples.
    fn reach(&self, examples: u64, power: f64) -> f64 {
        match examples {
            2..200 => {
                let df = examples as f64 - 1.0;
                t_quantile(1.0 - self.alpha, df) + t_quantile(power, df)
            }
            _ => normal_quantile(1.0 - self.alpha) + normal_quantile(power),
        }
    }

    /// Power of showing "no change" both ways that equals `power` in all.
    fn both_ways(&self) -> f64 {
        0.5 * (1.0 + self.power)
    }
}

/// One design with what it sees and costs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Point {
    /// Examples.
    pub examples: u64,
    /// Trials of each.
    pub trials: u32,
    /// Draws of each trial.
    pub draws: u32,
    /// Smallest true change that is found with the power asked for.
    pub detectable: f64,
    /// Smallest margin within which an unchanged candidate is shown to lie with that power.
    pub provable: f64,
    /// US dollars of both runs; absent where nothing is known to cost anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_usd: Option<f64>,
    /// Whether no other design of the curve is as good for less.
    pub efficient: bool,
}

/// What a wished margin takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Forecast {
    /// Metric.
    pub metric: String,
    /// Smallest change that matters.
    pub margin: f64,
    /// Power planned for.
    pub power: f64,
    /// Where the variance comes from.
    pub spread: Spread,
    /// US dollars of one more example, one trial, one draw.
    pub cost: (f64, f64, f64),
    /// The design as it is now.
    pub now: Option<Point>,
    /// Examples that reach the margin with the trials and draws of now; `None` beyond ten million.
    pub examples_needed: Option<u64>,
    /// Trials that reach it with the examples of now; `None` where no number does.
    pub trials_needed: Option<u32>,
    /// Draws that reach it with the examples and trials of now.
    pub draws_needed: Option<u32>,
    /// The cheapest design that reaches the margin.
    pub cheapest: Option<Point>,
    /// The design that sees most for the budget.
    pub best_for_budget: Option<Point>,
    /// Trials and draws that see most for the money when examples can be had at the price given (before rounding).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optimal: Option<(f64, f64)>,
    /// Exact power of McNemar's test for a fall by the margin with the examples of now and one trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact_power: Option<f64>,
    /// Price against what is seen, the cheapest first.
    pub curve: Vec<Point>,
    /// The plan in one sentence.
    pub sentence: String,
}

/// Plans for one metric.
pub fn forecast(spread: Spread, wish: &Wish) -> Forecast {
    let curve = curve(&spread, wish);
    let examples_needed = examples_for(&spread, wish, wish.trials, wish.draws);
    let repeats = |fits: &dyn Fn(u32) -> bool| (1..=1_000).find(|count| fits(*count));
    let reaches = |trials: u32, draws: u32| {
        point(&spread, wish, wish.examples, trials, draws).is_some_and(|p| p.provable <= wish.margin)
    };
    let trials_needed = spread.trial.and_then(|_| repeats(&|trials| reaches(trials, wish.draws)));
    let draws_needed = spread.draw.and_then(|_| repeats(&|draws| reaches(wish.trials, draws)));
    let cheapest = best(
        &spread,
        wish,
        |trials, draws| examples_for(&spread, wish, trials, draws),
        |point| point.price_usd.unwrap_or((point.examples * u64::from(point.trials * point.draws)) as f64),
    );
    let best_for_budget = wish.budget.and_then(|budget| {
        let affordable = |trials, draws| affordable(wish, budget, trials, draws);
        best(&spread, wish, affordable, |point| point.provable)
    });
    let now = point(&spread, wish, wish.examples, wish.trials, wish.draws);
    let exact = spread.binary && wish.trials == 1 && wish.examples <= EXACT && wish.examples > 0;
    let exact_power = exact.then(|| {
        let discordant = spread.per_example(1, 1).max(wish.margin);
        let (fell, rose) = (0.5 * (discordant + wish.margin), 0.5 * (discordant - wish.margin));
        mcnemar_power(rose.max(0.0), fell.min(1.0), wish.examples, 2.0 * wish.alpha)
    });
    let mut made = Forecast {
        metric: spread.metric.clone(),
        margin: wish.margin,
        power: wish.power,
        cost: wish.cost,
        optimal: optimal(&spread, wish),
        now,
        examples_needed,
        trials_needed,
        draws_needed,
        cheapest,
        best_for_budget,
        exact_power,
        curve,
        spread,
        sentence: String::new(),
    };
    made.sentence = sentence(&made, wish);
    made
}

fn point(spread: &Spread, wish: &Wish, examples: u64, trials: u32, draws: u32) -> Option<Point> {
    if examples < 2 {
        return None;
    }
    let error = (spread.per_example(trials, draws) / examples as f64).sqrt();
    let price = wish.price(examples, trials, draws);
    Some(Point {
        examples,
        trials,
        draws,
        detectable: wish.reach(examples, wish.power) * error,
        provable: wish.reach(examples, wish.both_ways()) * error,
        price_usd: (price > 0.0).then_some(price),
        efficient: false,
    })
}

/// Examples with which an unchanged candidate is shown to lie within the margin; at least as many as leave room for it
/// when nothing at all changes.
fn examples_for(spread: &Spread, wish: &Wish, trials: u32, draws: u32) -> Option<u64> {
    if wish.margin <= 0.0 {
        return None;
    }
    let per_example = spread.per_example(trials, draws);
    let first = (wish.reach(1_000, wish.both_ways()).powi(2) * per_example / wish.margin.powi(2)).ceil();
    if !first.is_finite() || first > 1e7 {
        return None;
    }
    // Small numbers need a little more than the normal curve says.
    let mut count = (first as u64).max(2);
    while point(spread, wish, count, trials, draws).is_some_and(|point| point.provable > wish.margin) {
        count += 1 + count / 50;
    }
    wish.most.is_none_or(|most| count <= most).then_some(count)
}

fn affordable(wish: &Wish, budget: f64, trials: u32, draws: u32) -> Option<u64> {
    let (example, trial, draw) = wish.cost;
    let running = 2.0 * f64::from(trials) * (trial + f64::from(draws) * draw);
    let now = wish.examples as f64;
    let count =
        if running * now >= budget { budget / running } else { now + (budget - running * now) / (running + example) };
    let most = wish.most.unwrap_or(if example > 0.0 { 10_000_000 } else { wish.examples.max(1) });
    let count = if count.is_finite() { (count.floor() as u64).min(most) } else { most };
    (count >= 2).then_some(count)
}

/// The best over all repeats, by least `key`; draws only where they were seen to vary.
fn best(
    spread: &Spread,
    wish: &Wish,
    examples: impl Fn(u32, u32) -> Option<u64>,
    key: impl Fn(&Point) -> f64,
) -> Option<Point> {
    let most_trials = if spread.trial.is_some() { 30 } else { wish.trials };
    let most_draws = if spread.draw.is_some() { 15 } else { wish.draws };
    let trials = if spread.trial.is_some() { 1 } else { wish.trials }..=most_trials;
    let designs = trials.flat_map(|trials| {
        (if spread.draw.is_some() { 1 } else { wish.draws }..=most_draws).map(move |draws| (trials, draws))
    });
    let points = designs.filter_map(|(trials, draws)| point(spread, wish, examples(trials, draws)?, trials, draws));
    points.min_by(|a, b| key(a).total_cmp(&key(b)).then(a.examples.cmp(&b.examples)))
}

fn curve(spread: &Spread, wish: &Wish) -> Vec<Point> {
    let n = wish.examples.max(10);
    let mut sizes: Vec<u64> = [n / 2, n, 2 * n, 4 * n, 10 * n].into_iter().filter(|size| *size >= 5).collect();
    sizes.extend(examples_for(spread, wish, wish.trials, wish.draws));
    sizes.retain(|size| wish.most.is_none_or(|most| *size <= most));
    let mut trials: Vec<u32> = if spread.trial.is_some() { REPEATS.to_vec() } else { Vec::new() };
    trials.push(wish.trials);
    trials.sort_unstable();
    trials.dedup();
    sizes.sort_unstable();
    sizes.dedup();
    let mut points: Vec<Point> = sizes
        .iter()
        .flat_map(|size| trials.iter().map(move |trials| (*size, *trials)))
        .filter_map(|(size, trials)| point(spread, wish, size, trials, wish.draws))
        .collect();
    let effort = |point: &Point| point.price_usd.unwrap_or((point.examples * u64::from(point.trials)) as f64);
    points.sort_by(|a, b| effort(a).total_cmp(&effort(b)).then(a.detectable.total_cmp(&b.detectable)));
    let mut least = f64::INFINITY;
    for point in &mut points {
        point.efficient = point.detectable < least;
        least = least.min(point.detectable);
    }
    points
}

/// Where examples cost money: the trials and draws that see most for it (methods 1.8), for the difference of two runs.
fn optimal(spread: &Spread, wish: &Wish) -> Option<(f64, f64)> {
    let (example, trial, draw) = wish.cost;
    let (of_trial, of_draw) = (spread.trial?, spread.draw.unwrap_or(0.0));
    if example <= 0.0 {
        return None;
    }
    let found = allocate(Budget {
        variance: (spread.between, 2.0 * of_trial, 2.0 * of_draw),
        cost: (example, 2.0 * trial, 2.0 * draw),
    });
    Some((found.trials_exact?, found.draws_exact.unwrap_or(1.0)))
}

fn sentence(made: &Forecast, wish: &Wish) -> String {
    let size =
        |value: f64| if made.spread.binary { format!("{:.1} points", 100.0 * value) } else { words::plain(value) };
    let Some(now) = &made.now else {
        return format!("{}: at least two examples are needed to see anything.", made.metric);
    };
    let design = |point: &Point| {
        let trials = words::count(u64::from(point.trials), "trial");
        let draws = if point.draws > 1 { format!(" of {} draws", point.draws) } else { String::new() };
        format!("{} with {trials}{draws} each", words::count(point.examples, "example"))
    };
    let head = format!(
        "{}: {} see a change of {} in {} of tries and prove \"no change\" within {}",
        made.metric,
        design(now),
        size(now.detectable),
        words::percent(wish.power),
        size(now.provable)
    );
    if now.provable <= wish.margin {
        return format!("{head}: enough for a margin of {}.", size(wish.margin));
    }
    let mut ways = Vec::new();
    ways.extend(made.examples_needed.map(|n| format!("{n} examples")));
    ways.extend(made.trials_needed.map(|k| format!("{k} trials of each")));
    ways.extend(made.draws_needed.map(|j| format!("{j} draws of each trial")));
    if ways.is_empty() {
        return format!("{head}; a margin of {} is out of reach: choose a wider one.", size(wish.margin));
    }
    let cheapest = made
        .cheapest
        .as_ref()
        .and_then(|point| Some(format!("; the cheapest way is {} for ${:.2}", design(point), point.price_usd?)));
    format!("{head}; a margin of {} takes {}{}.", size(wish.margin), ways.join(" or "), cheapest.unwrap_or_default())
}

/// The power that is planned for when nobody says.
pub const DEFAULT_POWER: f64 = POWER;

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
