//! `judge.toml`, `prompt.md` and `calibration.jsonl` as text to a [`JudgeSpec`], naming everything that is wrong at once.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::calibration::{Labels, parse_lines};
use super::input::{INPUTS, InputName, is_plain};
use super::method::{FewShot, Method, Over, PartFold, Parts};
use super::reader::{FILE, Reader};
use super::scale::RubricScale;
use super::spec::{Condition, JudgeSpec, LongInput, ModelDefaults, SpecProblem, did_you_mean};
use super::template::parse_prompt;
use crate::model::Direction;

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
        let labels = match (&head.method, &head.scale) {
            (Method::Criteria(criteria), _) => Labels::Each(criteria),
            (_, Some(scale)) => Labels::One(scale),
            (_, None) => Labels::Any,
        };
        let calibration = parse_lines(calibration_text, labels, &mut problems);
        match (head.scale, layout, problems.is_empty()) {
            (Some(scale), Some(layout), true) => Ok(Self {
                name: name.to_owned(),
                version: head.version,
                summary: head.summary,
                family: head.family,
                scale,
                method: head.method,
                few_shot: head.few_shot,
                says_sure: head.says_sure,
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
    method: Method,
    few_shot: Option<FewShot>,
    says_sure: bool,
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
    "expected_score",
    "criteria",
    "pairwise",
    "tree",
    "parts",
    "few_shot",
    "says_sure",
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
        let long_input = reader.choice(root, "long_input", &["head_tail", "refuse", "summary", "steps"]);
        let scale = if root.contains_key("criteria") { None } else { reader.scale(root, direction) };
        let mut method = reader.method(root, scale.as_ref(), &inputs);
        if long_input.as_deref() == Some("steps") && !matches!(method, Method::Parts(_)) {
            method = reader.parts_for_length(root, method, &inputs);
        }
        let scale = scale.or_else(|| reader.scale_of_criteria(root, &method));
        let few_shot = reader.few_shot(root);
        let says_sure = reader.flag(root, "says_sure", "says_sure");
        let alone = matches!(method, Method::Plain | Method::Parts(_));
        if let Some(value) = root.get("says_sure").filter(|_| says_sure && !alone) {
            let expected = "a judge of one question with one score";
            reader.problem(Some(value.span().start), "says_sure", "another way to come to a score", expected, None);
        }
        let long_input = match long_input.as_deref() {
            Some("refuse") => LongInput::Refuse,
            Some("summary") => LongInput::Summary,
            _ => LongInput::HeadTail,
        };
        Self {
            version,
            summary,
            family,
            scale,
            method,
            few_shot,
            says_sure,
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

impl Reader<'_> {
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

    /// `long_input = "steps"` without `[parts]`: as few parts as fit, the worst of which decides.
    fn parts_for_length(&mut self, root: &DeTable<'_>, method: Method, inputs: &[InputName]) -> Method {
        let at = root.get("long_input").map(|value| value.span().start);
        if method != Method::Plain {
            let expected = "a judge of one question with one score";
            self.problem(at, "long_input", "`steps` with another way to come to a score", expected, None);
        }
        if !inputs.contains(&InputName::Known("transcript")) {
            self.problem(at, "long_input", "`steps`, and no `transcript` among `inputs`", "a record to part", None);
        }
        Method::Parts(Parts { over: Over::Room, fold: PartFold::Worst, most: 50 })
    }

    /// A judge of several criteria has no scale of its own; that of the first stands in for it.
    fn scale_of_criteria(&mut self, root: &DeTable<'_>, method: &Method) -> Option<RubricScale> {
        let Method::Criteria(criteria) = method else { return None };
        if let Some(value) = root.get("scale") {
            self.wrong(value, "scale", "no scale beside `criteria`, which have one each");
        }
        criteria.first().map(|criterion| criterion.scale.clone())
    }

    fn condition(&mut self, root: &DeTable<'_>) -> Option<Condition> {
        if let Some(filter) = root.get("when").and_then(|value| value.get_ref().as_str()) {
            return Some(Condition::Filter(filter.trim().to_owned()));
        }
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
            Some(dimension) if !values.is_empty() => Some(Condition::Equals { dimension, equals: values }),
            _ => {
                let expected =
                    "a filter such as `\"intent=refund\"`, or `dimension = NAME` and `equals = VALUE` or a list";
                self.problem(at, "when", "half a condition", expected, None);
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
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
