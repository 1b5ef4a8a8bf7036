//! When a judge applies: a filter expression over the example and its trace.

use crate::dataset::{Filter, example_dimension, trace_dimension};
use crate::model::{ScoreInput, Unscored, UnscoredReason};
use crate::rubric::{Condition, JudgeSpec, SpecProblem};

/// The filter of a judge's `when`, where it has one.
#[derive(Clone, Debug, Default)]
pub(super) struct WhenFilter(Option<Result<Filter, String>>);

impl WhenFilter {
    /// Reads the filter of a judge; one that cannot be read was refused when the judge's files were.
    pub(super) fn of(spec: &JudgeSpec) -> Self {
        match &spec.when {
            Some(Condition::Filter(text)) => Self(Some(Filter::parse(text).map_err(|error| error.to_string()))),
            _ => Self(None),
        }
    }

    /// What is wrong with the filter of a judge.
    pub(super) fn problem(spec: &JudgeSpec) -> Option<SpecProblem> {
        let Self(Some(Err(cause))) = Self::of(spec) else { return None };
        Some(SpecProblem {
            file: "judge.toml",
            line: None,
            at: "when".to_owned(),
            found: cause,
            expected: "a filter such as `\"intent=refund and not language=de\"`".to_owned(),
            hint: None,
        })
    }

    /// *Unscored*, not applicable, where the filter does not hold. A name is looked up in the example, else in its
    /// trace.
    pub(super) fn check(&self, input: &ScoreInput<'_>) -> Result<(), Unscored> {
        let filter = match &self.0 {
            None => return Ok(()),
            Some(Ok(filter)) => filter,
            Some(Err(cause)) => return Err(Unscored::new(UnscoredReason::ScorerFault, cause.clone())),
        };
        let trace = input.output.trace.as_deref();
        let found = |name: &str| {
            example_dimension(input.example, name).or_else(|| trace.and_then(|trace| trace_dimension(trace, name)))
        };
        if filter.matches(found) {
            return Ok(());
        }
        Err(Unscored::not_applicable(format!("the judge applies where `{filter}`")))
    }
}
