//! Tokens and money of a whole trace, each call counted once.

use std::collections::{BTreeSet, HashSet};

use super::{Span, SpanId, SpanKind, Trace, Usage};

impl Trace {
    /// Tokens of the model calls, evaluators left out; falls back to the root's own count when no model span has any.
    /// Recorders on several levels report one call several times: of model spans inside each other the innermost that
    /// knows its tokens counts.
    pub fn usage(&self) -> Usage {
        let own = |span: &Span| if span.kind == SpanKind::Model { span.usage.clone() } else { Usage::default() };
        let sum = self.fold_up(
            |below: Usage, span| if below.is_unknown() { own(span) } else { below },
            |left, right| left.plus(&right),
        );
        if sum.is_unknown() { self.root().map(|root| root.usage.clone()).unwrap_or_default() } else { sum }
    }

    /// Stated money of the trace: model and tool spans, evaluators left out; of model spans inside each other the
    /// innermost that states any. `None` when no span states any, or when a model span with tokens states none: a
    /// part is not the whole.
    pub fn cost_usd(&self) -> Option<f64> {
        match self.money().0 {
            Money::Stated(sum) => Some(sum),
            Money::Missing => None,
            Money::Nothing => self.root().and_then(|root| root.cost_usd),
        }
    }

    /// Ids of the spans that [`Trace::cost_usd`] is made of: those whose cost is added, and the calls whose cost is
    /// missing.
    pub fn paid_spans(&self) -> BTreeSet<SpanId> {
        if self.is_any_below_a_model() {
            return self.money().1.into_iter().cloned().collect();
        }
        // Nothing repeats anything: each span speaks for itself.
        let evaluators = self.evaluator_spans();
        let pays = |span: &&Span| match span.kind {
            SpanKind::Model => span.cost_usd.is_some() || !span.usage.is_unknown(),
            SpanKind::Tool => span.cost_usd.is_some(),
            _ => false,
        };
        let paid = self.spans.iter().filter(pays).map(|span| &span.span_id);
        paid.filter(|id| !evaluators.contains(*id)).cloned().collect()
    }

    /// Whether a span stands below a model call: only then can calls be told on several levels. Most traces have none.
    fn is_any_below_a_model(&self) -> bool {
        let models: HashSet<&SpanId> =
            self.spans.iter().filter(|span| span.kind == SpanKind::Model).map(|span| &span.span_id).collect();
        !models.is_empty() && self.spans.iter().filter_map(|span| span.parent_id.as_ref()).any(|id| models.contains(id))
    }

    fn money(&self) -> (Money, Vec<&SpanId>) {
        self.fold_up(
            |(below, mut ids): (Money, Vec<&SpanId>), span| match (span.kind, span.cost_usd) {
                (SpanKind::Model, Some(cost)) if !matches!(below, Money::Stated(_)) => {
                    (Money::Stated(cost), vec![&span.span_id])
                }
                (SpanKind::Model, None) if below == Money::Nothing && !span.usage.is_unknown() => {
                    (Money::Missing, vec![&span.span_id])
                }
                (SpanKind::Tool, Some(cost)) => {
                    ids.push(&span.span_id);
                    (below.plus(Money::Stated(cost)), ids)
                }
                _ => (below, ids),
            },
            |(left, mut ids), (right, more)| {
                ids.extend(more);
                (left.plus(right), ids)
            },
        )
    }

    /// Ids of the model spans that have one below them which knows its tokens: they repeat what it says.
    pub fn repeating_spans(&self) -> BTreeSet<SpanId> {
        let mut found = BTreeSet::new();
        if !self.is_any_below_a_model() {
            return found;
        }
        // Whether a model span with tokens stands below, for each level on the way up.
        let mut waiting: Vec<(usize, bool)> = Vec::new();
        for (depth, span) in self.outline().into_iter().rev() {
            let mut below = false;
            while let Some((_, known)) = waiting.pop_if(|(level, _)| *level > depth) {
                below |= known;
            }
            if below && span.kind == SpanKind::Model {
                found.insert(span.span_id.clone());
            }
            let known = span.kind == SpanKind::Model && !span.usage.is_unknown();
            waiting.push((depth, span.kind != SpanKind::Evaluator && (below || known)));
        }
        found
    }

    /// Folds the tree from its leaves: what is below a span and the span itself give the value of its branch, and
    /// branches are added. Evaluators and all below them are left out.
    fn fold_up<'a, T: Default>(&'a self, branch: impl Fn(T, &'a Span) -> T, add: impl Fn(T, T) -> T) -> T {
        let evaluators = self.evaluator_spans();
        let mut waiting: Vec<(usize, T)> = Vec::new();
        // Backwards, all branches below a span have been seen before it and stand at the end.
        for (depth, span) in self.outline().into_iter().rev() {
            let mut below = T::default();
            while let Some((_, value)) = waiting.pop_if(|(level, _)| *level > depth) {
                below = add(below, value);
            }
            if !evaluators.contains(&span.span_id) {
                waiting.push((depth, branch(below, span)));
            }
        }
        // In order of time again, so that sums of money come out the same whatever the shape of the tree.
        waiting.into_iter().rev().fold(T::default(), |sum, (_, value)| add(sum, value))
    }
}

