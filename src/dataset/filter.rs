//! Filter expressions on dimensions, tags and saved slices: `intent=refund and (tier!=free or cost>0.5)`.
//!
//! Conditions joined by `and` (or a comma), `or`, `not` and brackets; `and` binds more strongly than `or`. A name that
//! stands alone is a saved slice. What a name means is the caller's: [`example_dimension`] and [`trace_dimension`].

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;

use super::features;
use crate::model::{Example, Trace};

/// What a filter can say, for help texts.
pub const FILTER_HELP: &str = "\
Filter expressions:
  intent=refund            equal; numbers by value, everything else as text. Also `!=`
  cost>0.5                 numbers: `<` `<=` `>` `>=`
  note contains \"late fee\" text inside, whatever the case; also `starts_with`
  tag=hard                 has the tag; `tag!=hard` has it not
  has reference            there is one; also `has tag`, `has label`, `has NAME`
  hard                     a saved slice of this name
  a=1 and (b=2 or not c=3) joined; a comma is `and`, which binds more strongly than `or`
Names: dimensions and metadata, and id, input, reference, cluster, stratum, split, tag, label, label.NAME,
  variants, outputs, turns, attachments. Values with commas, brackets or the words `and`, `or` stand in double quotes.";

/// How deep brackets and `not` may nest: hostile text must not exhaust the stack.
const DEEPEST: usize = 64;

/// Slices opened for one filter: slices that name each other twice would double with every level.
const MOST_SLICES: usize = 1_000;

/// A parsed filter.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    text: String,
    root: Node,
}

#[derive(Clone, Debug, PartialEq)]
enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Has(String),
    Is(Condition),
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
    Contains,
    StartsWith,
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

/// Operators that are words.
const WORDS: &[(&str, Operator)] = &[("contains", Operator::Contains), ("starts_with", Operator::StartsWith)];

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
        let root = read(text, (slices, &Cell::new(0)), 0)?;
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

fn number(text: &str) -> Option<f64> {
    text.trim().parse::<f64>().ok().filter(|number| number.is_finite())
}

fn read(text: &str, (slices, opened): (&Slices, &Cell<usize>), depth: usize) -> Result<Node, FilterError> {
    let mut reader = Reader { text, at: 0, slices, opened, depth };
    let root = reader.any().and_then(|root| match reader.rest().chars().next() {
        None => Ok(root),
        Some(')') => Err("this bracket was never opened".to_owned()),
        Some(_) => Err("expected `and`, `or` or the end".to_owned()),
    });
    root.map_err(|cause| FilterError {
        filter: crate::sys::text::one_line(text, 200),
        at: text.get(..reader.at).unwrap_or_default().chars().count() + 1,
        cause,
    })
}

/// Reads an expression from left to right; `at` is the byte where it stands, also after a fault.
struct Reader<'a> {
    text: &'a str,
    at: usize,
    slices: &'a Slices,
    opened: &'a Cell<usize>,
    depth: usize,
}

