//! Taking values out of a TOML table, each fault noted with its line, what was found and what was expected.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::spec::{SpecProblem, did_you_mean};

/// The file that is read.
pub(super) const FILE: &str = "judge.toml";

/// Takes values out of a table and notes what is wrong with them.
pub(super) struct Reader<'a> {
    pub(super) source: &'a str,
    pub(super) problems: Vec<SpecProblem>,
}

impl Reader<'_> {
    pub(super) fn problem(
        &mut self,
        offset: Option<usize>,
        at: &str,
        found: &str,
        expected: &str,
        hint: Option<String>,
    ) {
        let line = offset.map(|offset| 1 + self.source.bytes().take(offset).filter(|byte| *byte == b'\n').count());
        self.problems.push(SpecProblem {
            file: FILE,
            line,
            at: at.to_owned(),
            found: found.to_owned(),
            expected: expected.to_owned(),
            hint,
        });
    }

    pub(super) fn wrong(&mut self, value: &Spanned<DeValue<'_>>, at: &str, expected: &str) {
        self.problem(Some(value.span().start), at, &describe(value.get_ref()), expected, None);
    }

    pub(super) fn unknown(&mut self, table: &DeTable<'_>, prefix: &str, known: &[&str]) {
        for key in table.keys() {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                let expected = format!("one of `{}`", known.join("`, `"));
                let hint = did_you_mean(name, known.iter().copied());
                self.problem(Some(key.span().start), &format!("{prefix}{name}"), "an unknown key", &expected, hint);
            }
        }
    }

    /// A text that must be there and not be empty, with its offset.
    pub(super) fn required_text(&mut self, table: &DeTable<'_>, key: &str) -> Option<(String, usize)> {
        let Some(value) = table.get(key) else {
            self.problem(None, key, "nothing", "a text", None);
            return None;
        };
        match value.get_ref().as_str().map(str::trim) {
            Some(text) if !text.is_empty() => Some((text.to_owned(), value.span().start)),
            _ => {
                self.wrong(value, key, "a text that is not empty");
                None
            }
        }
    }

    pub(super) fn text(&mut self, table: &DeTable<'_>, key: &str, at: &str) -> Option<String> {
        let value = table.get(key)?;
        let text = value.get_ref().as_str().map(|text| text.trim().to_owned());
        if text.is_none() {
            self.wrong(value, at, "a text");
        }
        text
    }

    pub(super) fn choice(&mut self, table: &DeTable<'_>, key: &str, known: &[&str]) -> Option<String> {
        let text = self.text(table, key, key)?;
        if known.contains(&text.as_str()) {
            return Some(text);
        }
        let at = table.get(key).map(|value| value.span().start);
        let hint = did_you_mean(&text, known.iter().copied());
        self.problem(at, key, &format!("`{text}`"), &format!("one of `{}`", known.join("`, `")), hint);
        None
    }

    pub(super) fn whole(&mut self, table: &DeTable<'_>, key: &str, at: &str, least: u64, most: u64) -> Option<u64> {
        let value = table.get(key)?;
        let number =
            integer(value.get_ref()).and_then(|n| u64::try_from(n).ok()).filter(|n| (least..=most).contains(n));
        if number.is_none() {
            self.wrong(value, at, &format!("a whole number from {least} to {most}"));
        }
        number
    }

    pub(super) fn number(&mut self, table: &DeTable<'_>, key: &str, at: &str) -> Option<f64> {
        let value = table.get(key)?;
        let number = number(value.get_ref());
        if number.is_none() {
            self.wrong(value, at, "a finite number");
        }
        number
    }

    pub(super) fn table<'t, 'v>(&mut self, table: &'t DeTable<'v>, key: &str) -> Option<&'t DeTable<'v>> {
        let value = table.get(key)?;
        let inner = value.get_ref().as_table();
        if inner.is_none() {
            self.wrong(value, key, "a table");
        }
        inner
    }

    /// A truth value; false where there is none.
    pub(super) fn flag(&mut self, table: &DeTable<'_>, key: &str, at: &str) -> bool {
        let Some(value) = table.get(key) else { return false };
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            self.wrong(value, at, "`true` or `false`");
        }
        flag.unwrap_or(false)
    }

    /// A list of tables; none where the key is absent or is something else.
    pub(super) fn rows<'t, 'v>(
        &mut self,
        table: &'t DeTable<'v>,
        key: &str,
        at: &str,
    ) -> Vec<&'t Spanned<DeValue<'v>>> {
        let Some(value) = table.get(key) else { return Vec::new() };
        let Some(items) = value.get_ref().as_array() else {
            self.wrong(value, at, "a list of tables");
            return Vec::new();
        };
        let mut rows = Vec::new();
        for item in items.iter() {
            if item.get_ref().as_table().is_some() {
                rows.push(item);
            } else {
                self.wrong(item, at, "a table");
            }
        }
        rows
    }
}

pub(super) fn integer(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

pub(super) fn number(value: &DeValue<'_>) -> Option<f64> {
    let number = match value {
        DeValue::Float(float) => float.as_str().parse().ok()?,
        other => integer(other)? as f64,
    };
    number.is_finite().then_some(number)
}

pub(super) fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the text `{text}`"),
        DeValue::Integer(number) => format!("`{}`", number.as_str()),
        DeValue::Float(number) => format!("`{}`", number.as_str()),
        DeValue::Boolean(flag) => format!("`{flag}`"),
        other => format!("a value of type {}", other.type_str()),
    }
}
