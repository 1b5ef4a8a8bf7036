//! Filter expressions on dimensions: `intent=refund, tier!=free and cost>0.5`.
//!
//! Conditions joined by a comma or `and`; all must hold. There is no `or`, no brackets and no negation of a whole:
//! what needs them is a query on the lake.

use std::fmt;

use super::features;
use crate::model::{Example, Trace};

/// A parsed filter.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    text: String,
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, PartialEq)]
struct Condition {
    name: String,
    operator: Operator,
    value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

/// Spellings, longest first so that `>=` is not read as `>`.
const OPERATORS: &[(&str, Operator)] = &[
    ("==", Operator::Equal),
    ("!=", Operator::NotEqual),
    ("<=", Operator::AtMost),
    (">=", Operator::AtLeast),
    ("=", Operator::Equal),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

/// A filter that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("filter `{filter}` cannot be read at character {at}: {cause}")]
pub struct FilterError {
    /// The whole filter; safe to print.
    pub filter: String,
    /// One-based character where the condition begins.
    pub at: usize,
    /// What is wrong, with an example of what is right.
    pub cause: String,
}

impl Filter {
    /// Reads a filter. Values may stand in double quotes, with `\"` and `\\` inside.
    ///
    /// # Errors
    /// [`FilterError`] says where and what was expected.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let mut conditions = Vec::new();
        for (at, part) in split(text) {
            conditions.push(condition(part).map_err(|cause| FilterError {
                filter: crate::sys::text::one_line(text, 200),
                at: at + 1,
                cause,
            })?);
        }
        Ok(Self { text: text.trim().to_owned(), conditions })
    }

    /// Names of the dimensions it asks for.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.conditions.iter().map(|condition| condition.name.as_str())
    }

    /// Whether all conditions hold. `lookup` gives the value of a dimension.
    ///
    /// A dimension that is absent equals nothing, so `=` and the orderings fail on it and `!=` holds. Orderings hold
    /// only between numbers; `=` compares numbers by value and everything else by text.
    pub fn matches(&self, lookup: impl Fn(&str) -> Option<String>) -> bool {
        self.conditions.iter().all(|condition| condition.holds(lookup(&condition.name).as_deref()))
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Condition {
    fn holds(&self, found: Option<&str>) -> bool {
        let Some(found) = found else { return self.operator == Operator::NotEqual };
        let numbers = number(found).zip(number(&self.value));
        let order = numbers.and_then(|(found, wanted)| found.partial_cmp(&wanted));
        let equal = found == self.value || order.is_some_and(std::cmp::Ordering::is_eq);
        match self.operator {
            Operator::Equal => equal,
            Operator::NotEqual => !equal,
            Operator::Less => order.is_some_and(std::cmp::Ordering::is_lt),
            Operator::AtMost => order.is_some_and(std::cmp::Ordering::is_le),
            Operator::Greater => order.is_some_and(std::cmp::Ordering::is_gt),
            Operator::AtLeast => order.is_some_and(std::cmp::Ordering::is_ge),
        }
    }
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse::<f64>().ok().filter(|number| number.is_finite())
}

/// Splits at commas and the word `and` outside quotes, with the character position of each part.
fn split(text: &str) -> Vec<(usize, &str)> {
    let mut parts = Vec::new();
    let (mut start, mut start_char, mut quoted, mut escaped, mut skip_until) = (0, 0, false, false, 0);
    for (at_char, (at, character)) in text.char_indices().enumerate() {
        if at < skip_until {
            continue;
        }
        if quoted {
            quoted = character != '"' || escaped;
            escaped = character == '\\' && !escaped;
            continue;
        }
        let length = match character {
            '"' => {
                quoted = true;
                continue;
            }
            ',' => 1,
            space if space.is_whitespace() => match text.get(at + space.len_utf8()..) {
                Some(rest) if word_and(rest) => space.len_utf8() + 3,
                _ => continue,
            },
            _ => continue,
        };
        parts.push((start_char, text.get(start..at).unwrap_or_default()));
        skip_until = at + length;
        start = skip_until;
        start_char = at_char + if character == ',' { 1 } else { 4 };
    }
    parts.push((start_char, text.get(start..).unwrap_or_default()));
    parts
}

/// Whether a text begins with the word `and`, in any case, followed by white space.
fn word_and(rest: &str) -> bool {
    let follows = rest.get(3..).is_some_and(|after| after.starts_with(char::is_whitespace));
    follows && rest.get(..3).is_some_and(|word| word.eq_ignore_ascii_case("and"))
}

fn condition(part: &str) -> Result<Condition, String> {
    const FORM: &str = "expected a name, one of `=`, `!=`, `<`, `<=`, `>`, `>=`, and a value, such as `intent=refund`";
    let part = part.trim();
    if part.is_empty() {
        return Err(format!("a condition is missing; {FORM}"));
    }
    let shown = crate::sys::text::one_line(part, 60);
    let at = part.find(['=', '!', '<', '>']).ok_or_else(|| format!("`{shown}` has no operator; {FORM}"))?;
    let (name, rest) = part.split_at(at);
    let found = OPERATORS.iter().find_map(|(text, operator)| Some((rest.strip_prefix(text)?, *operator)));
    let (value, operator) = found.ok_or_else(|| format!("`{shown}` has no operator; {FORM}"))?;
    let name = name.trim();
    if name.is_empty() || name.contains(['"', ' ']) {
        return Err(format!("`{shown}` does not begin with the name of a dimension; {FORM}"));
    }
    let value = value.trim();
    let value = match value.strip_prefix('"') {
        Some(inner) => unquote(inner).ok_or_else(|| format!("the quote in `{shown}` is not closed at its end"))?,
        None if value.is_empty() => return Err(format!("`{shown}` has no value; write `\"\"` for the empty text")),
        None if value.starts_with(['=', '<', '>']) => return Err(format!("`{shown}` has two operators; {FORM}")),
        None => value.to_owned(),
    };
    let ordering = !matches!(operator, Operator::Equal | Operator::NotEqual);
    if ordering && number(&value).is_none() {
        return Err(format!("`{shown}` orders by something that is not a number; `<` and `>` need a number"));
    }
    Ok(Condition { name: name.to_owned(), operator, value })
}

/// The text up to the closing quote, which must be the last character.
fn unquote(inner: &str) -> Option<String> {
    let mut value = String::new();
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => value.push(characters.next()?),
            '"' => return characters.as_str().is_empty().then_some(value),
            plain => value.push(plain),
        }
    }
    None
}

