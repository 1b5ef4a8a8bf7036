//! Graders on chosen spans of a trace: each span as if it were the output, and one finding made of theirs.

use serde_json::{Value, json};

use super::Scorer;
use crate::model::{
    CombineSpans, Direction, Output, Scale, Score, ScoreInput, Scored, SpanChoice, Unscored, UnscoredReason, WhichSpans,
};
use crate::sys::text::one_line;

/// Most spans that are graded one by one.
const MOST: usize = 200;

/// A span that is graded.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// Its name and id, for findings.
    pub label: String,
    /// Its id; empty when it stands for several.
    pub span: String,
    /// The span as an output.
    pub output: Output,
}

/// The spans of an output that a choice names, each as an output.
///
/// # Errors
/// Why there is nothing to grade: no trace, no span that fits, or too many.
pub fn choose(choice: &SpanChoice, output: &Output) -> Result<Vec<Chosen>, Unscored> {
    let trace = output
        .trace
        .as_deref()
        .ok_or_else(|| Unscored::not_applicable("the output has no trace: there are no spans to choose from"))?;
    let spans = choice.spans(trace);
    if spans.is_empty() {
        return Err(Unscored::not_applicable("no span of the trace fits `on`"));
    }
    if spans.len() > MOST && choice.which == WhichSpans::Each {
        let detail = format!("{} spans fit `on`, more than {MOST}: choose fewer", spans.len());
        return Err(Unscored::new(UnscoredReason::InputTooLong, detail));
    }
    if choice.which == WhichSpans::All {
        let value: Value = spans.iter().map(|span| crate::model::value_of(span)).collect();
        let label = format!("{} spans", spans.len());
        return Ok(vec![Chosen { label, span: String::new(), output: Output { value, ..output.clone() } }]);
    }
    let chosen = spans.into_iter().map(|span| {
        let name = span.tool.as_ref().map_or(span.name.as_str(), |tool| tool.name.as_str());
        let id = span.span_id.to_string();
        let label = format!("`{}` ({})", one_line(name, 60), one_line(&id, 40));
        Chosen { label, span: id, output: SpanChoice::output(trace, span, output) }
    });
    Ok(chosen.collect())
}

/// How the findings of a grader on spans become one, and on which scale the result lies.
///
/// # Errors
/// The grader's scale cannot be combined so.
pub fn combined(choice: &SpanChoice, scale: &Scale) -> Result<(Option<CombineSpans>, Scale), String> {
    if choice.which != WhichSpans::Each {
        return match choice.combine {
            Some(_) => Err("`on.combine` means something only with `which = \"each\"`".to_owned()),
            None => Ok((None, scale.clone())),
        };
    }
    let share = Scale::Number { min: Some(0.0), max: Some(1.0) };
    match (scale, choice.combine) {
        (Scale::Binary, None | Some(CombineSpans::All)) => Ok((Some(CombineSpans::All), Scale::Binary)),
        (Scale::Binary, Some(CombineSpans::Any)) => Ok((Some(CombineSpans::Any), Scale::Binary)),
        (Scale::Binary, Some(CombineSpans::Mean)) => Ok((Some(CombineSpans::Mean), share)),
        (Scale::Number { .. }, None) => Ok((Some(CombineSpans::Mean), scale.clone())),
        (Scale::Number { .. }, Some(how @ (CombineSpans::Mean | CombineSpans::Min | CombineSpans::Max))) => {
            Ok((Some(how), scale.clone()))
        }
        (Scale::Labels { .. }, _) => Err(
            "a grader that gives labels cannot be combined over spans: use `which = \"first\"`, `\"last\"` or \"all\""
                .to_owned(),
        ),
        (Scale::Binary, Some(_)) => Err("`on.combine`: yes and no are combined by `all`, `any` or `mean`".to_owned()),
        (Scale::Number { .. }, Some(_)) => {
            Err("`on.combine`: numbers are combined by `mean`, `min` or `max`".to_owned())
        }
    }
}

