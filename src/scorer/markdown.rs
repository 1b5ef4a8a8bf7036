//! Whether the output is Markdown as it is meant: closed fences, whole tables, links that lead somewhere, headings.

use pulldown_cmark::{BrokenLink, CodeBlockKind, CowStr, Event, LinkType, Options as Reading, Parser, Tag, TagEnd};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::material::{expected_found, quote};
use super::options::{read, schema_of};
use super::{Scorer, ScorerInfo};
use crate::model::{Score, ScoreInput, Scored};

pub(super) const MARKDOWN: ScorerInfo = ScorerInfo {
    name: "markdown",
    version: "1",
    summary: "Passes when fences are closed, tables and links are well-formed, and required headings are there.",
    sample: "headings = [\"Summary\", \"Next steps\"]",
    schema: schema_of::<Options>,
    build,
};

/// Problems that a finding lists.
const LISTED: usize = 20;

/// What is looked at. Every text is Markdown; these are the places where writing goes wrong.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Headings that must be there in this order, of any level and in any case; others may stand between them.
    #[serde(default)]
    headings: Vec<String>,
    /// Whether code fences must be closed.
    #[serde(default = "yes")]
    fences: bool,
    /// Whether rows of tables must have as many cells as their head, and lines of `|` must be tables.
    #[serde(default = "yes")]
    tables: bool,
    /// Whether links must have an address, or a definition where they name one.
    #[serde(default = "yes")]
    links: bool,
}

fn yes() -> bool {
    true
}

fn build(options: &Value) -> Result<Box<dyn Scorer>, String> {
    let options: Options = read(options)?;
    if options.headings.iter().any(|heading| heading.trim().is_empty()) {
        return Err("`headings` holds an empty heading".to_owned());
    }
    Ok(Box::new(options))
}

impl Scorer for Options {
    fn score(&self, input: &ScoreInput<'_>) -> Scored {
        let text = input.output.text();
        let mut look = Look { options: self, text: &text, problems: Vec::new(), headings: Vec::new() };
        look.read();
        let mut wanted = self.headings.iter().peekable();
        for heading in &look.headings {
            wanted.next_if(|wanted| wanted.trim().to_lowercase() == heading.trim().to_lowercase());
        }
        if let Some(missing) = wanted.next() {
            let there = if self.headings.first() == Some(missing) { "" } else { " after those before it" };
            look.problems.push(format!("no heading {}{there}", quote(missing)));
        }
        let problems = look.problems;
        let Some(first) = problems.first() else {
            return Ok(Score::pass(true, expected_found("well-formed Markdown", &quote(&text))));
        };
        let more = if problems.len() > 1 { format!(" (and {} more)", problems.len() - 1) } else { String::new() };
        let mut score = Score::pass(false, expected_found("well-formed Markdown", &format!("{first}{more}")));
        score.details = json!({ "problems": problems.iter().take(LISTED).collect::<Vec<_>>() });
        Ok(score)
    }
}

struct Look<'a> {
    options: &'a Options,
    text: &'a str,
    problems: Vec<String>,
    headings: Vec<String>,
}

