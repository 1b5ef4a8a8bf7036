//! `judge.toml`, `prompt.md` and `calibration.jsonl` as text to a [`JudgeSpec`], naming everything that is wrong at once.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::calibration::parse_lines;
use super::spec::{
    Anchor, Condition, INPUTS, InputName, JudgeSpec, LabelSpec, LongInput, ModelDefaults, RubricScale, SpecProblem,
    did_you_mean, is_plain,
};
use super::template::parse_prompt;
use crate::model::Direction;

const FILE: &str = "judge.toml";

/// Most characters of material unless the judge says otherwise: about 25,000 tokens.
const DEFAULT_INPUT_CHARS: usize = 100_000;

/// Most tokens of a reply unless the judge says otherwise: room for a model that thinks before it writes.
const DEFAULT_MAX_TOKENS: u32 = 2_048;

impl JudgeSpec {
    /// Checks the texts of a judge's folder. `name` is the folder's name; `calibration_text` may be empty.
    ///
    /// # Errors
    /// Everything that is wrong in all three files, sorted by file and line.
    pub fn parse(
        name: &str,
        toml_text: &str,
        prompt_text: &str,
        calibration_text: &str,
    ) -> Result<Self, Vec<SpecProblem>> {
        let toml_text = toml_text.replace("\r\n", "\n");
        let mut reader = Reader { source: &toml_text, problems: Vec::new() };
        let (root, errors) = DeTable::parse_recoverable(&toml_text);
        for error in &errors {
            reader.problem(error.span().map(|span| span.start), "", error.message(), "TOML", None);
        }
        let head = Head::read(&mut reader, root.get_ref(), name);
        let mut problems = reader.problems;
        let (rubric, layout) = parse_prompt(prompt_text, &head.inputs, &head.optional_inputs, &mut problems);
        if rubric.is_empty() {
            problems.push(SpecProblem {
                file: "prompt.md",
                line: None,
                at: String::new(),
                found: "no rubric".to_owned(),
                expected: "the criterion in words: what counts, what does not, boundary cases, a tie-break".to_owned(),
                hint: None,
            });
        }
        let calibration = parse_lines(calibration_text, head.scale.as_ref(), &mut problems);
        match (head.scale, layout, problems.is_empty()) {
            (Some(scale), Some(layout), true) => Ok(Self {
                name: name.to_owned(),
                version: head.version,
                summary: head.summary,
                family: head.family,
                scale,
                direction: head.direction,
                inputs: head.inputs,
                optional_inputs: head.optional_inputs,
                when: head.when,
                model: head.model,
                draws: head.draws,
                max_input_chars: head.max_input_chars,
                long_input: head.long_input,
                rubric,
                layout,
                calibration,
            }),
            _ => {
                problems.sort_by(|a, b| (rank(a.file), a.line, &a.at).cmp(&(rank(b.file), b.line, &b.at)));
                Err(problems)
            }
        }
    }
}

fn rank(file: &str) -> usize {
    [FILE, "prompt.md"].iter().position(|known| *known == file).unwrap_or(2)
}

/// What `judge.toml` says.
struct Head {
    version: String,
    summary: String,
    family: Option<String>,
    scale: Option<RubricScale>,
    direction: Direction,
    inputs: Vec<InputName>,
    optional_inputs: Vec<InputName>,
    when: Option<Condition>,
    model: ModelDefaults,
    draws: u32,
    max_input_chars: usize,
    long_input: LongInput,
}

const KEYS: &[&str] = &[
    "name",
    "version",
    "summary",
    "family",
    "scale",
    "direction",
    "inputs",
    "optional_inputs",
    "when",
    "model",
    "draws",
    "max_input_chars",
    "long_input",
];