impl<'a> Reader<'a> {
    const FORM: &'static str =
        "expected a name, one of `=`, `!=`, `<`, `<=`, `>`, `>=`, `contains`, and a value, such as `intent=refund`";

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip_space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    /// Takes a word in any case when it stands here whole.
    fn word(&mut self, word: &str) -> bool {
        self.skip_space();
        let here = self.rest();
        let ends = here.get(word.len()..).is_some_and(|after| {
            after.is_empty() || after.starts_with(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '"'))
        });
        let found = ends && here.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
        self.at += if found { word.len() } else { 0 };
        found
    }

    fn mark(&mut self, mark: char) -> bool {
        self.skip_space();
        let found = self.rest().starts_with(mark);
        self.at += if found { mark.len_utf8() } else { 0 };
        found
    }

    fn any(&mut self) -> Result<Node, String> {
        let mut nodes = vec![self.all()?];
        while self.word("or") {
            nodes.push(self.all()?);
        }
        Ok(one_or(nodes, Node::Any))
    }

    fn all(&mut self) -> Result<Node, String> {
        let mut nodes = vec![self.one()?];
        while self.mark(',') || self.word("and") {
            nodes.push(self.one()?);
        }
        Ok(one_or(nodes, Node::All))
    }

    fn one(&mut self) -> Result<Node, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("brackets, `not` or slices are nested more than {DEEPEST} deep"));
        }
        let node = self.one_below();
        self.depth -= 1;
        node
    }

    fn one_below(&mut self) -> Result<Node, String> {
        let before = self.at;
        if self.word("not") {
            return Ok(Node::Not(Box::new(self.one()?)));
        }
        if self.mark('(') {
            let inner = self.any()?;
            return if self.mark(')') { Ok(inner) } else { Err("expected `)`, which closes a bracket".to_owned()) };
        }
        if self.word("has") {
            let name = self.name();
            if !name.is_empty() {
                return Ok(Node::Has(name));
            }
            self.at = before;
        }
        self.condition()
    }

    /// The characters up to white space, an operator, a bracket or a comma.
    fn name(&mut self) -> String {
        self.skip_space();
        let ends = |c: char| c.is_whitespace() || matches!(c, '=' | '!' | '<' | '>' | '(' | ')' | ',' | '"');
        let name = self.rest().split(ends).next().unwrap_or_default();
        self.at += name.len();
        name.to_owned()
    }

    fn condition(&mut self) -> Result<Node, String> {
        self.skip_space();
        let start = self.at;
        let name = self.name();
        if name.is_empty() {
            let problem = match self.rest().chars().next() {
                None | Some(',' | ')') => "a condition is missing",
                Some(_) => "the name of a dimension is missing",
            };
            return Err(format!("{problem}; {}", Self::FORM));
        }
        let Some(operator) = self.operator() else { return self.slice(&name, start) };
        let value = self.value(start)?;
        let ordering = matches!(operator, Operator::Less | Operator::AtMost | Operator::Greater | Operator::AtLeast);
        if ordering && number(&value).is_none() {
            self.at = start;
            return Err(format!("`{name}` is ordered by something that is not a number; `<` and `>` need a number"));
        }
        Ok(Node::Is(Condition { name, operator, value }))
    }

    fn operator(&mut self) -> Option<Operator> {
        self.skip_space();
        let here = self.rest();
        if let Some((text, operator)) = OPERATORS.iter().find(|(text, _)| here.starts_with(text)) {
            self.at += text.len();
            return Some(*operator);
        }
        WORDS.iter().find(|(word, _)| self.word(word)).map(|(_, operator)| *operator)
    }

    fn slice(&mut self, name: &str, start: usize) -> Result<Node, String> {
        self.at = start;
        let Some(text) = self.slices.get(name) else {
            let known: Vec<&str> = self.slices.keys().map(String::as_str).collect();
            let known = if known.is_empty() {
                String::new()
            } else {
                format!(", or a saved slice: {}", crate::sys::text::one_line(&known.join(", "), 200))
            };
            let shown = crate::sys::text::one_line(name, 60);
            return Err(format!("`{shown}` has no operator; {}{known}", Self::FORM));
        };
        self.opened.set(self.opened.get() + 1);
        if self.opened.get() > MOST_SLICES {
            return Err(format!("it opens more than {MOST_SLICES} saved slices; they may name each other"));
        }
        let node = read(text, (self.slices, self.opened), self.depth)
            .map_err(|fault| format!("slice `{name}`: {}", fault.cause))?;
        self.at = start + name.len();
        Ok(node)
    }

    /// A value: quoted, or everything up to a comma, a closing bracket, or the word `and` or `or`.
    fn value(&mut self, start: usize) -> Result<String, String> {
        self.skip_space();
        if self.mark('"') {
            return self.quoted(start);
        }
        let begin = self.at;
        let mut open = 0_usize;
        while let Some(next) = self.rest().chars().next() {
            match next {
                ',' => break,
                ')' if open == 0 => break,
                ')' => open -= 1,
                '(' => open += 1,
                _ => {}
            }
            if next.is_whitespace() {
                let here = self.at;
                let joined = self.word("and") || self.word("or");
                self.at = here;
                if joined {
                    break;
                }
            }
            self.at += next.len_utf8();
        }
        let value = self.text.get(begin..self.at).unwrap_or_default().trim();
        let problem = if value.is_empty() {
            "a condition has no value; write `\"\"` for the empty text".to_owned()
        } else if value.starts_with(['=', '<', '>']) {
            format!("a condition has two operators; {}", Self::FORM)
        } else {
            return Ok(value.to_owned());
        };
        self.at = start;
        Err(problem)
    }

    fn quoted(&mut self, start: usize) -> Result<String, String> {
        let mut value = String::new();
        let mut characters = self.rest().char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
                '"' => {
                    self.at += at + 1;
                    return Ok(value);
                }
                plain => value.push(plain),
            }
        }
        self.at = start;
        Err("a quote is not closed".to_owned())
    }
}