impl Look<'_> {
    fn read(&mut self) {
        let text = self.text;
        let mut undefined: Vec<String> = Vec::new();
        let on_broken = |link: BrokenLink<'_>| {
            // A word in brackets alone is more often a remark than a link.
            if matches!(link.link_type, LinkType::Reference | LinkType::Collapsed) {
                undefined.push(link.reference.to_string());
            }
            None::<(CowStr<'_>, CowStr<'_>)>
        };
        let reading = Reading::ENABLE_TABLES | Reading::ENABLE_STRIKETHROUGH | Reading::ENABLE_TASKLISTS;
        let parser = Parser::new_with_broken_link_callback(text, reading, Some(on_broken));
        let (mut heading, mut prose): (Option<String>, Option<String>) = (None, None);
        for (event, range) in parser.into_offset_iter() {
            let source = text.get(range).unwrap_or_default();
            match event {
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => self.headings.extend(heading.take()),
                Event::Start(Tag::Paragraph) => {
                    prose = Some(String::new());
                    self.lines_of_bars(source);
                }
                Event::End(TagEnd::Paragraph) => self.half_links(&prose.take().unwrap_or_default()),
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(_))) => self.fence(source),
                Event::Start(Tag::Table(heads)) => self.table(source, heads.len()),
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. })
                    if self.options.links && dest_url.trim().is_empty() =>
                {
                    self.problems.push(format!("a link without an address: {}", quote(source)));
                }
                Event::Text(words) | Event::Code(words) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&words);
                    }
                    if let Some(prose) = &mut prose {
                        prose.push_str(if source.starts_with('`') { "" } else { &words });
                    }
                }
                Event::SoftBreak | Event::HardBreak => {
                    if let Some(prose) = &mut prose {
                        prose.push('\n');
                    }
                }
                _ => {}
            }
        }
        if self.options.links {
            undefined.sort();
            undefined.dedup();
            self.problems
                .extend(undefined.iter().map(|name| format!("a link to {}, which is not defined", quote(name))));
        }
    }

    fn fence(&mut self, source: &str) {
        let bare = |line: &str| line.trim_start_matches([' ', '\t', '>']).trim_end().to_owned();
        let mut lines = source.lines();
        let first = lines.next().map(bare).unwrap_or_default();
        let sign = first.chars().next().unwrap_or('`');
        let length = first.chars().take_while(|c| *c == sign).count();
        let last = lines.next_back().map(bare).unwrap_or_default();
        let closed = last.chars().all(|c| c == sign) && last.chars().count() >= length.max(3);
        if self.options.fences && !closed {
            self.problems.push(format!("a code fence that is not closed: {}", quote(source)));
        }
    }

    fn table(&mut self, source: &str, heads: usize) {
        let odd = source.lines().skip(2).find(|line| cells(line) != heads);
        if let Some(line) = odd.filter(|_| self.options.tables) {
            let count = cells(line);
            self.problems.push(format!("a row of {count} cells in a table of {heads}: {}", quote(line)));
        }
    }

    /// Lines that were meant as rows of a table and are none.
    fn lines_of_bars(&mut self, source: &str) {
        let bars = |line: &&str| line.trim_start().starts_with('|') && cells(line) > 1;
        if let Some(line) = source.lines().find(bars).filter(|_| self.options.tables) {
            self.problems.push(format!("a row of a table that is none: {}", quote(line)));
        }
    }

    /// `[text](address` without its end stays text.
    fn half_links(&mut self, prose: &str) {
        if let Some((_, rest)) = prose.split_once("](").filter(|_| self.options.links) {
            self.problems.push(format!("a link that is cut off: {}", quote(rest)));
        }
    }
}

/// Cells of a row: bars divide them, those at the ends and those behind a backslash do not.
fn cells(line: &str) -> usize {
    let line = line.trim_start_matches([' ', '\t', '>']).trim_end();
    let line = line.strip_prefix('|').unwrap_or(line);
    let line = match line.strip_suffix('|') {
        Some(inner) if !inner.ends_with('\\') => inner,
        _ => line,
    };
    let mut escaped = false;
    let divides = |character: char| {
        let bar = character == '|' && !escaped;
        escaped = character == '\\' && !escaped;
        bar
    };
    line.chars().map(divides).filter(|bar| *bar).count() + 1
}

#[cfg(test)]
mod tests {
    use super::super::tests::{build_error, passes};
    use super::*;

    fn fits(options: Value, text: &str) -> bool {
        passes("markdown", options, json!(text), Value::Null)
    }

    #[test]
    fn headings_come_in_their_order() {
        let text = "# Summary\n\nx\n\n## Details\n\ny\n\nNext *steps*\n---\n";
        assert!(fits(json!({"headings": ["summary", "Next steps"]}), text));
        assert!(!fits(json!({"headings": ["Next steps", "Summary"]}), text));
        assert!(!fits(json!({"headings": ["Costs"]}), text));
        assert!(build_error("markdown", json!({"headings": [" "]})).contains("`headings`"));
    }

    #[test]
    fn fences_are_closed() {
        assert!(fits(json!({}), "```rust\nfn x() {}\n```\n") && fits(json!({}), "> ~~~~\n> a\n> ~~~~\n"));
        for open in ["```\ncode", "text\n\n```py\nx = 1\n``", "~~~\na\n```\n"] {
            assert!(!fits(json!({}), open), "{open}");
            assert!(fits(json!({"fences": false}), open), "{open}");
        }
    }

    #[test]
    fn tables_are_whole() {
        assert!(fits(json!({}), "| a | b |\n|---|---|\n| 1 | 2 \\| 3 |\n"));
        assert!(!fits(json!({}), "| a | b |\n|---|---|\n| 1 | 2 | 3 |\n"));
        assert!(!fits(json!({}), "| a | b |\n| 1 | 2 |\n") && fits(json!({"tables": false}), "| a | b |\n| 1 | 2 |\n"));
    }

    #[test]
    fn links_lead_somewhere() {
        assert!(fits(json!({}), "See [this](https://x.example/a_(b)) and [that][1], [x].\n\n[1]: https://y.example\n"));
        for broken in ["[a]()", "[a][nowhere]", "see [a](https://x.example and more"] {
            assert!(!fits(json!({}), broken), "{broken}");
            assert!(fits(json!({"links": false}), broken), "{broken}");
        }
        assert!(fits(json!({}), "`a[0](x` is code"));
    }
}
