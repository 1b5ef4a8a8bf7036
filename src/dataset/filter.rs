//! Filter expressions on dimensions, tags and saved slices: `intent=refund and (tier!=free or cost>0.5)`.
//!
//! Conditions joined by `and` (or a comma), `or`, `not` and brackets; `and` binds more strongly than `or`. A name that
//! stands alone is a saved slice. What a name means is the caller's: see `dimension`. How a filter is read is told by
//! `filter_syntax`.

use std::collections::BTreeMap;
use std::fmt;

use super::filter_syntax::read;

/// What a filter can say, for help texts.
pub const FILTER_HELP: &str = "\
Filter expressions:
  intent=refund            equal; numbers by value, everything else as text. Also `!=`
  cost>0.5                 numbers: `<` `<=` `>` `>=`
  note contains \"late fee\" text inside, whatever the case; also `starts_with`
  tag=hard                 has the tag; `tag!=hard` has it not
  has reference            there is one; also `has tag`, `has label`, `has NAME`
  slice=hard               fits the saved slice, as `hard` alone does; also `slice!=hard`
  a=1 and (b=2 or not c=3) joined; a comma is `and`, which binds more strongly than `or`
\n\
Names: dimensions and metadata, and id, input, reference, cluster, stratum, split, tag, slice, label, label.NAME, \
variants, outputs, turns, attachments. Values with commas, brackets or the words `and`, `or` stand in double quotes.";

/// A parsed filter.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    text: String,
    root: Node,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Has(String),
    Is(Condition),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Condition {
    pub(super) name: String,
    pub(super) operator: Operator,
    pub(super) value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    AtMost,
    Greater,
    AtLeast,
    Contains,
    StartsWith,
}

/// Saved slices: name to filter expression.
pub type Slices = BTreeMap<String, String>;

/// A filter that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("filter `{filter}` cannot be read at character {at}: {cause}")]
pub struct FilterError {
    /// The whole filter; safe to print.
    pub filter: String,
    /// One-based character where the fault is.
    pub at: usize,
    /// What is wrong, with an example of what is right.
    pub cause: String,
}

impl Filter {
    /// Reads a filter that names no saved slice. Values may stand in double quotes, with `\"` and `\\` inside.
    ///
    /// # Errors
    /// [`FilterError`] says where and what was expected.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        Self::parse_with(text, &Slices::new())
    }

    /// Reads a filter that may name saved slices.
    ///
    /// # Errors
    /// As [`Filter::parse`]; also when a slice names itself through others.
    pub fn parse_with(text: &str, slices: &Slices) -> Result<Self, FilterError> {
        let root = read(text, slices)?;
        Ok(Self { text: text.trim().to_owned(), root })
    }

    /// Names it asks for, each as often as it is asked for.
    pub fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.root.names(&mut names);
        names
    }

    /// Whether it holds. `lookup` gives the value of a name.
    ///
    /// A name that is absent equals nothing, so `=`, the orderings and `contains` fail on it and `!=` holds. Orderings
    /// hold only between numbers; `=` compares numbers by value and everything else by text.
    pub fn matches(&self, lookup: impl Fn(&str) -> Option<String>) -> bool {
        self.root.holds(&lookup)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Node {
    fn names<'a>(&'a self, names: &mut Vec<&'a str>) {
        match self {
            Self::All(nodes) | Self::Any(nodes) => nodes.iter().for_each(|node| node.names(names)),
            Self::Not(node) => node.names(names),
            Self::Has(name) => names.push(name),
            Self::Is(condition) => names.push(&condition.name),
        }
    }

    fn holds(&self, lookup: &impl Fn(&str) -> Option<String>) -> bool {
        match self {
            Self::All(nodes) => nodes.iter().all(|node| node.holds(lookup)),
            Self::Any(nodes) => nodes.iter().any(|node| node.holds(lookup)),
            Self::Not(node) => !node.holds(lookup),
            Self::Has(name) => lookup(name).is_some(),
            Self::Is(condition) => condition.holds(lookup),
        }
    }
}

impl Condition {
    fn holds(&self, lookup: &impl Fn(&str) -> Option<String>) -> bool {
        // An example has several tags, so each is a name of its own.
        if let ("tag" | "tags", Operator::Equal | Operator::NotEqual | Operator::Contains) =
            (self.name.as_str(), self.operator)
        {
            let tagged = lookup(&format!("tag.{}", self.value)).is_some();
            return tagged == (self.operator != Operator::NotEqual);
        }
        let found = lookup(&self.name);
        let Some(found) = found.as_deref() else { return self.operator == Operator::NotEqual };
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
            Operator::Contains => found.to_lowercase().contains(&self.value.to_lowercase()),
            Operator::StartsWith => found.to_lowercase().starts_with(&self.value.to_lowercase()),
        }
    }
}

