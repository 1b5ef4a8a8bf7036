//! How well documents were found, and whether those cited were found at all: by their ids, without a model.

use std::collections::BTreeSet;

use regex::Regex;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::material::{expected_found, quote, similarity_scale, text_of};
use super::options::{check_share, read, schema_of};
use super::path::Path;
use super::subset::Credit;
use super::{Scorer, ScorerInfo};
use crate::model::{Output, Scale, Score, ScoreInput, Scored, Span, SpanKind, Unscored, UnscoredReason};
use crate::sys::text::one_line;

pub(super) const RETRIEVAL: ScorerInfo = ScorerInfo {
    name: "retrieval",
    version: "1",
    summary: "Gives recall, precision, reciprocal rank, nDCG or a hit of the documents found, by their ids.",
    sample: "measure = \"ndcg\"\nk = 5\nexpected_from = \"example.metadata.relevant\"",
    schema: schema_of::<RetrievalOptions>,
    build: build_retrieval,
};

pub(super) const CITATIONS: ScorerInfo = ScorerInfo {
    name: "citations",
    version: "1",
    summary: "Passes when every document that the output cites was among those found, or gives their share.",
    sample: "pattern = '\\[([A-Za-z0-9_-]+)\\]'",
    schema: schema_of::<CitationOptions>,
    build: build_citations,
};

/// Keys under which a document keeps its id, in the order they are tried.
const ID_KEYS: &[&str] = &["id", "document_id", "doc_id", "document.id", "chunk_id", "source", "uri", "url"];
/// Documents of one output that are looked at.
const MOST: usize = 10_000;

/// What is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Measure {
    /// The share of the relevant documents that were found.
    #[default]
    Recall,
    /// The share of the documents found that are relevant.
    Precision,
    /// One over the rank of the first relevant document; 0 when none was found.
    Mrr,
    /// Discounted gain over the best there could be: each document gains its grade over log2 of its rank plus 1.
    Ndcg,
    /// Whether any relevant document was found.
    Hit,
}

/// Which documents are relevant, where those found stand, and what is measured.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RetrievalOptions {
    /// What is measured.
    #[serde(default)]
    measure: Measure,
    /// Only the first so many documents count; all without it.
    k: Option<usize>,
    /// Where the relevant documents stand: a list of ids, or a table of ids and grades for `ndcg`. The reference when
    /// left out.
    expected_from: Option<String>,
    /// Where the documents found stand, best first: ids, or objects with an id. The retrieval spans of the trace in
    /// their order when left out.
    found_from: Option<String>,
    /// Pass from this figure up, 0 to 1; without it the figure itself is the score.
    at_least: Option<f64>,
}

struct Retrieval {
    options: RetrievalOptions,
    expected: Path,
    found: Option<Path>,
}

fn build_retrieval(options: &Value) -> Result<Box<dyn Scorer>, String> {
    let options: RetrievalOptions = read(options)?;
    check_share("at_least", options.at_least)?;
    if options.k == Some(0) {
        return Err("`k` must be at least 1".to_owned());
    }
    let expected = Path::parse("expected_from", options.expected_from.as_deref().unwrap_or("example.reference"))?;
    let found = options.found_from.as_deref().map(|path| Path::parse("found_from", path)).transpose()?;
    Ok(Box::new(Retrieval { options, expected, found }))
}

impl Scorer for Retrieval {
    fn score(&self, input: &ScoreInput<'_>) -> Scored {
        let relevant = self.relevant(input)?;
        let mut found = documents(input, self.found.as_ref())?;
        if let Some(k) = self.options.k {
            found.truncate(k);
        }
        let grade = |id: &String| relevant.iter().find(|(known, _)| known == id).map_or(0.0, |(_, grade)| *grade);
        let hits: Vec<usize> = (0..found.len()).filter(|at| found.get(*at).is_some_and(|id| grade(id) > 0.0)).collect();
        let wanted = relevant.iter().filter(|(_, grade)| *grade > 0.0).count();
        let figure = match self.options.measure {
            Measure::Recall => hits.len() as f64 / wanted as f64,
            Measure::Precision if found.is_empty() => {
                return Err(Unscored::not_applicable("no document was found, so there is no precision"));
            }
            Measure::Precision => hits.len() as f64 / found.len() as f64,
            Measure::Mrr => hits.first().map_or(0.0, |at| 1.0 / (at + 1) as f64),
            Measure::Ndcg => self.ndcg(&relevant, &found),
            Measure::Hit => f64::from(u8::from(!hits.is_empty())),
        };
        let shown = one_line(&found.join(", "), 200);
        let told = format!("{} of {wanted} relevant documents among {} found: {shown}", hits.len(), found.len());
        let score = match (self.options.measure, self.options.at_least) {
            (Measure::Hit, None) => Some(Score::pass(figure >= 1.0, told)),
            (_, Some(least)) => {
                let told =
                    format!("{} ({told})", expected_found(&format!("at least {least}"), &format!("{figure:.4}")));
                Some(Score::pass(figure >= least, told))
            }
            (_, None) => Score::number(figure, format!("{figure:.4}: {told}")),
        };
        let mut score = score.ok_or_else(|| Unscored::new(UnscoredReason::ScorerFault, "the figure is not finite"))?;
        let missed: Vec<&String> = relevant
            .iter()
            .filter(|(id, grade)| *grade > 0.0 && !found.contains(id))
            .map(|(id, _)| id)
            .take(50)
            .collect();
        score.details = json!({ "figure": figure, "missed": missed });
        Ok(score)
    }

