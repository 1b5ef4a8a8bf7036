//! A judge against people: counts of agreement on labelled examples, and every disagreement with its reasons.
//!
//! Counts only. Intervals, coefficients and the promotion rule are made of them by the use case, with `stats`.

use std::collections::BTreeMap;

use futures::stream::{self, StreamExt};

use super::{Grade, Graded};
use crate::model::{
    Example, Label, Output, Scale, Score, ScoreInput, ScoreValue, Spend, Unscored, UnscoredReason,
};
use crate::provider::OnNotice;
use crate::rubric::{CalibrationExample, JudgeSpec, reduce};

/// One example with a person's finding.
#[derive(Clone, Debug)]
pub struct Labelled {
    /// The example.
    pub example: Example,
    /// The output that was labelled.
    pub output: Output,
    /// What the person found; of several people what most of them did, or the mean of their numbers.
    pub expected: ScoreValue,
    /// What each of several people found; empty where only one finding is known.
    pub people: Vec<(String, ScoreValue)>,
    /// Why, in the person's words.
    pub reason: String,
    /// What it tests.
    pub tags: Vec<String>,
}

impl Labelled {
    /// The calibration examples of a judge.
    pub fn of_spec(spec: &JudgeSpec) -> Vec<Self> {
        spec.calibration.iter().filter_map(|example| Self::of_calibration(example, spec)).collect()
    }

    fn of_calibration(labelled: &CalibrationExample, spec: &JudgeSpec) -> Option<Self> {
        let (example, output) = labelled.to_graded();
        let expected = spec.label_value(&labelled.label)?;
        let (reason, tags) = (labelled.reason.clone(), labelled.tags.clone());
        Some(Self { example, output, expected, people: Vec::new(), reason, tags })
    }

    /// A dataset's example with its first recorded output and the labels named `label` (usually the judge's name) that
    /// are about that output or about the example itself; `variant` picks the output.
    ///
    /// # Errors
    /// Why it says nothing about the judge.
    pub fn of_example(
        example: &Example,
        spec: &JudgeSpec,
        label: &str,
        variant: Option<&str>,
    ) -> Result<Self, NotLabelled> {
        let recorded = example
            .recorded
            .iter()
            .find(|recorded| recorded.trial == 0 && (variant.is_none() || recorded.variant.as_deref() == variant))
            .ok_or(NotLabelled::NoOutput)?;
        let about = |found: &&Label| {
            found.name == label
                && (found.variant.is_none() || found.variant == recorded.variant)
                && found.trial.is_none_or(|trial| trial == 0)
        };
        let labels: Vec<&Label> = example.labels.iter().filter(about).collect();
        if labels.is_empty() {
            return Err(NotLabelled::NoLabel);
        }
        let read = |found: &&Label| {
            let who = found.annotator.clone().unwrap_or_else(|| "(unnamed)".to_owned());
            Some((who, spec.label_value(&found.value)?))
        };
        let people: Vec<(String, ScoreValue)> =
            labels.iter().map(read).collect::<Option<_>>().ok_or(NotLabelled::OffScale)?;
        let said: Vec<ScoreValue> = people.iter().map(|(_, value)| value.clone()).collect();
        let reasons: Vec<&str> = labels.iter().filter_map(|found| found.reason.as_deref()).collect();
        Ok(Self {
            example: example.clone(),
            output: recorded.output.clone(),
            expected: reduce(&said).value.ok_or(NotLabelled::PeopleTie)?,
            people: if said.len() > 1 { people } else { Vec::new() },
            reason: reasons.join("; "),
            tags: Vec::new(),
        })
    }
}

/// Why an example of a dataset says nothing about a judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NotLabelled {
    /// No output is recorded, or none of the variant.
    NoOutput,
    /// Nobody labelled it under that name.
    NoLabel,
    /// A label is not on the judge's scale.
    OffScale,
    /// As many people said one thing as another.
    PeopleTie,
}

impl NotLabelled {
    /// In words, for a count of examples.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoOutput => "have no such recorded output",
            Self::NoLabel => "have no such label",
            Self::OffScale => "have a label that is not on the judge's scale",
            Self::PeopleTie => "have people who are evenly split",
        }
    }
}

/// How a calibration is carried out.
#[derive(Clone, Copy, Debug)]
pub struct CalibrateOptions {
    /// Draws per example, at least 1.
    pub draws: u32,
    /// Examples under way at a time; the client has limits of its own.
    pub concurrency: usize,
}

