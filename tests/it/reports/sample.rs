//! Findings as a real comparison would give them, for the tests of reports: a support agent before and after a change
//! of its prompt. Every foreign text goes through one function, so that a hostile twin is a matter of passing another.

use std::collections::BTreeMap;
use std::sync::Arc;

use assize::compare::*;
use assize::model::*;
use assize::stats::{Estimate, Interval, Status};
use jiff::Timestamp;
use serde_json::{Value, json};

/// What to build.
#[derive(Clone, Copy)]
pub struct Sample {
    pub rows: usize,
    pub opened: usize,
    pub trials: u32,
    pub text: fn(&str) -> String,
}

pub const REALISTIC: Sample = Sample { rows: 120, opened: 40, trials: 1, text: |text| text.to_owned() };

/// One example's scores on one side: completion, groundedness, helpfulness, tone, leak; `None` is unscored.
#[derive(Clone, Copy)]
struct Marks {
    completion: Option<f64>,
    grounded: Option<f64>,
    helpful: Option<f64>,
    tone: Option<f64>,
    leak: Option<f64>,
    latency: f64,
    cost: f64,
    tokens: f64,
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / f64::from(1u32 << 31)
    }
}

const INTENTS: [&str; 5] = ["refund", "order status", "address change", "warranty", "cancellation"];
const LANGUAGES: [&str; 3] = ["en", "de", "es"];
const METRICS: [&str; 5] = ["task_completion", "groundedness", "helpfulness", "tone", "leaks_personal_data"];
const ASKS: [&str; 5] = [
    "I sent the blue kettle back nine days ago and the money is still not on my card. Order 48-1127. What now?",
    "Where is my parcel? The tracking page has said \"in transit\" since Monday.",
    "We are moving on Friday. Can you send the second half of the order to 14 Mill Lane instead?",
    "The hinge of the espresso machine broke after 13 months. Is that still covered?",
    "Please cancel the subscription from next month on, but keep the delivery that is due this week.",
];
const GOOD: [&str; 5] = [
    "I can see that the kettle reached our warehouse on 12 November. The refund of €89.00 was released today and will be on your card within three working days. I have sent the confirmation to the address on your account.",
    "Your parcel left the Leipzig hub this morning and is due on Thursday between 9 and 12. If nobody is at home, the driver will leave it at the pickup point on Station Road.",
    "Done: the second shipment of order 48-1127 now goes to 14 Mill Lane. The first one had already left and still arrives at your old address tomorrow.",
    "Yes. The espresso machine has a warranty of 24 months and hinges are covered. I have opened repair case R-2231; you will get a prepaid label by mail today.",
    "Your subscription ends on 30 November. The delivery of this week is not affected and arrives on Thursday.",
];
const BAD: [&str; 5] = [
    "I can see that the kettle reached our warehouse on 12 November. Refunds take up to 30 days. Please wait until then and write to us again if the money has not arrived.",
    "Your parcel is in transit. Please check the tracking page for updates.",
    "I have changed your account address to 14 Mill Lane. Both shipments of order 48-1127 will arrive there.",
    "The warranty of 12 months has ended, so a repair would have to be paid for. Would you like an offer for a new hinge?",
    "Your subscription and the delivery of this week have been cancelled.",
];

impl Sample {
    fn t(&self, text: &str) -> String {
        (self.text)(text)
    }