    fn scale(&self) -> Scale {
        if self.options.measure == Measure::Hit { Scale::Binary } else { similarity_scale(self.options.at_least) }
    }
}

impl Retrieval {
    /// Ids with their grades; each id once.
    fn relevant(&self, input: &ScoreInput<'_>) -> Result<Vec<(String, f64)>, Unscored> {
        let at = self.expected.written();
        let value = self
            .expected
            .find(input)
            .ok_or_else(|| Unscored::not_applicable(format!("no relevant documents are named at `{at}`")))?;
        let mut relevant: Vec<(String, f64)> = match &*value {
            Value::Object(grades) => {
                let graded = grades.iter().map(|(id, grade)| Some((id.clone(), grade.as_f64().filter(|g| *g >= 0.0)?)));
                graded.collect::<Option<Vec<_>>>().ok_or_else(|| {
                    Unscored::not_applicable(format!("the grades at `{at}` are not all numbers from 0 up"))
                })?
            }
            other => ids(other).into_iter().map(|id| (id, 1.0)).collect(),
        };
        let mut seen = BTreeSet::new();
        relevant.retain(|(id, _)| seen.insert(id.clone()));
        if relevant.iter().all(|(_, grade)| *grade <= 0.0) {
            return Err(Unscored::not_applicable(format!("no relevant document is named at `{at}`")));
        }
        Ok(relevant)
    }

    fn ndcg(&self, relevant: &[(String, f64)], found: &[String]) -> f64 {
        let gain = |grades: &mut dyn Iterator<Item = f64>| -> f64 {
            grades.enumerate().map(|(at, grade)| grade / ((at + 2) as f64).log2()).sum()
        };
        let grade = |id: &String| relevant.iter().find(|(known, _)| known == id).map_or(0.0, |(_, grade)| *grade);
        let mut best: Vec<f64> = relevant.iter().map(|(_, grade)| *grade).collect();
        best.sort_by(|a, b| b.total_cmp(a));
        best.truncate(self.options.k.unwrap_or(usize::MAX));
        (gain(&mut found.iter().map(grade)) / gain(&mut best.into_iter())).clamp(0.0, 1.0)
    }
}

/// Documents found, best first, each once.
fn documents(input: &ScoreInput<'_>, from: Option<&Path>) -> Result<Vec<String>, Unscored> {
    let all = match from {
        Some(path) => {
            let at = path.written();
            let none = || Unscored::not_applicable(format!("no documents stand at `{at}`"));
            let value = path.find(input).ok_or_else(none)?;
            ids(&value)
        }
        None => of_trace(input.output)?,
    };
    let mut seen = BTreeSet::new();
    Ok(all.into_iter().filter(|id| seen.insert(id.clone())).take(MOST).collect())
}

fn of_trace(output: &Output) -> Result<Vec<String>, Unscored> {
    let spans = || output.trace.iter().flat_map(|trace| &trace.spans).filter(|span| span.kind == SpanKind::Retrieval);
    if spans().next().is_none() {
        return Err(Unscored::not_applicable(
            "the output has no trace with retrieval spans: name the place of the documents with `found_from`",
        ));
    }
    let found: Vec<String> = spans().flat_map(of_span).collect();
    let silent = spans().all(|span| span.output.is_none() && numbered(span).next().is_none());
    if found.is_empty() && silent {
        return Err(Unscored::not_applicable("the retrieval spans name no documents"));
    }
    Ok(found)
}

fn of_span(span: &Span) -> Vec<String> {
    let mut flat: Vec<(usize, String)> = numbered(span).collect();
    if flat.is_empty() {
        return span.output.as_ref().map(ids).unwrap_or_default();
    }
    flat.sort();
    flat.into_iter().map(|(_, id)| id).collect()
}