impl Head {
    fn read(reader: &mut Reader<'_>, root: &DeTable<'_>, folder: &str) -> Self {
        reader.unknown(root, "", KEYS);
        if let Some((name, at)) = reader.required_text(root, "name") {
            if name != folder {
                let expected = format!("`{folder}`, the name of its folder");
                reader.problem(Some(at), "name", &format!("`{name}`"), &expected, None);
            } else if !is_plain(&name) {
                reader.problem(Some(at), "name", &format!("`{name}`"), "letters, digits, `_`, `-`, at most 64", None);
            }
        }
        let version = reader.required_text(root, "version").map(|(text, _)| text).unwrap_or_default();
        let summary = reader.required_text(root, "summary").map(|(text, _)| text).unwrap_or_default();
        let family = reader.family(root);
        let direction = reader.direction(root);
        let inputs = reader
            .inputs(root, "inputs")
            .unwrap_or_else(|| vec![InputName::Known("input"), InputName::Known("output")]);
        let optional_inputs = reader.inputs(root, "optional_inputs").unwrap_or_default();
        if let Some(twice) = optional_inputs.iter().find(|name| inputs.contains(name)) {
            let at = root.get("optional_inputs").map(|value| value.span().start);
            let found = format!("`{twice}`, which `inputs` holds too");
            reader.problem(at, "optional_inputs", &found, "each input in one of the two lists", None);
        }
        let when = reader.condition(root);
        let model = reader.model(root);
        let draws = reader.whole(root, "draws", "draws", 1, 99).map_or(1, |n| u32::try_from(n).unwrap_or(1));
        let max_input_chars = reader
            .whole(root, "max_input_chars", "max_input_chars", 500, 20_000_000)
            .and_then(|n| usize::try_from(n).ok())
            .unwrap_or(DEFAULT_INPUT_CHARS);
        let long_input = match reader.choice(root, "long_input", &["head_tail", "refuse"]).as_deref() {
            Some("refuse") => LongInput::Refuse,
            _ => LongInput::HeadTail,
        };
        let scale = reader.scale(root, direction);
        Self {
            version,
            summary,
            family,
            scale,
            direction,
            inputs,
            optional_inputs,
            when,
            model,
            draws,
            max_input_chars,
            long_input,
        }
    }
}

/// Takes values out of a table and notes what is wrong with them.
struct Reader<'a> {
    source: &'a str,
    problems: Vec<SpecProblem>,
}

