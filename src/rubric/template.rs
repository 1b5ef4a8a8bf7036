//! `prompt.md`: the rubric, and below a `# Material` heading how the material is laid out (Handlebars).
//!
//! Only the lower part may hold placeholders, so that no foreign text ever stands among the instructions; and each
//! placeholder becomes a fenced piece, so that an author cannot forget the fence. Conditions may ask whether a piece
//! is there, nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;

use handlebars::template::{Parameter, Template, TemplateElement};
use handlebars::{Handlebars, no_escape};
use serde_json::{Map, Value};

use super::input::{INPUTS, InputName};
use super::spec::{SpecProblem, did_you_mean};

const FILE: &str = "prompt.md";

/// Words of Handlebars that may be used.
const HELPERS: &[&str] = &["if", "unless"];

/// The layout of the material, checked.
#[derive(Clone, Debug)]
pub(super) struct MaterialTemplate {
    source: String,
    compiled: Template,
    used: Vec<InputName>,
    /// Made once: a registry with its built-in helpers costs more than a rendering.
    registry: Arc<Handlebars<'static>>,
}

impl MaterialTemplate {
    /// The text it was made of.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// A layout of all inputs in the order of [`INPUTS`], each under its caption; `optional` ones only where present.
    pub(super) fn standard(inputs: &[InputName], optional: &[InputName]) -> Option<Self> {
        let rank = |name: &InputName| match name {
            InputName::Known(name) => INPUTS.iter().position(|row| row.name == *name).unwrap_or(INPUTS.len()),
            _ => 0,
        };
        let mut all: Vec<(&InputName, bool)> = inputs.iter().map(|name| (name, false)).collect();
        all.extend(optional.iter().map(|name| (name, true)));
        all.sort_by_key(|(name, _)| rank(name));
        let mut source = String::new();
        for (name, optional) in all {
            let piece = format!("{}\n{{{{{name}}}}}\n\n", name.caption());
            if optional {
                source.push_str(&format!("{{{{#if {name}}}}}\n{piece}{{{{/if}}}}\n"));
            } else {
                source.push_str(&piece);
            }
        }
        Self::compile(&source, 0).ok().filter(|layout| layout.problems(inputs, optional, 0).is_empty())
    }

    /// Compiles a layout; `first_line` lines stand above it in the file.
    fn compile(source: &str, first_line: usize) -> Result<Self, Box<SpecProblem>> {
        let compiled = Template::compile(source).map_err(|error| Box::new(syntax_problem(&error, first_line)))?;
        let mut used = Vec::new();
        for (path, _) in Uses::of(&compiled).paths {
            if let Some(name) = InputName::parse(&path).filter(|name| !used.contains(name)) {
                used.push(name);
            }
        }
        let mut registry = Handlebars::new();
        registry.set_strict_mode(true);
        registry.register_escape_fn(no_escape);
        registry.register_template("material", compiled.clone());
        Ok(Self { source: source.to_owned(), compiled, used, registry: Arc::new(registry) })
    }

    /// What is wrong with the placeholders: unknown, not declared as inputs, or words that may not be used.
    fn problems(&self, inputs: &[InputName], optional: &[InputName], first_line: usize) -> Vec<SpecProblem> {
        let uses = Uses::of(&self.compiled);
        let mut problems = Vec::new();
        let mut problem = |at: &str, line: usize, found: &str, expected: String, hint: Option<String>| {
            problems.push(SpecProblem {
                file: FILE,
                line: Some(first_line + line),
                at: at.to_owned(),
                found: found.to_owned(),
                expected,
                hint,
            });
        };
        for (word, line) in &uses.words {
            let expected = format!("only placeholders, `{}`", HELPERS.join("`, `"));
            problem(word, *line, "a word of Handlebars that does not belong in a prompt", expected, None);
        }
        let declared: BTreeSet<&InputName> = inputs.iter().chain(optional).collect();
        let mut seen = BTreeSet::new();
        for (path, line) in &uses.paths {
            if !seen.insert(path) {
                continue;
            }
            match InputName::parse(path) {
                None => {
                    let known: Vec<&str> = INPUTS.iter().map(|row| row.name).collect();
                    let expected = format!("one of `{}`, `metadata.NAME`, `dimensions.NAME`", known.join("`, `"));
                    let hint = did_you_mean(path, known.iter().copied());
                    problem(path, *line, "an unknown placeholder", expected, hint);
                }
                Some(name) if !declared.contains(&name) => {
                    let hint = Some(format!("add \"{name}\" to `inputs` or `optional_inputs` in judge.toml"));
                    problem(path, *line, "a placeholder that is not declared", "a declared input".to_owned(), hint);
                }
                Some(_) => {}
            }
        }
        problems
    }