/// What the judge said about one labelled example.
#[derive(Clone, Debug)]
pub struct Row {
    /// Id of the example.
    pub example: String,
    /// The person's finding.
    pub expected: ScoreValue,
    /// The judge's, all draws together; `None` on a tie and when no draw gave a score.
    pub found: Option<ScoreValue>,
    /// Scores of the draws.
    pub scores: Vec<Score>,
    /// Draws without a score.
    pub unscored: Vec<Unscored>,
    /// What each of several people found.
    pub people: Vec<(String, ScoreValue)>,
    /// The person's reason.
    pub reason: String,
    /// Tags of the example.
    pub tags: Vec<String>,
    /// Characters of the output, for the correlation of score and length.
    pub output_chars: usize,
}

impl Row {
    /// Whether judge and person differ; `None` when the judge has no finding. Numbers differ beyond half a step, or
    /// beyond a twentieth of the scale where there are no steps.
    fn differs(&self, tolerance: f64) -> Option<bool> {
        Some(!same(self.found.as_ref()?, &self.expected, tolerance))
    }
}

fn same(one: &ScoreValue, other: &ScoreValue, tolerance: f64) -> bool {
    match (one, other) {
        (ScoreValue::Number { number: a }, ScoreValue::Number { number: b }) => (a.get() - b.get()).abs() <= tolerance,
        (ScoreValue::Label { label: a, .. }, ScoreValue::Label { label: b, .. }) => a == b,
        (a, b) => a == b,
    }
}

/// How many of how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Tally {
    /// Hits.
    pub k: u64,
    /// Trials.
    pub n: u64,
}

/// Agreement of numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NumberAgreement {
    /// Pairs (person, judge).
    pub pairs: Vec<(f64, f64)>,
    /// Mean of the absolute differences; `None` without pairs.
    pub mean_absolute_difference: Option<f64>,
    /// Mean of judge minus person: how lenient the judge is; `None` without pairs.
    pub mean_difference: Option<f64>,
}

/// Counts of one calibration.
#[derive(Clone, Debug, Default)]
pub struct CalibrationReport {
    /// Everything, in the order of the labelled examples.
    pub rows: Vec<Row>,
    /// Examples by (person, judge): the confusion matrix. Numbers are not in it.
    pub confusion: BTreeMap<(String, String), u64>,
    /// Examples on which judge and person agree, of those with a finding.
    pub accuracy: Tally,
    /// Of the examples a person passed, those the judge passed (sensitivity); binary scales only.
    pub true_pass: Tally,
    /// Of the examples a person failed, those the judge failed (specificity); binary scales only.
    pub true_fail: Tally,
    /// Agreement of numbers; labels with values count too.
    pub numbers: NumberAgreement,
    /// Draws without a score, by reason.
    pub unscored: BTreeMap<UnscoredReason, u64>,
    /// Examples whose draws tie.
    pub ties: u64,
    /// Pairs of draws that differ, of all pairs of draws of one example.
    pub flips: Tally,
    /// By tag: examples on which judge and person agree.
    pub by_tag: BTreeMap<String, Tally>,
    /// What it cost.
    pub spend: Spend,
    /// The failure that stopped it early, if one did.
    pub fatal: Option<crate::model::Failure>,
    /// Difference of numbers that counts as agreement.
    tolerance: f64,
}