/// A dimension of a trace: those of [`Trace::dimension`], and `cost`, `latency_ms`, `tokens`, `spans`, `day`,
/// `repeated_calls` (of a tool with the same arguments) and `negative_feedback` (`true` or `false`, where users spoke).
pub fn trace_dimension(trace: &Trace, name: &str) -> Option<String> {
    let measured = match name {
        "cost" | "cost_usd" => trace.cost_usd().map(|cost| cost.to_string()),
        "latency_ms" => trace.duration_ms().map(|duration| duration.to_string()),
        "tokens" => trace.usage().total().map(|tokens| tokens.to_string()),
        "spans" => Some(trace.spans.len().to_string()),
        "repeated_calls" => Some(features::repeated_calls(trace).to_string()),
        "negative_feedback" => features::negative_feedback(trace, &[]).map(|said| said.to_string()),
        "day" => {
            let start = trace.spans.iter().map(|span| span.start_ns).min()?;
            let moment = jiff::Timestamp::from_nanosecond(i128::from(start)).ok()?;
            Some(moment.to_string().chars().take(10).collect())
        }
        _ => None,
    };
    measured.or_else(|| trace.dimension(name))
}

/// A dimension of an example: its dimensions, and `id`, `cluster`, `stratum`, and metadata that is not nested.
pub fn example_dimension(example: &Example, name: &str) -> Option<String> {
    example.dimensions.get(name).cloned().or_else(|| match name {
        "id" => Some(example.id.to_string()),
        "cluster" => Some(example.cluster_key().to_owned()),
        "stratum" => example.stratum.clone(),
        _ => example.metadata.get(name).and_then(super::native::scalar_text),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn matches(filter: &str, pairs: &[(&str, &str)]) -> bool {
        let filter = Filter::parse(filter).unwrap();
        filter.matches(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn conditions_are_read_and_joined() {
        let pairs = [("intent", "refund"), ("tier", "pro"), ("cost", "0.75"), ("note", "a, b and c \"x\"")];
        assert!(matches("intent=refund", &pairs));
        assert!(matches("intent == refund, tier!=free AND cost>0.5", &pairs));
        assert!(matches("cost >= 0.750 and cost=0.75", &pairs));
        assert!(!matches("cost<0.5", &pairs));
        assert!(matches(r#"note="a, b and c \"x\"""#, &pairs));
        assert!(matches("intent=refund and tier=pro,cost<=1", &pairs));
    }

    #[test]
    fn an_absent_dimension_equals_nothing() {
        assert!(!matches("tier=free", &[]));
        assert!(matches("tier!=free", &[]));
        assert!(!matches("cost>0", &[]));
        assert!(!matches("cost>0", &[("cost", "unknown")]));
        assert!(matches("tier=\"\"", &[("tier", "")]));
    }

    #[test]
    fn errors_say_where_and_what() {
        let error = |text| Filter::parse(text).unwrap_err();
        assert_eq!(error("a=1, b").at, 5);
        assert!(error("a=1, b").to_string().contains("`b` has no operator"), "{}", error("a=1, b"));
        assert!(error("a=").cause.contains("no value"));
        assert!(error("=x").cause.contains("name of a dimension"));
        assert!(error("").cause.contains("missing"));
        assert!(error("a=\"x").cause.contains("not closed"));
        assert!(error("a>b").cause.contains("not a number"));
        assert!(error("a=1,,b=2").cause.contains("missing"));
        assert!(error("a=>3").cause.contains("two operators"));
        assert!(error("a!b").cause.contains("no operator"));
    }

    #[test]
    fn words_with_and_inside_are_not_split() {
        assert!(matches("brand=sand and name=android", &[("brand", "sand"), ("name", "android")]));
    }

    #[test]
    fn examples_are_looked_up_by_dimension_and_metadata() {
        let mut example = Example::new("x".into(), json!("q"));
        example.metadata.insert("n".into(), json!(3));
        example.metadata.insert("deep".into(), json!({}));
        assert_eq!(example_dimension(&example, "n").as_deref(), Some("3"));
        assert_eq!(example_dimension(&example, "deep"), None);
        assert_eq!(example_dimension(&example, "cluster").as_deref(), Some("x"));
    }

    proptest! {
        #[test]
        fn nothing_panics(text in ".{0,40}") {
            let _ = Filter::parse(&text);
        }

        #[test]
        fn any_value_can_be_quoted(value in ".{0,20}") {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            let text = format!("a=\"{quoted}\", b=1");
            prop_assert!(matches(&text, &[("a", &value), ("b", "1")]));
        }
    }
}
