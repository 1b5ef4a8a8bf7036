//! A mapped dialogue: turns in any form, brought to the chat format of OpenAI that `dialogue` reads.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::error::{DatasetError, Place, RowError, shown};
use super::field::Field;
use super::mapping::{FieldRef, FieldRule, MessagesRef, MessagesRule};
use super::rows::Row;

/// Roles that a chat knows.
const ROLES: &[&str] = &["system", "developer", "user", "assistant", "tool", "function"];
/// Stands for every speaker that is not named.
const OTHERS: &str = "*";

/// A mapped dialogue, compiled.
pub struct Turns {
    field: Field,
    rule: Option<Form>,
}

struct Form {
    role: String,
    content: String,
    name: String,
    roles: BTreeMap<String, String>,
}

impl Turns {
    /// Checks and compiles the mapping of a dialogue.
    ///
    /// # Errors
    /// [`DatasetError::Mapping`] names the key that is wrong.
    pub fn new(messages: &MessagesRef) -> Result<Self, DatasetError> {
        let rule = match messages {
            MessagesRef::Path(path) => {
                return Ok(Self { field: Field::new("messages", &FieldRef::Path(path.clone()))?, rule: None });
            }
            MessagesRef::Rule(rule) => (**rule).clone(),
        };
        let MessagesRule { field, role, content, name, roles, optional } = rule;
        if let Some((speaker, role)) = roles.iter().find(|(_, role)| !ROLES.contains(&role.as_str())) {
            let cause = format!("`{role}` is no role of a chat; use one of {}", ROLES.join(", "));
            return Err(DatasetError::Mapping { key: format!("messages.roles.{speaker}"), cause });
        }
        let rule = FieldRule { field: Some(field), optional, ..FieldRule::default() };
        let or = |said: Option<String>, usual: &str| said.unwrap_or_else(|| usual.to_owned());
        Ok(Self {
            field: Field::new("messages", &FieldRef::Rule(Box::new(rule)))?,
            rule: Some(Form { role: or(role, "role"), content: or(content, "content"), name: or(name, "name"), roles }),
        })
    }

    /// The field that holds the list.
    pub fn field(&self) -> &Field {
        &self.field
    }

    /// The dialogue of a row in chat format; what cannot be read is left for `dialogue` to name.
    ///
    /// # Errors
    /// The row lacks the field, or a turn has a speaker that the mapping does not know.
    pub fn take(&self, row: &Row, place: Place<'_>) -> Result<Option<Value>, RowError> {
        let Some(value) = self.field.take(row, place)? else { return Ok(None) };
        // A dialogue kept as text, parsed.
        let value = match &value {
            Value::String(text) => serde_json::from_str(text).unwrap_or(value),
            _ => value,
        };
        let (Some(form), Value::Array(turns)) = (&self.rule, &value) else { return Ok(Some(value)) };
        let turn = |(index, turn): (usize, &Value)| {
            form.chat(turn).map_err(|found| {
                let at = format!("{}.{index}.{}", self.field.shown_path(), form.role);
                RowError::new(place, &at, &found, "a speaker that `messages.roles` names, or `\"*\"` there")
            })
        };
        turns.iter().enumerate().map(turn).collect::<Result<_, _>>().map(|turns| Some(Value::Array(turns)))
    }
}

impl Form {
    fn chat(&self, turn: &Value) -> Result<Value, String> {
        let Some(map) = turn.as_object() else { return Ok(turn.clone()) };
        let speaker = map.get(&self.role).and_then(Value::as_str);
        let role = match speaker {
            Some(speaker) if !self.roles.is_empty() => {
                let named = self.roles.get(speaker).or_else(|| self.roles.get(OTHERS));
                Some(named.cloned().ok_or_else(|| shown(&json!(speaker)))?)
            }
            other => other.map(str::to_owned),
        };
        let kept = map.iter().filter(|(key, _)| ![&self.role, &self.content, &self.name].contains(key));
        let mut chat: Map<String, Value> = kept.map(|(key, value)| (key.clone(), value.clone())).collect();
        chat.extend(role.map(|role| ("role".to_owned(), Value::String(role))));
        chat.extend(map.get(&self.content).map(|content| ("content".to_owned(), content.clone())));
        let name = map.get(&self.name).or_else(|| map.get(&self.role).filter(|_| !self.roles.is_empty()));
        chat.extend(name.map(|name| ("name".to_owned(), name.clone())));
        Ok(Value::Object(chat))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::mapping::FieldMapping;
    use super::*;

    fn chat(mapping: &str, turns: Value) -> Result<Option<Value>, String> {
        let mapping: FieldMapping = toml::from_str(mapping).unwrap();
        let turns_rule = Turns::new(&mapping.messages.unwrap()).map_err(|error| error.to_string())?;
        let row = Row { line: 1, fields: json!({"history": turns}), untyped: false };
        turns_rule.take(&row, Place { file: Path::new("f"), line: 1 }).map_err(|error| error.to_string())
    }

    const SPEAKERS: &str = r#"messages = { field = "history", role = "by", content = "said", roles = { Terminal = "tool", "*" = "assistant" } }"#;

    #[test]
    fn speakers_become_roles_and_keep_their_names() {
        let found = chat(SPEAKERS, json!([{"by": "Expert", "said": "x"}, {"by": "Terminal", "said": "y", "z": 1}]));
        let expected = json!([{"role": "assistant", "content": "x", "name": "Expert"},
            {"role": "tool", "content": "y", "name": "Terminal", "z": 1}]);
        assert_eq!(found, Ok(Some(expected)));
    }

    #[test]
    fn unknown_speakers_and_roles_are_named() {
        let strict = SPEAKERS.replace(r#", "*" = "assistant""#, "");
        let error = chat(&strict, json!([{"by": "Expert", "said": "x"}])).unwrap_err();
        assert!(error.contains("field `history.0.by`: found `Expert`"), "{error}");
        let error = chat(&SPEAKERS.replace("\"tool\"", "\"robot\""), json!([])).unwrap_err();
        assert!(error.contains("messages.roles.Terminal") && error.contains("`robot`"), "{error}");
    }
}
