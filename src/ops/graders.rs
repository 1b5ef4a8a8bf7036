//! A judge of a suite as graders: alone, as a panel, or as a cascade; with worked examples where it wants some.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::build::{judge_model, judge_spec};
use super::calibrations::{Calibrations, weight};
use super::examples::open_dataset;
use super::project::{Project, World};
use super::services::Services;
use crate::config::{
    Cascade as CascadeConfig, DatasetChoice, Others, Panel as PanelConfig, RawSure, RawVote, SureRule,
};
use crate::judge::{Cascade, Grade, Judge, Labelled, Member, Panel, Shots, SureBy, VoteRule};
use crate::model::{Finite, GraderInfo, Scale};
use crate::rubric::{JudgeSpec, Method, Sure};

/// Split from which worked examples come: never what a judge is measured on.
const SHOWN_SPLIT: &str = "dev";

/// Likely tokens a cascade by probability asks for.
const CASCADE_TOP: u8 = 20;

/// A grader with its way to work.
pub type Built = (GraderInfo, Arc<dyn Grade>);

/// What graders are made with.
pub struct Maker<'a> {
    /// Project.
    pub project: &'a Project,
    /// World.
    pub world: &'a World,
    /// Services.
    pub services: &'a Services,
    /// Dataset of the suite.
    pub dataset: &'a DatasetChoice,
    /// Seed of the suite.
    pub seed: u64,
}

