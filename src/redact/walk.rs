//! The way through everything that is written: each text, each key, each named field, JSON inside texts too.
//!
//! Ids of traces, spans and calls of tools are not looked at: they are digests or counters, and things are joined by
//! them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::Redactor;
use super::fields::FieldRule;
use crate::model::{Example, Message, Part, RedactAction, Redactions, SessionId, Span, TraceScore};
use crate::sys::text;

/// JSON in a text in JSON in a text: no further than this.
const MOST_NESTED: usize = 6;

/// Whether a value stays where it was.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Stays,
    Goes,
}

impl Redactor {
    /// Takes out of a span what its rules say.
    pub fn span(&self, span: &mut Span, account: &mut Redactions) {
        if !self.is_quiet(span) {
            self.walk(span, account);
        }
        self.shared(&mut span.resource, account);
    }

    /// Takes out of all of a span but its resource what the rules say.
    pub(super) fn walk(&self, span: &mut Span, account: &mut Redactions) {
        self.text("name", &mut span.name, account);
        self.messages("messages_in", &mut span.messages_in, account);
        self.messages("messages_out", &mut span.messages_out, account);
        self.optional("input", &mut span.input, account);
        self.optional("output", &mut span.output, account);
        if let Some(tool) = &mut span.tool {
            self.optional("tool.arguments", &mut tool.arguments, account);
            self.optional("tool.result", &mut tool.result, account);
            self.text("tool.name", &mut tool.name, account);
        }
        if let Some(error) = &mut span.error {
            self.optional_text(&["error.message"], &mut error.message, account);
            self.optional_text(&["error.kind"], &mut error.kind, account);
        }
        if let Some(agent) = &mut span.agent {
            self.optional_text(&["agent.name"], &mut agent.name, account);
            self.optional_text(&["agent.id"], &mut agent.id, account);
            self.optional_text(&["agent.version"], &mut agent.version, account);
        }
        self.optional_text(&["user_id", "user.id", "enduser.id"], &mut span.user_id, account);
        let mut session = span.session_id.take().map(|id| id.to_string());
        self.optional_text(&["session_id", "session.id"], &mut session, account);
        span.session_id = session.map(SessionId::new);
        for reason in &mut span.finish_reasons {
            self.text("finish_reasons", reason, account);
        }
        self.attributes(&mut span.attributes, account);
    }

    /// Takes out of attributes that others may share what the rules say; they are copied only where that is something.
    pub fn shared(&self, attributes: &mut Arc<BTreeMap<String, Value>>, account: &mut Redactions) {
        if attributes.is_empty() {
            return;
        }
        let mut redacted = BTreeMap::clone(attributes);
        let mut found = Redactions::default();
        self.attributes(&mut redacted, &mut found);
        if !found.is_empty() {
            *attributes = Arc::new(redacted);
            account.merge(&found);
        }
    }

    /// Whether the policy takes out one of these fields as a whole; counted where it does.
    pub fn takes_out(&self, fields: &[&str], account: &mut Redactions) -> bool {
        for field in fields {
            if let Some(rule) = self.fields.find(field).filter(|rule| rule.action != RedactAction::Keep) {
                note(account, &format!("field:{}", rule.name), field);
                return true;
            }
        }
        false
    }

    /// Whether the policy says that each of these fields stays as it is.
    pub fn protects(&self, fields: &[&str]) -> bool {
        fields.iter().all(|field| self.fields.find(field).is_some_and(|rule| rule.action == RedactAction::Keep))
    }

    /// Takes out of a score what its rules say.
    pub fn score(&self, score: &mut TraceScore, account: &mut Redactions) {
        self.optional_text(&["score.comment"], &mut score.comment, account);
        self.optional_text(&["score.label"], &mut score.label, account);
        self.optional_text(&["score.author"], &mut score.author, account);
        self.text("score.name", &mut score.name, account);
        let mut session = score.session_id.take().map(|id| id.to_string());
        self.optional_text(&["session_id", "session.id"], &mut session, account);
        score.session_id = session.map(SessionId::new);
    }