/// One finding of those on spans. Spans the grader does not apply to are left out; where it failed on one, and the others
/// do not decide, there is no finding.
pub fn combine(how: Option<CombineSpans>, mut found: Vec<(Chosen, Scored)>) -> Scored {
    let Some(how) = how else {
        let first = found.drain(..).next();
        return first.map_or_else(|| Err(Unscored::not_applicable("no span fits")), |(_, scored)| scored);
    };
    let lines: Vec<String> = found.iter().map(|(chosen, scored)| line(chosen, scored)).collect();
    let (mut numbers, mut open, mut idle) = (Vec::new(), None, None);
    for (chosen, scored) in &found {
        match scored {
            Ok(score) => numbers.extend(score.value.number().map(|number| (number, chosen, score))),
            Err(unscored) if unscored.reason == UnscoredReason::NotApplicable => idle = Some(unscored),
            Err(unscored) => open = Some((chosen, unscored)),
        }
    }
    let yes = numbers.iter().filter(|(number, ..)| *number >= 1.0).count();
    let decided = match how {
        CombineSpans::All => yes < numbers.len(),
        CombineSpans::Any => yes > 0,
        _ => false,
    };
    if let Some((chosen, unscored)) = open.filter(|_| !decided) {
        let detail = format!("span {}: {}", chosen.label, one_line(&unscored.detail, 600));
        return Err(Unscored::new(unscored.reason, detail));
    }
    if numbers.is_empty() {
        let why = idle.map(|unscored| format!(": {}", one_line(&unscored.detail, 600))).unwrap_or_default();
        return Err(Unscored::not_applicable(format!("the grader applies to none of the spans{why}")));
    }
    let values = || numbers.iter().map(|(number, ..)| *number);
    let told = |what: &str| format!("{what} over {} spans\n{}", numbers.len(), shown(&lines));
    let score = match how {
        CombineSpans::All => Some(Score::pass(yes == numbers.len(), told(&format!("{yes} pass")))),
        CombineSpans::Any => Some(Score::pass(yes > 0, told(&format!("{yes} pass")))),
        CombineSpans::Mean => {
            let mean = values().sum::<f64>() / numbers.len() as f64;
            Score::number(mean, told(&format!("mean {mean:.4}")))
        }
        CombineSpans::Min => values().reduce(f64::min).and_then(|least| Score::number(least, told("least number"))),
        CombineSpans::Max => values().reduce(f64::max).and_then(|most| Score::number(most, told("greatest number"))),
    };
    let mut score = score.ok_or_else(|| Unscored::new(UnscoredReason::ScorerFault, "the figure is not finite"))?;
    score.evidence = numbers
        .iter()
        .filter(|(number, ..)| *number < 1.0)
        .take(20)
        .map(|(_, chosen, _)| chosen.span.clone())
        .collect();
    let one = |(number, chosen, score): &(f64, &Chosen, &Score)| json!({ "span": chosen.span, "found": score.value.to_string(), "number": number });
    score.details = json!({ "spans": numbers.iter().map(one).collect::<Vec<_>>() });
    Ok(score)
}

fn line(chosen: &Chosen, scored: &Scored) -> String {
    match scored {
        Ok(score) => {
            let why =
                score.explanation.as_deref().map(|text| format!(" ({})", one_line(text, 160))).unwrap_or_default();
            format!("{}: {}{why}", chosen.label, score.value)
        }
        Err(unscored) => {
            format!("{}: {} ({})", chosen.label, unscored.reason.as_str(), one_line(&unscored.detail, 120))
        }
    }
}

fn shown(lines: &[String]) -> String {
    let mut text = String::new();
    for (place, line) in lines.iter().enumerate() {
        if text.chars().count() + line.chars().count() > 2_000 {
            text.push_str(&format!("and {} more", lines.len() - place));
            break;
        }
        text.push_str(line);
        text.push('\n');
    }
    text.trim_end().to_owned()
}

/// A scorer on chosen spans.
pub struct OnSpans {
    inner: Box<dyn Scorer>,
    choice: SpanChoice,
    how: Option<CombineSpans>,
    scale: Scale,
}