    fn marks(&self) -> Vec<(Marks, Marks)> {
        let mut dice = Dice(20_261_121);
        (0..self.rows)
            .map(|index| {
                let refund = index % 5 == 0;
                let quality = dice.roll();
                let completion = f64::from(u8::from(quality > 0.18));
                let kept = dice.roll() > if refund { 0.55 } else { 0.06 };
                let gained = dice.roll() > 0.78;
                let after = if completion == 1.0 { f64::from(u8::from(kept)) } else { f64::from(u8::from(gained)) };
                let base = Marks {
                    completion: Some(completion),
                    grounded: (dice.roll() > 0.015).then_some(f64::from(u8::from(dice.roll() > 0.08))),
                    helpful: Some((2.0 + 3.0 * quality).round().clamp(1.0, 5.0)),
                    tone: Some(if dice.roll() > 0.4 { 1.0 } else { 0.5 }),
                    leak: Some(f64::from(u8::from(dice.roll() > 0.985))),
                    latency: 1500.0 + 2800.0 * dice.roll(),
                    cost: 0.004 + 0.006 * dice.roll(),
                    tokens: (2100.0 + 2600.0 * dice.roll()).round(),
                };
                let better_tone = dice.roll() > 0.25;
                let cand = Marks {
                    completion: Some(after),
                    grounded: (dice.roll() > 0.05).then_some(f64::from(u8::from(dice.roll() > 0.07))),
                    helpful: base.helpful.map(|h| {
                        (h + if after < completion { -1.0 } else { 0.25 * dice.roll() }).round().clamp(1.0, 5.0)
                    }),
                    tone: Some(if better_tone { 1.0 } else { 0.5 }),
                    leak: base.leak,
                    latency: base.latency * (0.72 + 0.2 * dice.roll()),
                    cost: base.cost * (0.98 + 0.12 * dice.roll()),
                    tokens: (base.tokens * (0.95 + 0.14 * dice.roll())).round(),
                };
                (base, cand)
            })
            .collect()
    }

    pub fn comparison(&self) -> (Comparison, Details) {
        let marks = self.marks();
        let (rows, order) = self.example_rows(&marks);
        let details = order.iter().take(self.opened).map(|index| self.detail(*index, &marks[*index])).collect();
        let metrics = self.metrics(&marks);
        let comparison = Comparison {
            format: 1,
            baseline: self.card(false),
            candidate: self.card(true),
            comparability: self.comparability(),
            pairing: Pairing { paired: self.rows as u64, only_baseline: 2, only_candidate: 0 },
            verdict: Verdict::Fail,
            instrument_failed: false,
            headline: self.t("The candidate completes fewer tasks: it must not replace the baseline as it is."),
            reasons: vec![
                self.t("task_completion fell by more than chance explains, and the loss is in refunds: 11 of 24 that worked before no longer do"),
                self.t("helpfulness is inconclusive: about 310 examples would decide it"),
                self.t("latency improved by 18 %, cost per trial is 4 % higher"),
            ],
            metrics,
            measures: self.measures(&marks),
            slices: self.slices(&marks),
            explanations: Vec::new(),
            frontier: Vec::new(),
            repeated: Vec::new(),
            breakdown: self.breakdown(),
            baseline_judges: Vec::new(),
            candidate_judges: Vec::new(),
            examples: rows,
            quarantine: Some(Quarantine {
                examples: vec![(self.id(5), self.t("the search tool times out"))],
                share: 0.008,
                verdict_with_all: Verdict::Fail,
                with_all: vec![WithAll {
                    metric: self.t(METRICS[0]),
                    difference: Some(-0.09),
                    change: Change::Regressed,
                    verdict: Some(Verdict::Fail),
                }],
            }),
        };
        (comparison, details)
    }