/// `retrieval.documents.N.document.id`, as OpenInference writes documents.
fn numbered(span: &Span) -> impl Iterator<Item = (usize, String)> {
    span.attributes.iter().filter_map(|(key, value)| {
        let place = key.strip_prefix("retrieval.documents.")?.strip_suffix(".document.id")?;
        Some((place.parse().ok()?, text_of(value).into_owned()))
    })
}

/// Ids in a list of ids or documents, or in an object that holds such a list.
fn ids(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => match serde_json::from_str::<Value>(text) {
            Ok(inner @ (Value::Array(_) | Value::Object(_))) => ids(&inner),
            _ => vec![text.clone()],
        },
        Value::Number(number) => vec![number.to_string()],
        Value::Array(items) => items.iter().filter_map(id_of).take(MOST).collect(),
        Value::Object(map) => ["documents", "results", "matches", "hits", "chunks", "nodes"]
            .iter()
            .find_map(|key| map.get(*key).filter(|inner| inner.is_array()))
            .map(ids)
            .or_else(|| id_of(value).map(|id| vec![id]))
            .unwrap_or_default(),
        _ => Vec::new(),
    }
}

fn id_of(value: &Value) -> Option<String> {
    match value {
        Value::String(_) | Value::Number(_) => Some(text_of(value).into_owned()),
        Value::Object(map) => {
            let inner = ["document", "metadata", "node"].iter().filter_map(|key| map.get(*key));
            let own = ID_KEYS.iter().find_map(|key| map.get(*key).filter(|id| id.is_string() || id.is_number()));
            own.map(|id| text_of(id).into_owned()).or_else(|| inner.into_iter().find_map(id_of))
        }
        _ => None,
    }
}

/// How citations are written, and where the documents found stand.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CitationOptions {
    /// A regular expression; its first group, or all of it, is the id that is cited. `[id]` when left out.
    pattern: Option<String>,
    /// Where the documents found stand: ids, or objects with an id. The retrieval spans of the trace when left out.
    found_from: Option<String>,
    /// Whether an output that cites nothing fails; else it is not scored.
    #[serde(default)]
    required: bool,
    /// `pass` when every citation is of a document found, or the `share` of those that are.
    #[serde(default)]
    score: Credit,
}

struct Citations {
    pattern: Regex,
    found: Option<Path>,
    options: CitationOptions,
}

fn build_citations(options: &Value) -> Result<Box<dyn Scorer>, String> {
    let options: CitationOptions = read(options)?;
    let written = options.pattern.as_deref().unwrap_or(r"\[([^\[\]\s]{1,200})\]");
    let pattern = Regex::new(written).map_err(|error| format!("`pattern`: {}", one_line(&error.to_string(), 200)))?;
    if pattern.is_match("") {
        return Err("`pattern` fits the empty text: ask for at least one character".to_owned());
    }
    let found = options.found_from.as_deref().map(|path| Path::parse("found_from", path)).transpose()?;
    Ok(Box::new(Citations { pattern, found, options }))
}

impl Scorer for Citations {
    fn score(&self, input: &ScoreInput<'_>) -> Scored {
        let text = input.output.text();
        let cited: BTreeSet<&str> = self
            .pattern
            .captures_iter(&text)
            .filter_map(|found| found.get(1).or_else(|| found.get(0)).map(|id| id.as_str()))
            .take(MOST)
            .collect();
        if cited.is_empty() && !self.options.required {
            return Err(Unscored::not_applicable("the output cites nothing: set `required = true` where it must"));
        }
        let found: BTreeSet<String> = documents(input, self.found.as_ref())?.into_iter().collect();
        let unknown: Vec<&str> = cited.iter().copied().filter(|id| !found.contains(*id)).collect();
        let told = match (cited.is_empty(), unknown.first()) {
            (true, _) => expected_found("a citation", "none"),
            (_, None) => format!("all {} citations are of documents found", cited.len()),
            (_, Some(first)) => format!(
                "{} of {} citations are of no document found, first {} ({} documents found)",
                unknown.len(),
                cited.len(),
                quote(first),
                found.len()
            ),
        };
        let all = cited.len().max(1);
        let met = cited.len() - unknown.len();
        let mut score = self.options.score.score(met == all, met, all, told)?;
        score.evidence = unknown.iter().take(20).map(|id| one_line(id, 120)).collect();
        Ok(score)
    }

