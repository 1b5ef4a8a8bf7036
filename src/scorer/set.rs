//! Several scorers as one: all of them, any of them, so many of them, or their weighted mean; each may be turned round.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::options::{check_share, read, schema_of};
use super::{Scorer, ScorerInfo, find};
use crate::model::{Direction, Scale, Score, ScoreInput, ScoreValue, Scored, Unscored, UnscoredReason};
use crate::sys::text::{nearest, one_line};

pub(super) const SET: ScorerInfo = ScorerInfo {
    name: "set",
    version: "1",
    summary: "Makes one score of several scorers: all, any or so many of them must pass, or their weighted mean.",
    sample: "rule = \"all\"\nparts = [{ scorer = \"json_valid\" }, { scorer = \"contains\", value = \"sorry\", not = true }]",
    schema: schema_of::<Options>,
    build,
};

/// Most scorers in one set.
const MOST: usize = 50;

/// How parts make a score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Rule {
    /// Every part passes.
    #[default]
    All,
    /// One part passes.
    Any,
    /// At least `count` parts pass.
    Count,
    /// The weighted mean of the parts: yes is 1, no is 0, numbers must lie between 0 and 1.
    Mean,
}

/// A scorer in a set; its options stand beside these keys.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
struct Part {
    /// Name of the scorer.
    scorer: String,
    /// What findings call it; the scorer's name when left out.
    name: Option<String>,
    /// Whether its finding is turned round: what passes fails, a number becomes 1 minus itself.
    #[serde(default)]
    not: bool,
    /// How much it weighs in the mean, above 0.
    weight: Option<f64>,
    /// Options of the scorer.
    #[serde(flatten)]
    options: Map<String, Value>,
}

/// Which scorers, and how they make one score. What a part cannot say may leave the set open: it is then unscored.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// How parts make a score.
    #[serde(default)]
    rule: Rule,
    /// For `count`: how many parts must pass.
    count: Option<usize>,
    /// For `mean`: pass from this mean up, 0 to 1; without it the mean itself is the score.
    at_least: Option<f64>,
    /// Whether parts that do not apply to an example are left out, in place of leaving the set open.
    #[serde(default)]
    leave_out: bool,
    /// The scorers, each with its options.
    parts: Vec<Part>,
}

struct Member {
    name: String,
    not: bool,
    weight: f64,
    scorer: Box<dyn Scorer>,
    /// Names and versions of what is inside, for the digest.
    inside: Vec<String>,
}

struct Set {
    rule: Rule,
    count: usize,
    at_least: Option<f64>,
    leave_out: bool,
    members: Vec<Member>,
}

fn build(options: &Value) -> Result<Box<dyn Scorer>, String> {
    let options: Options = read(options)?;
    check_share("at_least", options.at_least)?;
    if options.parts.is_empty() || options.parts.len() > MOST {
        return Err(format!("`parts` holds {} scorers: name 1 to {MOST}", options.parts.len()));
    }
    if options.count.is_some() != (options.rule == Rule::Count) {
        return Err("`count` and `rule = \"count\"` belong together".to_owned());
    }
    if options.at_least.is_some() && options.rule != Rule::Mean {
        return Err("`at_least` means something only with `rule = \"mean\"`".to_owned());
    }
    let count = options.count.unwrap_or(1);
    if count == 0 || count > options.parts.len() {
        return Err(format!("`count` is {count}, and there are {} parts", options.parts.len()));
    }
    let members = options.parts.into_iter().enumerate().map(|(place, part)| member(place, part, options.rule));
    let members = members.collect::<Result<Vec<_>, String>>()?;
    Ok(Box::new(Set { rule: options.rule, count, at_least: options.at_least, leave_out: options.leave_out, members }))
}

fn member(place: usize, part: Part, rule: Rule) -> Result<Member, String> {
    let at = format!("`parts.{place}`");
    let known = || super::SCORERS.iter().map(|info| info.name);
    let info = find(&part.scorer).ok_or_else(|| {
        let hint = nearest(&part.scorer, known()).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
        format!("{at}: no scorer `{}` that can stand in a set{hint}", one_line(&part.scorer, 60))
    })?;
    let scorer = (info.build)(&Value::Object(part.options)).map_err(|message| format!("{at}: {message}"))?;
    let weight = part.weight.unwrap_or(1.0);
    if part.weight.is_some() && rule != Rule::Mean {
        return Err(format!("{at}: `weight` means something only with `rule = \"mean\"`"));
    }
    if !weight.is_finite() || weight <= 0.0 {
        return Err(format!("{at}: `weight` must be a number above 0, found `{weight}`"));
    }
    let fits = match scorer.scale() {
        Scale::Binary => true,
        Scale::Number { min, max } => rule == Rule::Mean && min == Some(0.0) && max == Some(1.0),
        Scale::Labels { .. } => false,
    };
    if !fits {
        let mend = if rule == Rule::Mean { "a number between 0 and 1 or yes and no" } else { "yes and no" };
        return Err(format!(
            "{at}: `{}` does not give {mend}: give it a limit such as `at_least` or `at_most`",
            info.name
        ));
    }
    let mut inside = vec![format!("{}@{}", info.name, info.version)];
    inside.extend(scorer.inside());
    Ok(Member { name: part.name.unwrap_or(part.scorer), not: part.not, weight, scorer, inside })
}

