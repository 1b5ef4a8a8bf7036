//! What each method of a rubric asks, and how the answers become one score.

use super::AskSize;
use super::asking::{Asking, End};
use super::forms::{FreeText, OneScore, ScoreAlone};
use super::judge::{Judge, main_question, score_question};
use crate::model::{
    Answered, Finite, Judged, Masses, Orders, PartScored, Score, ScoreInput, ScoreValue, TokenChance, Unscored,
    UnscoredReason,
};
use crate::rubric::{
    Disagreement, ExpectedScore, Judgement, Leads, LongInput, Material, Method, Otherwise, Pair, PartFold, Parts, Shot,
    Tree, Wanted, likeliest_share, render, score_masses, summary_messages, wanted_schema,
};
use crate::stats::{LabelMass, Status};

/// Characters of a record that one summary reads.
const SUMMARY_CHUNK: usize = 60_000;

impl Judge {
    /// The score of one cell.
    pub(super) async fn score(
        &self,
        input: &ScoreInput<'_>,
        mut material: Material,
        asking: &mut Asking<'_>,
    ) -> Result<Score, End> {
        let shots = self.shots_for(input);
        let summary_based = match &self.spec.method {
            Method::Parts(_) => false,
            _ => self.sum_up(&mut material, asking).await?,
        };
        let judged = Judged { summary_based, ..Judged::default() };
        match &self.spec.method {
            Method::Expected(expected) => self.expected(expected, &material, &shots, asking, judged).await,
            Method::Pair(pair) => self.pair(pair, material, &shots, asking, judged).await,
            Method::Tree(tree) => self.tree(tree, &material, &shots, asking, judged).await,
            Method::Parts(parts) => self.parts(*parts, input, (&material, &shots), asking).await,
            Method::Plain | Method::Criteria(_) => {
                let (judgement, tokens, prompt) =
                    self.one(score_question(&self.spec), &material, &shots, asking).await?;
                let judged = self.told(judged, &judgement, &tokens);
                Ok(self.to_score(judgement, (&prompt, &material), asking, &judged))
            }
        }
    }

    /// One question for a score with evidence and reasons.
    async fn one(
        &self,
        wanted: Wanted<'_>,
        material: &Material,
        shots: &[Shot],
        asking: &mut Asking<'_>,
    ) -> Result<(Judgement, Vec<TokenChance>, crate::rubric::Prompt), End> {
        let prompt = self.prompt(wanted, material, shots)?;
        let top = match &self.spec.method {
            Method::Expected(expected) => Some(expected.top),
            _ => self.top(),
        };
        let form = OneScore { scale: &self.spec.scale, schema: &self.schema, top };
        let (judgement, tokens) = asking.question(&form, &prompt.messages).await?;
        Ok((judgement, tokens, prompt))
    }

    /// What a reply tells of how sure the judge is.
    fn told(&self, judged: Judged, judgement: &Judgement, tokens: &[TokenChance]) -> Judged {
        let share = likeliest_share(&self.spec.scale, tokens, false);
        Judged {
            sure: judgement.sure.map(|sure| sure.as_str().to_owned()),
            likeliest: share.filter(|_| self.top().is_some()).and_then(Finite::new),
            ..judged
        }
    }

