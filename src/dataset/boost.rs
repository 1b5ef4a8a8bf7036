//! Rules that raise the probability of what is rare and telling: errors, bad feedback, loops, the long tail of a cost.
//!
//! A rule says for whom it holds and with which rate those are chosen; how several rates meet is [`Combine`]'s.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::{DatasetError, did_you_mean};
use super::filter::Filter;
use crate::sys::text::one_line;

/// Most rules of one plan: they are kept as the bits of one number per candidate.
pub(super) const MOST_RULES: usize = 64;

/// A rule that raises probabilities.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Boost {
    /// For whom: `errors`, `negative_feedback`, `loops`, `top 5% of cost` (or of any numeric dimension), or a filter
    /// such as `ticket.intent=refund`.
    pub when: String,
    /// Probability in (0, 1] with which those are chosen.
    pub rate: f64,
}

/// How the rates of several rules meet in one candidate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Combine {
    /// The greatest of them holds: rules say "at least so likely".
    #[default]
    Max,
    /// As if every rule drew by itself: `1 - (1-p1)(1-p2)…`.
    Union,
}

impl Combine {
    /// The probability that comes of several, all in [0, 1].
    pub fn of(self, rates: impl IntoIterator<Item = f64>) -> f64 {
        let rates = rates.into_iter();
        match self {
            Self::Max => rates.fold(0.0, f64::max),
            Self::Union => 1.0 - rates.fold(1.0, |miss, rate| miss * (1.0 - rate)),
        }
    }
}

/// For whom a rule holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum When {
    /// A condition on dimensions.
    Filter(Filter),
    /// The greatest values of a dimension; the share in (0, 1).
    Top { share: f64, of: String },
}

impl Boost {
    /// Reads `WHEN=RATE`, as it is typed.
    ///
    /// # Errors
    /// [`DatasetError::Plan`] says what is right.
    pub fn parse(text: &str) -> Result<Self, DatasetError> {
        let fail = || {
            let cause =
                format!("found {}, expected `WHEN=RATE`, such as `errors=1` or `top 5% of cost=0.5`", quoted(text));
            DatasetError::Plan { key: KEY.to_owned(), cause }
        };
        let (when, rate) = text.rsplit_once('=').ok_or_else(fail)?;
        let boost = Self { when: when.trim().to_owned(), rate: rate.trim().parse().map_err(|_| fail())? };
        boost.read().map(|_| boost)
    }

    /// For whom it holds.
    pub(super) fn read(&self) -> Result<When, DatasetError> {
        let fail = |cause: String| DatasetError::Plan { key: KEY.to_owned(), cause };
        let when = self.when.trim();
        if !(self.rate > 0.0 && self.rate <= 1.0) {
            let (rate, when) = (self.rate, quoted(when));
            return Err(fail(format!("rate `{rate}` of {when} is not a probability above 0 and at most 1")));
        }
        let filter = match when {
            "errors" => "status=error",
            "negative_feedback" | "negative feedback" => "negative_feedback=true",
            "loops" => "repeated_calls>=2",
            top if top.starts_with("top ") => {
                return top_of(top).ok_or_else(|| {
                    let expected = "expected `top 5% of DIMENSION`, a share above 0 and below 100 %";
                    fail(format!("found {}, {expected}", quoted(top)))
                });
            }
            word if !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.')) => {
                let near = did_you_mean(word, WORDS.iter().copied());
                let words = WORDS.join("`, `");
                let all = format!("`{words}`, `top 5% of DIMENSION`, or a filter such as `tier=pro`");
                return Err(fail(format!("no rule is called {}{near} (there is {all})", quoted(word))));
            }
            other => other,
        };
        // The filter quotes itself, with its fault.
        Filter::parse(filter).map(When::Filter).map_err(|error| fail(error.to_string()))
    }
}

/// Key of the plan that holds the rules.
const KEY: &str = "boost";

/// Rules that are words.
const WORDS: &[&str] = &["errors", "negative_feedback", "loops"];

fn quoted(text: &str) -> String {
    format!("`{}`", one_line(text, 80))
}

fn top_of(text: &str) -> Option<When> {
    let (share, of) = text.strip_prefix("top ")?.split_once(" of ")?;
    let share: f64 = share.trim().strip_suffix('%')?.trim().parse().ok()?;
    let of = of.trim();
    (share > 0.0 && share < 100.0 && !of.is_empty()).then(|| When::Top { share: share / 100.0, of: of.to_owned() })
}

impl fmt::Display for Boost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.when)
    }
}

/// The value from which on one is in the top share; values equal to it are all in. `None` without values.
pub(super) fn tail(values: impl IntoIterator<Item = f64>, share: f64) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
    let wanted = ((share * values.len() as f64).ceil() as usize).max(1);
    let place = values.len().checked_sub(wanted)?;
    let (_, value, _) = values.select_nth_unstable_by(place, f64::total_cmp);
    Some(*value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_as_typed() {
        let boost = Boost::parse("ticket.intent=refund and tier=pro=0.5").unwrap();
        assert_eq!((boost.when.as_str(), boost.rate), ("ticket.intent=refund and tier=pro", 0.5));
        assert_eq!(
            Boost::parse("errors=1").unwrap().read().unwrap(),
            When::Filter(Filter::parse("status=error").unwrap())
        );
        let top = Boost::parse("top 2.5% of latency_ms = 0.3").unwrap();
        assert_eq!(top.read().unwrap(), When::Top { share: 0.025, of: "latency_ms".to_owned() });
        for wrong in ["errors", "errors=2", "errors=0", "errors=x", "top 5 of cost=1", "top 0% of cost=1", "what?=1"] {
            assert!(Boost::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_mistyped_rule_is_told_the_nearest_and_all() {
        let error = Boost::parse("eror=1").unwrap_err().to_string();
        assert!(error.contains("no rule is called `eror`; did you mean `errors`?"), "{error}");
        assert!(error.contains("`loops`, `top 5% of DIMENSION`") && !error.contains("``"), "{error}");
        assert!(Boost::parse("tier>=x=1").unwrap_err().to_string().contains("not a number"));
    }

    #[test]
    fn rates_meet_by_the_greatest_or_as_if_each_drew() {
        assert_eq!(Combine::Max.of([0.1, 0.5, 0.2]), 0.5);
        assert!((Combine::Union.of([0.1, 0.5]) - 0.55).abs() < 1e-12);
        assert_eq!(Combine::Union.of([0.1, 1.0]), 1.0);
        assert_eq!(Combine::Max.of([]), 0.0);
    }

    #[test]
    fn the_tail_begins_at_a_value() {
        assert_eq!(tail((1..=100).map(f64::from), 0.05), Some(96.0));
        assert_eq!(tail([3.0, 1.0, f64::NAN], 0.01), Some(3.0));
        assert_eq!(tail([], 0.5), None);
    }
}
