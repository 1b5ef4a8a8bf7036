//! The tables of `judge.toml` that say how a judge comes to its score: `[expected_score]`, `[[criteria]]`, `[pairwise]`,
//! `[[tree]]`, `[parts]`, `[few_shot]`.

use std::collections::BTreeSet;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::calibration::parse_label;
use super::input::{InputName, is_plain};
use super::method::{
    Criterion, Disagreement, ExpectedScore, FewShot, Leads, Method, Otherwise, Over, Pair, PartFold, Parts, Tree,
    TreeAnswer, TreeQuestion,
};
use super::reader::{Reader, integer, number};
use super::scale::RubricScale;
use crate::model::Direction;
use crate::stats::LEAST_MASS;

/// The tables of which a judge may have one.
const METHODS: &[&str] = &["expected_score", "criteria", "pairwise", "tree", "parts"];

/// Most parts of a record unless the judge says otherwise.
const DEFAULT_PARTS: usize = 50;

/// Likeliest tokens that are asked for unless the judge says otherwise; the most that servers offer.
const DEFAULT_TOP: u64 = 20;

impl Reader<'_> {
    /// The method, and the scale that it makes do with when there is no `[scale]`.
    pub(super) fn method(&mut self, root: &DeTable<'_>, scale: Option<&RubricScale>, inputs: &[InputName]) -> Method {
        let named: Vec<&str> = METHODS.iter().copied().filter(|name| root.contains_key(*name)).collect();
        if let [_, second, ..] = named.as_slice() {
            let found = format!("`{}`", named.join("` and `"));
            let expected = "one way to come to a score";
            let at = root.get(*second).map(|value| value.span().start);
            self.problem(at, second, &found, expected, Some("make two judges of it".to_owned()));
        }
        let found = match named.first().copied() {
            Some("expected_score") => self.expected_score(root, scale).map(Method::Expected),
            Some("criteria") => Some(Method::Criteria(self.criteria(root))),
            Some("pairwise") => self.pair(root, scale, inputs).map(Method::Pair),
            Some("tree") => self.tree(root, scale).map(Method::Tree),
            Some("parts") => self.parts(root, scale, inputs).map(Method::Parts),
            _ => None,
        };
        found.unwrap_or_default()
    }

    fn expected_score(&mut self, root: &DeTable<'_>, scale: Option<&RubricScale>) -> Option<ExpectedScore> {
        let table = self.table(root, "expected_score")?;
        self.unknown(table, "expected_score.", &["least_mass", "otherwise", "top_logprobs", "reasoned"]);
        let least_mass = self.number(table, "least_mass", "expected_score.least_mass").unwrap_or(LEAST_MASS);
        if let Some(value) = table.get("least_mass").filter(|_| !(least_mass > 0.0 && least_mass <= 1.0)) {
            self.wrong(value, "expected_score.least_mass", "a share above 0 and at most 1");
        }
        let otherwise = match self.choice(table, "otherwise", &["unscored", "vote"]).as_deref() {
            Some("vote") => Otherwise::Vote,
            _ => Otherwise::Unscored,
        };
        let top =
            self.whole(table, "top_logprobs", "expected_score.top_logprobs", 2, DEFAULT_TOP).unwrap_or(DEFAULT_TOP);
        let reasoned = self.flag(table, "reasoned", "expected_score.reasoned");
        let at = root.get("expected_score").map(|value| value.span().start);
        self.labels_can_be_told_apart(at, scale?);
        Some(ExpectedScore { least_mass, otherwise, top: u8::try_from(top).unwrap_or(20), reasoned })
    }

    /// The chance of a label is that of its first token, so that no label may begin with another.
    fn labels_can_be_told_apart(&mut self, at: Option<usize>, scale: &RubricScale) {
        let Some(menu) = scale.menu() else {
            let expected = "a scale with at most 21 scores: binary, labels, or numbers with a `step`";
            self.problem(at, "expected_score", "a scale that permits any number", expected, None);
            return;
        };
        if let Some((label, _)) = menu.iter().find(|(_, value)| value.is_none()) {
            self.problem(at, "expected_score", &format!("label `{label}` without a value"), "a value for each", None);
        }
        let lowered: Vec<String> = menu.iter().map(|(label, _)| label.to_lowercase()).collect();
        let begins = |one: &String| lowered.iter().find(|other| *other != one && other.starts_with(one.as_str()));
        if let Some((one, other)) = lowered.iter().find_map(|one| Some((one, begins(one)?))) {
            let found = format!("`{other}`, which begins with `{one}`");
            let hint = "use 0 to 9, or labels, such as A to J, in place of 1 to 10".to_owned();
            self.problem(at, "expected_score", &found, "scores that differ in their first token", Some(hint));
        }
    }

    fn criteria(&mut self, root: &DeTable<'_>) -> Vec<Criterion> {
        let rows = self.rows(root, "criteria", "criteria");
        if rows.len() < 2 {
            let at = root.get("criteria").map(|value| value.span().start);
            self.problem(at, "criteria", "fewer than two criteria", "at least two tables `[[criteria]]`", None);
        }
        let mut criteria: Vec<Criterion> = Vec::new();
        for row in rows {
            let Some(table) = row.get_ref().as_table() else { continue };
            self.unknown(table, "criteria.", &["name", "summary", "scale", "direction"]);
            let name = self.required_text(table, "name").map(|(text, _)| text).unwrap_or_default();
            let summary = self.required_text(table, "summary").map(|(text, _)| text).unwrap_or_default();
            let direction = self.direction(table);
            let scale = self.scale(table, direction);
            let taken = criteria.iter().any(|other| other.name.eq_ignore_ascii_case(&name));
            if !name.is_empty() && (taken || !is_plain(&name)) {
                let expected = "a name of its own: letters, digits, `_`, `-`, at most 64";
                self.problem(Some(row.span().start), "criteria.name", &format!("`{name}`"), expected, None);
            }
            criteria.extend(scale.map(|scale| Criterion { name, summary, scale, direction }));
        }
        criteria
    }

    fn pair(&mut self, root: &DeTable<'_>, scale: Option<&RubricScale>, inputs: &[InputName]) -> Option<Pair> {
        let table = self.table(root, "pairwise")?;
        self.unknown(table, "pairwise.", &["first", "second", "disagreement"]);
        let first = self.paired_input(table, "first", inputs);
        let second = self.paired_input(table, "second", inputs);
        let at = root.get("pairwise").map(|value| value.span().start);
        if first.is_some() && first == second {
            self.problem(at, "pairwise", "an input compared with itself", "two inputs", None);
        }
        let mirrored = matches!(scale?, RubricScale::Labels(labels) if mirrors(labels.iter().map(|label| label.value)));
        if !mirrored {
            let expected = "labels for first, tie (if there is one) and second, with values that mirror: 1, 0.5, 0";
            self.problem(at, "pairwise", "a scale that cannot be swapped", expected, None);
        }
        let tie = scale.and_then(Pair::tie).is_some();
        let disagreement = match self.choice(table, "disagreement", &["tie", "unscored"]).as_deref() {
            Some("unscored") => Disagreement::Unscored,
            Some(_) if !tie => {
                self.problem(at, "pairwise.disagreement", "`tie` without a third label", "`unscored`", None);
                Disagreement::Unscored
            }
            None if !tie => Disagreement::Unscored,
            _ => Disagreement::Tie,
        };
        Some(Pair { first: first?, second: second?, disagreement })
    }

    fn paired_input(&mut self, table: &DeTable<'_>, key: &str, inputs: &[InputName]) -> Option<InputName> {
        let (text, at) = self.required_text(table, key)?;
        let name = InputName::parse(&text).filter(|name| inputs.contains(name));
        if name.is_none() {
            let found = format!("`{text}`");
            self.problem(Some(at), &format!("pairwise.{key}"), &found, "one of the judge's `inputs`", None);
        }
        name
    }

    fn tree(&mut self, root: &DeTable<'_>, scale: Option<&RubricScale>) -> Option<Tree> {
        let rows = self.rows(root, "tree", "tree");
        let mut names: Vec<String> = Vec::new();
        for row in &rows {
            let Some(table) = row.get_ref().as_table() else { continue };
            self.unknown(table, "tree.", &["name", "ask", "answers"]);
            let name = self.required_text(table, "name").map(|(text, _)| text).unwrap_or_default();
            if !is_plain(&name) || names.contains(&name) {
                let expected = "a name of its own: letters, digits, `_`, `-`, at most 64";
                self.problem(Some(row.span().start), "tree.name", &format!("`{name}`"), expected, None);
            }
            names.push(name);
        }
        let mut questions = Vec::new();
        let mut met: BTreeSet<usize> = BTreeSet::from([0]);
        for (place, row) in rows.iter().enumerate() {
            let Some(table) = row.get_ref().as_table() else { continue };
            let ask = self.required_text(table, "ask").map(|(text, _)| text).unwrap_or_default();
            let answers = self.tree_answers(table, row.span().start, (place, &names), scale);
            if !met.contains(&place) {
                let found =
                    format!("question `{}`, which no answer leads to", names.get(place).map_or("", String::as_str));
                self.problem(Some(row.span().start), "tree", &found, "questions that are reached", None);
            }
            met.extend(answers.iter().filter_map(|answer| match answer.leads {
                Leads::Question(next) => Some(next),
                _ => None,
            }));
            questions.push(TreeQuestion { name: names.get(place).cloned().unwrap_or_default(), ask, answers });
        }
        (!questions.is_empty()).then_some(Tree { questions })
    }

    fn tree_answers(
        &mut self,
        table: &DeTable<'_>,
        start: usize,
        (place, names): (usize, &[String]),
        scale: Option<&RubricScale>,
    ) -> Vec<TreeAnswer> {
        let rows = self.rows(table, "answers", "tree.answers");
        if rows.len() < 2 {
            self.problem(Some(start), "tree.answers", "fewer than two answers", "at least two answers", None);
        }
        let mut answers: Vec<TreeAnswer> = Vec::new();
        for row in rows {
            let Some(fields) = row.get_ref().as_table() else { continue };
            self.unknown(fields, "tree.answers.", &["answer", "means", "next", "score", "not_applicable"]);
            let answer = self.required_text(fields, "answer").map(|(text, _)| text).unwrap_or_default();
            if answers.iter().any(|other| other.answer.eq_ignore_ascii_case(&answer)) || answer.contains('"') {
                let expected = "an answer of its own, whatever its case, without quotes";
                self.problem(Some(row.span().start), "tree.answers.answer", &format!("`{answer}`"), expected, None);
            }
            let means = self.text(fields, "means", "tree.answers.means").unwrap_or_default();
            if let Some(leads) = self.leads(fields, row.span().start, (place, names), scale) {
                answers.push(TreeAnswer { answer, means, leads });
            }
        }
        answers
    }

    fn leads(
        &mut self,
        fields: &DeTable<'_>,
        start: usize,
        (place, names): (usize, &[String]),
        scale: Option<&RubricScale>,
    ) -> Option<Leads> {
        let not_applicable = self.flag(fields, "not_applicable", "tree.answers.not_applicable");
        match (fields.get("next"), fields.get("score"), not_applicable) {
            (Some(next), None, false) => {
                let name = next.get_ref().as_str().unwrap_or_default();
                let found = names.iter().position(|other| other == name).filter(|found| *found > place);
                if found.is_none() {
                    let expected = "the name of a question that stands further down, so that none is met twice";
                    self.wrong(next, "tree.answers.next", expected);
                }
                found.map(Leads::Question)
            }
            (None, Some(score), false) => {
                let value = json_of(score).and_then(|label| parse_label(scale?, &label));
                if value.is_none() {
                    self.wrong(score, "tree.answers.score", "a score of `[scale]`");
                }
                value.map(Leads::Score)
            }
            (None, None, true) => Some(Leads::NotApplicable),
            _ => {
                let expected = "one of `next = QUESTION`, `score = SCORE`, `not_applicable = true`";
                self.problem(
                    Some(start),
                    "tree.answers",
                    "an answer that leads nowhere, or to two places",
                    expected,
                    None,
                );
                None
            }
        }
    }

    fn parts(&mut self, root: &DeTable<'_>, scale: Option<&RubricScale>, inputs: &[InputName]) -> Option<Parts> {
        let table = self.table(root, "parts")?;
        self.unknown(table, "parts.", &["over", "steps", "fold", "most"]);
        let over = self.choice(table, "over", &["room", "steps", "turns"]);
        let steps = self.whole(table, "steps", "parts.steps", 1, 10_000).and_then(|n| usize::try_from(n).ok());
        let over = match over.as_deref() {
            Some("steps") => Over::Steps(steps.unwrap_or(1)),
            Some("turns") => Over::Turns,
            _ => Over::Room,
        };
        let fold = match self.choice(table, "fold", &["worst", "best", "mean", "last"]).as_deref() {
            Some("best") => PartFold::Best,
            Some("mean") => PartFold::Mean,
            Some("last") => PartFold::Last,
            _ => PartFold::Worst,
        };
        let most = self.whole(table, "most", "parts.most", 2, 10_000).and_then(|n| usize::try_from(n).ok());
        let at = root.get("parts").map(|value| value.span().start);
        if !inputs.contains(&InputName::Known("transcript")) {
            self.problem(at, "parts", "no `transcript` among `inputs`", "a record of steps to part", None);
        }
        let valueless =
            matches!(scale, Some(RubricScale::Labels(labels)) if labels.iter().any(|one| one.value.is_none()));
        if valueless && fold != PartFold::Last {
            self.problem(at, "parts.fold", "labels without values", "a value for each label, or `last`", None);
        }
        Some(Parts { over, fold, most: most.unwrap_or(DEFAULT_PARTS) })
    }

    /// `[few_shot]`.
    pub(super) fn few_shot(&mut self, root: &DeTable<'_>) -> Option<FewShot> {
        let table = self.table(root, "few_shot")?;
        self.unknown(table, "few_shot.", &["examples", "seed"]);
        let count = self.whole(table, "examples", "few_shot.examples", 1, 20).unwrap_or(4);
        let seed = self.whole(table, "seed", "few_shot.seed", 0, i64::MAX.unsigned_abs()).unwrap_or(0);
        Some(FewShot { count: usize::try_from(count).unwrap_or(4), seed })
    }

    /// Which way is better.
    pub(super) fn direction(&mut self, root: &DeTable<'_>) -> Direction {
        match self.choice(root, "direction", &["higher", "lower"]).as_deref() {
            Some("lower") => Direction::Lower,
            _ => Direction::Higher,
        }
    }
}

/// Two or three values, the last as far below the middle as the first is above.
fn mirrors(values: impl Iterator<Item = Option<f64>>) -> bool {
    match values.collect::<Option<Vec<f64>>>().as_deref() {
        Some([_, _]) => true,
        Some([first, tie, second]) => (first + second - 2.0 * tie).abs() < 1e-9,
        _ => false,
    }
}

fn json_of(value: &Spanned<DeValue<'_>>) -> Option<serde_json::Value> {
    match value.get_ref() {
        DeValue::String(text) => Some(serde_json::Value::String(text.to_string())),
        other => integer(other).map(serde_json::Value::from).or_else(|| number(other).map(serde_json::Value::from)),
    }
}

#[cfg(test)]
#[path = "parse_method_tests.rs"]
mod tests;