    /// Takes out of an imported example what its rules say. Its id, its cluster and its lineage stay: examples are told
    /// apart and joined by them.
    pub fn example(&self, example: &mut Example, account: &mut Redactions) {
        self.value("input", &mut example.input, account);
        self.optional("reference", &mut example.reference, account);
        for (name, value) in &mut example.dimensions {
            self.text(name, value, account);
        }
        self.attributes(&mut example.metadata, account);
        for label in &mut example.labels {
            self.optional_text(&["label.reason"], &mut label.reason, account);
            self.optional_text(&["label.annotator"], &mut label.annotator, account);
        }
        for recorded in &mut example.recorded {
            self.value("output", &mut recorded.output.value, account);
            self.attributes(&mut recorded.output.metadata, account);
            if let Some(trace) = &mut recorded.output.trace {
                let spans = &mut Arc::make_mut(trace).spans;
                spans.iter_mut().for_each(|span| self.span(span, account));
            }
        }
    }

    /// Takes out of attributes, keys too, what the rules say.
    pub fn attributes(&self, attributes: &mut BTreeMap<String, Value>, account: &mut Redactions) {
        let mut dropped = Vec::new();
        let mut renamed = Vec::new();
        let mut path = String::new();
        for (key, value) in attributes.iter_mut() {
            let name = self.renamed(key, account);
            let field = name.as_deref().unwrap_or(key);
            path.clear();
            path.push_str(key);
            if self.value_at(&mut path, key, value, 0, account, field) == Fate::Goes {
                dropped.push(key.clone());
            } else if let Some(name) = name {
                renamed.push((key.clone(), name));
            }
        }
        for key in dropped {
            attributes.remove(&key);
        }
        for (key, name) in renamed {
            if let Some(value) = attributes.remove(&key) {
                attributes.insert(free(&name, |name| attributes.contains_key(name)), value);
            }
        }
    }

    /// Takes out of a value what the rules say; the field is left empty when it goes as a whole.
    pub fn value(&self, field: &str, value: &mut Value, account: &mut Redactions) {
        if self.value_at(&mut field.to_owned(), last(field), value, 0, account, field) == Fate::Goes {
            *value = Value::Null;
        }
    }

    /// Takes out of a text what the rules say.
    pub fn text(&self, field: &str, text: &mut String, account: &mut Redactions) {
        if self.text_at(&mut field.to_owned(), last(field), text, 0, account, field) == Fate::Goes {
            *text = "[dropped]".to_owned();
        }
    }

    /// A record that was turned away, fit to be shown. What the name of a field decides cannot be decided in a record
    /// that is not readable; then nothing of it is shown.
    pub fn record(&self, record: &[u8], account: &mut Redactions) -> Vec<u8> {
        if self.fields.take_out() {
            let Ok(mut value) = serde_json::from_slice::<Value>(record) else {
                return b"[not shown: fields are redacted by name, and this record cannot be read]".to_vec();
            };
            self.value("rejected", &mut value, account);
            return value.to_string().into_bytes();
        }
        let mut shown = String::from_utf8_lossy(record.get(..MOST_SHOWN).unwrap_or(record)).into_owned();
        let mut found = Redactions::default();
        if let Some(scanned) = self.scanned(&shown, "rejected", &mut found) {
            shown = scanned.unwrap_or_else(|| "[dropped]".to_owned());
        }
        account.merge(&found);
        shown.into_bytes()
    }

    fn messages(&self, field: &str, messages: &mut Vec<Message>, account: &mut Redactions) {
        if self.protects(&[field]) || messages.is_empty() {
            return;
        }
        if self.takes_out(&[field], account) {
            messages.clear();
            return;
        }
        // Paths are for rules about fields alone.
        let ruled = self.fields.len() > 0;
        let below = |name: &str| if ruled { format!("{field}.{name}") } else { String::new() };
        for message in messages.iter_mut() {
            self.text_in(field, &below("role"), &mut message.role, account);
        }
        for part in messages.iter_mut().flat_map(|message| &mut message.parts) {
            if let Part::ToolCall { name, .. } = part {
                self.text_in(field, &below("tool"), name, account);
            }
            match part {
                Part::Text { content } => self.text_in(field, &below("text"), content, account),
                Part::Reasoning { content } => self.text_in(field, &below("reasoning"), content, account),
                Part::ToolCall { arguments, .. } => self.value_in(field, &below("arguments"), arguments, account),
                Part::ToolResult { result, .. } => self.value_in(field, &below("result"), result, account),
                Part::Other { value } => self.value_in(field, &below("other"), value, account),
            }
        }
    }