    async fn expected(
        &self,
        expected: &ExpectedScore,
        material: &Material,
        shots: &[Shot],
        asking: &mut Asking<'_>,
        judged: Judged,
    ) -> Result<Score, End> {
        let scale = &self.spec.scale;
        let (judgement, tokens, prompt) = if expected.reasoned {
            self.one(Wanted::Score(scale), material, shots, asking).await?
        } else {
            let prompt = self.prompt(Wanted::ScoreAlone(scale), material, shots)?;
            let form = ScoreAlone { scale, expected };
            let (judgement, tokens) = asking.question(&form, &prompt.messages).await?;
            (judgement, tokens, prompt)
        };
        let mass = score_masses(scale, &tokens, !expected.reasoned, expected.least_mass);
        let share = likeliest_share(scale, &tokens, !expected.reasoned);
        let written = judgement.value.number();
        let (value, vote_instead) = match (mass.as_ref().and_then(|mass| mass.expected), expected.otherwise) {
            (Some(value), _) => (Some(value), false),
            (None, Otherwise::Vote) => (written, true),
            (None, Otherwise::Unscored) => return Err(no_expected_score(mass.as_ref(), expected)),
        };
        let Some(number) = value.and_then(Finite::new) else {
            return Err(End::of(UnscoredReason::ScorerFault, "the score has no value"));
        };
        let finite = |value: Option<f64>| value.and_then(Finite::new);
        let judged = Judged {
            masses: Some(Masses {
                mass: finite(mass.as_ref().map(|mass| mass.mass)),
                entropy: finite(mass.as_ref().and_then(|mass| mass.entropy)),
                written: finite(written),
                vote_instead,
            }),
            likeliest: finite(share),
            ..judged
        };
        let judgement = Judgement { value: ScoreValue::Number { number }, ..judgement };
        Ok(self.to_score(judgement, (&prompt, material), asking, &judged))
    }

    /// Both orders of a pair. An order without a verdict leaves the other's; two that contradict each other are what the
    /// judge declares.
    async fn pair(
        &self,
        pair: &Pair,
        material: Material,
        shots: &[Shot],
        asking: &mut Asking<'_>,
        judged: Judged,
    ) -> Result<Score, End> {
        let scale = &self.spec.scale;
        let mut found = Vec::new();
        for swapped in [false, true] {
            let shown = material.clone().paired(pair, swapped);
            let answer = self.one(score_question(&self.spec), &shown, shots, asking).await;
            match answer {
                Ok((judgement, _, prompt)) => {
                    let value =
                        if swapped { Pair::mirrored(scale, &judgement.value) } else { Some(judgement.value.clone()) };
                    found.push(Ok((value, judgement, prompt, shown)));
                }
                Err(end) if end.fatal.is_some() => return Err(end),
                Err(end) => found.push(Err(end)),
            }
        }
        let verdict = |place: usize| found.get(place).and_then(|one| one.as_ref().ok()).and_then(|one| one.0.clone());
        let (declared, swapped) = (verdict(0), verdict(1));
        let missing = found.iter().find_map(|one| one.as_ref().err()).map(|end| end.unscored.reason);
        let value = match (&declared, &swapped) {
            (Some(one), Some(other)) if one == other => Some(one.clone()),
            (Some(_), Some(_)) => match pair.disagreement {
                Disagreement::Tie => Pair::tie(scale),
                Disagreement::Unscored => None,
            },
            (one, other) => one.clone().or_else(|| other.clone()),
        };
        let judged = Judged { orders: Some(Orders { declared, swapped, missing }), ..judged };
        let Some(value) = value else {
            let mut end = found.into_iter().find_map(Result::err).unwrap_or_else(|| {
                let detail = "the verdicts of the two orders contradict each other";
                End::of(UnscoredReason::VotesTied, detail)
            });
            end.unscored = judged.put_unscored(end.unscored);
            return Err(end);
        };
        let mut told = found.into_iter().filter_map(Result::ok);
        let Some((_, first, prompt, shown)) = told.next() else {
            return Err(End::of(UnscoredReason::ScorerFault, "a verdict without a judgement"));
        };
        let other = told.next().map(|(_, judgement, ..)| judgement.reasoning).unwrap_or_default();
        let reasoning = if other.is_empty() {
            first.reasoning.clone()
        } else {
            format!("{}\n\nIn the other order: {other}", first.reasoning)
        };
        let judgement = Judgement { value, reasoning, ..first };
        Ok(self.to_score(judgement, (&prompt, &shown), asking, &judged))
    }