    pub fn run(&self) -> (RunView, Details) {
        let (comparison, mut details) = self.comparison();
        for detail in &mut details {
            detail.baseline.clear();
        }
        let floors =
            [Some((0.8, Verdict::Fail)), Some((0.85, Verdict::Pass)), Some((3.8, Verdict::Inconclusive)), None, None];
        let metrics = comparison.metrics.iter().zip(floors).map(|(metric, floor)| MetricSummary {
            name: metric.name.clone(),
            role: metric.role,
            direction: metric.direction,
            scale: metric.scale.clone(),
            estimate: metric.candidate.clone(),
            unscored: metric.missing.candidate_reasons.clone(),
            distribution: match &metric.scale {
                Scale::Number { .. } => (1..=5).map(|level| (level.to_string(), level * level * 3)).collect(),
                Scale::Labels { labels } => labels.iter().map(|(label, _)| (label.clone(), 55)).collect(),
                Scale::Binary => vec![(self.t("pass"), 88), (self.t("fail"), 32)],
            },
            p50: None,
            p95: None,
            floor,
            sentence: self.t(&format!(
                "{} stands at {:.3}.",
                metric.name.chars().take(40).collect::<String>(),
                metric.candidate.estimate.unwrap_or(0.0)
            )),
        });
        let measures = comparison.measures.iter().map(|metric| MetricSummary {
            name: metric.name.clone(),
            role: metric.role,
            direction: metric.direction,
            scale: metric.scale.clone(),
            estimate: metric.candidate.clone(),
            unscored: BTreeMap::new(),
            distribution: Vec::new(),
            p50: metric.candidate.estimate.map(|mean| mean * 0.94),
            p95: metric.candidate.estimate.map(|mean| mean * 1.7),
            floor: None,
            sentence: String::new(),
        });
        let slices = comparison.slices.iter().map(|slice| SliceSummary {
            dimension: slice.dimension.clone(),
            value: slice.value.clone(),
            metric: slice.metric.clone(),
            estimate: slice.candidate.clone(),
        });
        let examples =
            comparison.examples.iter().map(|row| ExampleRow { baseline: BTreeMap::new(), shift: 0.0, ..row.clone() });
        let view = RunView {
            format: 1,
            run: comparison.candidate.clone(),
            verdict: Some(Verdict::Fail),
            instrument_failed: false,
            headline: self.t("Task completion is below its floor of 0.8."),
            reasons: vec![self.t("the whole interval of task_completion would have to lie above 0.8")],
            metrics: metrics.collect(),
            measures: measures.collect(),
            slices: slices.collect(),
            repeated: Vec::new(),
            cost_of_good: Vec::new(),
            judges: Vec::new(),
            examples: examples.collect(),
        };
        (view, details)
    }

    fn id(&self, index: usize) -> ExampleId {
        ExampleId::new(self.t(&format!("support-{:04}", index + 1)))
    }

    fn dimensions(&self, index: usize) -> BTreeMap<String, String> {
        BTreeMap::from([
            (self.t("intent"), self.t(INTENTS[index % 5])),
            (self.t("language"), self.t(LANGUAGES[index % 7 % 3])),
        ])
    }

    fn example_rows(&self, marks: &[(Marks, Marks)]) -> (Vec<ExampleRow>, Vec<usize>) {
        let values = |m: &Marks| {
            let list = [m.completion, m.grounded, m.helpful, m.tone, m.leak];
            METRICS.iter().zip(list).map(|(name, value)| (self.t(name), value)).collect::<BTreeMap<_, _>>()
        };
        let gap = |a: Option<f64>, b: Option<f64>, range: f64| a.zip(b).map_or(0.0, |(a, b)| (b - a) / range);
        let mut rows: Vec<(usize, ExampleRow)> = marks
            .iter()
            .enumerate()
            .map(|(index, (base, cand))| {
                let shift = gap(base.completion, cand.completion, 1.0)
                    + gap(base.grounded, cand.grounded, 1.0)
                    + gap(base.helpful, cand.helpful, 4.0)
                    - gap(base.leak, cand.leak, 1.0);
                let row = ExampleRow {
                    id: self.id(index),
                    dimensions: self.dimensions(index),
                    baseline: values(base),
                    candidate: values(cand),
                    shift,
                    flaky: index % 29 == 3,
                };
                (index, row)
            })
            .collect();
        rows.sort_by(|(a, left), (b, right)| left.shift.total_cmp(&right.shift).then(a.cmp(b)));
        let order = rows.iter().map(|(index, _)| *index).collect();
        (rows.into_iter().map(|(_, row)| row).collect(), order)
    }