/// What a part found: a value between 0 and 1 with its words, or why there is none.
struct Found<'a> {
    member: &'a Member,
    value: Result<f64, Unscored>,
    told: String,
}

impl Member {
    fn look(&self, input: &ScoreInput<'_>) -> Found<'_> {
        let scored = self.scorer.score(input);
        let lower = self.scorer.direction() == Direction::Lower;
        let told = match &scored {
            Ok(score) => score.explanation.clone().unwrap_or_default(),
            Err(unscored) => unscored.detail.clone(),
        };
        let value = scored.and_then(|score| {
            let number = score.value.number().ok_or_else(|| {
                Unscored::new(UnscoredReason::ScorerFault, format!("`{}` gave no number", one_line(&self.name, 60)))
            })?;
            // Less is better: its good end must be 1 like that of the others.
            let number = if lower && matches!(score.value, ScoreValue::Number { .. }) { 1.0 - number } else { number };
            Ok(if self.not { 1.0 - number } else { number }.clamp(0.0, 1.0))
        });
        Found { member: self, value, told: one_line(&told, 200) }
    }
}

impl Found<'_> {
    fn word(&self) -> String {
        match &self.value {
            Ok(number) if *number == 1.0 => "pass".to_owned(),
            Ok(number) if *number == 0.0 => "fail".to_owned(),
            Ok(number) => format!("{number:.4}"),
            Err(unscored) => unscored.reason.as_str().to_owned(),
        }
    }

    fn line(&self) -> String {
        let not = if self.member.not { "not " } else { "" };
        format!("{not}`{}`: {} ({})", one_line(&self.member.name, 60), self.word(), self.told)
    }
}

impl Scorer for Set {
    fn score(&self, input: &ScoreInput<'_>) -> Scored {
        let mut found: Vec<Found<'_>> = self.members.iter().map(|member| member.look(input)).collect();
        let lines: Vec<String> = found.iter().map(Found::line).collect();
        if self.leave_out {
            found
                .retain(|one| !matches!(&one.value, Err(unscored) if unscored.reason == UnscoredReason::NotApplicable));
            if found.is_empty() {
                return Err(Unscored::not_applicable(format!("no part applies: {}", one_line(&lines.join("; "), 800))));
            }
        }
        let passed = found.iter().filter(|one| one.value == Ok(1.0)).count();
        let open = found.iter().find_map(|one| one.value.as_ref().err().map(|unscored| (one, unscored)));
        let unknown = found.iter().filter(|one| one.value.is_err()).count();
        let needed = match self.rule {
            Rule::All | Rule::Mean => found.len(),
            Rule::Any => 1,
            Rule::Count => self.count.min(found.len()),
        };
        let told = format!("{passed} of {} parts pass\n{}", found.len(), shown(&lines));
        let decided = passed >= needed || passed + unknown < needed;
        let mut score = match open {
            Some((one, unscored)) if self.rule == Rule::Mean || !decided => {
                let name = one_line(&one.member.name, 60);
                let detail = format!("part `{name}` gave no score: {}", one_line(&unscored.detail, 600));
                return Err(Unscored::new(unscored.reason, detail));
            }
            _ if self.rule != Rule::Mean => Score::pass(passed >= needed, told),
            _ => self.mean(&found, &lines)?,
        };
        let part = |one: &Found<'_>| json!({ "name": one.member.name, "found": one.word(), "told": one.told });
        score.details = json!({ "parts": found.iter().map(part).collect::<Vec<_>>() });
        Ok(score)
    }

    fn scale(&self) -> Scale {
        match (self.rule, self.at_least) {
            (Rule::Mean, None) => Scale::Number { min: Some(0.0), max: Some(1.0) },
            _ => Scale::Binary,
        }
    }

    fn inside(&self) -> Vec<String> {
        self.members.iter().flat_map(|member| member.inside.iter().cloned()).collect()
    }
}

