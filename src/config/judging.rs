//! What a grader's `panel` and `cascade` mean: who is asked beside, or in place of, one judge with one model.

use super::check::suggestion;
use super::faults::Faults;
use super::raw::{RawCascade, RawGrader, RawPanel, RawSure, RawVote, RawWeights};

/// Draws of the first model of a cascade that goes by votes, unless it says otherwise.
const CASCADE_DRAWS: u32 = 3;

/// Share of sure cells that are audited, unless a cascade says otherwise.
const AUDIT: f64 = 0.1;

/// Who is asked beside the judge and model of a grader.
#[derive(Clone, Debug, PartialEq)]
pub enum Others {
    /// Nobody.
    None,
    /// A panel in its place.
    Panel(Panel),
    /// A dear model behind it.
    Cascade(Cascade),
}

/// Judges that vote.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// Judge, alias of the model, weight.
    pub members: Vec<(String, String, f64)>,
    /// How votes become a score; as fits the scale when absent.
    pub vote: Option<RawVote>,
    /// Whether weights come from calibrations.
    pub calibrated: bool,
    /// Fewest votes.
    pub quorum: usize,
}

/// A dear model behind a cheap one.
#[derive(Clone, Debug, PartialEq)]
pub struct Cascade {
    /// Alias of the dear model.
    pub model: String,
    /// When the cheap one is sure.
    pub sure: SureRule,
    /// Share of sure cells that are audited.
    pub audit: f64,
}

/// When a cheap judge is sure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SureRule {
    /// When it says so.
    Declared(RawSure),
    /// By the share of the likeliest score.
    Probability(f64),
    /// By the share of so many draws that agree.
    Votes(u32, f64),
}

/// Reads both tables of a grader.
pub(super) fn others(raw: &RawGrader, judge: &str, pointer: &str, models: &[String], faults: &mut Faults) -> Others {
    match (&raw.panel, &raw.cascade) {
        (Some(_), Some(_)) => {
            faults.add(pointer, "has both `panel` and `cascade`; make two graders of it");
            Others::None
        }
        (Some(panel), None) => {
            if raw.model.is_some() {
                let message = "a panel names its models itself; put this one into `panel.models`";
                faults.add(&format!("{pointer}/model"), message);
            }
            Others::Panel(of_panel(panel, judge, &format!("{pointer}/panel"), models, faults))
        }
        (None, Some(cascade)) => {
            let pointer = format!("{pointer}/cascade");
            of_cascade(cascade, &pointer, models, faults).map_or(Others::None, Others::Cascade)
        }
        (None, None) => Others::None,
    }
}

/// No model is ever chosen by which key happens to be set, and never the one under test.
pub(super) fn check_model(named: Option<&str>, judge: &str, pointer: &str, models: &[String], faults: &mut Faults) {
    match named {
        Some(model) if models.iter().any(|known| known == model) => {}
        Some(model) => {
            let hint = suggestion(model, models);
            faults.add(&format!("{pointer}/model"), format!("no model `{model}` under `[models]`{hint}"));
        }
        None if models.is_empty() => {
            let message = format!("judge `{judge}` lacks the key `model`; add a model under `[models]` first");
            faults.lacks(pointer, &["model"], message);
        }
        None => {
            let message = format!("judge `{judge}` lacks the key `model`: one of {}", models.join(", "));
            faults.lacks(pointer, &["model"], message);
        }
    }
}

fn of_panel(raw: &RawPanel, judge: &str, pointer: &str, models: &[String], faults: &mut Faults) -> Panel {
    let mut members: Vec<(String, String, f64)> =
        raw.models.iter().map(|model| (judge.to_owned(), model.clone(), 1.0)).collect();
    for member in &raw.members {
        let weight = member.weight.unwrap_or(1.0);
        if !(weight.is_finite() && weight > 0.0) {
            faults.add(&format!("{pointer}/members"), format!("weight {weight} is not above 0"));
        }
        if member.weight.is_some() && raw.weights == RawWeights::Calibration {
            faults.add(&format!("{pointer}/members"), "has a weight, although `weights = \"calibration\"` gives them");
        }
        members.push((member.judge.clone().unwrap_or_else(|| judge.to_owned()), member.model.clone(), weight));
    }
    for (_, model, _) in &members {
        check_model(Some(model), judge, pointer, models, faults);
    }
    let twice = members
        .iter()
        .enumerate()
        .find(|(place, one)| members.iter().take(*place).any(|other| (&other.0, &other.1) == (&one.0, &one.1)));
    if let Some((_, (judge, model, _))) = twice {
        let message = format!("judge `{judge}` with model `{model}` twice; use `draws` to ask it again");
        faults.add(pointer, message);
    }
    if members.len() < 2 {
        faults.add(pointer, "has fewer than two members; name them in `models` or `members`");
    }
    let quorum = raw.quorum.map_or(members.len() / 2 + 1, |quorum| quorum as usize);
    if quorum == 0 || quorum > members.len() {
        let message = format!("a quorum of {quorum} of {} members; expected 1 to {}", members.len(), members.len());
        faults.add(&format!("{pointer}/quorum"), message);
    }
    Panel { members, vote: raw.vote, calibrated: raw.weights == RawWeights::Calibration, quorum }
}

fn of_cascade(raw: &RawCascade, pointer: &str, models: &[String], faults: &mut Faults) -> Option<Cascade> {
    check_model(Some(&raw.model), "", pointer, models, faults);
    let audit = raw.audit.unwrap_or(AUDIT);
    if !(0.0..=1.0).contains(&audit) {
        faults.add(&format!("{pointer}/audit"), format!("found {audit}, expected a share from 0 to 1"));
    }
    for (key, share) in [("probability", raw.probability), ("votes", raw.votes)] {
        if share.is_some_and(|share| !(share > 0.0 && share <= 1.0)) {
            faults.add(&format!("{pointer}/{key}"), "expected a share above 0 and at most 1");
        }
    }
    if raw.draws.is_some() && raw.votes.is_none() {
        faults.add(&format!("{pointer}/draws"), "belongs to `votes`");
    }
    let sure = match (raw.declared, raw.probability, raw.votes) {
        (Some(declared), None, None) => SureRule::Declared(declared),
        (None, Some(share), None) => SureRule::Probability(share),
        (None, None, Some(share)) => SureRule::Votes(raw.draws.unwrap_or(CASCADE_DRAWS).max(2), share),
        _ => {
            faults.add(
                pointer,
                "needs one of `declared = \"high\"`, `probability = 0.9`, `votes = 1.0` to tell who is sure",
            );
            return None;
        }
    };
    Some(Cascade { model: raw.model.clone(), sure, audit })
}