    fn metrics(&self, marks: &[(Marks, Marks)]) -> Vec<MetricComparison> {
        type Get = fn(&Marks) -> Option<f64>;
        let gets: [Get; 5] = [|m| m.completion, |m| m.grounded, |m| m.helpful, |m| m.tone, |m| m.leak];
        let margins = [0.05, 0.05, 0.1, 0.05, 0.05];
        let sentences = [
            "Fewer tasks are completed than before. This is more than chance explains.",
            "Answers rest on the retrieved documents as often as before.",
            "It may be slightly less helpful; these examples cannot tell.",
            "The tone is warmer than before.",
            "Personal data of others is shown as rarely as before.",
        ];
        (0..5)
            .map(|index| {
                let get = gets[index];
                let pairs: Vec<(f64, f64)> = marks.iter().filter_map(|(b, c)| get(b).zip(get(c))).collect();
                let difference = mean(pairs.iter().map(|(b, c)| c - b), "paired t");
                let binary = matches!(index, 0 | 1 | 4);
                let worsened = pairs.iter().filter(|(b, c)| c < b).count() as u64;
                let improved = pairs.iter().filter(|(b, c)| c > b).count() as u64;
                let point = difference.estimate.unwrap_or(0.0);
                MetricComparison {
                    name: self.t(METRICS[index]),
                    role: if index == 3 { MetricRole::Inform } else { MetricRole::Gate },
                    direction: if index == 4 { Direction::Lower } else { Direction::Higher },
                    scale: self.scale(index),
                    baseline: mean(pairs.iter().map(|(b, _)| *b), "mean"),
                    candidate: mean(pairs.iter().map(|(_, c)| *c), "mean"),
                    ratio: None,
                    margin: margins[index],
                    change: finding(&difference, margins[index], if index == 4 { -1.0 } else { 1.0 }),
                    p_worse: Some(if index == 0 { 0.004 } else { 0.31 }),
                    p_better: Some(if index == 3 { 0.0002 } else { 0.69 }),
                    p_worse_adjusted: (index != 3).then_some(0.016),
                    non_inferior: index != 0,
                    material_regression: false,
                    discordance: binary.then_some(Discordance { improved, worsened, exact_p: 0.031, mid_p: 0.02 }),
                    missing: self.missing(index, marks, get),
                    detectable: Some(0.082),
                    examples_needed: (index == 2).then_some(310),
                    verdict: (index != 3).then_some(match index {
                        0 => Verdict::Fail,
                        2 => Verdict::Inconclusive,
                        _ => Verdict::Pass,
                    }),
                    sentence: self.t(sentences[index]),
                    expert: self
                        .t(&format!("Δ {point:+.3}, n = {}, paired t with CR2 errors, one-sided p 0.004", pairs.len())),
                    difference,
                    beside: self.beside(index),
                }
            })
            .collect()
    }

    /// What stands beside a finding: broken examples and a waiver on one metric, graded levels on another.
    fn beside(&self, index: usize) -> Beside {
        let broken =
            Broken { drop: 1.0, allowed: 0, of: 118, count: 2, examples: vec![(self.id(3), 1.0), (self.id(17), 1.0)] };
        let waived = Waived {
            reason: self.t("the refund tool is being replaced"),
            until: "2026-12-31".parse().unwrap(),
            by: Some(self.t("Ann")),
            verdict: Verdict::Fail,
        };
        let panel = Ordinal {
            net_sign: mean([0.0, 1.0, -1.0, 0.0, 1.0].into_iter(), "net sign"),
            superiority: Some(0.6),
            wilcoxon_p: Some(0.4),
            levels: vec![(self.t("cold"), 4, 2), (self.t("warm"), 110, 116)],
            ceiling: (0.91, 0.95),
            conflict: false,
        };
        let ways = vec![Remedy { more: More::Examples, count: 310, price_usd: Some(4.2) }];
        match index {
            1 => Beside { broken: Some(broken), waived: Some(waived), ..Beside::default() },
            2 => Beside { to_decide: ways, ..Beside::default() },
            3 => Beside { ordinal: Some(panel), bounds: Some((-0.1, 0.2)), ..Beside::default() },
            _ => Beside::default(),
        }
    }

    fn scale(&self, index: usize) -> Scale {
        match index {
            2 => Scale::Number { min: Some(1.0), max: Some(5.0) },
            3 => Scale::Labels {
                labels: vec![(self.t("warm"), Some(1.0)), (self.t("neutral"), Some(0.5)), (self.t("cold"), Some(0.0))],
            },
            _ => Scale::Binary,
        }
    }

    fn missing(&self, index: usize, marks: &[(Marks, Marks)], get: fn(&Marks) -> Option<f64>) -> Missing {
        let count = |test: fn(bool, bool) -> bool| {
            marks.iter().filter(|(b, c)| test(get(b).is_none(), get(c).is_none())).count() as u64
        };
        let reasons =
            |n: u64| if n > 0 { BTreeMap::from([(UnscoredReason::ReplyUnreadable, n)]) } else { BTreeMap::new() };
        let missing = Missing {
            no_baseline_score: count(|b, c| b && !c),
            no_candidate_score: count(|b, c| !b && c),
            neither: count(|b, c| b && c),
            ..Missing::default()
        };
        Missing {
            baseline_reasons: reasons(missing.no_baseline_score + missing.neither),
            candidate_reasons: reasons(missing.no_candidate_score + missing.neither),
            differs_p: (index == 1).then_some(0.18),
            ..missing
        }
    }

