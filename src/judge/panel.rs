//! Several judges on one cell: their votes become one score by a declared rule. A member that failed has no vote.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;

use super::{AskSize, Grade, Graded};
use crate::model::{
    Digest, Digester, Failure, Finite, GraderInfo, Judged, Scale, Score, ScoreInput, ScoreValue, Scored, Spend,
    Unscored, UnscoredReason, Vote,
};
use crate::provider::OnNotice;
use crate::sys::text;

/// Characters of a member's reasons that are kept.
const REASON_LIMIT: usize = 1_000;

/// How votes become a score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoteRule {
    /// The score with most votes, by weight; a tie is none.
    Majority,
    /// The middle vote as a number, by weight; between two, their mean.
    Median,
    /// The mean of the votes as numbers, by weight.
    Mean,
}

impl VoteRule {
    /// The word used in configurations and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Majority => "majority",
            Self::Median => "median",
            Self::Mean => "mean",
        }
    }

    /// The values a panel over this scale gives.
    pub fn scale(self, member: &Scale) -> Scale {
        match (self, member.bounds()) {
            (Self::Majority, _) => member.clone(),
            (_, bounds) => Scale::Number { min: bounds.map(|(min, _)| min), max: bounds.map(|(_, max)| max) },
        }
    }
}

/// One member.
pub struct Member {
    /// What votes call it: its model, or judge and model.
    pub name: String,
    /// The judge.
    pub judge: Arc<dyn Grade>,
    /// Digest of all that can change its findings.
    pub digest: Digest,
    /// How much its vote weighs, above 0.
    pub weight: f64,
}

/// Several judges that vote.
pub struct Panel {
    members: Vec<Member>,
    rule: VoteRule,
    quorum: usize,
    weighted: bool,
}

impl Panel {
    /// A panel that needs `quorum` votes. `weighted`: whether weights differ by design, so that votes show them.
    pub fn new(members: Vec<Member>, rule: VoteRule, quorum: usize, weighted: bool) -> Self {
        Self { members, rule, quorum, weighted }
    }

    /// How it enters a run's header, from that of its first member.
    pub fn info(&self, first: &GraderInfo) -> GraderInfo {
        let mut digester = Digester::new()
            .part("panel", self.rule.as_str().as_bytes())
            .part("quorum", &(self.quorum as u64).to_le_bytes());
        for member in &self.members {
            digester = digester
                .part(&member.name, member.digest.as_str().as_bytes())
                .part("weight", &member.weight.to_le_bytes());
        }
        let names: Vec<&str> = self.members.iter().map(|member| member.name.as_str()).collect();
        GraderInfo {
            digest: digester.finish(),
            scale: self.rule.scale(&first.scale),
            model: Some(format!("panel of {}", names.join(", "))),
            ..first.clone()
        }
    }

    fn decide(&self, votes: &[(&Member, Scored)]) -> Scored {
        let given: Vec<(&Member, &Score)> =
            votes.iter().filter_map(|(member, scored)| Some((*member, scored.as_ref().ok()?))).collect();
        let all: Vec<Vote> = votes.iter().map(|(member, scored)| self.vote(member, scored)).collect();
        let judged = Judged { votes: all, ..Judged::default() };
        let reasons: Vec<&Unscored> = votes.iter().filter_map(|(_, scored)| scored.as_ref().err()).collect();
        if given.len() < self.quorum || given.is_empty() {
            if let Some(unscored) = reasons.first().filter(|_| given.is_empty())
                && reasons.iter().all(|other| other.reason == UnscoredReason::NotApplicable)
            {
                return Err((*unscored).clone());
            }
            let lost = Unscored::new(UnscoredReason::NoQuorum, self.lost(votes, given.len()));
            return Err(judged.put_unscored(lost));
        }
        let value = match self.rule {
            VoteRule::Majority => majority(&given),
            VoteRule::Median => number(&given).and_then(median).and_then(number_value),
            VoteRule::Mean => number(&given).map(|votes| mean(&votes)).and_then(number_value),
        };
        let Some(value) = value else {
            let words: Vec<String> =
                given.iter().map(|(member, score)| format!("{} {}", member.name, score.value)).collect();
            let tied = Unscored::new(UnscoredReason::VotesTied, format!("no majority: {}", words.join(", ")));
            return Err(judged.put_unscored(tied));
        };
        let mut score = self.score(value, &given, votes.len());
        judged.put(&mut score);
        Ok(score)
    }

    fn vote(&self, member: &Member, scored: &Scored) -> Vote {
        Vote {
            member: member.name.clone(),
            value: scored.as_ref().ok().map(|score| score.value.clone()),
            unscored: scored.as_ref().err().map(|unscored| unscored.reason),
            weight: Finite::new(member.weight).filter(|_| self.weighted),
            reasoning: scored
                .as_ref()
                .ok()
                .and_then(|score| score.explanation.as_deref())
                .map(|reason| text::shorten(reason, REASON_LIMIT)),
        }
    }