impl Maker<'_> {
    /// The graders that a judge of a suite is, under the name the suite gives it.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn graders(
        &self,
        (name, judge, model): (&str, &str, &str),
        draws: Option<u32>,
        others: &Others,
    ) -> Result<Vec<Built>, String> {
        match others {
            Others::None => {
                let judge = Arc::new(self.judge(judge, model, None)?);
                let draws = draws.unwrap_or(judge.spec().draws);
                Ok(judge.graders(name, draws))
            }
            Others::Panel(panel) => self.panel(name, draws, panel),
            Others::Cascade(cascade) => self.cascade((name, judge, model), draws, cascade),
        }
    }

    fn judge(&self, name: &str, model: &str, probabilities: Option<u8>) -> Result<Judge, String> {
        let spec = judge_spec(self.project, name)?;
        let (client, model) = judge_model(self.services, model, &spec)?;
        let shots = self.shots(&spec)?;
        let mut judge = Judge::new(Arc::new(spec), client, model);
        if let Some(shots) = shots {
            judge = judge.with_shots(shots);
        }
        Ok(probabilities.into_iter().fold(judge, Judge::with_probabilities))
    }

    /// Worked examples from the labels of the suite's dataset.
    fn shots(&self, spec: &JudgeSpec) -> Result<Option<Shots>, String> {
        let Some(few) = spec.few_shot else { return Ok(None) };
        let reader = open_dataset(self.project, self.world, self.dataset).map_err(|failed| failed.error.to_string())?;
        let mut labelled = Vec::new();
        for example in reader.iter() {
            let example = example.map_err(|error| error.to_string())?;
            if example.split.as_deref() == Some(SHOWN_SPLIT) {
                labelled.extend(Labelled::of_example(&example, spec, &spec.name, None));
            }
        }
        let shots = Shots::of(spec, few, &labelled);
        // One more than are shown, so that an example with a label does not get fewer than the others.
        if shots.len() <= few.count {
            return Err(format!(
                "judge `{}` shows {} worked examples, and dataset `{}` has {} with a label `{}` in its split \
                 `{SHOWN_SPLIT}`; label more, divide the dataset with `assize dataset split`, or take `[few_shot]` out",
                spec.name,
                few.count,
                reader.header().name,
                shots.len(),
                spec.name
            ));
        }
        Ok(Some(shots))
    }

    fn panel(&self, name: &str, draws: Option<u32>, config: &PanelConfig) -> Result<Vec<Built>, String> {
        let several =
            config.members.iter().any(|(judge, ..)| config.members.first().is_some_and(|one| one.0 != *judge));
        let known = if config.calibrated { Some(self.calibrations()?) } else { None };
        let mut seats: Vec<(String, f64, Vec<Built>)> = Vec::new();
        let mut planned = draws;
        for (judge_name, model, own) in &config.members {
            let judge = Arc::new(self.judge(judge_name, model, None)?);
            planned = planned.or(Some(judge.spec().draws));
            let label = if several { format!("{judge_name}/{model}") } else { model.clone() };
            let weight = match &known {
                None => *own,
                Some(known) => {
                    let info = judge.info(name, 1);
                    weight(known, &info).map_err(|cause| format!("member `{label}` of the panel: {cause}"))?
                }
            };
            seats.push((label, weight, judge.graders(name, planned.unwrap_or(1))));
        }
        self.seated(config, &seats, known.is_some())
    }

    /// One panel for each grader that the members are: one, or one for each criterion.
    fn seated(
        &self,
        config: &PanelConfig,
        seats: &[(String, f64, Vec<Built>)],
        calibrated: bool,
    ) -> Result<Vec<Built>, String> {
        let Some((_, _, first)) = seats.first() else { return Err("the panel has no members".to_owned()) };
        let mut panels = Vec::new();
        for (place, (info, _)) in first.iter().enumerate() {
            let mut members = Vec::new();
            for (label, weight, built) in seats {
                let (own, judge) = built.get(place).filter(|(own, _)| same_scale(own, info)).ok_or_else(|| {
                    format!("member `{label}` of the panel has another scale than the first; all must have the same")
                })?;
                members.push(Member {
                    name: label.clone(),
                    judge: Arc::clone(judge),
                    digest: own.digest.clone(),
                    weight: *weight,
                });
            }
            let rule = match (config.vote, &info.scale) {
                (Some(RawVote::Majority), _) => VoteRule::Majority,
                (Some(RawVote::Median), _) => VoteRule::Median,
                (Some(RawVote::Mean), _) => VoteRule::Mean,
                (None, Scale::Number { .. }) => VoteRule::Mean,
                (None, _) => VoteRule::Majority,
            };
            let valued = |scale: &Scale| match scale {
                Scale::Labels { labels } => labels.iter().all(|(_, value)| value.is_some()),
                _ => true,
            };
            if rule != VoteRule::Majority && !valued(&info.scale) {
                return Err(format!("labels without a value have no {}; use `vote = \"majority\"`", rule.as_str()));
            }
            let weighted = calibrated || config.members.iter().any(|(_, _, weight)| *weight != 1.0);
            let panel = Panel::new(members, rule, config.quorum, weighted);
            let told = panel.info(info);
            panels.push((told, Arc::new(panel) as Arc<dyn Grade>));
        }
        Ok(panels)
    }

    fn calibrations(&self) -> Result<Calibrations, String> {
        Calibrations::read(self.project).map_err(|failed| failed.error.to_string())
    }

    fn cascade(
        &self,
        (name, judge, model): (&str, &str, &str),
        draws: Option<u32>,
        config: &CascadeConfig,
    ) -> Result<Vec<Built>, String> {
        let by = match config.sure {
            SureRule::Declared(RawSure::Low) => SureBy::Declared(Sure::Low),
            SureRule::Declared(RawSure::Medium) => SureBy::Declared(Sure::Medium),
            SureRule::Declared(RawSure::High) => SureBy::Declared(Sure::High),
            SureRule::Probability(share) => SureBy::Probability(share),
            SureRule::Votes(draws, share) => SureBy::Votes { draws, share },
        };
        let top = matches!(by, SureBy::Probability(_)).then_some(CASCADE_TOP);
        let cheap = Arc::new(self.judge(judge, model, top)?);
        let dear = Arc::new(self.judge(judge, &config.model, None)?);
        let spec = cheap.spec();
        if matches!(by, SureBy::Declared(_)) && !spec.says_sure {
            return Err(format!(
                "judge `{judge}` does not say how sure it is; set `says_sure = true` in its judge.toml"
            ));
        }
        let told = matches!(spec.method, Method::Plain | Method::Expected(_) | Method::Parts(_));
        if top.is_some() && (!told || spec.scale.menu().is_none()) {
            return Err(format!("judge `{judge}` has no one place of a score whose probability could be told"));
        }
        let audit = Finite::new(config.audit).ok_or("the share of audits is no number")?;
        let draws = draws.unwrap_or(cheap.spec().draws);
        let pairs = cheap.graders(name, draws).into_iter().zip(dear.graders(name, draws));
        let one = |(cheap, dear): (Built, Built)| {
            let cascade = Cascade::new((cheap.1, cheap.0), (dear.1, dear.0), by, audit, self.seed);
            (cascade.info(), Arc::new(cascade) as Arc<dyn Grade>)
        };
        Ok(pairs.map(one).collect())
    }
}

fn same_scale(one: &GraderInfo, other: &GraderInfo) -> bool {
    let values = |scale: &Scale| match scale {
        Scale::Labels { labels } => labels.iter().map(|(label, value)| (label.clone(), *value)).collect(),
        _ => BTreeMap::new(),
    };
    let kind = std::mem::discriminant(&one.scale) == std::mem::discriminant(&other.scale);
    kind && one.scale.bounds() == other.scale.bounds()
        && values(&one.scale) == values(&other.scale)
        && one.direction == other.direction
}
