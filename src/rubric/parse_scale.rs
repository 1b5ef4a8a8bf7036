//! `[scale]` of `judge.toml`, and of a criterion, as a [`RubricScale`].

use toml::de::DeTable;

use super::reader::Reader;
use super::scale::{Anchor, LabelSpec, RubricScale};
use crate::model::Direction;

impl Reader<'_> {
    pub(super) fn scale(&mut self, root: &DeTable<'_>, direction: Direction) -> Option<RubricScale> {
        let Some(table) = self.table(root, "scale") else {
            if root.get("scale").is_none() {
                let expected = "a table `[scale]` with `type` = `binary`, `labels` or `number`";
                self.problem(None, "scale", "nothing", expected, None);
            }
            return None;
        };
        let kinds = ["binary", "labels", "number"];
        let Some(kind) = self.choice(table, "type", &kinds) else {
            if table.get("type").is_none() {
                self.problem(None, "scale.type", "nothing", "one of `binary`, `labels`, `number`", None);
            }
            return None;
        };
        match kind.as_str() {
            "binary" => {
                self.unknown(table, "scale.", &["type", "pass", "fail"]);
                let pass = self.text(table, "pass", "scale.pass").unwrap_or_default();
                let fail = self.text(table, "fail", "scale.fail").unwrap_or_default();
                Some(RubricScale::Binary { pass, fail })
            }
            "labels" => self.labels(table, direction),
            _ => self.number_scale(table),
        }
    }

    fn labels(&mut self, table: &DeTable<'_>, direction: Direction) -> Option<RubricScale> {
        self.unknown(table, "scale.", &["type", "labels"]);
        let expected = "a list of at least two tables `{ label, value, description }`, best first";
        let Some(value) = table.get("labels") else {
            self.problem(None, "scale.labels", "nothing", expected, None);
            return None;
        };
        let items = value.get_ref().as_array().filter(|items| items.len() >= 2);
        let Some(items) = items else {
            self.wrong(value, "scale.labels", expected);
            return None;
        };
        let mut labels: Vec<LabelSpec> = Vec::new();
        for item in items.iter() {
            let Some(row) = item.get_ref().as_table() else {
                self.wrong(item, "scale.labels", "a table `{ label, value, description }`");
                continue;
            };
            self.unknown(row, "scale.labels.", &["label", "value", "description"]);
            let label = self.text(row, "label", "scale.labels.label").unwrap_or_default();
            let twice = labels.iter().any(|other| other.label.eq_ignore_ascii_case(&label));
            if label.is_empty() || twice || label.contains('"') {
                self.problem(
                    Some(item.span().start),
                    "scale.labels.label",
                    &format!("`{label}`"),
                    "a label of its own, whatever its case, without quotes",
                    None,
                );
            }
            let value = self.number(row, "value", "scale.labels.value");
            let description = self.text(row, "description", "scale.labels.description").unwrap_or_default();
            labels.push(LabelSpec { label, value, description });
        }
        let values: Vec<f64> = labels.iter().filter_map(|label| label.value).collect();
        let ordered = values.windows(2).all(|pair| match (pair, direction) {
            ([first, second], Direction::Higher) => first > second,
            ([first, second], Direction::Lower) => first < second,
            _ => true,
        });
        if !ordered {
            let found = format!("values in the order {values:?}");
            self.problem(Some(value.span().start), "scale.labels", &found, "labels best first, each value once", None);
        }
        Some(RubricScale::Labels(labels))
    }

    fn number_scale(&mut self, table: &DeTable<'_>) -> Option<RubricScale> {
        self.unknown(table, "scale.", &["type", "min", "max", "step", "anchors"]);
        let bound = |reader: &mut Self, key: &str| {
            if table.get(key).is_none() {
                reader.problem(None, &format!("scale.{key}"), "nothing", "a finite number", None);
            }
            reader.number(table, key, &format!("scale.{key}"))
        };
        let (min, max) = (bound(self, "min"), bound(self, "max"));
        let step = self.number(table, "step", "scale.step");
        let (min, max) = (min?, max?);
        let at = table.get("min").map(|value| value.span().start);
        if min >= max {
            self.problem(at, "scale.min", &format!("{min}"), &format!("less than `max`, {max}"), None);
            return None;
        }
        if let Some(step) = step {
            let steps = (max - min) / step;
            if step <= 0.0 || (steps - steps.round()).abs() > 1e-6 {
                let at = table.get("step").map(|value| value.span().start);
                self.problem(at, "scale.step", &format!("{step}"), "a positive step that leads from min to max", None);
            }
        }
        let anchors = self.anchors(table, min, max);
        Some(RubricScale::Number { min, max, step, anchors })
    }

    fn anchors(&mut self, table: &DeTable<'_>, min: f64, max: f64) -> Vec<Anchor> {
        let mut anchors = Vec::new();
        let Some(rows) = self.table(table, "anchors") else { return anchors };
        for (key, value) in rows.iter() {
            let name: &str = key.get_ref();
            let level = name.parse::<f64>().ok().filter(|level| (min..=max).contains(level));
            match (level, value.get_ref().as_str().map(str::trim)) {
                (Some(level), Some(text)) if !text.is_empty() => {
                    anchors.push(Anchor { level, description: text.to_owned() });
                }
                (None, _) => {
                    let expected = format!("a level from {min} to {max}");
                    self.problem(Some(key.span().start), "scale.anchors", &format!("`{name}`"), &expected, None);
                }
                _ => self.wrong(value, "scale.anchors", "a sentence"),
            }
        }
        anchors.sort_by(|a, b| a.level.total_cmp(&b.level));
        anchors
    }
}