impl OnSpans {
    /// A scorer on the spans of a choice.
    ///
    /// # Errors
    /// What it gives cannot be combined so.
    pub fn new(inner: Box<dyn Scorer>, choice: SpanChoice) -> Result<Self, String> {
        let (how, scale) = combined(&choice, &inner.scale())?;
        Ok(Self { inner, choice, how, scale })
    }
}

impl Scorer for OnSpans {
    fn score(&self, input: &ScoreInput<'_>) -> Scored {
        let chosen = choose(&self.choice, input.output)?;
        let look = |chosen: Chosen| {
            let scored = self.inner.score(&ScoreInput { example: input.example, output: &chosen.output });
            (chosen, scored)
        };
        combine(self.how, chosen.into_iter().map(look).collect())
    }

    fn scale(&self) -> Scale {
        self.scale.clone()
    }

    fn direction(&self) -> Direction {
        self.inner.direction()
    }

    fn inside(&self) -> Vec<String> {
        self.inner.inside()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::tests::{build, tool_trace};
    use super::*;
    use crate::model::Example;

    fn found(name: &str, options: Value, choice: Value) -> Scored {
        let mut trace =
            tool_trace(&[("search_a", json!({}), false), ("search_b", json!({}), false), ("pay", json!({}), false)]);
        for span in &mut trace.spans {
            if let Some(tool) = &mut span.tool {
                tool.result = Some(json!(format!("result of {}", tool.name)));
            }
        }
        let output = Output { trace: Some(Arc::new(trace)), ..Output::of_text("whole") };
        let example = Example::new("e".into(), json!("q"));
        let scorer = OnSpans::new(build(name, options), serde_json::from_value(choice).unwrap()).unwrap();
        scorer.score(&ScoreInput { example: &example, output: &output })
    }

    #[test]
    fn each_span_is_scored_as_if_it_were_the_output() {
        let has = |word: &str, choice: Value| found("contains", json!({"value": word}), choice).unwrap().value.number();
        assert_eq!(has("search", json!({"kind": "tool"})), Some(0.0));
        assert_eq!(has("search", json!({"kind": "tool", "name": "search*"})), Some(1.0));
        assert_eq!(has("pay", json!({"kind": "tool", "combine": "any"})), Some(1.0));
        let share = has("search", json!({"kind": "tool", "combine": "mean"})).unwrap();
        assert!((share - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(has("pay", json!({"kind": "tool", "which": "last"})), Some(1.0));
        assert_eq!(has("search_b", json!({"kind": "tool", "which": "all"})), Some(1.0));
        let told = found("contains", json!({"value": "search"}), json!({"kind": "tool"})).unwrap();
        assert_eq!(told.evidence, ["call2"]);
        assert!(told.explanation.unwrap().contains("`pay` (call2): fail"));
    }

    #[test]
    fn where_no_span_fits_nothing_is_measured() {
        for choice in [json!({"kind": "model"}), json!({"name": "x*"}), json!({"agent": "nobody"})] {
            let none = found("contains", json!({"value": "x"}), choice).unwrap_err();
            assert_eq!(none.reason, UnscoredReason::NotApplicable);
        }
        let none = found("exact", json!({}), json!({"kind": "tool"})).unwrap_err();
        assert_eq!(none.reason, UnscoredReason::NotApplicable, "the scorer applies to no span");
    }

    #[test]
    fn scales_that_cannot_be_combined_are_refused() {
        let wrong =
            |choice: Value, scale: Scale| combined(&serde_json::from_value(choice).unwrap(), &scale).unwrap_err();
        assert!(wrong(json!({"combine": "min"}), Scale::Binary).contains("`on.combine`"));
        assert!(wrong(json!({"combine": "all"}), Scale::Number { min: None, max: None }).contains("`on.combine`"));
        assert!(wrong(json!({}), Scale::Labels { labels: Vec::new() }).contains("labels"));
        assert!(wrong(json!({"which": "first", "combine": "all"}), Scale::Binary).contains("`on.combine`"));
    }
}