/// Money of a branch of a trace.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Money {
    /// No model was called and no tool cost anything.
    #[default]
    Nothing,
    /// All calls state what they cost.
    Stated(f64),
    /// A call states tokens and no cost.
    Missing,
}

impl Money {
    fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Missing, _) | (_, Self::Missing) => Self::Missing,
            (Self::Stated(left), Self::Stated(right)) => Self::Stated(left + right),
            (known, Self::Nothing) | (Self::Nothing, known) => known,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn span(id: &str, parent: Option<&str>, kind: SpanKind, input: Option<u64>, cost_usd: Option<f64>) -> Span {
        let usage = Usage { input, ..Usage::default() };
        Span { parent_id: parent.map(Into::into), usage, cost_usd, ..Span::new("t".into(), id.into(), kind, id, 1) }
    }

    fn sums(spans: Vec<Span>) -> (Option<u64>, Option<f64>) {
        let trace = Trace { id: "t".into(), session_id: None, spans, faults: Vec::new() };
        (trace.usage().input, trace.cost_usd())
    }

    proptest! {
        #[test]
        fn where_nothing_is_below_a_model_each_span_pays_for_itself(
            spans in proptest::collection::vec((0_usize..8, 0_u8..5, 0_u8..2, 0_u8..2), 1..8),
        ) {
            let kinds = [SpanKind::Model, SpanKind::Tool, SpanKind::Agent, SpanKind::Evaluator, SpanKind::Step];
            let span = |(at, (parent, kind, tokens, cost)): (usize, (usize, u8, u8, u8))| {
                let parent = (parent < 7).then(|| parent.to_string());
                let (tokens, cost) = ((tokens > 0).then_some(1), (cost > 0).then_some(1.0));
                span(&at.to_string(), parent.as_deref(), kinds[usize::from(kind)], tokens, cost)
            };
            let spans: Vec<Span> = spans.into_iter().enumerate().map(span).collect();
            let trace = Trace { id: "t".into(), session_id: None, spans, faults: Vec::new() };
            let slow: BTreeSet<SpanId> = trace.money().1.into_iter().cloned().collect();
            prop_assert_eq!(trace.paid_spans(), slow);
        }
    }

    #[test]
    fn a_call_that_is_recorded_on_several_levels_counts_once() {
        use SpanKind::{Agent, Evaluator, Model, Step, Tool};
        // An agent and the outer span of an SDK repeat what the calls below them used.
        let nested = vec![
            span("agent", None, Agent, Some(30), Some(3.0)),
            span("outer", Some("agent"), Model, Some(30), Some(3.0)),
            span("step", Some("outer"), Step, Some(30), None),
            span("one", Some("step"), Model, Some(10), Some(1.0)),
            span("two", Some("step"), Model, Some(20), Some(2.0)),
            span("tool", Some("step"), Tool, None, Some(0.5)),
            span("judge", Some("agent"), Evaluator, None, None),
            span("asked", Some("judge"), Model, Some(1000), Some(9.0)),
        ];
        assert_eq!(sums(nested.clone()), (Some(30), Some(3.5)));
        let trace = Trace { id: "t".into(), session_id: None, spans: nested, faults: Vec::new() };
        assert_eq!(trace.repeating_spans().into_iter().collect::<Vec<_>>(), ["outer".into()]);
        assert_eq!(trace.paid_spans().into_iter().collect::<Vec<_>>(), ["one", "tool", "two"].map(SpanId::from));
        // The inner one says nothing: the outer one is what is known.
        let silent =
            vec![span("outer", None, Model, Some(30), Some(3.0)), span("inner", Some("outer"), Model, None, None)];
        assert_eq!(sums(silent), (Some(30), Some(3.0)));
        // Tokens within, money without: each is taken where it is known.
        let split =
            vec![span("outer", None, Model, Some(40), Some(3.0)), span("inner", Some("outer"), Model, Some(30), None)];
        assert_eq!(sums(split), (Some(30), Some(3.0)));
        // A part is not the whole.
        let partial = vec![span("one", None, Model, Some(1), Some(1.0)), span("two", None, Model, Some(1), None)];
        assert_eq!(sums(partial), (Some(2), None));
        let none = vec![span("agent", None, Agent, Some(7), Some(0.7))];
        assert_eq!(sums(none), (Some(7), Some(0.7)));
    }
}
