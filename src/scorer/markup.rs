//! Whether the output is well-formed XML, HTML or YAML.

use jsonschema::Validator;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use schemars::JsonSchema;
use scraper::{Html, Selector};
use serde::Deserialize;
use serde_json::{Value, json};

use super::json::{problem, validator_of};
use super::json_text::text_or_block;
use super::material::{expected_found, quote};
use super::options::{read, schema_of};
use super::{Scorer, ScorerInfo};
use crate::model::{Score, ScoreInput, Scored};
use crate::sys::text::one_line;

pub(super) const XML: ScorerInfo = ScorerInfo {
    name: "xml",
    version: "1",
    summary: "Passes when the output is a well-formed XML document.",
    sample: "root = \"answer\"\nextract = true",
    schema: schema_of::<XmlOptions>,
    build: build_xml,
};

pub(super) const HTML: ScorerInfo = ScorerInfo {
    name: "html",
    version: "1",
    summary: "Passes when the output is HTML whose elements are balanced and rightly nested.",
    sample: "selectors = [\"h1\", \"table tr\"]",
    schema: schema_of::<HtmlOptions>,
    build: build_html,
};

pub(super) const YAML: ScorerInfo = ScorerInfo {
    name: "yaml",
    version: "1",
    summary: "Passes when the output is YAML, and on demand fits a JSON Schema.",
    sample: "schema = { type = \"object\", required = [\"name\"] }",
    schema: schema_of::<YamlOptions>,
    build: build_yaml,
};

/// Problems that a finding lists.
const LISTED: usize = 20;

/// What is demanded of the XML. Documents with a DTD are taken, its entities are not followed.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct XmlOptions {
    /// Name of the outermost element.
    root: Option<String>,
    /// Whether XML inside a code fence counts.
    #[serde(default)]
    extract: bool,
}

/// What is demanded of the HTML.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct HtmlOptions {
    /// Whether it must be a whole page, with its doctype; else a part of a body.
    #[serde(default)]
    document: bool,
    /// CSS selectors, each of which must find something.
    #[serde(default)]
    selectors: Vec<String>,
    /// Whether HTML inside a code fence counts.
    #[serde(default)]
    extract: bool,
}

/// What is demanded of the YAML.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct YamlOptions {
    /// A JSON Schema it must fit: a table, or its text as JSON.
    schema: Option<Value>,
    /// Whether a bare text or number counts; most prose is YAML of that kind.
    #[serde(default)]
    scalars: bool,
    /// Whether YAML inside a code fence counts.
    #[serde(default)]
    extract: bool,
}

fn build_xml(options: &Value) -> Result<Box<dyn Scorer>, String> {
    read::<XmlOptions>(options).map(|options| Box::new(options) as Box<dyn Scorer>)
}

/// A finding about a form: passed, or failed with what is wrong.
fn formed(wanted: &str, text: &str, problems: &[String]) -> Score {
    let Some(first) = problems.first() else { return Score::pass(true, expected_found(wanted, &quote(text))) };
    let more = if problems.len() > 1 { format!(" (and {} more)", problems.len() - 1) } else { String::new() };
    let told = format!("{}{more} in {}", one_line(first, 300), quote(text));
    let mut score = Score::pass(false, expected_found(wanted, &told));
    let listed: Vec<String> = problems.iter().take(LISTED).map(|problem| one_line(problem, 300)).collect();
    score.details = json!({ "problems": listed });
    score
}

impl Scorer for XmlOptions {
    fn score(&self, input: &ScoreInput<'_>) -> Scored {
        let text = text_or_block(input.output, self.extract);
        let wanted = match &self.root {
            Some(root) => format!("XML with the root {}", quote(root)),
            None => "XML".to_owned(),
        };
        let problem = match xml_root(&text) {
            Err(problem) => Some(problem),
            Ok(root) if self.root.as_ref().is_some_and(|wanted| *wanted != root) => {
                Some(format!("the root {}", quote(&root)))
            }
            Ok(_) => None,
        };
        Ok(formed(&wanted, text.trim(), &problem.into_iter().collect::<Vec<_>>()))
    }
}