    /// Fills in the pieces. A declared piece that is absent must be given as `null`.
    pub(super) fn render(&self, pieces: &[(InputName, Option<String>)]) -> Result<String, String> {
        let mut data = Map::new();
        for (name, text) in pieces {
            let text = text.clone().map_or(Value::Null, Value::String);
            match name {
                InputName::Known(name) => {
                    data.insert((*name).to_owned(), text.clone());
                    if *name == "transcript" {
                        data.insert("trace".to_owned(), text);
                    }
                }
                InputName::Metadata(field) => nested(&mut data, "metadata", field, text),
                InputName::Dimension(field) => nested(&mut data, "dimensions", field, text),
            }
        }
        self.registry.render("material", &data).map_err(|error| error.to_string())
    }
}

fn nested(data: &mut Map<String, Value>, group: &str, field: &str, text: Value) {
    let entry = data.entry(group.to_owned()).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(fields) = entry {
        fields.insert(field.to_owned(), text);
    }
}

/// Reads `prompt.md`: the rubric and the layout, with everything that is wrong.
pub(super) fn parse_prompt(
    text: &str,
    inputs: &[InputName],
    optional: &[InputName],
    problems: &mut Vec<SpecProblem>,
) -> (String, Option<MaterialTemplate>) {
    let text = text.replace("\r\n", "\n");
    let (upper, lower) = split(&text);
    let rubric = rubric_text(upper, problems);
    let Some((first_line, lower)) = lower else {
        return (rubric, MaterialTemplate::standard(inputs, optional));
    };
    match MaterialTemplate::compile(lower, first_line) {
        Ok(layout) => {
            let found = layout.problems(inputs, optional, first_line);
            let good = found.is_empty();
            problems.extend(found);
            problems.extend(inputs.iter().filter(|name| !layout.used.contains(name)).map(|name| SpecProblem {
                file: FILE,
                line: None,
                at: name.to_string(),
                found: "a required input that the `# Material` part never shows".to_owned(),
                expected: format!("`{{{{{name}}}}}` below `# Material`"),
                hint: Some("or take it out of `inputs` in judge.toml".to_owned()),
            }));
            (rubric, good.then_some(layout))
        }
        Err(problem) => {
            problems.push(*problem);
            (rubric, None)
        }
    }
}

/// The parts above and below the first `# Material` heading; the lower one with the number of lines above it.
fn split(text: &str) -> (&str, Option<(usize, &str)>) {
    let mut offset = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let is_heading = line.starts_with('#')
            && line.trim_start_matches('#').trim().eq_ignore_ascii_case("material")
            && line.trim_start_matches('#').starts_with(' ');
        if is_heading {
            let below = offset + line.len();
            return (text.get(..offset).unwrap_or(""), Some((index + 1, text.get(below..).unwrap_or(""))));
        }
        offset += line.len();
    }
    (text, None)
}

/// The rubric with Handlebars escapes resolved. Placeholders in it are wrong.
fn rubric_text(upper: &str, problems: &mut Vec<SpecProblem>) -> String {
    let compiled = match Template::compile(upper) {
        Ok(compiled) => compiled,
        Err(error) => {
            problems.push(syntax_problem(&error, 0));
            return upper.trim().to_owned();
        }
    };
    let uses = Uses::of(&compiled);
    for (path, line) in uses.paths.iter().chain(&uses.words) {
        problems.push(SpecProblem {
            file: FILE,
            line: Some(*line),
            at: path.clone(),
            found: "a placeholder among the instructions".to_owned(),
            expected: "placeholders only below a `# Material` heading, where they are fenced".to_owned(),
            hint: Some("foreign text among instructions could give instructions".to_owned()),
        });
    }
    if !uses.paths.is_empty() || !uses.words.is_empty() {
        return upper.trim().to_owned();
    }
    let mut registry = Handlebars::new();
    registry.register_escape_fn(no_escape);
    registry.register_template("rubric", compiled);
    registry.render("rubric", &Value::Null).unwrap_or_else(|_| upper.to_owned()).trim().to_owned()
}