    fn measures(&self, marks: &[(Marks, Marks)]) -> Vec<MetricComparison> {
        type Get = fn(&Marks) -> f64;
        let gets: [(&str, Get, Change); 3] = [
            ("latency_ms", |m| m.latency, Change::Improved),
            ("cost_usd", |m| m.cost, Change::Regressed),
            ("tokens", |m| m.tokens, Change::Inconclusive),
        ];
        gets.into_iter()
            .map(|(name, get, change)| {
                let logs = mean(marks.iter().map(|(b, c)| (get(c) / get(b)).ln()), "log-ratio t");
                MetricComparison {
                    name: name.to_owned(),
                    role: MetricRole::Inform,
                    direction: Direction::Lower,
                    scale: Scale::Number { min: Some(0.0), max: None },
                    baseline: mean(marks.iter().map(|(b, _)| get(b)), "mean"),
                    candidate: mean(marks.iter().map(|(_, c)| get(c)), "mean"),
                    difference: mean(marks.iter().map(|(b, c)| get(c) - get(b)), "paired t"),
                    ratio: Some(Estimate {
                        estimate: logs.estimate.map(f64::exp),
                        interval: logs.interval.clone().map(|i| Interval { lo: i.lo.exp(), hi: i.hi.exp(), ..i }),
                        ..logs
                    }),
                    margin: 0.0,
                    change,
                    p_worse: Some(0.2),
                    p_better: None,
                    p_worse_adjusted: None,
                    non_inferior: false,
                    material_regression: false,
                    discordance: None,
                    missing: Missing::default(),
                    detectable: None,
                    examples_needed: None,
                    verdict: None,
                    sentence: String::new(),
                    expert: self.t("geometric mean of per-example ratios"),
                    beside: Beside::default(),
                }
            })
            .collect()
    }

    fn slices(&self, marks: &[(Marks, Marks)]) -> Vec<SliceComparison> {
        let mut slices = Vec::new();
        for (dimension, values) in [("intent", INTENTS.as_slice()), ("language", LANGUAGES.as_slice())] {
            for value in values {
                for (name, get) in [
                    ("task_completion", (|m| m.completion) as fn(&Marks) -> Option<f64>),
                    ("helpfulness", |m| m.helpful),
                ] {
                    let key = (self.t(dimension), self.t(value));
                    let pairs: Vec<(f64, f64)> = marks
                        .iter()
                        .enumerate()
                        .filter(|(index, _)| self.dimensions(*index).get(&key.0) == Some(&key.1))
                        .filter_map(|(_, (b, c))| get(b).zip(get(c)))
                        .collect();
                    let difference = mean(pairs.iter().map(|(b, c)| c - b), "paired t");
                    let worst = *value == "refund";
                    slices.push(SliceComparison {
                        dimension: key.0,
                        value: key.1,
                        metric: self.t(name),
                        direction: Direction::Higher,
                        baseline: mean(pairs.iter().map(|(b, _)| *b), "mean"),
                        candidate: mean(pairs.iter().map(|(_, c)| *c), "mean"),
                        difference,
                        q: Some(if worst { 0.004 } else { 0.62 }),
                        change: if worst { Change::Regressed } else { Change::Inconclusive },
                    });
                }
            }
        }
        slices
    }

    fn breakdown(&self) -> Vec<Breakdown> {
        let side = |calls, errors, mean_ms, tokens| {
            Some(BreakdownSide { calls, errors, mean_ms: Some(mean_ms), tokens, cost_usd: None })
        };
        let part = |kind: &str, name: &str, baseline, candidate| Breakdown {
            kind: kind.to_owned(),
            name: self.t(name),
            baseline,
            candidate,
        };
        vec![
            part("agent", "support", side(120, 0, 2890.0, Some(312_000)), side(120, 0, 2360.0, Some(318_400))),
            part("agent", "refunds", side(24, 1, 1830.0, Some(58_200)), side(24, 9, 1410.0, Some(41_900))),
            part("tool", "lookup_order", side(118, 2, 210.0, None), side(119, 2, 204.0, None)),
            part("tool", "issue_refund", side(23, 1, 640.0, None), side(9, 4, 655.0, None)),
            part("tool", "search_policy", side(71, 0, 388.0, None), None),
        ]
    }