    /// From question to question until an answer leads to a score.
    async fn tree(
        &self,
        tree: &Tree,
        material: &Material,
        shots: &[Shot],
        asking: &mut Asking<'_>,
        judged: Judged,
    ) -> Result<Score, End> {
        let mut path: Vec<Answered> = Vec::new();
        let mut place = 0;
        while let Some(question) = tree.questions.get(place) {
            let wanted = Wanted::Answer(question);
            let prompt = self.prompt(wanted, material, shots)?;
            let schema = wanted_schema(wanted).unwrap_or_default();
            let scale = question.scale();
            let form = OneScore { scale: &scale, schema: &schema, top: None };
            let (judgement, _) =
                asking.question(&form, &prompt.messages).await.map_err(|end| at_question(end, &question.name))?;
            let answer = judgement.value.to_string();
            path.push(Answered {
                question: question.name.clone(),
                answer: answer.clone(),
                reasoning: judgement.reasoning.clone(),
            });
            let leads = question.answers.iter().find(|known| known.answer == answer).map(|known| &known.leads);
            match leads {
                Some(Leads::Question(next)) => place = *next,
                Some(Leads::Score(value)) => {
                    let reasoning =
                        path.iter().map(|step| format!("{}: {}. {}", step.question, step.answer, step.reasoning));
                    let reasoning = reasoning.collect::<Vec<_>>().join("\n");
                    let judgement = Judgement { value: value.clone(), reasoning, ..judgement };
                    let judged = Judged { path, ..judged };
                    return Ok(self.to_score(judgement, (&prompt, material), asking, &judged));
                }
                Some(Leads::NotApplicable) | None => {
                    let words = format!("question `{}` is answered `{answer}`", question.name);
                    return Err(Unscored::not_applicable(words).into());
                }
            }
        }
        Err(End::of(UnscoredReason::ScorerFault, "the tree of questions leads nowhere"))
    }

    /// A question for each part of the record; parts that the judge cannot judge have no say.
    async fn parts(
        &self,
        parts: Parts,
        input: &ScoreInput<'_>,
        (material, shots): (&Material, &[Shot]),
        asking: &mut Asking<'_>,
    ) -> Result<Score, End> {
        let pieces = material.parted(input, parts.over, self.spec.max_input_chars, parts.most)?;
        let mut found: Vec<(Judgement, Vec<TokenChance>, crate::rubric::Prompt, usize)> = Vec::new();
        let mut scored: Vec<PartScored> = Vec::new();
        let mut first_fault = None;
        for (place, (piece, words)) in pieces.iter().enumerate() {
            match self.one(score_question(&self.spec), piece, shots, asking).await {
                Ok((judgement, tokens, prompt)) => {
                    let value = Some(judgement.value.clone());
                    scored.push(PartScored { part: words.clone(), value, unscored: None });
                    found.push((judgement, tokens, prompt, place));
                }
                // What the judge says it cannot judge is no failure of the instrument; all else costs the cell, for a
                // fold over what happened to be read is no score of the whole.
                Err(end) if end.unscored.reason == UnscoredReason::CannotJudge => {
                    let unscored = Some(end.unscored.reason);
                    scored.push(PartScored { part: words.clone(), value: None, unscored });
                    first_fault.get_or_insert(end);
                }
                Err(end) => return Err(end),
            }
        }
        let Some((value, decides)) = folded(parts.fold, self.spec.direction, &found) else {
            return Err(first_fault.unwrap_or_else(|| End::of(UnscoredReason::CannotJudge, "no part could be judged")));
        };
        let Some((judgement, tokens, prompt, place)) = found.into_iter().nth(decides) else {
            return Err(End::of(UnscoredReason::ScorerFault, "a part without a judgement"));
        };
        let judged = self.told(Judged::default(), &judgement, &tokens);
        let judged = Judged { parts: if pieces.len() > 1 { scored } else { Vec::new() }, ..judged };
        let judgement = Judgement { value, ..judgement };
        let shown = pieces.get(place).map_or(material, |(piece, _)| piece);
        Ok(self.to_score(judgement, (&prompt, shown), asking, &judged))
    }

    /// Has pieces that are too long summed up, where the judge's policy is that; whether any was.
    pub(super) async fn sum_up(&self, material: &mut Material, asking: &mut Asking<'_>) -> Result<bool, End> {
        if self.spec.long_input != LongInput::Summary {
            return Ok(false);
        }
        let long = material.too_long(self.spec.max_input_chars);
        for (name, text, room) in &long {
            let characters: Vec<char> = text.chars().collect();
            let chunks: Vec<String> = characters.chunks(SUMMARY_CHUNK).map(|chunk| chunk.iter().collect()).collect();
            let limit = room / chunks.len().max(1);
            let mut summary = String::new();
            for (index, chunk) in chunks.iter().enumerate() {
                let place = (index + 1, chunks.len());
                let messages = summary_messages(&self.spec, &name.to_string(), place, chunk, limit);
                let said = asking.question(&FreeText, &messages).await?;
                summary.push_str(&format!("Part {} of {}:\n{said}\n\n", place.0, place.1));
            }
            material.put_summary(name, summary.trim_end());
        }
        Ok(!long.is_empty())
    }