impl CalibrationReport {
    /// The rows on which judge and person differ.
    pub fn disagreements(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.differs(self.tolerance) == Some(true))
    }

    /// Whether two scores count as the same here.
    pub fn same(&self, one: &ScoreValue, other: &ScoreValue) -> bool {
        same(one, other, self.tolerance)
    }

    fn add(&mut self, row: Row) {
        for unscored in &row.unscored {
            *self.unscored.entry(unscored.reason).or_default() += 1;
        }
        let values: Vec<ScoreValue> = row.scores.iter().map(|score| score.value.clone()).collect();
        let votes = reduce(&values);
        self.flips.k += votes.flipped_pairs;
        self.flips.n += votes.pairs;
        self.ties += u64::from(row.found.is_none() && !row.scores.is_empty());
        if let (Some(differs), Some(found)) = (row.differs(self.tolerance), row.found.as_ref()) {
            let hit = u64::from(!differs);
            count(&mut self.accuracy, hit);
            for tag in &row.tags {
                count(self.by_tag.entry(tag.clone()).or_default(), hit);
            }
            match (&row.expected, found) {
                (ScoreValue::Pass { pass: true }, _) => count(&mut self.true_pass, hit),
                (ScoreValue::Pass { pass: false }, _) => count(&mut self.true_fail, hit),
                _ => {}
            }
            if !matches!(found, ScoreValue::Number { .. }) {
                *self.confusion.entry((row.expected.to_string(), found.to_string())).or_default() += 1;
            }
            if let (false, Some(person), Some(judge)) =
                (matches!(found, ScoreValue::Pass { .. }), row.expected.number(), found.number())
            {
                self.numbers.pairs.push((person, judge));
            }
        }
        self.rows.push(row);
    }

    fn finish(&mut self) {
        let pairs = &self.numbers.pairs;
        if !pairs.is_empty() {
            let n = pairs.len() as f64;
            let differences = pairs.iter().map(|(person, judge)| judge - person);
            self.numbers.mean_difference = Some(differences.clone().sum::<f64>() / n);
            self.numbers.mean_absolute_difference = Some(differences.map(f64::abs).sum::<f64>() / n);
        }
    }
}

fn count(tally: &mut Tally, hit: u64) {
    tally.k += hit;
    tally.n += 1;
}

/// Has a judge grade labelled examples and counts. Stops asking after a failure that every example would meet.
pub async fn calibrate(
    judge: &dyn Grade,
    spec: &JudgeSpec,
    examples: &[Labelled],
    options: CalibrateOptions,
    on_notice: OnNotice<'_>,
) -> CalibrationReport {
    let tolerance = tolerance(spec);
    let mut report = CalibrationReport { tolerance, ..CalibrationReport::default() };
    // Indices instead of references keep the stream's closure free of a lifetime that the compiler cannot generalize.
    let mut outcomes = stream::iter(0..examples.len())
        .map(|index| async move {
            match examples.get(index) {
                Some(labelled) => grade_draws(judge, labelled, options.draws.max(1), on_notice).await,
                None => Vec::new(),
            }
        })
        .buffered(options.concurrency.max(1));
    for labelled in examples {
        let Some(graded) = outcomes.next().await else { break };
        let mut scores = Vec::new();
        let mut unscored = Vec::new();
        for draw in graded {
            report.spend.add(&draw.spend);
            report.fatal = report.fatal.take().or(draw.fatal);
            match draw.scored {
                Ok(score) => scores.push(score),
                Err(reason) => unscored.push(reason),
            }
        }
        let values: Vec<ScoreValue> = scores.iter().map(|score| score.value.clone()).collect();
        report.add(Row {
            example: labelled.example.id.to_string(),
            expected: labelled.expected.clone(),
            found: reduce(&values).value,
            scores,
            unscored,
            people: labelled.people.clone(),
            reason: labelled.reason.clone(),
            tags: labelled.tags.clone(),
            output_chars: labelled.output.text().chars().count(),
        });
        if report.fatal.is_some() {
            break;
        }
    }
    report.finish();
    report
}

async fn grade_draws(judge: &dyn Grade, labelled: &Labelled, draws: u32, on_notice: OnNotice<'_>) -> Vec<Graded> {
    let input = ScoreInput { example: &labelled.example, output: &labelled.output };
    let mut graded = Vec::new();
    for draw in 0..draws {
        graded.push(judge.grade(&input, draw, on_notice).await);
    }
    graded
}