pub(super) fn number(text: &str) -> Option<f64> {
    text.trim().parse::<f64>().ok().filter(|number| number.is_finite())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(filter: &str, pairs: &[(&str, &str)]) -> bool {
        let filter = Filter::parse(filter).unwrap_or_else(|error| panic!("{error}"));
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
    fn or_not_and_brackets() {
        let pairs = [("a", "1"), ("b", "2"), ("city", "New York"), ("f", "g(x)")];
        assert!(matches("a=9 or b=2", &pairs) && matches("a=1 or b=9 and b=8", &pairs));
        assert!(!matches("(a=1 or b=9) and b=8", &pairs) && matches("not (a=9 or b=9)", &pairs));
        assert!(matches("not a=9, not not b=2", &pairs) && !matches("NOT(a=1)", &pairs));
        assert!(matches("city contains \"new y\" and city starts_with new", &pairs));
        assert!(matches("(city=New York) and f=g(x)", &pairs) && matches("has a and not has z", &pairs));
        assert!(matches("has=1 or a=1", &[("has", "1")]), "a dimension may be called `has`");
        assert!(matches("order=1", &[("order", "1")]) && matches("nothing=1", &[("nothing", "1")]));
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
        assert_eq!(error("a=1, b").at, 6);
        assert!(error("a=1, b").to_string().contains("`b` has no operator"), "{}", error("a=1, b"));
        assert!(error("a=").cause.contains("no value"));
        assert!(error("=x").cause.contains("name of a dimension"));
        assert!(error("").cause.contains("missing"));
        assert!(error("a=\"x").cause.contains("not closed"));
        assert!(error("a>b").cause.contains("not a number"));
        assert!(error("a=1,,b=2").cause.contains("missing"));
        assert!(error("a=>3").cause.contains("two operators"));
        assert!(error("a!b").cause.contains("no operator"));
        assert!(error("(a=1").cause.contains("closes"));
        assert!(error("a=1)").cause.contains("never opened"));
        assert!(error("a=\"x\" b=1").cause.contains("expected `and`"));
        assert!(error(&"(".repeat(10_000)).cause.contains("nested"));
    }

    #[test]
    fn saved_slices_stand_for_their_expressions() {
        let slices: Slices = [("dear", "cost>1 or tier=pro"), ("loop", "not loop")]
            .map(|(name, text)| (name.to_owned(), text.to_owned()))
            .into();
        let dear = Filter::parse_with("dear and not a=1", &slices).unwrap();
        assert!(dear.matches(|name| (name == "tier").then(|| "pro".to_owned())));
        assert!(!dear.matches(|name| (name == "a").then(|| "1".to_owned())));
        assert!(Filter::parse_with("loop", &slices).unwrap_err().cause.contains("nested"));
        let doubled: Slices = (0..40).map(|n| (format!("s{n}"), format!("s{0} or s{0}", n + 1))).collect();
        assert!(Filter::parse_with("s0", &doubled).is_err());
        assert!(Filter::parse_with("daer", &slices).unwrap_err().cause.contains("dear, loop"));
        let asked = |text: &str, tier: &str| {
            let filter = Filter::parse_with(text, &slices).unwrap();
            filter.matches(|name| (name == "tier").then(|| tier.to_owned()))
        };
        assert!(asked("slice=dear", "pro") && asked("slice != dear and tier=free", "free"));
        assert!(!asked("slice=dear, a=1", "pro") && !asked("not slice=dear", "pro"));
        let wrong = |text: &str| Filter::parse_with(text, &slices).unwrap_err().cause;
        assert!(wrong("slice=daer").contains("did you mean `dear`?"), "{}", wrong("slice=daer"));
        assert!(wrong("slice>1").contains("slice=NAME") && wrong("slice=loop").contains("nested"));
        assert!(matches("slice=x", &[("slice", "x")]), "a dimension may be called `slice` where none is saved");
    }

    #[test]
    fn words_with_and_inside_are_not_split() {
        assert!(matches("brand=sand and name=android", &[("brand", "sand"), ("name", "android")]));
    }

    proptest! {
        #[test]
        fn nothing_panics(text in ".{0,40}") {
            let _ = Filter::parse(&text);
        }

        #[test]
        fn nothing_made_of_its_own_words_panics(words in proptest::collection::vec(
            prop_oneof![Just("("), Just(")"), Just("not "), Just(" and "), Just(" or "), Just("a"), Just("="), Just("\""),
                Just("has "), Just(","), Just("é"), Just(" contains ")], 0..20)) {
            let _ = Filter::parse(&words.concat());
        }

        #[test]
        fn any_value_can_be_quoted(value in ".{0,20}") {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            let text = format!("a=\"{quoted}\", b=1");
            prop_assert!(matches(&text, &[("a", &value), ("b", "1")]));
        }
    }
}