    fn scale(&self) -> Scale {
        self.options.score.scale()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::tests::{build_error, score_pair, span, tool_trace};
    use super::*;
    use crate::model::Example;

    fn of(options: Value, relevant: Value, found: Value) -> Scored {
        let mut example = Example::new("e".into(), json!("x"));
        example.reference = Some(relevant);
        let mut output = Output::of_text("see [a] and [z]");
        output.metadata.insert("docs".to_owned(), found);
        let mut options = options;
        options["found_from"] = json!("output.metadata.docs");
        score_pair("retrieval", options, &example, &output)
    }

    fn figure(measure: &str, more: Value, relevant: Value, found: Value) -> f64 {
        let mut options = json!({ "measure": measure });
        options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        of(options, relevant, found).unwrap().value.number().unwrap()
    }

    #[test]
    fn figures_are_those_of_their_definitions() {
        let (relevant, found) = (json!(["a", "b", "c"]), json!(["x", "b", "y", "a"]));
        let get = |measure: &str, more: Value| figure(measure, more, relevant.clone(), found.clone());
        assert!((get("recall", json!({})) - 2.0 / 3.0).abs() < 1e-12);
        assert!((get("recall", json!({"k": 2})) - 1.0 / 3.0).abs() < 1e-12);
        assert!((get("precision", json!({})) - 0.5).abs() < 1e-12);
        assert!((get("mrr", json!({})) - 0.5).abs() < 1e-12);
        assert!((get("hit", json!({"k": 1}))).abs() < 1e-12 && (get("hit", json!({})) - 1.0).abs() < 1e-12);
        // scikit-learn 1.9: `ndcg_score([[1, 1, 1, 0, 0]], [[1, 3, 0, 4, 2]])` on the same ranks.
        let best = 1.0 + 1.0 / 3f64.log2() + 0.5;
        assert!((get("ndcg", json!({})) - (1.0 / 3f64.log2() + 1.0 / 5f64.log2()) / best).abs() < 1e-12);
        let graded = figure("ndcg", json!({"k": 2}), json!({"a": 3, "b": 1, "c": 0}), json!(["b", "a"]));
        assert!((graded - (1.0 + 3.0 / 3f64.log2()) / (3.0 + 1.0 / 3f64.log2())).abs() < 1e-12);
    }

    #[test]
    fn documents_are_found_in_spans_of_many_forms() {
        let mut trace = tool_trace(&[]);
        let mut first = span("r1", SpanKind::Retrieval, 1);
        first.output = Some(json!({"documents": [{"id": "a"}, {"metadata": {"source": "b"}}]}));
        let mut second = span("r2", SpanKind::Retrieval, 2);
        second.attributes.insert("retrieval.documents.1.document.id".to_owned(), json!("d"));
        second.attributes.insert("retrieval.documents.0.document.id".to_owned(), json!("c"));
        trace.spans.extend([first, second]);
        let mut example = Example::new("e".into(), json!("x"));
        example.reference = Some(json!(["d"]));
        let output = Output { trace: Some(Arc::new(trace)), ..Output::of_text("as [a] and [z] say") };
        let of = |name: &str, options: Value| score_pair(name, options, &example, &output).unwrap();
        assert_eq!(of("retrieval", json!({"measure": "mrr"})).value.number(), Some(0.25));
        let cited = of("citations", json!({}));
        assert_eq!((cited.value.number(), cited.evidence), (Some(0.0), vec!["z".to_owned()]));
        assert_eq!(of("citations", json!({"score": "share"})).value.number(), Some(0.5));
        let none = score_pair("citations", json!({"pattern": "cited: (.+)"}), &example, &output).unwrap_err();
        assert_eq!(none.reason, UnscoredReason::NotApplicable);
    }

    #[test]
    fn what_is_not_there_is_not_zero() {
        for (relevant, found) in
            [(json!([]), json!(["a"])), (json!({"a": "high"}), json!(["a"])), (json!({"a": 0}), json!([]))]
        {
            assert_eq!(of(json!({}), relevant, found).unwrap_err().reason, UnscoredReason::NotApplicable);
        }
        assert!(of(json!({"measure": "precision"}), json!(["a"]), json!([])).is_err());
        assert!(build_error("retrieval", json!({"k": 0})).contains("`k`"));
        assert!(build_error("citations", json!({"pattern": "("})).contains("`pattern`"));
        assert!(build_error("citations", json!({"pattern": "x*"})).contains("`pattern`"));
    }

    proptest! {
        #[test]
        fn the_best_order_has_the_whole_gain(ids in proptest::collection::btree_set("[a-z]{1,3}", 1..8), k in 1..9_usize) {
            let ids: Vec<String> = ids.into_iter().collect();
            for measure in ["ndcg", "mrr", "precision"] {
                let found = figure(measure, json!({"k": k}), json!(ids), json!(ids));
                prop_assert!((found - 1.0).abs() < 1e-12, "{} {}", measure, found);
            }
        }
    }
}
