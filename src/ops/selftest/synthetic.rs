//! Pairs of runs whose true difference is known to the last digit.
//!
//! Examples of a cluster copy its prototype with probability `sqrt(icc)`, so that the correlation inside is the one
//! asked for and every example keeps the same distribution, hence the same true difference.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::Serialize;

use crate::compare::{ExampleMeta, ExampleResult, RunResults};
use crate::model::{
    Digest, Direction, ExampleId, GatePolicy, GraderInfo, GraderKind, MetricPolicy, MetricRole, RunHeader, RunId,
    RunStatus, RunTotals, Scale, Score, TargetInfo, TargetOutcome, UntilDecided, Usage,
};

/// Name of the one grader.
pub const GRADER: &str = "quality";

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Yes or no.
    Binary,
    /// One of 1 to 5.
    Ordinal,
    /// A number in [0, 1] that mostly does not change.
    ZeroInflated,
    /// Lognormal money.
    Cost,
}

/// Who grades yes and no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// Always right.
    Perfect,
    /// Wrong on a tenth of both.
    Noisy,
    /// Sees 95 % of what is good and 70 % of what is bad.
    Biased,
}

/// A scenario of the grid.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Scenario {
    /// Independent units: examples, or clusters of one to four where `icc` is above 0.
    pub units: u32,
    /// Trials of each example.
    pub trials: u32,
    /// What is measured.
    pub kind: Kind,
    /// Correlation inside a cluster.
    pub icc: f64,
    /// Whether a quarter of the units weighs 20 times as much.
    pub weighted: bool,
    /// True difference in margins, more being better.
    pub delta: f64,
    /// Who grades.
    pub grade: Grade,
}

impl Scenario {
    /// Independent examples of equal weight that pass or fail, tried once, where nothing changed, graded without fault.
    pub fn plain(units: u32) -> Self {
        let (kind, grade) = (Kind::Binary, Grade::Perfect);
        Self { units, trials: 1, kind, icc: 0.0, weighted: false, delta: 0.0, grade }
    }
}

impl Kind {
    /// The margin: of cost that of its logarithm, which is what the default of a twentieth comes to.
    pub fn margin(self) -> f64 {
        match self {
            Self::Binary | Self::ZeroInflated => 0.05,
            Self::Ordinal => 0.2,
            Self::Cost => 0.05_f64.ln_1p(),
        }
    }

    /// A word for tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::Binary => "binary",
            Self::Ordinal => "ordinal",
            Self::ZeroInflated => "zero-inflated",
            Self::Cost => "cost",
        }
    }

    fn scale(self) -> Scale {
        match self {
            Self::Binary => Scale::Binary,
            Self::Ordinal => Scale::Number { min: Some(1.0), max: Some(5.0) },
            Self::ZeroInflated | Self::Cost => Scale::Number { min: Some(0.0), max: Some(1.0) },
        }
    }
}

impl Grade {
    /// Chances to call a good one good and a bad one bad.
    fn rates(self) -> (f64, f64) {
        match self {
            Self::Perfect => (1.0, 1.0),
            Self::Noisy => (0.9, 0.9),
            Self::Biased => (0.95, 0.7),
        }
    }
}

impl Scenario {
    /// The true difference as graded, in the metric's unit (of cost: of its logarithm), more being better.
    pub fn truth(&self) -> f64 {
        let (good, bad) = self.grade.rates();
        self.delta * self.kind.margin() * (good + bad - 1.0)
    }

    /// A name for tables.
    pub fn name(&self) -> String {
        let weights = if self.weighted { ", weights 20:1" } else { "" };
        let grade = match self.grade {
            Grade::Perfect => "",
            Grade::Noisy => ", noisy judge",
            Grade::Biased => ", biased judge",
        };
        let (kind, icc) = (self.kind.word(), self.icc);
        format!("{kind}, n {}, K {}, ICC {icc}{weights}{grade}, {:+} m", self.units, self.trials, self.delta)
    }

    /// The demands of the gate.
    pub fn policy(&self) -> GatePolicy {
        // Cost without a margin of its own is held against a twentieth, on the logarithm.
        let (name, margin) = if self.kind == Kind::Cost { ("cost_usd", 0.0) } else { (GRADER, self.kind.margin()) };
        let demanded = MetricPolicy { role: MetricRole::Gate, margin: Some(margin), ..MetricPolicy::default() };
        GatePolicy { metrics: BTreeMap::from([(name.to_owned(), demanded)]), ..GatePolicy::default() }
    }
}