fn one_or(mut nodes: Vec<Node>, join: fn(Vec<Node>) -> Node) -> Node {
    match nodes.pop() {
        Some(only) if nodes.is_empty() => only,
        Some(last) => {
            nodes.push(last);
            join(nodes)
        }
        None => join(nodes),
    }
}

/// A dimension of a trace: those of [`Trace::dimension`], and `cost`, `latency_ms`, `tokens`, `spans`, `day`,
/// `repeated_calls` (of a tool with the same arguments) and `negative_feedback` (`true` or `false`, where users spoke;
/// here by attributes alone, with scores by [`super::Opinions::dimension`]).
pub fn trace_dimension(trace: &Trace, name: &str) -> Option<String> {
    let measured = match name {
        "cost" | "cost_usd" => trace.cost_usd().map(|cost| cost.to_string()),
        "latency_ms" => trace.duration_ms().map(|duration| duration.to_string()),
        "tokens" => trace.usage().total().map(|tokens| tokens.to_string()),
        "spans" => Some(trace.spans.len().to_string()),
        "repeated_calls" => Some(features::repeated_calls(trace).to_string()),
        super::opinions::NEGATIVE_FEEDBACK => features::negative_feedback(trace, []).map(|said| said.to_string()),
        "day" => {
            let start = trace.spans.iter().map(|span| span.start_ns).min()?;
            let moment = jiff::Timestamp::from_nanosecond(i128::from(start)).ok()?;
            Some(moment.to_string().chars().take(10).collect())
        }
        _ => None,
    };
    measured.or_else(|| trace.dimension(name))
}

/// What a filter can ask of an example: its dimensions, then the names of [`FILTER_HELP`], then metadata that is not
/// nested.
pub fn example_dimension(example: &Example, name: &str) -> Option<String> {
    if let Some(value) = example.dimensions.get(name) {
        return Some(value.clone());
    }
    let many = |count: usize| (count > 0).then(|| count.to_string());
    let label = |name: &str| {
        let label = example.labels.iter().find(|label| label.name == name)?;
        super::native::scalar_text(&label.value)
    };
    match name {
        "id" => Some(example.id.to_string()),
        "input" => Some(example.input_text()),
        "reference" => match example.reference.as_ref()? {
            serde_json::Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        },
        "cluster" => Some(example.cluster_key().to_owned()),
        "stratum" => example.stratum.clone(),
        "split" => example.split.clone(),
        "tag" | "tags" => many(example.tags.len()),
        "label" | "labels" => many(example.labels.len()),
        "attachments" => Some(example.attachments.len().to_string()),
        "expected_calls" => example.expected_calls.as_ref().map(|calls| calls.len().to_string()),
        "outputs" => Some(example.recorded.len().to_string()),
        "variants" => {
            let names: std::collections::BTreeSet<_> = example.recorded.iter().map(|r| r.variant.as_deref()).collect();
            Some(names.len().to_string())
        }
        "turns" => super::conversation::turns_of(&example.input).map(|turns| turns.len().to_string()),
        _ => match name.split_once('.') {
            Some(("tag", tag)) => example.tags.contains(tag).then(|| "yes".to_owned()),
            Some(("label", name)) => label(name),
            _ => None,
        }
        .or_else(|| example.metadata.get(name).and_then(super::native::scalar_text)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

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
    }

    #[test]
    fn words_with_and_inside_are_not_split() {
        assert!(matches("brand=sand and name=android", &[("brand", "sand"), ("name", "android")]));
    }

    #[test]
    fn examples_are_looked_up_by_dimension_tag_label_and_metadata() {
        let mut example = Example::new("x".into(), json!({"messages": [{"role": "user"}, {"role": "assistant"}]}));
        example.metadata.insert("n".into(), json!(3));
        example.metadata.insert("deep".into(), json!({}));
        example.tags.insert("hard".into());
        example.labels.push(crate::model::Label { name: "ok".into(), value: json!(true), ..Default::default() });
        assert_eq!(example_dimension(&example, "n").as_deref(), Some("3"));
        assert_eq!(example_dimension(&example, "deep"), None);
        assert_eq!(example_dimension(&example, "cluster").as_deref(), Some("x"));
        let fits = |text: &str| Filter::parse(text).unwrap().matches(|name| example_dimension(&example, name));
        assert!(fits("tag=hard and tag!=easy and tags contains hard and has tag"));
        assert!(fits("label.ok=true and has label and not has reference and turns=2 and outputs<1"));
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