    fn text_in(&self, field: &str, path: &str, text: &mut String, account: &mut Redactions) {
        if self.text_at(&mut path.to_owned(), "", text, 0, account, field) == Fate::Goes {
            *text = "[dropped]".to_owned();
        }
    }

    fn value_in(&self, field: &str, path: &str, value: &mut Value, account: &mut Redactions) {
        if self.value_at(&mut path.to_owned(), "", value, 0, account, field) == Fate::Goes {
            *value = Value::Null;
        }
    }

    fn optional(&self, field: &str, value: &mut Option<Value>, account: &mut Redactions) {
        if let Some(inner) = value
            && self.value_at(&mut field.to_owned(), "", inner, 0, account, field) == Fate::Goes
        {
            *value = None;
        }
    }

    /// A text that may be told by several names: its own and those of the attributes it is read from.
    fn optional_text(&self, names: &[&str], text: &mut Option<String>, account: &mut Redactions) {
        let Some(inner) = text else { return };
        let named = names.iter().find(|name| self.fields.find(name).is_some()).or(names.first());
        let Some(name) = named.copied() else { return };
        if self.text_at(&mut name.to_owned(), last(name), inner, 0, account, names.first().unwrap_or(&name))
            == Fate::Goes
        {
            *text = None;
        }
    }

    fn value_at(
        &self,
        path: &mut String,
        name: &str,
        value: &mut Value,
        depth: usize,
        account: &mut Redactions,
        field: &str,
    ) -> Fate {
        if let Some(rule) = self.fields.find(path) {
            return self.whole(rule, value, account, field);
        }
        match value {
            Value::String(text) => self.text_beyond(path, name, text, depth, account, field),
            Value::Number(number) => {
                let number = number.to_string();
                let Some((rule, action)) = self.scanner.number(name, &number) else { return Fate::Stays };
                note(account, rule, field);
                self.stand_in(action, rule, &number).map_or(Fate::Goes, |text| {
                    *value = Value::String(text);
                    Fate::Stays
                })
            }
            Value::Array(items) => {
                for item in items.iter_mut() {
                    if self.value_at(path, name, item, depth, account, field) == Fate::Goes {
                        *item = Value::String("[dropped]".to_owned());
                    }
                }
                Fate::Stays
            }
            Value::Object(map) => {
                self.object(path, map, depth, account, field);
                Fate::Stays
            }
            _ => Fate::Stays,
        }
    }

    fn object(
        &self,
        path: &mut String,
        map: &mut Map<String, Value>,
        depth: usize,
        account: &mut Redactions,
        field: &str,
    ) {
        let length = path.len();
        let (mut dropped, mut renamed) = (Vec::new(), Vec::new());
        // `{"key": "password", "value": "..."}` names its value beside it.
        let told = ["key", "name"].iter().find_map(|name| map.get(*name)?.as_str()).map(str::to_owned);
        for (key, value) in map.iter_mut() {
            path.push('.');
            path.push_str(key);
            let name = told.as_deref().filter(|_| key == "value").unwrap_or(key);
            if self.value_at(path, name, value, depth, account, field) == Fate::Goes {
                dropped.push(key.clone());
            } else if let Some(name) = self.renamed(key, account) {
                renamed.push((key.clone(), name));
            }
            path.truncate(length);
        }
        if dropped.is_empty() && renamed.is_empty() {
            return;
        }
        // Made anew: removing would mix up the order of what stays.
        let mut renamed: BTreeMap<String, String> = renamed.into_iter().collect();
        for (key, value) in std::mem::take(map).into_iter().filter(|(key, _)| !dropped.contains(key)) {
            let key = renamed.remove(&key).unwrap_or(key);
            let key = free(&key, |name| map.contains_key(name));
            map.insert(key, value);
        }
    }

    /// What a rule about a field does with its value.
    fn whole(&self, rule: FieldRule<'_>, value: &mut Value, account: &mut Redactions, field: &str) -> Fate {
        if rule.action == RedactAction::Keep || value.is_null() {
            return Fate::Stays;
        }
        note(account, &format!("field:{}", rule.name), field);
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match self.stand_in(rule.action, rule.label, &text) {
            Some(text) => {
                *value = Value::String(text);
                Fate::Stays
            }
            None => Fate::Goes,
        }
    }