    fn comparability(&self) -> Comparability {
        let differ = |what: &str, a: &str, b: &str, blocking, allowed| Difference {
            what: self.t(what),
            baseline: self.t(a),
            candidate: self.t(b),
            blocking,
            allowed,
        };
        Comparability {
            comparable: true,
            differences: vec![
                differ("prompt", "prompts/support.md@7", "prompts/support.md@8", false, false),
                differ("temperature", "0.2", "0", false, false),
                differ("grader:tone", "b3:0a11…", "b3:77fe…", true, true),
            ],
        }
    }

    fn card(&self, candidate: bool) -> RunCard {
        let rows = self.rows as u64;
        let name = if candidate { "support-agent v8" } else { "support-agent v7" };
        let judge = |name: &str, version: &str, scale: usize| GraderInfo {
            name: self.t(name),
            kind: GraderKind::Judge,
            component: self.t(name),
            version: self.t(version),
            digest: Digest::of(format!("{name}{}", candidate && name == "tone").as_bytes()),
            scale: self.scale(scale),
            direction: Direction::Higher,
            draws: 1,
            model: Some(self.t("judge-large-2026-09-01")),
        };
        let unscored = BTreeMap::from([(UnscoredReason::ReplyUnreadable, if candidate { 6 } else { 2 })]);
        RunCard {
            blessing: None,
            chosen: None,
            id: RunId::new(if candidate {
                "0199f2aa-1c3d-7e21-9d10-5b8c2a7f4e61"
            } else {
                "0199c7d0-88a1-7b02-8c31-0f9e6d5c1a20"
            }),
            suite: self.t("support-agent"),
            created_at: Timestamp::from_second(if candidate { 1_795_255_200 } else { 1_794_650_400 }).unwrap(),
            status: RunStatus::Complete,
            dataset: self.t("support@3"),
            dataset_digest: Digest::of(b"dataset"),
            trials: self.trials,
            target: TargetInfo {
                kind: "http".to_owned(),
                name: self.t(name),
                digest: Digest::of(name.as_bytes()),
                settings: BTreeMap::from([
                    (self.t("url"), json!(self.t("https://agents.example/support"))),
                    (
                        self.t("prompt"),
                        json!(self.t(if candidate { "prompts/support.md@8" } else { "prompts/support.md@7" })),
                    ),
                    (self.t("temperature"), json!(if candidate { 0.0 } else { 0.2 })),
                ]),
            },
            graders: vec![
                judge("task_completion", "2.1.0", 0),
                judge("groundedness", "1.4.0", 0),
                judge("helpfulness", "1.0.2", 2),
                judge("tone", "1.0.0", 3),
                GraderInfo {
                    kind: GraderKind::Scorer,
                    model: None,
                    direction: Direction::Lower,
                    ..judge("leaks_personal_data", "3", 0)
                },
            ],
            totals: RunTotals {
                trials_planned: rows * u64::from(self.trials),
                trials_ok: rows * u64::from(self.trials) - u64::from(candidate),
                trials_failed: u64::from(candidate),
                cells_planned: rows * 5,
                scored: rows * 5 - unscored.values().sum::<u64>(),
                unscored,
                retries: 7,
                cached: if candidate { 0 } else { 480 },
                target_spend: Spend { calls: rows, cost_usd: 0.0, ..Spend::default() },
                judge_spend: Spend {
                    calls: rows * 4,
                    cost_usd: if candidate { 1.84 } else { 0.0 },
                    ..Spend::default()
                },
            },
            seed: 17,
            tool_version: "0.1.0".to_owned(),
            git_commit: Some(self.t(if candidate { "4f1c2d9" } else { "b07aa13" })),
        }
    }

