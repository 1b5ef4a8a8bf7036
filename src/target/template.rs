//! Templates over an example, as targets use them: prompts, bodies, addresses.
//!
//! A template sees what an application would get (id, input, trial, metadata, dimensions) and never the reference:
//! the answer must not leak into the question. Escaping follows the place where the text goes.

use handlebars::{
    Context, Handlebars, Helper, HelperResult, Output as HandlebarsOutput, RenderContext, RenderErrorReason,
};
use serde_json::Value;

use crate::model::{Failure, FailureKind};

/// A parsed template.
pub(super) struct Template {
    registry: Handlebars<'static>,
    /// Whether the whole input is inserted as text somewhere, so that a structured one must become JSON text.
    takes_input_whole: bool,
}

const NAME: &str = "template";

impl Template {
    /// Text as it is: prompts.
    pub fn plain(text: &str) -> Result<Self, String> {
        Self::with_escape(text, str::to_owned)
    }

    /// Inside strings of a JSON text.
    pub fn json(text: &str) -> Result<Self, String> {
        Self::with_escape(text, json_inside)
    }

    /// Inside an address.
    pub fn url(text: &str) -> Result<Self, String> {
        Self::with_escape(text, percent_encoded)
    }

    fn with_escape(text: &str, escape: fn(&str) -> String) -> Result<Self, String> {
        let mut registry = Handlebars::new();
        registry.set_strict_mode(true);
        registry.register_escape_fn(escape);
        registry.register_helper("json", Box::new(json_helper));
        registry.register_template_string(NAME, text).map_err(|error| error.to_string())?;
        let squeezed: String = text.chars().filter(|character| !character.is_whitespace()).collect();
        Ok(Self { registry, takes_input_whole: squeezed.contains("{{input}}") })
    }

    /// Fills it in with what is shown to a target of its example.
    pub fn render(&self, context: &Value) -> Result<String, Failure> {
        let filled = match context.get("input") {
            Some(input) if self.takes_input_whole && !input.is_string() => {
                // Handlebars would write `[object]`.
                let mut context = context.clone();
                context["input"] = Value::String(input.to_string());
                self.registry.render(NAME, &context)
            }
            _ => self.registry.render(NAME, context),
        };
        filled.map_err(|error| {
            let id = context.get("id").and_then(Value::as_str).unwrap_or_default();
            let text = format!("the template cannot be filled in for example `{id}`: {error}");
            Failure::new(FailureKind::BadRequest, text)
        })
    }
}

/// The value at the path of a template of the form `{{json PATH}}`, which stands for a whole JSON value.
pub(super) fn json_path(text: &str) -> Option<Vec<String>> {
    let inside = text.trim().strip_prefix("{{")?.strip_suffix("}}")?.trim();
    let path = inside.strip_prefix("json")?;
    let path = path.strip_prefix(char::is_whitespace)?.trim();
    let is_path = |path: &str| path.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '-'));
    (is_path(path) && !path.is_empty()).then(|| path.split('.').map(str::to_owned).collect())
}

/// `{{json value}}`: the value as JSON.
fn json_helper(
    helper: &Helper<'_>,
    _: &Handlebars<'_>,
    _: &Context,
    _: &mut RenderContext<'_, '_>,
    out: &mut dyn HandlebarsOutput,
) -> HelperResult {
    let value = helper.param(0).ok_or(RenderErrorReason::ParamNotFoundForIndex("json", 0))?;
    out.write(&value.value().to_string())?;
    Ok(())
}

fn json_inside(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted.get(1..quoted.len() - 1).unwrap_or_default().to_owned()
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::{Stage, TargetCall, stage::context_of};
    use super::*;
    use crate::model::Example;

    fn filled(template: Result<Template, String>, input: Value) -> Result<String, String> {
        let mut example = Example::new("e1".into(), input);
        example.reference = Some(json!("the answer"));
        example.metadata.insert("tone".to_owned(), json!("kind"));
        let timeout = std::time::Duration::from_secs(1);
        let (example, stage) = (&example, &Stage::BARE);
        let call = TargetCall { example, trial: 2, attempt: 1, timeout, on_notice: &|_| {}, stage };
        template.unwrap().render(&context_of(&call)).map_err(|failure| failure.message)
    }

    #[test]
    fn places_escape_in_their_own_way() {
        let hostile = json!("a\"}\n<b>&é");
        assert_eq!(filled(Template::plain("{{input}} {{trial}}"), hostile.clone()).unwrap(), "a\"}\n<b>&é 2");
        assert_eq!(filled(Template::json("\"{{input}}\""), hostile.clone()).unwrap(), hostile.to_string());
        assert_eq!(filled(Template::url("/q?x={{input}}"), json!("a b&c/é")).unwrap(), "/q?x=a%20b%26c%2F%C3%A9");
    }

    #[test]
    fn structured_inputs_become_json_and_missing_fields_are_named() {
        let input = json!({"question": "why", "n": [1]});
        assert_eq!(filled(Template::plain("{{ input }}"), input.clone()).unwrap(), input.to_string());
        assert_eq!(filled(Template::plain("{{input.question}} {{json input.n}}"), input.clone()).unwrap(), "why [1]");
        assert_eq!(filled(Template::plain("{{metadata.tone}}"), input.clone()).unwrap(), "kind");
        let error = filled(Template::plain("{{input.answer}}"), input.clone()).unwrap_err();
        assert!(error.contains("`e1`") && error.contains("answer"), "{error}");
        assert!(filled(Template::plain("{{reference}}"), input).is_err(), "the reference is not shown");
        assert!(Template::plain("{{#if}").is_err());
    }

    #[test]
    fn whole_values_are_told_from_text() {
        assert_eq!(json_path("{{json input.messages}}").unwrap(), ["input", "messages"]);
        assert_eq!(json_path("{{ json input }}").unwrap(), ["input"]);
        assert!(json_path("x {{json input}}").is_none());
        assert!(json_path("{{input}}").is_none());
        assert!(json_path("{{json a}} {{json b}}").is_none());
    }

    proptest! {
        #[test]
        fn any_text_stays_one_json_string(text in ".*") {
            let body = filled(Template::json("{\"q\": \"{{input}}\"}"), json!(text)).unwrap();
            prop_assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), json!({"q": text}));
        }
    }
}