    /// What one cell asks: the question with its size, as often as the method asks it, and summaries before.
    pub(super) fn sizes(&self, input: &ScoreInput<'_>) -> Vec<AskSize> {
        let (Ok(material), Some(wanted)) = (self.material(input), main_question(&self.spec)) else { return Vec::new() };
        let size = |prompt_chars: usize, least: f64, most: f64| AskSize {
            model: self.asker.model.name.clone(),
            prompt_chars,
            max_output_tokens: self.asker.model.max_tokens,
            least,
            most,
        };
        let shots = self.shots_for(input);
        let of = |material: &Material| render(&self.spec, wanted, material, &shots).map_or(0, |prompt| prompt.chars());
        if let Method::Parts(parts) = &self.spec.method {
            let pieces = material.parted(input, parts.over, self.spec.max_input_chars, parts.most).unwrap_or_default();
            return pieces.iter().map(|(piece, _)| size(of(piece), 1.0, 1.0)).collect();
        }
        let mut sizes = Vec::new();
        let mut shown = material;
        if self.spec.long_input == LongInput::Summary {
            for (name, text, room) in shown.too_long(self.spec.max_input_chars) {
                let chars = text.chars().count();
                let chunks = chars.div_ceil(SUMMARY_CHUNK);
                sizes.extend((0..chunks).map(|_| size(chars / chunks.max(1) + 1_000, 1.0, 1.0)));
                shown.put_summary(&name, &"x".repeat(room));
            }
        }
        let (least, most) = match &self.spec.method {
            Method::Pair(_) => (2.0, 2.0),
            Method::Tree(tree) => (f64::from(tree.depth().0), f64::from(tree.depth().1)),
            _ => (1.0, 1.0),
        };
        sizes.push(size(of(&shown), least, most));
        sizes
    }
}

fn no_expected_score(mass: Option<&LabelMass>, expected: &ExpectedScore) -> End {
    let detail = match mass {
        Some(mass) if mass.status == Status::LowMass => format!(
            "the scores carry {:.2} of the probability, less than {}; `otherwise = \"vote\"` takes the score that was \
             written",
            mass.mass, expected.least_mass
        ),
        _ => "the server tells no probabilities of the score; use one that does, or set `otherwise = \"vote\"`"
            .to_owned(),
    };
    End::of(UnscoredReason::NoProbabilities, detail)
}

fn at_question(mut end: End, name: &str) -> End {
    end.unscored.detail = format!("question `{name}`: {}", end.unscored.detail);
    end
}

/// The folded score of parts and the place of the part that decides; `None` without any.
fn folded<A, B>(
    fold: PartFold,
    direction: crate::model::Direction,
    found: &[(Judgement, A, B, usize)],
) -> Option<(ScoreValue, usize)> {
    let better = match direction {
        crate::model::Direction::Higher => 1.0,
        crate::model::Direction::Lower => -1.0,
    };
    let ranked = |sign: f64| {
        let numbers = found.iter().enumerate().filter_map(|(place, one)| Some((place, one.0.value.number()? * sign)));
        numbers.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(place, _)| place)
    };
    let decides = match fold {
        PartFold::Worst | PartFold::Mean => ranked(better),
        PartFold::Best => ranked(-better),
        PartFold::Last => found.len().checked_sub(1),
    }?;
    let value = found.get(decides)?.0.value.clone();
    if fold != PartFold::Mean {
        return Some((value, decides));
    }
    let numbers: Vec<f64> = found.iter().filter_map(|one| one.0.value.number()).collect();
    let number = Finite::new(numbers.iter().sum::<f64>() / numbers.len() as f64)?;
    Some((ScoreValue::Number { number }, decides))
}
