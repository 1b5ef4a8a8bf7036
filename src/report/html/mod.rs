//! The report for people: one HTML file that needs no network and works without scripts.
//!
//! This folder turns findings into plain view structs; all markup is in `reports/templates`, all style in
//! `reports/assets`. Plots are drawn here as numbers for SVG attributes. Every text goes through [`escape`]; the page's
//! policy allows its one style sheet and its one script by digest and nothing else.

mod calls;
mod diff;
mod examples;
mod explained;
mod index;
mod listing;
mod matrix;
mod metrics;
mod opened;
mod origin;
mod page;
mod plot;
mod scatter;
mod slices;
mod spans;
mod text;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use handlebars::{Handlebars, handlebars_helper};
use include_dir::{Dir, include_dir};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{Folder, Material, Paged, ReportError};
use crate::sys::text::for_terminal;
pub use index::IndexedRun;
pub(super) use index::render as render_index;
pub(super) use matrix::render as render_matrix;

static TEMPLATES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/reports/templates");
const STYLE: &str = include_str!("../../../reports/assets/report.css");
const SCRIPT: &str = include_str!("../../../reports/assets/report.js");

/// Who made the page.
const TOOL: &str = concat!("assize ", env!("CARGO_PKG_VERSION"));

/// Renders the page as one file.
pub(super) fn render(material: &Material<'_>) -> Result<Vec<u8>, ReportError> {
    Ok(listing::render(material, None)?.main)
}

/// Renders the page, with the examples that it does not hold itself in files beside it.
pub(super) fn render_pages(material: &Material<'_>, folder: &Folder) -> Result<Paged, ReportError> {
    listing::render(material, Some(folder))
}

/// The style sheet and the script with the policy that admits exactly them.
#[derive(Serialize)]
pub(super) struct Assets {
    css: &'static str,
    script: &'static str,
    policy: String,
}

impl Assets {
    fn new() -> Self {
        let policy = format!(
            "default-src 'none'; style-src '{}'; script-src '{}'; img-src data:; base-uri 'none'; form-action 'none'",
            source_hash(STYLE),
            source_hash(SCRIPT)
        );
        Self { css: STYLE, script: SCRIPT, policy }
    }
}

/// `sha256-...` of an inline element's text, as content security policies write it (CSP level 3, section 2.3.1).
fn source_hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text.as_bytes())))
}

handlebars_helper!(eq: |left: str, right: str| left == right);

fn registry() -> Result<Handlebars<'static>, ReportError> {
    let mut templates = Handlebars::new();
    templates.set_strict_mode(true);
    templates.register_escape_fn(escape);
    templates.register_helper("is", Box::new(eq));
    for file in TEMPLATES.files() {
        let (Some(name), Some(source)) = (file.path().file_stem().and_then(|s| s.to_str()), file.contents_utf8())
        else {
            continue;
        };
        templates.register_template_string(name, source).map_err(|error| failed(&error))?;
    }
    Ok(templates)
}

fn write(
    templates: &Handlebars<'_>,
    name: &str,
    view: &impl Serialize,
    bytes: &mut Vec<u8>,
) -> Result<(), ReportError> {
    templates.render_to_write(name, view, bytes).map_err(|error| failed(&error))
}

fn failed(error: &dyn std::error::Error) -> ReportError {
    ReportError { form: "html", cause: error.to_string() }
}

/// Foreign text for element content and quoted attributes: markup has no meaning and nothing stays hidden.
fn escape(text: &str) -> String {
    let shown = for_terminal(&text.replace("\r\n", "\n"));
    let mut safe = String::with_capacity(shown.len() + shown.len() / 16);
    for character in shown.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn hidden_and_active_characters_lose_their_effect() {
        assert_eq!(escape("<b a='1'>\u{202e}&\r\n\u{0}"), "&lt;b a=&#39;1&#39;&gt;\\u{202e}&amp;\n\\u{0}");
    }

    #[test]
    fn the_hash_is_that_of_the_standard() {
        // The value of FIPS 180-4's first example message, in base 64.
        assert_eq!(source_hash("abc"), "sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
    }

    #[test]
    fn only_our_own_assets_are_written_unescaped() {
        let raw: BTreeSet<&str> = TEMPLATES
            .files()
            .filter_map(|file| file.contents_utf8())
            .flat_map(|source| source.split("{{{").skip(1))
            .filter_map(|rest| rest.split("}}}").next())
            .collect();
        assert_eq!(raw, BTreeSet::from(["assets.css", "assets.script"]));
    }

    #[test]
    fn all_templates_parse() {
        registry().unwrap();
    }
}
