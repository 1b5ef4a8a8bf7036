//! `assize dataset ls|show|diff|import`: what they found, as text.

use std::fmt::Write as _;

use super::show::{count, table, thousands};
use crate::dataset::{ChangedExample, DatasetDiff, Recognised};
use crate::model::{DatasetHeader, Example, ExampleId, SampleDesign, Stratum};
use crate::ops::datasets::{Imported, PartOfDesign, PartOfStratum, Shown};
use crate::sys::text::one_line;

/// Recorded variants, and the design in short; `part` is what a part of the dataset has of it.
pub fn design(header: &DatasetHeader, part: Option<&PartOfDesign>) -> String {
    let mut text = String::new();
    if !header.variants.is_empty() {
        let variants: Vec<String> =
            header.variants.iter().map(|(name, n)| format!("{} ({})", one_line(name, 40), thousands(*n))).collect();
        let _ = writeln!(text, "Recorded variants: {}.", variants.join(", "));
    }
    let Some(design) = &header.design else { return text };
    if let Some(part) = part {
        text.push_str(&design_of_part(design, part));
        return text;
    }
    let _ = writeln!(text, "Design: {}, seed {}.", design.method, design.seed);
    if !design.probability_sample {
        text.push_str(NO_PROBABILITY);
        return text;
    }
    let row = |s: &Stratum| {
        vec![one_line(&s.name, 50), thousands(s.population), thousands(s.chosen), format!("{:.4}", s.rate)]
    };
    text.push_str(&table(
        &["stratum", "held", "chosen", "probability"],
        &design.strata.iter().map(row).collect::<Vec<_>>(),
    ));
    text
}

const NO_PROBABILITY: &str = "No probability sample: estimates from it say nothing about all traces.\n";

fn design_of_part(design: &SampleDesign, part: &PartOfDesign) -> String {
    let mut text = format!(
        "Design of the whole: {}, seed {}; in this part {} of {}",
        design.method,
        design.seed,
        thousands(part.examples),
        count(part.whole, "example", "examples"),
    );
    let Some(weight) = part.weight else {
        let _ = write!(text, ".\n{NO_PROBABILITY}");
        return text;
    };
    let candidates = count(design.weights.population, "candidate", "candidates");
    let _ = writeln!(text, ", which stand for about {} of {candidates}.", thousands(weight.round() as u64));
    let row = |s: &PartOfStratum| {
        vec![
            one_line(&s.name, 50),
            thousands(s.examples),
            thousands(s.chosen),
            s.weight.map_or_else(|| "-".to_owned(), |weight| thousands(weight.round() as u64)),
            thousands(s.population),
        ]
    };
    let rows: Vec<Vec<String>> = part.strata.iter().map(row).collect();
    text.push_str(&table(&["stratum", "in this part", "chosen in all", "stand for", "held in all"], &rows));
    text
}

pub fn list(headers: &[DatasetHeader]) -> String {
    if headers.is_empty() {
        return "No dataset yet: `assize sample` makes one from traces, `assize dataset import` from a file."
            .to_owned();
    }
    let row = |h: &DatasetHeader| {
        vec![
            h.reference(),
            thousands(h.examples),
            thousands(h.variants.len() as u64),
            h.digest.short().to_owned(),
            h.created_at.strftime("%Y-%m-%d %H:%M").to_string(),
        ]
    };
    table(&["dataset", "examples", "variants", "digest", "made"], &headers.iter().map(row).collect::<Vec<_>>())
}

pub fn shown(shown: &Shown) -> String {
    let header = &shown.header;
    let mut text = format!("{}: {}\n", header.reference(), count(header.examples, "example", "examples"));
    if let Some(description) = &header.description {
        let _ = writeln!(text, "{}", one_line(description, 300));
    }
    let versions: Vec<String> = shown.versions.iter().map(u32::to_string).collect();
    let _ = writeln!(
        text,
        "Made {} from {}. Versions: {}.",
        header.created_at,
        header.sources.join(", "),
        versions.join(", ")
    );
    let _ = writeln!(
        text,
        "Digest of the task {}, of recorded outputs {}.",
        header.digest.short(),
        header.recorded_digest.short()
    );
    text.push_str(&super::dataset_edit::contents(header, &shown.contents));
    text.push_str(&design(header, shown.part.as_ref()));
    if shown.history.len() > 1 {
        let until: Vec<DatasetHeader> =
            shown.history.iter().filter(|past| past.version <= header.version).rev().cloned().collect();
        let _ = write!(text, "\nHistory:\n{}", super::dataset_edit::log(&until));
    }
    shown.examples.iter().for_each(|example| text.push_str(&example_lines(example)));
    text
}