    fn lost(&self, votes: &[(&Member, Scored)], given: usize) -> String {
        let failed = votes.iter().filter_map(|(member, scored)| {
            let unscored = scored.as_ref().err()?;
            Some(format!("{}: {} ({})", member.name, unscored.reason.as_str(), text::one_line(&unscored.detail, 200)))
        });
        let failed = failed.collect::<Vec<_>>().join("; ");
        format!("{given} of {} members have a vote, {} are needed; {failed}", votes.len(), self.quorum)
    }

    /// The score with the reasons of a member whose vote is nearest to it, and marks that any member raised.
    fn score(&self, value: ScoreValue, given: &[(&Member, &Score)], of: usize) -> Score {
        let away = |score: &Score| match (score.value.number(), value.number()) {
            _ if score.value == value => 0.0,
            (Some(one), Some(other)) => (one - other).abs(),
            _ => f64::INFINITY,
        };
        let nearest = given.iter().min_by(|one, other| away(one.1).total_cmp(&away(other.1)));
        let agreeing = given.iter().filter(|(_, score)| score.value == value).count();
        let words = match self.rule {
            VoteRule::Majority => format!("{agreeing} of {of} members: {value}."),
            rule => format!("{} of {} votes: {value}.", rule.as_str(), given.len()),
        };
        let said =
            nearest.and_then(|(member, score)| Some(format!(" {}: {}", member.name, score.explanation.as_deref()?)));
        let mut score = Score::of(value.clone(), format!("{words}{}", said.unwrap_or_default()));
        score.evidence = nearest.map(|(_, score)| score.evidence.clone()).unwrap_or_default();
        let raised = |key: &str| given.iter().any(|(_, score)| score.details.get(key) == Some(&true.into()));
        let marks = ["injection_attempt", "addresses_judge"].into_iter().filter(|key| raised(key));
        let marks: serde_json::Map<String, serde_json::Value> =
            marks.map(|key| (key.to_owned(), true.into())).collect();
        if !marks.is_empty() {
            score.details = marks.into();
        }
        score
    }
}

fn majority(given: &[(&Member, &Score)]) -> Option<ScoreValue> {
    let mut tally: Vec<(&ScoreValue, f64)> = Vec::new();
    for (member, score) in given {
        match tally.iter_mut().find(|(value, _)| *value == &score.value) {
            Some((_, weight)) => *weight += member.weight,
            None => tally.push((&score.value, member.weight)),
        }
    }
    let most = tally.iter().map(|(_, weight)| *weight).fold(f64::NEG_INFINITY, f64::max);
    // Weights are sums of decimals: what differs in the last bit is a tie.
    let mut leaders = tally.iter().filter(|(_, weight)| most - weight <= 1e-9 * most.abs());
    match (leaders.next(), leaders.next()) {
        (Some((value, _)), None) => Some((*value).clone()),
        _ => None,
    }
}

/// Votes as numbers with their weights; `None` when one has no value.
fn number(given: &[(&Member, &Score)]) -> Option<Vec<(f64, f64)>> {
    given.iter().map(|(member, score)| Some((score.value.number()?, member.weight))).collect()
}

fn number_value(number: f64) -> Option<ScoreValue> {
    Finite::new(number).map(|number| ScoreValue::Number { number })
}

fn mean(votes: &[(f64, f64)]) -> f64 {
    let whole: f64 = votes.iter().map(|(_, weight)| weight).sum();
    votes.iter().map(|(value, weight)| value * weight).sum::<f64>() / whole
}

fn median(mut votes: Vec<(f64, f64)>) -> Option<f64> {
    votes.sort_by(|one, other| one.0.total_cmp(&other.0));
    let half = votes.iter().map(|(_, weight)| weight).sum::<f64>() / 2.0;
    let mut below = 0.0;
    let mut place = votes.iter().enumerate();
    let (index, value) = place.find_map(|(index, (value, weight))| {
        below += weight;
        (below >= half - 1e-9).then_some((index, *value))
    })?;
    let between = (below - half).abs() < 1e-9;
    Some(votes.get(index + 1).filter(|_| between).map_or(value, |(next, _)| f64::midpoint(value, *next)))
}

#[async_trait]
impl Grade for Panel {
    async fn grade(&self, input: &ScoreInput<'_>, draw: u32, on_notice: OnNotice<'_>) -> Graded {
        let asked = join_all(self.members.iter().map(|member| member.judge.grade(input, draw, on_notice))).await;
        let mut spend = Spend::default();
        let mut fatal: Option<Failure> = None;
        let (mut took_ms, mut cached) = (0_u64, true);
        let mut votes = Vec::new();
        for (member, graded) in self.members.iter().zip(asked) {
            spend.add(&graded.spend);
            took_ms = took_ms.saturating_add(graded.took_ms);
            cached &= graded.cached;
            fatal = fatal.or(graded.fatal);
            votes.push((member, graded.scored));
        }
        Graded { scored: self.decide(&votes), spend, cached, took_ms, fatal }
    }

