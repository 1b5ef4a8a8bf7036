//! How a filter expression is read: operators, brackets, quotes, saved slices. Says for every fault where it stands.

use std::cell::Cell;

use super::error::did_you_mean;
use super::filter::{Condition, FilterError, Node, Operator, Slices, number};
use crate::sys::text::one_line;

/// How deep brackets and `not` may nest: hostile text must not exhaust the stack.
const DEEPEST: usize = 64;

/// Slices opened for one filter: slices that name each other twice would double with every level.
const MOST_SLICES: usize = 1_000;

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

/// Reads an expression that may name saved slices.
pub(super) fn read(text: &str, slices: &Slices) -> Result<Node, FilterError> {
    read_below(text, (slices, &Cell::new(0)), 0)
}

fn read_below(text: &str, (slices, opened): (&Slices, &Cell<usize>), depth: usize) -> Result<Node, FilterError> {
    let mut reader = Reader { text, at: 0, slices, opened, depth };
    let root = reader.any().and_then(|root| match reader.rest().chars().next() {
        None => Ok(root),
        Some(')') => Err("this bracket was never opened".to_owned()),
        Some(_) => Err("expected `and`, `or` or the end".to_owned()),
    });
    root.map_err(|cause| FilterError {
        filter: one_line(text, 200),
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
        let Some(operator) = self.operator() else { return self.alone(&name, start) };
        let value = self.value(start)?;
        // Without saved slices it can only be a dimension of that name.
        if name == "slice" && !self.slices.is_empty() {
            return match operator {
                Operator::Equal => self.slice(&value, start),
                Operator::NotEqual => Ok(Node::Not(Box::new(self.slice(&value, start)?))),
                _ => Err("a saved slice is asked for by `slice=NAME` or `slice!=NAME`".to_owned()),
            };
        }
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

    /// A name that stands alone.
    fn alone(&mut self, name: &str, start: usize) -> Result<Node, String> {
        if self.slices.contains_key(name) {
            return self.slice(name, start);
        }
        self.at = start;
        let known: Vec<&str> = self.slices.keys().map(String::as_str).collect();
        let known = match known.as_slice() {
            [] => String::new(),
            known => format!(
                ", or a saved slice: {}{}",
                one_line(&known.join(", "), 200),
                did_you_mean(name, known.iter().copied())
            ),
        };
        Err(format!("`{}` has no operator; {}{known}", one_line(name, 60), Self::FORM))
    }

    /// A saved slice that was named; what follows is read from where the reader stands.
    fn slice(&mut self, name: &str, start: usize) -> Result<Node, String> {
        let end = std::mem::replace(&mut self.at, start);
        let Some(text) = self.slices.get(name) else {
            let known = self.slices.keys().map(String::as_str);
            let hint = did_you_mean(name, known.clone());
            let known = one_line(&known.collect::<Vec<_>>().join(", "), 200);
            return Err(format!("there is no saved slice `{}`{hint} (there is {known})", one_line(name, 60)));
        };
        self.opened.set(self.opened.get() + 1);
        if self.opened.get() > MOST_SLICES {
            return Err(format!("it opens more than {MOST_SLICES} saved slices; they may name each other"));
        }
        let node = read_below(text, (self.slices, self.opened), self.depth)
            .map_err(|fault| format!("slice `{name}`: {}", fault.cause))?;
        self.at = end;
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