/// The name of the root of a well-formed document, or what is wrong and in which line.
fn xml_root(text: &str) -> Result<String, String> {
    let text = text.trim();
    let mut reader = Reader::from_str(text);
    let config = reader.config_mut();
    config.check_comments = true;
    let mut root: Option<String> = None;
    let mut depth = 0_usize;
    loop {
        let event = reader.read_event();
        let at = reader.buffer_position();
        // Lines are counted only where something is wrong: counting at each event is a square of the length.
        let wrong = |what: &str| {
            let before = text.bytes().take(usize::try_from(at).unwrap_or(usize::MAX));
            format!("line {}: {what}", before.filter(|byte| *byte == b'\n').count() + 1)
        };
        match event.map_err(|error| wrong(&error.to_string()))? {
            Event::Start(start) => {
                element(&start, depth, &mut root).map_err(|what| wrong(&what))?;
                depth += 1;
            }
            Event::Empty(start) => element(&start, depth, &mut root).map_err(|what| wrong(&what))?,
            Event::End(_) => depth = depth.saturating_sub(1),
            Event::Text(text) if depth == 0 && !text.iter().all(u8::is_ascii_whitespace) => {
                return Err(wrong("text outside the root element"));
            }
            Event::CData(_) if depth == 0 => return Err(wrong("text outside the root element")),
            Event::GeneralRef(name) => {
                let known = [&b"amp"[..], b"lt", b"gt", b"quot", b"apos"].contains(&&*name);
                if !known && !matches!(name.resolve_char_ref(), Ok(Some(_))) {
                    return Err(wrong(&format!("unknown entity {}", quote(&String::from_utf8_lossy(&name)))));
                }
            }
            Event::Eof if depth > 0 => return Err(wrong("an element is not closed")),
            Event::Eof => return root.ok_or_else(|| "no element".to_owned()),
            _ => {}
        }
    }
}

fn element(start: &BytesStart<'_>, depth: usize, root: &mut Option<String>) -> Result<(), String> {
    let name = String::from_utf8_lossy(start.name().as_ref()).into_owned();
    if !name.starts_with(|c: char| c.is_alphabetic() || c == '_' || c == ':') {
        return Err(format!("{} is no name of an element", quote(&name)));
    }
    for attribute in start.attributes() {
        attribute.map_err(|error| error.to_string())?;
    }
    if depth == 0 && root.replace(name).is_some() {
        return Err("a second root element".to_owned());
    }
    Ok(())
}

struct HtmlForm {
    options: HtmlOptions,
    selectors: Vec<(String, Selector)>,
}

fn build_html(options: &Value) -> Result<Box<dyn Scorer>, String> {
    let mut options: HtmlOptions = read(options)?;
    let selectors = std::mem::take(&mut options.selectors);
    let parsed = selectors.into_iter().map(|text| {
        let selector = Selector::parse(&text).map_err(|error| {
            format!("`selectors` holds `{}`, which is no CSS selector: {error}", one_line(&text, 60))
        })?;
        Ok((text, selector))
    });
    let selectors = parsed.collect::<Result<Vec<_>, String>>()?;
    Ok(Box::new(HtmlForm { options, selectors }))
}

impl Scorer for HtmlForm {
    fn score(&self, input: &ScoreInput<'_>) -> Scored {
        let text = text_or_block(input.output, self.options.extract);
        let wanted = if self.options.document { "an HTML document" } else { "HTML" };
        let parsed = if self.options.document { Html::parse_document(&text) } else { Html::parse_fragment(&text) };
        let mut problems: Vec<String> = parsed.errors.iter().map(ToString::to_string).collect();
        let elements = parsed.root_element().descendent_elements().count();
        // The element around a fragment is the parser's own; that of a document comes with a head and a body.
        let own = if self.options.document { 3 } else { 1 };
        if elements <= own && self.options.document {
            problems.push("no element in the body".to_owned());
        } else if elements <= own {
            problems.push("no element".to_owned());
        }
        let missing = self.selectors.iter().filter(|(_, selector)| parsed.select(selector).next().is_none());
        problems.extend(missing.map(|(text, _)| format!("nothing that {} finds", quote(text))));
        Ok(formed(wanted, text.trim(), &problems))
    }
}

struct YamlForm {
    options: YamlOptions,
    validator: Option<Validator>,
}

fn build_yaml(options: &Value) -> Result<Box<dyn Scorer>, String> {
    let mut options: YamlOptions = read(options)?;
    let validator = options.schema.take().map(|schema| validator_of(schema, true)).transpose()?;
    Ok(Box::new(YamlForm { options, validator }))
}