fn syntax_problem(error: &handlebars::TemplateError, first_line: usize) -> SpecProblem {
    SpecProblem {
        file: FILE,
        line: error.pos().map(|(line, _)| first_line + line),
        at: String::new(),
        found: error.reason().to_string().lines().next().unwrap_or("a template that cannot be read").to_owned(),
        expected: "a Handlebars template".to_owned(),
        hint: Some("write a literal `{{` as `\\{{`".to_owned()),
    }
}

/// Paths and words that a template uses, with their lines.
#[derive(Default)]
struct Uses {
    paths: Vec<(String, usize)>,
    words: Vec<(String, usize)>,
}

impl Uses {
    fn of(template: &Template) -> Self {
        let mut uses = Self::default();
        uses.walk(template);
        uses
    }

    fn walk(&mut self, template: &Template) {
        for (index, element) in template.elements.iter().enumerate() {
            let line = template.mapping.get(index).map_or(1, |mapping| mapping.0);
            match element {
                TemplateElement::RawString(_) | TemplateElement::Comment(_) => {}
                TemplateElement::Expression(tag) | TemplateElement::HtmlExpression(tag) => match tag.name.as_name() {
                    Some(name) if tag.params.is_empty() && tag.hash.is_empty() => {
                        self.paths.push((name.to_owned(), line));
                    }
                    name => self.words.push((name.unwrap_or("(…)").to_owned(), line)),
                },
                TemplateElement::HelperBlock(block) => {
                    let name = block.name.as_name().unwrap_or("(…)");
                    let condition = match block.params.as_slice() {
                        [Parameter::Path(_)] => block.params.first().and_then(Parameter::as_name),
                        _ => None,
                    };
                    match condition {
                        Some(path) if HELPERS.contains(&name) && block.hash.is_empty() => {
                            self.paths.push((path.to_owned(), line));
                        }
                        _ => self.words.push((format!("#{name}"), line)),
                    }
                    for inner in block.template.iter().chain(&block.inverse) {
                        self.walk(inner);
                    }
                }
                // Partials and decorators.
                _ => self.words.push((">".to_owned(), line)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(names: &[&str]) -> Vec<InputName> {
        names.iter().map(|name| InputName::parse(name).unwrap()).collect()
    }

    #[test]
    fn placeholders_are_checked_with_lines_and_suggestions() {
        let mut problems = Vec::new();
        let text = "Rubric {{input}}\n\n# Material\n\n{{inptu}}\n{{#if reference}}{{reference}}{{/if}}\n{{output}}\n{{#each tools}}{{/each}}";
        parse_prompt(text, &known(&["input", "output"]), &[], &mut problems);
        let seen: Vec<(Option<usize>, &str)> = problems.iter().map(|p| (p.line, p.at.as_str())).collect();
        assert_eq!(
            seen,
            [(Some(1), "input"), (Some(8), "#each"), (Some(5), "inptu"), (Some(6), "reference"), (None, "input")]
        );
        assert_eq!(problems[2].hint.as_deref(), Some("did you mean `input`?"));
    }

    #[test]
    fn pieces_are_filled_in_unescaped_and_absent_ones_left_out() {
        let mut problems = Vec::new();
        let inputs = known(&["input", "metadata.tier"]);
        let optional = known(&["reference"]);
        let text = "Rubric with a literal \\{{brace}}.\n# Material\n{{input}} {{metadata.tier}}{{#if reference}} R={{reference}}{{/if}}";
        let (rubric, layout) = parse_prompt(text, &inputs, &optional, &mut problems);
        assert_eq!(problems, []);
        assert_eq!(rubric, "Rubric with a literal {{brace}}.");
        let pieces = vec![
            (inputs[0].clone(), Some("<b>{{output}}</b>".to_owned())),
            (inputs[1].clone(), Some("gold".to_owned())),
            (optional[0].clone(), None),
        ];
        assert_eq!(layout.unwrap().render(&pieces).unwrap(), "<b>{{output}}</b> gold");
    }

    #[test]
    fn without_a_material_part_all_inputs_are_shown_with_the_output_last() {
        let layout = MaterialTemplate::standard(&known(&["output", "input"]), &known(&["reference"])).unwrap();
        let text = layout
            .render(&[
                (InputName::Known("input"), Some("I".into())),
                (InputName::Known("output"), Some("O".into())),
                (InputName::Known("reference"), Some("R".into())),
            ])
            .unwrap();
        assert!(text.find("\nI\n") < text.find("\nR\n") && text.find("\nR\n") < text.find("\nO\n"), "{text}");
    }
}