impl Reader<'_> {
    fn problem(&mut self, offset: Option<usize>, at: &str, found: &str, expected: &str, hint: Option<String>) {
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

    fn wrong(&mut self, value: &Spanned<DeValue<'_>>, at: &str, expected: &str) {
        self.problem(Some(value.span().start), at, &describe(value.get_ref()), expected, None);
    }

    fn unknown(&mut self, table: &DeTable<'_>, prefix: &str, known: &[&str]) {
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
    fn required_text(&mut self, table: &DeTable<'_>, key: &str) -> Option<(String, usize)> {
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

    fn text(&mut self, table: &DeTable<'_>, key: &str, at: &str) -> Option<String> {
        let value = table.get(key)?;
        let text = value.get_ref().as_str().map(|text| text.trim().to_owned());
        if text.is_none() {
            self.wrong(value, at, "a text");
        }
        text
    }

    /// A name that can head a list; free, since users have kinds of judges that the catalogue has not.
    fn family(&mut self, root: &DeTable<'_>) -> Option<String> {
        let family = self.text(root, "family", "family")?;
        if is_plain(&family) {
            return Some(family);
        }
        if let Some(value) = root.get("family") {
            self.wrong(value, "family", "letters, digits, `_`, `-`, at most 64");
        }
        None
    }

    fn choice(&mut self, table: &DeTable<'_>, key: &str, known: &[&str]) -> Option<String> {
        let text = self.text(table, key, key)?;
        if known.contains(&text.as_str()) {
            return Some(text);
        }
        let at = table.get(key).map(|value| value.span().start);
        let hint = did_you_mean(&text, known.iter().copied());
        self.problem(at, key, &format!("`{text}`"), &format!("one of `{}`", known.join("`, `")), hint);
        None
    }

    fn whole(&mut self, table: &DeTable<'_>, key: &str, at: &str, least: u64, most: u64) -> Option<u64> {
        let value = table.get(key)?;
        let number =
            integer(value.get_ref()).and_then(|n| u64::try_from(n).ok()).filter(|n| (least..=most).contains(n));
        if number.is_none() {
            self.wrong(value, at, &format!("a whole number from {least} to {most}"));
        }
        number
    }

    fn number(&mut self, table: &DeTable<'_>, key: &str, at: &str) -> Option<f64> {
        let value = table.get(key)?;
        let number = number(value.get_ref());
        if number.is_none() {
            self.wrong(value, at, "a finite number");
        }
        number
    }

    fn table<'t, 'v>(&mut self, table: &'t DeTable<'v>, key: &str) -> Option<&'t DeTable<'v>> {
        let value = table.get(key)?;
        let inner = value.get_ref().as_table();
        if inner.is_none() {
            self.wrong(value, key, "a table");
        }
        inner
    }

    fn direction(&mut self, root: &DeTable<'_>) -> Direction {
        match self.choice(root, "direction", &["higher", "lower"]).as_deref() {
            Some("lower") => Direction::Lower,
            _ => Direction::Higher,
        }
    }

    fn inputs(&mut self, root: &DeTable<'_>, key: &str) -> Option<Vec<InputName>> {
        let value = root.get(key)?;
        let Some(items) = value.get_ref().as_array() else {
            self.wrong(value, key, "a list of names");
            return None;
        };
        let mut names = Vec::new();
        for item in items.iter() {
            let Some(text) = item.get_ref().as_str() else {
                self.wrong(item, key, "the name of an input");
                continue;
            };
            match InputName::parse(text) {
                Some(name) if names.contains(&name) => {
                    self.problem(Some(item.span().start), key, &format!("`{text}` twice"), "each input once", None);
                }
                Some(name) => names.push(name),
                None => {
                    let known: Vec<&str> = INPUTS.iter().map(|row| row.name).collect();
                    let expected = format!("one of `{}`, `metadata.NAME`, `dimensions.NAME`", known.join("`, `"));
                    let hint = did_you_mean(text, known.iter().copied());
                    self.problem(Some(item.span().start), key, &format!("`{text}`"), &expected, hint);
                }
            }
        }
        Some(names)
    }

    fn condition(&mut self, root: &DeTable<'_>) -> Option<Condition> {
        let table = self.table(root, "when")?;
        self.unknown(table, "when.", &["dimension", "equals"]);
        let dimension = self.text(table, "dimension", "when.dimension");
        let equals = table.get("equals");
        let values: Vec<String> = match equals.map(Spanned::get_ref) {
            Some(DeValue::String(text)) => vec![text.to_string()],
            Some(DeValue::Array(items)) => {
                items.iter().filter_map(|item| item.get_ref().as_str().map(str::to_owned)).collect()
            }
            _ => Vec::new(),
        };
        let at = equals.map(|value| value.span().start);
        match dimension {
            Some(dimension) if !values.is_empty() => Some(Condition { dimension, equals: values }),
            _ => {
                self.problem(at, "when", "half a condition", "`dimension = NAME` and `equals = VALUE` or a list", None);
                None
            }
        }
    }

    fn model(&mut self, root: &DeTable<'_>) -> ModelDefaults {
        let mut model = ModelDefaults { temperature: None, max_tokens: DEFAULT_MAX_TOKENS, seed: None };
        let Some(table) = self.table(root, "model") else { return model };
        self.unknown(table, "model.", &["temperature", "max_tokens", "seed"]);
        model.temperature = self.number(table, "temperature", "model.temperature");
        if let (Some(temperature), Some(value)) = (model.temperature, table.get("temperature"))
            && !(0.0..=2.0).contains(&temperature)
        {
            self.wrong(value, "model.temperature", "a number from 0 to 2");
        }
        if let Some(tokens) = self.whole(table, "max_tokens", "model.max_tokens", 16, 200_000) {
            model.max_tokens = u32::try_from(tokens).unwrap_or(DEFAULT_MAX_TOKENS);
        }
        model.seed = self.whole(table, "seed", "model.seed", 0, i64::MAX.unsigned_abs());
        model
    }

    fn scale(&mut self, root: &DeTable<'_>, direction: Direction) -> Option<RubricScale> {
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

fn integer(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn number(value: &DeValue<'_>) -> Option<f64> {
    let number = match value {
        DeValue::Float(float) => float.as_str().parse().ok()?,
        other => integer(other)? as f64,
    };
    number.is_finite().then_some(number)
}

fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the text `{text}`"),
        DeValue::Integer(number) => format!("`{}`", number.as_str()),
        DeValue::Float(number) => format!("`{}`", number.as_str()),
        DeValue::Boolean(flag) => format!("`{flag}`"),
        other => format!("a value of type {}", other.type_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
name = "j"
version = "1"
summary = "Is it good?"
inputs = ["input", "output"]
[scale]
type = "binary"
"#;

    fn seen(toml: &str) -> Vec<(Option<usize>, String)> {
        JudgeSpec::parse("j", toml, "Judge it.", "").unwrap_err().into_iter().map(|p| (p.line, p.at)).collect()
    }

    #[test]
    fn a_small_judge_is_read_with_defaults() {
        let spec = JudgeSpec::parse("j", GOOD, "Judge it.", "").unwrap();
        assert_eq!((spec.draws, spec.long_input, spec.model.temperature), (1, LongInput::HeadTail, None));
        assert_eq!(spec.rubric, "Judge it.");
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let toml = "name = \"k\"\nversion = 1\nsumary = \"x\"\ndraws = 0\nlong_input = \"cut\"\ninputs = [\"inptu\"]\n\
            [scale]\ntype = \"number\"\nmin = 5\nmax = 1\n[model]\ntemperature = \"hot\"\ntop_p = 1\n";
        let mut found = seen(toml);
        found.sort();
        let at = |line: usize, key: &str| (Some(line), key.to_owned());
        let mut expected = vec![
            (None, "summary".to_owned()),
            at(1, "name"),
            at(2, "version"),
            at(3, "sumary"),
            at(4, "draws"),
            at(5, "long_input"),
            at(6, "inputs"),
            at(9, "scale.min"),
            at(12, "model.temperature"),
            at(13, "model.top_p"),
        ];
        expected.sort();
        assert_eq!(found, expected);
        let problems = JudgeSpec::parse("j", toml, "x", "").unwrap_err();
        let typo = problems.iter().find(|problem| problem.at == "sumary").unwrap();
        assert_eq!(
            typo.to_string(),
            format!(
                "judge.toml line 3: `sumary`: found an unknown key, expected one of `{}`; did you mean `summary`?",
                KEYS.join("`, `")
            )
        );
    }

    #[test]
    fn broken_toml_is_a_problem_with_a_line() {
        let found = JudgeSpec::parse("j", &format!("{GOOD}\n[model\n"), "x", "").unwrap_err();
        assert!(found.iter().any(|problem| problem.line == Some(9) && problem.expected == "TOML"), "{found:?}");
    }

    #[test]
    fn scales_are_checked() {
        let labels = |rows: &str| GOOD.replace("type = \"binary\"", &format!("type = \"labels\"\nlabels = [{rows}]"));
        let good = r#"{ label = "a", value = 1, description = "x" }, { label = "b", value = 0.5 }, { label = "c" }"#;
        let spec = JudgeSpec::parse("j", &labels(good), "x", "").unwrap();
        assert_eq!(spec.scale.to_scale().bounds(), Some((0.5, 1.0)));
        assert_eq!(seen(&labels(r#"{ label = "a", value = 0 }, { label = "b", value = 1 }"#))[0].1, "scale.labels");
        assert_eq!(seen(&labels(r#"{ label = "a" }, { label = "A" }"#))[0].1, "scale.labels.label");
        assert_eq!(seen(&labels(r#"{ label = "a" }"#))[0].1, "scale.labels");
        let number = |rest: &str| GOOD.replace("type = \"binary\"", &format!("type = \"number\"\n{rest}"));
        let spec = JudgeSpec::parse(
            "j",
            &number("min = 0\nmax = 1\nstep = 0.1\nanchors = { 0 = \"no\", 1 = \"yes\" }"),
            "x",
            "",
        );
        assert_eq!(spec.unwrap().scale.levels().unwrap().len(), 11);
        assert_eq!(seen(&number("min = 1\nmax = 5\nstep = 3"))[0].1, "scale.step");
        assert_eq!(seen(&number("min = 1\nmax = 5\nanchors = { 7 = \"x\" }"))[0].1, "scale.anchors");
    }

    #[test]
    fn every_byte_that_matters_changes_the_digest() {
        let digest = |toml: &str, prompt: &str, calibration: &str| {
            JudgeSpec::parse("j", toml, prompt, calibration).unwrap().digest()
        };
        let base = digest(GOOD, "Judge it.", "");
        assert_eq!(base, digest(&format!("# a comment\n{GOOD}"), "Judge it.\r\n", ""));
        assert_eq!(base, digest(GOOD, "Judge it.", r#"{"id":"a","input":"","output":"","label":"pass"}"#));
        assert_ne!(base, digest(GOOD, "Judge It.", ""));
        assert_ne!(base, digest(&GOOD.replace("good", "bad"), "Judge it.", ""));
        assert_ne!(base, digest(&GOOD.replace("\"1\"", "\"2\""), "Judge it.", ""));
        assert_ne!(base, digest(&format!("{GOOD}pass = \"if good\"\n"), "Judge it.", ""));
        assert_ne!(base, digest(&format!("max_input_chars = 5000\n{GOOD}"), "Judge it.", ""));
        assert_ne!(base, digest(GOOD, "Judge it.\n# Material\n{{input}}{{output}}", ""));
    }
}