fn tolerance(spec: &JudgeSpec) -> f64 {
    match &spec.scale {
        crate::rubric::RubricScale::Number { min, max, step, .. } => step.map_or((max - min) / 20.0, |step| step / 2.0),
        // Means of scores: nearer to the person's score than to the next one.
        scale if matches!(spec.gives(), Scale::Number { .. }) => {
            let mut values: Vec<f64> = scale.menu().into_iter().flatten().filter_map(|(_, value)| value).collect();
            values.sort_by(f64::total_cmp);
            let gaps = values.windows(2).filter_map(|two| Some(two.get(1)? - two.first()?));
            gaps.filter(|gap| *gap > 0.0).fold(f64::INFINITY, f64::min).min(f64::MAX) / 2.0
        }
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use async_trait::async_trait;

    use super::*;
    use crate::model::{ExampleId, Failure, FailureKind, Finite};

    /// Says what the output's text says.
    struct Parrot {
        asked: AtomicU32,
    }

    #[async_trait]
    impl Grade for Parrot {
        async fn grade(&self, input: &ScoreInput<'_>, draw: u32, _: OnNotice<'_>) -> Graded {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let text = input.output.text();
            let said = text.split(',').nth(draw as usize).unwrap_or("");
            let scored = match said {
                "pass" => Ok(Score::pass(true, "")),
                "fail" => Ok(Score::pass(false, "")),
                "fatal" => {
                    let failure = Failure::new(FailureKind::Auth, "401");
                    let unscored = Unscored::new(UnscoredReason::ProviderFailed, "401");
                    return Graded { fatal: Some(failure), ..Graded::without_asking(unscored) };
                }
                number if number.parse::<f64>().is_ok() => Ok(Score::number(number.parse().unwrap(), "").unwrap()),
                _ => Err(Unscored::new(UnscoredReason::CannotJudge, "")),
            };
            Graded { scored, ..Graded::without_asking(Unscored::not_applicable("")) }
        }
    }

    fn labelled(output: &str, expected: ScoreValue) -> Labelled {
        let example = Example::new(ExampleId::new(output), "q".into());
        let tags = vec!["t".to_owned()];
        let (people, reason) = (Vec::new(), String::new());
        Labelled { example, output: Output::of_text(output), expected, people, reason, tags }
    }

    fn spec(scale: &str) -> JudgeSpec {
        let toml = format!("name = \"j\"\nversion = \"1\"\nsummary = \"s\"\n[scale]\n{scale}\n");
        JudgeSpec::parse("j", &toml, "Judge.", "").unwrap()
    }

    async fn run(spec: &JudgeSpec, examples: &[Labelled], draws: u32) -> (CalibrationReport, u32) {
        let parrot = Parrot { asked: AtomicU32::new(0) };
        let options = CalibrateOptions { draws, concurrency: 1 };
        let report = calibrate(&parrot, spec, examples, options, &|_| {}).await;
        (report, parrot.asked.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn counts_are_those_of_a_hand_count() {
        let pass = |pass| ScoreValue::Pass { pass };
        let examples = [
            labelled("pass,pass,fail", pass(true)),
            labelled("fail,fail,fail", pass(true)),
            labelled("fail,fail,fail", pass(false)),
            labelled("pass,fail,what", pass(false)),
            labelled("what,what,what", pass(false)),
        ];
        let (report, asked) = run(&spec("type = \"binary\""), &examples, 3).await;
        assert_eq!(asked, 15);
        assert_eq!(report.accuracy, Tally { k: 2, n: 3 });
        assert_eq!(report.true_pass, Tally { k: 1, n: 2 });
        assert_eq!(report.true_fail, Tally { k: 1, n: 1 });
        assert_eq!(report.confusion[&("pass".to_owned(), "fail".to_owned())], 1);
        assert_eq!(report.unscored[&UnscoredReason::CannotJudge], 4);
        assert_eq!(report.ties, 1);
        assert_eq!(report.flips, Tally { k: 3, n: 10 });
        assert_eq!(report.by_tag["t"], Tally { k: 2, n: 3 });
        let wrong: Vec<&str> = report.disagreements().map(|row| row.example.as_str()).collect();
        assert_eq!(wrong, ["fail,fail,fail"]);
    }

    #[tokio::test]
    async fn numbers_agree_within_half_a_step() {
        let number = |n: f64| ScoreValue::Number { number: Finite::new(n).unwrap() };
        let examples = [labelled("4", number(4.0)), labelled("2", number(4.0)), labelled("5", number(4.0))];
        let (report, _) = run(&spec("type = \"number\"\nmin = 1\nmax = 5\nstep = 1"), &examples, 1).await;
        assert_eq!(report.accuracy, Tally { k: 1, n: 3 });
        assert_eq!(report.numbers.mean_absolute_difference, Some(1.0));
        assert_eq!(report.numbers.mean_difference, Some(-1.0 / 3.0));
        assert!(report.confusion.is_empty());
    }

    #[tokio::test]
    async fn a_wrong_key_is_not_tried_on_every_example() {
        let examples: Vec<Labelled> = (0..50).map(|_| labelled("fatal", ScoreValue::Pass { pass: true })).collect();
        let (report, asked) = run(&spec("type = \"binary\""), &examples, 1).await;
        assert!(report.fatal.is_some());
        assert!(asked <= 2, "{asked}");
    }
}