fn example_lines(example: &Example) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "\n{}", one_line(example.id.as_str(), 80));
    let _ = writeln!(text, "  input      {}", one_line(&example.input_text(), 200));
    if let Some(reference) = &example.reference {
        let _ = writeln!(text, "  reference  {}", one_line(&reference.to_string(), 200));
    }
    if let Some(calls) = &example.expected_calls {
        let names: Vec<&str> = calls.iter().map(|call| call.name.as_str()).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let _ = writeln!(text, "  calls      {}", one_line(&names, 200));
    }
    for attachment in &example.attachments {
        let kind = attachment.media_type.as_deref().unwrap_or("unknown type");
        let name = one_line(&attachment.name, 80);
        let _ = writeln!(text, "  attached   {name} ({}, {} bytes)", one_line(kind, 60), thousands(attachment.bytes));
    }
    let tags: Vec<&str> = example.split.iter().chain(&example.tags).map(String::as_str).collect();
    if !tags.is_empty() {
        let _ = writeln!(text, "  in         {}", one_line(&tags.join(", "), 200));
    }
    for (name, value) in &example.dimensions {
        let _ = writeln!(text, "  {}  {}", one_line(name, 40), one_line(value, 80));
    }
    for recorded in &example.recorded {
        let variant = recorded.variant.as_deref().unwrap_or("recorded");
        let _ = writeln!(
            text,
            "  {} #{}  {}",
            one_line(variant, 40),
            recorded.trial,
            one_line(&recorded.output.text(), 200)
        );
    }
    for label in &example.labels {
        let who = label.annotator.as_deref().unwrap_or("somebody");
        let about = label.variant.as_deref().map(|v| format!(" of {}", one_line(v, 40))).unwrap_or_default();
        let value = one_line(&label.value.to_string(), 80);
        let _ = writeln!(text, "  label      {}{about}: {value} by {}", one_line(&label.name, 40), one_line(who, 40));
    }
    text
}

/// How many examples of each kind of difference are listed.
const DIFFERENCES: usize = 20;

pub fn differs(diff: &DatasetDiff) -> String {
    let mut text = format!("{}\n", diff.summary());
    if !diff.head.is_empty() {
        let _ = writeln!(text, "Beside the examples: {} changed.", diff.head.join(", "));
    }
    let mut part = |mark: char, lines: Vec<String>| {
        for line in lines.iter().take(DIFFERENCES) {
            let _ = writeln!(text, "  {mark} {line}");
        }
        if let Some(more) = lines.len().checked_sub(DIFFERENCES).filter(|more| *more > 0) {
            let _ = writeln!(text, "  {mark} and {more} more; `--json` lists all");
        }
    };
    let ids = |ids: &[ExampleId]| ids.iter().map(|id| one_line(id.as_str(), 100)).collect();
    part('+', ids(&diff.added));
    part('-', ids(&diff.removed));
    let changed =
        |change: &ChangedExample| format!("{}: {}", one_line(change.id.as_str(), 100), change.fields.join(", "));
    part('~', diff.changed.iter().map(changed).collect());
    text
}

/// Formats of other tools, each with the first reason and how many files.
fn formats_met(recognised: &[Recognised]) -> Vec<(&str, &str, u64)> {
    let mut met: Vec<(&str, &str, u64)> = Vec::new();
    for file in recognised {
        match met.iter_mut().find(|(format, ..)| *format == file.format) {
            Some((_, _, files)) => *files += 1,
            None => met.push((file.format, &file.why, 1)),
        }
    }
    met
}

pub fn imported(done: &Imported) -> String {
    let verb = if done.unchanged { "is unchanged:" } else { "has" };
    let mut text = format!(
        "{} {verb} {} from {}.\n",
        done.header.reference(),
        count(done.header.examples, "example", "examples"),
        count(done.rows, "row", "rows")
    );
    for (format, why, files) in formats_met(&done.recognised) {
        let _ = writeln!(text, "Read as {format} ({}): {why}.", count(files, "file", "files"));
    }
    for why in &done.unusable {
        let _ = writeln!(text, "Left out whole: {}.", one_line(why.trim_end_matches('.'), 600));
    }
    if done.filtered > 0 {
        let by = if done.recognised.is_empty() { "the mapping's filter" } else { "the format's rules" };
        let _ = writeln!(text, "{} left out by {by}.", count(done.filtered, "row was", "rows were"));
    }
    if done.rejected > 0 {
        let _ = writeln!(text, "{} rejected:", count(done.rejected, "row was", "rows were"));
        for rejection in &done.rejections {
            let _ = writeln!(text, "  {rejection}");
        }
    }
    text.push_str(&super::ingested::redacted(&done.redacted));
    text.push_str(&design(&done.header, None));
    text
}