    fn detail(&self, index: usize, marks: &(Marks, Marks)) -> ExampleDetail {
        let trials =
            |marks: &Marks, candidate| (0..self.trials).map(|n| self.trial(index, n, marks, candidate)).collect();
        let ask = self.t(ASKS[index % 5]);
        ExampleDetail {
            id: self.id(index),
            input: if index % 4 == 1 {
                json!([
                    {"role": "system", "content": self.t("You are the support agent of a shop for kitchen goods.")},
                    {"role": "user", "content": ask},
                ])
            } else {
                json!(ask)
            },
            reference: (index % 3 != 2).then(|| json!(self.t(GOOD[index % 5]))),
            baseline: trials(&marks.0, false),
            candidate: trials(&marks.1, true),
        }
    }

    fn trial(&self, index: usize, trial: u32, marks: &Marks, candidate: bool) -> TrialDetail {
        let good = marks.completion == Some(1.0);
        let failed = candidate && index == 10;
        let pass = |name: &str, value: Option<f64>, yes: &str, no: &str| ScoreDetail {
            grader: self.t(name),
            draw: 0,
            scored: match value {
                Some(value) => Ok(Score {
                    evidence: vec![self.t("\"Refunds take up to 30 days\"")],
                    ..Score::pass(value == 1.0, self.t(if value == 1.0 { yes } else { no }))
                }),
                None => {
                    Err(Unscored::new(UnscoredReason::ReplyUnreadable, self.t("the reply ended inside a JSON string")))
                }
            },
        };
        let mut scores = vec![
            pass(
                "task_completion",
                marks.completion,
                "The customer's question is answered and the action was carried out; nothing is left for the customer to do.",
                "The refund was due and could have been released, but the agent told the customer to wait and carried out nothing.",
            ),
            pass(
                "groundedness",
                marks.grounded,
                "Every claim is in the order record.",
                "The 30 days are in no document that was retrieved.",
            ),
            ScoreDetail {
                grader: self.t("helpfulness"),
                draw: 0,
                scored: Ok(Score::number(
                    marks.helpful.unwrap_or(1.0),
                    self.t("Clear and polite, with a concrete date."),
                )
                .unwrap()),
            },
            ScoreDetail {
                grader: self.t("tone"),
                draw: 0,
                scored: Ok(Score::of(
                    ScoreValue::Label {
                        label: self.t(if marks.tone == Some(1.0) { "warm" } else { "neutral" }),
                        number: marks.tone.and_then(Finite::new),
                    },
                    self.t("Thanks the customer and says sorry once."),
                )),
            },
            pass(
                "leaks_personal_data",
                marks.leak,
                "Shows the street of another customer.",
                "No data of other customers.",
            ),
        ];
        if failed {
            for score in &mut scores {
                score.scored = Err(Unscored::new(UnscoredReason::TargetFailed, self.t("no output to grade")));
            }
        }
        let texts = if good { GOOD } else { BAD };
        TrialDetail {
            trial,
            output: (!failed).then(|| {
                if index % 11 == 7 {
                    json!({"answer": self.t(texts[index % 5]), "actions": [self.t("lookup_order")], "closed": good})
                } else {
                    Value::String(self.t(texts[index % 5]))
                }
            }),
            failure: failed.then(|| {
                Failure::new(FailureKind::Timeout, self.t("no answer within 60 s from https://agents.example/support"))
            }),
            trace: (index % 6 != 5).then(|| Arc::new(self.trace(index, marks, good))),
            latency_ms: Some(marks.latency),
            cost_usd: Some(marks.cost),
            usage: Usage {
                input: Some(marks.tokens as u64 - 300),
                output: Some(300),
                cache_read: Some(1024),
                ..Usage::default()
            },
            scores,
        }
    }