impl Scorer for YamlForm {
    fn score(&self, input: &ScoreInput<'_>) -> Scored {
        let text = text_or_block(input.output, self.options.extract);
        let wanted = if self.validator.is_some() { "YAML that fits the schema" } else { "YAML" };
        let problems = match serde_saphyr::from_str::<Value>(&text) {
            Err(error) => vec![error.to_string()],
            Ok(Value::Null) => vec!["nothing".to_owned()],
            Ok(value) if !self.options.scalars && !value.is_object() && !value.is_array() => {
                vec!["a bare value, no mapping or list".to_owned()]
            }
            Ok(value) => {
                let errors = self.validator.iter().flat_map(|validator| validator.iter_errors(&value));
                errors.take(LISTED).map(|error| problem(&error)).collect()
            }
        };
        Ok(formed(wanted, text.trim(), &problems))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{build_error, passes};
    use super::*;

    fn fits(name: &str, options: Value, text: &str) -> bool {
        passes(name, options, json!(text), Value::Null)
    }

    #[test]
    fn xml_is_well_formed_or_not() {
        for good in [
            "<a/>",
            "<?xml version=\"1.0\"?>\n<!-- c -->\n<a b='1'>x &amp; &#65; <b/></a>",
            "<!DOCTYPE a><a><![CDATA[<raw>]]></a>",
        ] {
            assert!(fits("xml", json!({}), good), "{good}");
        }
        for bad in [
            "",
            "text",
            "<a>",
            "<a></b>",
            "<a/><b/>",
            "<a b=1/>",
            "<a b='1' b='2'/>",
            "<a>&nope;</a>",
            "<a/>x",
            "<1/>",
            "<a><b></a></b>",
        ] {
            assert!(!fits("xml", json!({}), bad), "{bad}");
        }
        assert!(fits("xml", json!({"root": "a", "extract": true}), "See:\n```xml\n<a></a>\n```"));
        assert!(!fits("xml", json!({"root": "b"}), "<a/>"));
        assert!(!fits("xml", json!({}), &"<a>".repeat(200_000)));
    }

    #[test]
    fn html_is_balanced_or_not() {
        for good in ["<p>One<p>Two", "<ul><li>a<li>b</ul>", "<table><tr><td>x</table>", "<br><img src=x>"] {
            assert!(fits("html", json!({}), good), "{good}");
        }
        for bad in ["", "text", "<div><b>x</div>", "</p></div>", "<div>x", "<b><i>x</b></i>"] {
            assert!(!fits("html", json!({}), bad), "{bad}");
        }
        let page = "<!DOCTYPE html><html><head><title>t</title></head><body><h1>x</h1></body></html>";
        assert!(fits("html", json!({"document": true, "selectors": ["h1", "title"]}), page));
        assert!(!fits("html", json!({"document": true}), "<h1>x</h1>"));
        assert!(!fits("html", json!({"selectors": ["table"]}), "<p>x</p>"));
        assert!(build_error("html", json!({"selectors": ["<<"]})).contains("`selectors`"));
        assert!(!fits("html", json!({}), &"<div>".repeat(20_000)));
    }

    #[test]
    fn yaml_is_read_and_held_against_a_schema() {
        assert!(fits("yaml", json!({}), "name: x\nitems:\n  - 1\n  - 2\n"));
        assert!(!fits("yaml", json!({}), "just prose") && fits("yaml", json!({"scalars": true}), "just prose"));
        assert!(!fits("yaml", json!({}), "a: [1, 2") && !fits("yaml", json!({}), "a: 1\n b: 2"));
        let schema = json!({"schema": {"type": "object", "required": ["name"]}});
        assert!(fits("yaml", schema.clone(), "name: x") && !fits("yaml", schema, "nom: x"));
        assert!(fits("yaml", json!({"extract": true}), "```yaml\na: 1\n```"));
        let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n";
        assert!(!fits("yaml", json!({}), bomb));
        assert!(!fits("yaml", json!({}), &"[".repeat(100_000)));
        assert!(build_error("yaml", json!({"schema": 3})).contains("`schema`"));
    }

    proptest! {
        #[test]
        fn what_is_written_as_xml_is_well_formed(name in "[a-z][a-z0-9]{0,5}", text in "[ -~]{0,30}") {
            let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            let whole = fits("xml", json!({}), &format!("<{name}>{text}</{name}>"));
            let crossed = fits("xml", json!({}), &format!("<{name}>{text}</{name}x>"));
            prop_assert!(whole && !crossed);
        }
    }
}