impl Set {
    fn mean(&self, found: &[Found<'_>], lines: &[String]) -> Scored {
        let weights: f64 = found.iter().map(|one| one.member.weight).sum();
        let sum: f64 = found.iter().map(|one| one.member.weight * one.value.as_ref().copied().unwrap_or(0.0)).sum();
        let mean = (sum / weights).clamp(0.0, 1.0);
        let told = format!("weighted mean {mean:.4} of {} parts\n{}", found.len(), shown(lines));
        let score = match self.at_least {
            Some(least) => Some(Score::pass(mean >= least, told)),
            None => Score::number(mean, told),
        };
        score.ok_or_else(|| Unscored::new(UnscoredReason::ScorerFault, "the mean is not finite"))
    }
}

/// As many lines as an explanation has room for.
fn shown(lines: &[String]) -> String {
    let mut text = String::new();
    for (place, line) in lines.iter().enumerate() {
        if text.len() + line.len() > 2_400 {
            text.push_str(&format!("and {} more", lines.len() - place));
            break;
        }
        text.push_str(line);
        text.push('\n');
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{build, build_error, number, passes, score};
    use super::*;

    fn parts(words: &[&str]) -> Value {
        words.iter().map(|word| json!({"scorer": "contains", "value": word})).collect()
    }

    #[test]
    fn all_any_and_so_many_parts_pass() {
        let fits = |options: Value| passes("set", options, json!("a b"), Value::Null);
        assert!(fits(json!({"parts": parts(&["a", "b"])})) && !fits(json!({"parts": parts(&["a", "c"])})));
        assert!(fits(json!({"rule": "any", "parts": parts(&["c", "b"])})));
        assert!(fits(json!({"rule": "count", "count": 2, "parts": parts(&["a", "b", "c"])})));
        assert!(!fits(json!({"rule": "count", "count": 2, "parts": parts(&["a", "d", "c"])})));
        assert!(fits(json!({"parts": [{"scorer": "contains", "value": "c", "not": true}]})));
        let nested = json!({"parts": [{"scorer": "set", "rule": "any", "parts": parts(&["x", "a"])}]});
        assert!(fits(nested));
    }

    #[test]
    fn a_mean_is_weighted_and_each_part_is_told() {
        let options = json!({"rule": "mean", "parts": [
            {"scorer": "contains", "value": "a", "weight": 3},
            {"scorer": "edit_distance", "value": "zz", "name": "near"},
        ]});
        let found = number("set", options.clone(), json!("a b"), Value::Null);
        assert!((found - 0.75).abs() < 1e-12, "{found}");
        let told = score("set", options, json!("a b"), Value::Null).unwrap().explanation.unwrap();
        assert!(told.contains("`contains`: pass") && told.contains("`near`: fail"), "{told}");
    }

    #[test]
    fn what_a_part_cannot_say_leaves_the_set_open_unless_it_is_decided() {
        let exact = json!({"scorer": "exact"});
        let with = |rule: &str, word: &str, leave_out: bool| {
            let parts = json!([exact, {"scorer": "contains", "value": word}]);
            score("set", json!({"rule": rule, "parts": parts, "leave_out": leave_out}), json!("a"), Value::Null)
        };
        assert_eq!(with("all", "b", false).unwrap().value.number(), Some(0.0), "one part fails, so all do not pass");
        assert_eq!(with("any", "a", false).unwrap().value.number(), Some(1.0));
        for (rule, word) in [("all", "a"), ("any", "b"), ("mean", "a")] {
            let open = with(rule, word, false).unwrap_err();
            assert_eq!(open.reason, UnscoredReason::NotApplicable);
            assert!(open.detail.contains("`exact`"), "{}", open.detail);
        }
        assert_eq!(with("all", "a", true).unwrap().value.number(), Some(1.0));
        let none = score("set", json!({"parts": [exact], "leave_out": true}), json!("a"), Value::Null);
        assert_eq!(none.unwrap_err().reason, UnscoredReason::NotApplicable);
    }

    #[test]
    fn sets_that_cannot_be_are_refused() {
        let wrong = |options: Value| build_error("set", options);
        assert!(wrong(json!({"parts": []})).contains("`parts`"));
        assert!(wrong(json!({"parts": [{"scorer": "exakt"}]})).contains("did you mean `exact`?"));
        assert!(wrong(json!({"parts": [{"scorer": "token_f1"}]})).contains("`token_f1`"));
        assert!(wrong(json!({"parts": [{"scorer": "regex", "patern": "a"}]})).contains("`patern`"));
        assert!(wrong(json!({"rule": "count", "count": 3, "parts": parts(&["a"])})).contains("`count`"));
        assert!(wrong(json!({"parts": [{"scorer": "exact", "weight": 2}]})).contains("`weight`"));
        let nested = build("set", json!({"parts": [{"scorer": "set", "parts": parts(&["a"])}]}));
        assert_eq!(nested.inside().len(), 2);
    }

    proptest! {
        #[test]
        fn not_all_is_any_not(has in proptest::collection::vec(any::<bool>(), 1..6)) {
            let part = |yes: bool, not: bool| json!({"scorer": "contains", "value": if yes { "a" } else { "b" }, "not": not});
            let straight: Vec<Value> = has.iter().map(|yes| part(*yes, false)).collect();
            let turned: Vec<Value> = has.iter().map(|yes| part(*yes, true)).collect();
            let all = passes("set", json!({ "parts": straight }), json!("a"), Value::Null);
            let any = passes("set", json!({ "rule": "any", "parts": turned }), json!("a"), Value::Null);
            prop_assert_eq!(all, !any);
        }
    }
}