    fn text_at(
        &self,
        path: &mut String,
        name: &str,
        text: &mut String,
        depth: usize,
        account: &mut Redactions,
        field: &str,
    ) -> Fate {
        if let Some(rule) = self.fields.find(path) {
            let mut value = Value::String(std::mem::take(text));
            let fate = self.whole(rule, &mut value, account, field);
            if let Value::String(redacted) = value {
                *text = redacted;
            }
            return fate;
        }
        self.text_beyond(path, name, text, depth, account, field)
    }

    /// A text that no rule about fields fits.
    fn text_beyond(
        &self,
        path: &mut String,
        name: &str,
        text: &mut String,
        depth: usize,
        account: &mut Redactions,
        field: &str,
    ) -> Fate {
        if let Some((rule, action)) = self.scanner.by_name(name, text) {
            note(account, rule, field);
            return match self.stand_in(action, rule, text) {
                Some(redacted) => {
                    *text = redacted;
                    Fate::Stays
                }
                None => Fate::Goes,
            };
        }
        let may = self.scanner.may_find(text);
        if depth < MOST_NESTED
            && (may || self.fields.len() > 0 || text.contains("\"pass"))
            && looks_like_json(text)
            && let Ok(mut inner @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str::<Value>(text)
        {
            let mut found = Redactions::default();
            self.value_at(path, name, &mut inner, depth + 1, &mut found, field);
            // Unchanged JSON keeps its own spacing and order.
            if !found.is_empty() {
                *text = inner.to_string();
                account.merge(&found);
            }
            return Fate::Stays;
        }
        if !may {
            return Fate::Stays;
        }
        match self.scanned(text, field, account) {
            Some(Some(redacted)) => {
                *text = redacted;
                Fate::Stays
            }
            Some(None) => Fate::Goes,
            None => Fate::Stays,
        }
    }

    /// The text with what was found in it replaced; `None` when nothing was, and nothing inside when it goes.
    fn scanned(&self, text: &str, field: &str, account: &mut Redactions) -> Option<Option<String>> {
        let hits = self.scanner.find(text);
        if hits.is_empty() {
            return None;
        }
        let mut redacted = String::with_capacity(text.len());
        let mut from = 0;
        let mut goes = false;
        for hit in hits {
            note(account, hit.rule, field);
            redacted.push_str(text.get(from..hit.range.start).unwrap_or_default());
            match self.stand_in(hit.action, hit.rule, text.get(hit.range.clone()).unwrap_or_default()) {
                Some(stand_in) => redacted.push_str(&stand_in),
                None => goes = true,
            }
            from = hit.range.end;
        }
        redacted.push_str(text.get(from..).unwrap_or_default());
        Some((!goes).then_some(redacted))
    }

    /// Another name for a key that says something itself.
    fn renamed(&self, key: &str, account: &mut Redactions) -> Option<String> {
        if !self.scanner.may_find(key) {
            return None;
        }
        self.scanned(key, "keys", account).map(|name| name.unwrap_or_else(|| "[dropped]".to_owned()))
    }
}

/// Bytes of a rejected record that are looked at: more than is shown, so that nothing is cut in half before.
const MOST_SHOWN: usize = 16 << 10;

fn looks_like_json(text: &str) -> bool {
    let text = text.trim();
    (text.starts_with('{') && text.ends_with('}')) || (text.starts_with('[') && text.ends_with(']'))
}

fn note(account: &mut Redactions, rule: &str, field: &str) {
    account.note(rule, &field_of(field));
}

/// A key under which a value is counted: the places in lists are all one, and foreign text is made safe.
fn field_of(key: &str) -> String {
    let place = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<&str> = key.split('.').map(|part| if place(part) { "*" } else { part }).collect();
    text::one_line(&parts.join("."), 80)
}

fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// A name that is not taken: two keys that look the same once redacted stay two.
fn free(name: &str, taken: impl Fn(&str) -> bool) -> String {
    let mut free = name.to_owned();
    let mut count = 2;
    while taken(&free) {
        free = format!("{name} ({count})");
        count += 1;
    }
    free
}