/// Baseline, candidate and what is known of their examples.
pub struct Drawn {
    /// Baseline.
    pub baseline: RunResults,
    /// Candidate.
    pub candidate: RunResults,
    /// Examples.
    pub metas: Vec<ExampleMeta>,
}

/// Draws a pair of runs. With `looked_at` the candidate is marked as one that stops when it is decided.
pub fn draw(scenario: &Scenario, seed: u64, looked_at: bool) -> Drawn {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let mut drawn = Drawn {
        baseline: empty("baseline", scenario, seed, false),
        candidate: empty("candidate", scenario, seed, looked_at),
        metas: Vec::new(),
    };
    for unit in 0..scenario.units {
        let weight = if scenario.weighted && random.random_bool(0.25) { 20.0 } else { 1.0 };
        let size = if scenario.icc > 0.0 { random.random_range(1..=4) } else { 1 };
        let prototype = pair(scenario, &mut random);
        for member in 0..size {
            let copies = scenario.icc > 0.0 && random.random_bool(scenario.icc.sqrt());
            let values = if copies { prototype.clone() } else { pair(scenario, &mut random) };
            let id = ExampleId::new(format!("u{unit:04}-{member}"));
            drawn.metas.push(ExampleMeta {
                id: id.clone(),
                cluster: format!("u{unit:04}"),
                weight,
                stratum: None,
                probability: None,
                diverse: false,
                dimensions: BTreeMap::new(),
            });
            for (run, values) in [(&mut drawn.baseline, &values.0), (&mut drawn.candidate, &values.1)] {
                run.examples.insert(id.clone(), example(scenario.kind, values));
            }
        }
    }
    for run in [&mut drawn.baseline, &mut drawn.candidate] {
        run.header.examples = drawn.metas.len() as u64;
    }
    drawn
}

/// The trials of one example, in the baseline and in the candidate.
fn pair(scenario: &Scenario, random: &mut Pcg64Mcg) -> (Vec<f64>, Vec<f64>) {
    let delta = scenario.delta * scenario.kind.margin();
    let trials = scenario.trials as usize;
    match scenario.kind {
        Kind::Binary => binary(delta, trials, scenario.grade, random),
        Kind::Ordinal => {
            let base = f64::from(random.random_range(2..=4_i32));
            let moved = sign(0.45, delta, random);
            let noise = |random: &mut Pcg64Mcg| sign(0.2, 0.0, random);
            // The levels next to the ends leave room for one step of change; noise moves only where there is room.
            let near = |value: f64, step: f64| if (1.0..=5.0).contains(&(value + step)) { step } else { 0.0 };
            let both = |random: &mut Pcg64Mcg| {
                let step = noise(random);
                let step = if near(base, step) == step && near(base + moved, step) == step { step } else { 0.0 };
                (base + step, base + moved + step)
            };
            (0..trials).map(|_| both(random)).unzip()
        }
        Kind::ZeroInflated => {
            let base = random.random_range(0.55..0.65);
            let change = if random.random_bool(0.3) { delta / 0.3 + random.random_range(-0.15..0.15) } else { 0.0 };
            let noise = |random: &mut Pcg64Mcg| random.random_range(-0.03..0.03);
            (0..trials).map(|_| (base + noise(random), base + change + noise(random))).unzip()
        }
        Kind::Cost => {
            let base = 0.8 * normal(random) - 4.0;
            // Dearer is worse.
            let change = 0.4 * normal(random) - delta;
            let noise = |random: &mut Pcg64Mcg| 0.2 * normal(random);
            (0..trials).map(|_| ((base + noise(random)).exp(), (base + change + noise(random)).exp())).unzip()
        }
    }
}

/// Yes or no: most trials of both versions share their luck, so that few examples change sides.
fn binary(delta: f64, trials: usize, grade: Grade, random: &mut Pcg64Mcg) -> (Vec<f64>, Vec<f64>) {
    let rate = [0.3, 0.7, 0.9][random.random_range(0..3_usize)];
    let (good, bad) = grade.rates();
    let graded = |passed: bool, random: &mut Pcg64Mcg| {
        let right = random.random_bool(if passed { good } else { bad });
        f64::from(passed == right)
    };
    let one = |random: &mut Pcg64Mcg| {
        let luck: f64 = random.random();
        let own = if random.random_bool(0.8) { luck } else { random.random() };
        (graded(luck < rate, random), graded(own < rate + delta, random))
    };
    (0..trials).map(|_| one(random)).unzip()
}