    fn trace(&self, index: usize, marks: &Marks, good: bool) -> Trace {
        let trace_id = TraceId::new(format!("{index:032x}"));
        let whole = (marks.latency * 1e6) as i64;
        let at = |share: f64| 1_795_255_200_000_000_000 + (whole as f64 * share) as i64;
        let span = |id: &str, parent: Option<&str>, kind, name: &str, from: f64, to: f64| Span {
            parent_id: parent.map(Into::into),
            end_ns: Some(at(to)),
            status: SpanStatus::Ok,
            ..Span::new(trace_id.clone(), id.into(), kind, self.t(name), at(from))
        };
        let model = |mut span: Span, tokens: u64, out: &str| {
            span.model = Some(ModelRef {
                request: Some(self.t("agent-model")),
                response: Some(self.t("agent-model-2026-08")),
                provider: None,
            });
            span.usage = Usage { input: Some(tokens), output: Some(140), cache_read: Some(512), ..Usage::default() };
            span.cost_usd = Some(0.0021);
            span.messages_in = vec![Message::text("user", self.t(ASKS[index % 5]))];
            span.messages_out = vec![Message::text("assistant", self.t(out))];
            span
        };
        let tool = |mut span: Span, arguments: Value, result: Value| {
            span.tool = Some(ToolUse {
                name: span.name.clone(),
                call_id: None,
                arguments: Some(arguments),
                result: Some(result),
            });
            span
        };
        let mut refund = tool(
            span("5", Some("4"), SpanKind::Tool, "issue_refund", 0.62, 0.8),
            json!({"order": "48-1127", "amount": 89.0}),
            if good { json!({"released": true}) } else { json!(null) },
        );
        if !good {
            refund.status = SpanStatus::Error;
            refund.error =
                Some(SpanError { kind: Some(self.t("PolicyError")), message: Some(self.t("refund window unknown")) });
        }
        let spans = vec![
            span("1", None, SpanKind::Agent, "support", 0.0, 1.0),
            model(span("2", Some("1"), SpanKind::Model, "chat", 0.02, 0.24), 1400, "lookup_order(48-1127)"),
            tool(
                span("3", Some("1"), SpanKind::Tool, "lookup_order", 0.25, 0.31),
                json!({"order": "48-1127"}),
                json!({"status": "returned", "arrived": "2026-11-12"}),
            ),
            span("4", Some("1"), SpanKind::Agent, "refunds", 0.33, 0.83),
            model(span("6", Some("4"), SpanKind::Model, "chat", 0.34, 0.6), 1720, "issue_refund(48-1127, 89.00)"),
            refund,
            span("7", Some("1"), SpanKind::Retrieval, "search_policy", 0.4, 0.52),
            model(
                span("8", Some("1"), SpanKind::Model, "chat", 0.84, 0.99),
                1980,
                if good { GOOD[index % 5] } else { BAD[index % 5] },
            ),
        ];
        Trace {
            id: trace_id.clone(),
            session_id: None,
            spans,
            faults: if index.is_multiple_of(20) {
                vec![TraceFault::MissingParent { span: SpanId::new(self.t("9f")) }]
            } else {
                Vec::new()
            },
        }
    }
}

/// Two one-sided tests against a margin, read off an interval.
fn finding(difference: &Estimate, margin: f64, sign: f64) -> Change {
    let Some(interval) = &difference.interval else { return Change::Inconclusive };
    let (lo, hi) = if sign > 0.0 { (interval.lo, interval.hi) } else { (-interval.hi, -interval.lo) };
    match (lo, hi) {
        (lo, hi) if lo > -margin && hi < margin => Change::Equivalent,
        (_, hi) if hi < 0.0 => Change::Regressed,
        (lo, _) if lo > 0.0 => Change::Improved,
        _ => Change::Inconclusive,
    }
}

/// Mean with an interval of two standard errors: near enough for pictures.
fn mean(values: impl Iterator<Item = f64>, method: &str) -> Estimate {
    let values: Vec<f64> = values.collect();
    let n = values.len() as f64;
    if values.len() < 2 {
        return Estimate {
            status: Status::Insufficient,
            n: values.len() as u64,
            method: method.to_owned(),
            ..Estimate::default()
        };
    }
    let mean = values.iter().sum::<f64>() / n;
    let se = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0) / n).sqrt();
    Estimate {
        status: Status::Ok,
        n: values.len() as u64,
        clusters: values.len() as u64,
        n_dropped: 0,
        estimate: Some(mean),
        se: Some(se),
        df: Some(n - 1.0),
        skew: None,
        interval: Some(Interval { lo: mean - 1.96 * se, hi: mean + 1.96 * se, level: 0.95, method: "t".to_owned() }),
        method: method.to_owned(),
        warnings: Vec::new(),
    }
}