    fn asks(&self, input: &ScoreInput<'_>) -> Vec<AskSize> {
        self.members.iter().flat_map(|member| member.judge.asks(input)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Example, ExampleId, Output};

    /// Finds what it is told to.
    struct Says(Scored);

    #[async_trait]
    impl Grade for Says {
        async fn grade(&self, _: &ScoreInput<'_>, _: u32, _: OnNotice<'_>) -> Graded {
            let spend = Spend { calls: 1, ..Spend::default() };
            Graded { scored: self.0.clone(), spend, cached: false, took_ms: 5, fatal: None }
        }
    }

    fn pass(pass: bool) -> Scored {
        Ok(Score::pass(pass, "because"))
    }

    fn failed(reason: UnscoredReason) -> Scored {
        Err(Unscored::new(reason, "x"))
    }

    async fn panel(votes: Vec<(Scored, f64)>, rule: VoteRule, quorum: usize) -> Scored {
        let member = |(index, (scored, weight)): (usize, (Scored, f64))| Member {
            name: format!("m{index}"),
            judge: Arc::new(Says(scored)),
            digest: Digest::of(b"m"),
            weight,
        };
        let count = votes.len() as u64;
        let panel = Panel::new(votes.into_iter().enumerate().map(member).collect(), rule, quorum, false);
        let example = Example::new(ExampleId::new("e"), "q".into());
        let output = Output::of_text("a");
        let graded = panel.grade(&ScoreInput { example: &example, output: &output }, 0, &|_| {}).await;
        assert_eq!((graded.spend.calls, graded.took_ms), (count, 5 * count));
        graded.scored
    }

    #[tokio::test]
    async fn a_failed_member_has_no_vote_and_a_quorum_is_kept() {
        let timeout = || (failed(UnscoredReason::Timeout), 1.0);
        let found = panel(vec![(pass(true), 1.0), timeout(), (pass(true), 1.0)], VoteRule::Majority, 2).await.unwrap();
        assert_eq!(found.value, ScoreValue::Pass { pass: true });
        let votes = Judged::of(&found).unwrap().votes;
        assert_eq!((votes.len(), votes[1].unscored), (3, Some(UnscoredReason::Timeout)));
        assert_eq!(votes[1].value, None, "a failure is no vote for the worst score");
        let found = panel(vec![(pass(true), 1.0), timeout(), timeout()], VoteRule::Majority, 2).await.unwrap_err();
        assert_eq!(found.reason, UnscoredReason::NoQuorum);
        let none = failed(UnscoredReason::NotApplicable);
        let found = panel(vec![(none.clone(), 1.0), (none, 1.0)], VoteRule::Majority, 1).await.unwrap_err();
        assert_eq!(found.reason, UnscoredReason::NotApplicable);
    }

    #[tokio::test]
    async fn ties_are_not_broken_and_weights_count() {
        let two = vec![(pass(true), 1.0), (pass(false), 1.0)];
        assert_eq!(panel(two, VoteRule::Majority, 1).await.unwrap_err().reason, UnscoredReason::VotesTied);
        let near = vec![(pass(true), 0.1 + 0.2), (pass(false), 0.3)];
        assert_eq!(panel(near, VoteRule::Majority, 1).await.unwrap_err().reason, UnscoredReason::VotesTied);
        let heavy = vec![(pass(true), 2.5), (pass(false), 1.0), (pass(false), 1.0)];
        assert_eq!(panel(heavy, VoteRule::Majority, 1).await.unwrap().value, ScoreValue::Pass { pass: true });
    }

    #[tokio::test]
    async fn numbers_have_a_mean_and_a_median() {
        let stars = |numbers: &[(f64, f64)]| {
            numbers
                .iter()
                .map(|(number, weight)| (Ok(Score::number(*number, "").unwrap()), *weight))
                .collect::<Vec<_>>()
        };
        let value = |found: Scored| found.unwrap().value.number().unwrap();
        let votes = stars(&[(1.0, 1.0), (4.0, 1.0), (5.0, 1.0)]);
        assert_eq!(value(panel(votes.clone(), VoteRule::Mean, 1).await), 10.0 / 3.0);
        assert_eq!(value(panel(votes, VoteRule::Median, 1).await), 4.0);
        assert_eq!(value(panel(stars(&[(1.0, 1.0), (4.0, 1.0)]), VoteRule::Median, 1).await), 2.5);
        assert_eq!(value(panel(stars(&[(1.0, 3.0), (4.0, 1.0), (5.0, 1.0)]), VoteRule::Median, 1).await), 1.0);
        assert_eq!(value(panel(stars(&[(1.0, 3.0), (5.0, 1.0)]), VoteRule::Mean, 1).await), 2.0);
    }
}