/// -1, 0 or 1 with mean `mean`, not 0 with chance `moves`.
fn sign(moves: f64, mean: f64, random: &mut Pcg64Mcg) -> f64 {
    if !random.random_bool(moves) {
        return 0.0;
    }
    if random.random_bool(0.5 * (1.0 + mean / moves)) { 1.0 } else { -1.0 }
}

/// Box and Muller.
fn normal(random: &mut Pcg64Mcg) -> f64 {
    let (radius, angle): (f64, f64) = (random.random(), random.random());
    (-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

/// An example whose trials have these values.
pub fn example(kind: Kind, values: &[f64]) -> ExampleResult {
    let mut result = ExampleResult::default();
    for (number, value) in values.iter().enumerate() {
        let trial = result.trials.or_default(number as u32);
        let score = match kind {
            Kind::Binary => Some(Score::pass(*value == 1.0, "")),
            Kind::Ordinal | Kind::ZeroInflated => Score::number(*value, ""),
            Kind::Cost => None,
        };
        trial.target = Some(TargetOutcome::Output {
            digest: Digest::of(b""),
            latency_ms: None,
            cost_usd: (kind == Kind::Cost).then_some(*value),
            usage: Usage::default(),
        });
        if let Some(score) = score {
            trial.scores.or_default(GRADER).insert(0, Ok(score));
        }
    }
    result
}

/// A run without examples.
pub fn empty(name: &str, scenario: &Scenario, seed: u64, looked_at: bool) -> RunResults {
    let digest = |text: &str| Digest::of(text.as_bytes());
    let grader = GraderInfo {
        name: GRADER.to_owned(),
        kind: GraderKind::Scorer,
        component: GRADER.to_owned(),
        version: "1".to_owned(),
        digest: digest(GRADER),
        scale: scenario.kind.scale(),
        direction: Direction::Higher,
        draws: 1,
        model: None,
    };
    let header = RunHeader {
        format: 1,
        id: RunId::new(name),
        suite: "selftest".to_owned(),
        created_at: Timestamp::UNIX_EPOCH,
        dataset: "selftest".to_owned(),
        dataset_digest: digest("selftest"),
        examples: 0,
        trials: scenario.trials,
        target: TargetInfo {
            kind: "synthetic".to_owned(),
            name: name.to_owned(),
            digest: digest(name),
            settings: BTreeMap::new(),
        },
        graders: if scenario.kind == Kind::Cost { Vec::new() } else { vec![grader] },
        seed,
        price_digest: digest("prices"),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        git_commit: None,
        tags: BTreeMap::new(),
        example_blobs: Vec::new(),
        until_decided: looked_at
            .then(|| UntilDecided { baseline: RunId::new("baseline"), rule: UntilDecided::RULE.to_owned() }),
        design: None,
    };
    RunResults { header, totals: RunTotals::default(), status: RunStatus::Complete, examples: BTreeMap::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean_difference(scenario: &Scenario) -> f64 {
        let mut random = Pcg64Mcg::seed_from_u64(9);
        let n = 60_000;
        let value = |values: &[f64]| {
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            if scenario.kind == Kind::Cost { -mean.ln() } else { mean }
        };
        (0..n).map(|_| pair(scenario, &mut random)).map(|(a, b)| value(&b) - value(&a)).sum::<f64>() / f64::from(n)
    }

    #[test]
    fn what_is_drawn_differs_by_what_is_said() {
        for kind in [Kind::Binary, Kind::Ordinal, Kind::ZeroInflated, Kind::Cost] {
            for grade in [Grade::Perfect, Grade::Biased] {
                for delta in [-2.0, 0.0, 1.0] {
                    let scenario = Scenario { units: 20, trials: 2, kind, icc: 0.0, weighted: false, delta, grade };
                    if kind != Kind::Binary && grade != Grade::Perfect {
                        continue;
                    }
                    let found = mean_difference(&scenario);
                    assert!((found - scenario.truth()).abs() < 0.011, "{}: {found}", scenario.name());
                }
            }
        }
    }

    #[test]
    fn the_same_seed_draws_the_same_runs() {
        let (kind, grade) = (Kind::Binary, Grade::Noisy);
        let scenario = Scenario { units: 9, trials: 3, kind, icc: 0.3, weighted: true, delta: -1.0, grade };
        let (one, other) = (draw(&scenario, 5, false), draw(&scenario, 5, false));
        assert_eq!((one.baseline, one.candidate, one.metas), (other.baseline, other.candidate, other.metas));
    }
}
