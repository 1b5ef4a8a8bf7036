//! Which agents pass control to which.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::material::expected_found;
use super::options::{read, schema_of};
use super::{Scorer, ScorerInfo};
use crate::diagnose::{Handoff, handoffs, names_agents};
use crate::model::{Score, ScoreInput, Scored, Unscored};
use crate::sys::text::one_line;

pub(super) const HANDOFFS: ScorerInfo = ScorerInfo {
    name: "handoffs",
    version: "1",
    summary: "Passes when agents hand over only along allowed ways, along the required ones, and not too often.",
    sample: "allowed = [\"triage > billing\", \"triage > *\"]\nrequired = [\"triage > billing\"]\nat_most = 3",
    schema: schema_of::<Options>,
    build,
};

/// Which ways are allowed and required. A way is `from > to`; `*` stands for any agent. Handoffs are spans of handoffs,
/// and agents that run inside another one.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// The only ways that may be taken; all without it.
    allowed: Option<Vec<String>>,
    /// Ways that must be taken, in any order.
    #[serde(default)]
    required: Vec<String>,
    /// Most handoffs.
    at_most: Option<u64>,
}

struct Way {
    from: String,
    to: String,
}

struct Rules {
    allowed: Option<Vec<Way>>,
    required: Vec<Way>,
    at_most: Option<u64>,
}

fn build(options: &Value) -> Result<Box<dyn Scorer>, String> {
    let options: Options = read(options)?;
    if options.allowed.is_none() && options.required.is_empty() && options.at_most.is_none() {
        return Err("there is nothing to hold handoffs against: set `allowed`, `required` or `at_most`".to_owned());
    }
    let ways = |key: &str, written: &[String]| written.iter().map(|text| way(key, text)).collect::<Result<Vec<_>, _>>();
    let allowed = options.allowed.as_deref().map(|written| ways("allowed", written)).transpose()?;
    let required = ways("required", &options.required)?;
    Ok(Box::new(Rules { allowed, required, at_most: options.at_most }))
}

fn way(key: &str, text: &str) -> Result<Way, String> {
    let parts = text.split_once('>').map(|(from, to)| (from.trim(), to.trim()));
    match parts {
        Some((from, to)) if !from.is_empty() && !to.is_empty() => Ok(Way { from: from.to_owned(), to: to.to_owned() }),
        _ => Err(format!("`{key}` holds `{}`: write a way as `from > to`", one_line(text, 60))),
    }
}

impl Way {
    fn fits(&self, handoff: &Handoff) -> bool {
        let end = |wanted: &str, found: &Option<String>| wanted == "*" || found.as_deref() == Some(wanted);
        end(&self.from, &handoff.from) && end(&self.to, &handoff.to)
    }

    fn shown(&self) -> String {
        format!("`{} > {}`", one_line(&self.from, 60), one_line(&self.to, 60))
    }
}

fn shown(handoff: &Handoff) -> String {
    let name = |end: &Option<String>| end.as_deref().map_or_else(|| "?".to_owned(), |name| one_line(name, 60));
    format!("{} > {}", name(&handoff.from), name(&handoff.to))
}

impl Scorer for Rules {
    fn score(&self, input: &ScoreInput<'_>) -> Scored {
        let unknown =
            || Unscored::not_applicable("the output has no trace that names agents: its handoffs are unknown");
        let trace = input.output.trace.as_deref().filter(|trace| names_agents(trace)).ok_or_else(unknown)?;
        let found = handoffs(trace);
        let mut problems: Vec<String> = Vec::new();
        let mut evidence = BTreeSet::new();
        if let Some(allowed) = &self.allowed {
            for handoff in found.iter().filter(|handoff| !allowed.iter().any(|way| way.fits(handoff))) {
                problems.push(format!("`{}`, which is not allowed", shown(handoff)));
                evidence.insert(handoff.span.to_string());
            }
        }
        let missing = self.required.iter().filter(|way| !found.iter().any(|handoff| way.fits(handoff)));
        problems.extend(missing.map(|way| format!("no handoff {}", way.shown())));
        if let Some(most) = self.at_most.filter(|most| found.len() as u64 > *most) {
            problems.push(format!("{} handoffs, more than {most}", found.len()));
        }
        let taken: Vec<String> = found.iter().take(100).map(shown).collect();
        let path =
            if taken.is_empty() { "no handoff".to_owned() } else { format!("`{}`", one_line(&taken.join(", "), 400)) };
        let told = match problems.as_slice() {
            [] => expected_found("handoffs along the rules", &path),
            some => {
                let more = if some.len() > 3 { format!("; and {} more", some.len() - 3) } else { String::new() };
                let first: Vec<&str> = some.iter().take(3).map(String::as_str).collect();
                format!(
                    "{}\nhandoffs: {path}",
                    expected_found("handoffs along the rules", &format!("{}{more}", first.join("; ")))
                )
            }
        };
        let mut score = Score::pass(problems.is_empty(), told);
        score.evidence = evidence.into_iter().take(20).collect();
        score.details = json!({ "handoffs": taken });
        Ok(score)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::tests::{build_error, score_output, span};
    use super::*;
    use crate::model::{AgentRef, Output, Span, SpanKind, Trace, TraceId, UnscoredReason};

    fn agent(id: &str, parent: Option<&str>, name: &str, start: i64) -> Span {
        let own = AgentRef { name: Some(name.to_owned()), ..AgentRef::default() };
        Span { parent_id: parent.map(Into::into), agent: Some(own), ..span(id, SpanKind::Agent, start) }
    }

    fn team() -> Output {
        let mut handoff = span("handoff to search", SpanKind::Handoff, 3);
        handoff.parent_id = Some("b".into());
        let spans = vec![
            agent("a", None, "triage", 0),
            agent("b", Some("a"), "billing", 1),
            handoff,
            agent("c", Some("b"), "search", 4),
        ];
        let trace = Trace { id: TraceId::new("t"), session_id: None, spans, faults: Vec::new() };
        Output { trace: Some(Arc::new(trace)), ..Output::of_text("x") }
    }

    #[test]
    fn ways_are_allowed_required_and_counted() {
        let fits = |options: Value| score_output("handoffs", options, &team()).unwrap().value.number() == Some(1.0);
        assert!(fits(json!({"allowed": ["triage > billing", "billing > search"], "at_most": 2})));
        assert!(!fits(json!({"allowed": ["triage > *"]})) && fits(json!({"required": ["* > search"]})));
        assert!(!fits(json!({"required": ["search > triage"]})) && !fits(json!({"at_most": 1})));
        let told = score_output("handoffs", json!({"allowed": ["triage > *"]}), &team()).unwrap();
        assert_eq!(told.evidence, ["handoff to search"]);
        assert!(told.explanation.unwrap().contains("handoffs: `triage > billing, billing > search`"));
        let none = score_output("handoffs", json!({"at_most": 1}), &Output::of_text("x")).unwrap_err();
        assert_eq!(none.reason, UnscoredReason::NotApplicable);
        assert!(build_error("handoffs", json!({})).contains("`allowed`"));
        assert!(build_error("handoffs", json!({"required": ["billing"]})).contains("`required`"));
    }
}
