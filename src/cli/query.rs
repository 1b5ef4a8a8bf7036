//! `assize traces query` and `assize traces tables`: their words, their calls, their printing.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::print::Printer;
use super::show::{count, short, table};
use crate::lake::{Answer, TABLES};
use crate::ops::traces::{self, QueryAsk};
use crate::ops::{Done, Exit, Failed, Project, World};
use crate::sys::files;
use crate::sys::text::one_line;

/// Rows that are shown on a terminal.
const SHOWN: usize = 200;
/// Least width of a column that is cut to fit.
const LEAST: usize = 8;

/// `traces query`
#[derive(Debug, Args)]
pub struct QueryArgs {
    /// A `SELECT` over the tables that `assize traces tables` describes.
    pub sql: String,
    /// Only traces and spans that began at or after this: a time, a date, or how far back (`7d`). Earlier days are not
    /// read.
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Only traces and spans that began before this: a time, a date, or how far back.
    #[arg(long, value_name = "WHEN")]
    pub until: Option<String>,
    /// Form of the answer. Default: by the ending of `--out` (`.csv`, `.json`, `.jsonl`, `.parquet`, `.txt`), else
    /// `table`.
    #[arg(long)]
    pub format: Option<Form>,
    /// File to write the answer to instead of stdout.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// Columns for people; long texts are cut.
    Table,
    /// CSV with a head.
    Csv,
    /// One array of objects.
    Json,
    /// One object per line.
    Jsonl,
    /// Parquet.
    Parquet,
}

/// Endings of files and the forms they mean.
const ENDINGS: &[(&str, Form)] = &[
    ("csv", Form::Csv),
    ("json", Form::Json),
    ("jsonl", Form::Jsonl),
    ("ndjson", Form::Jsonl),
    ("parquet", Form::Parquet),
    ("txt", Form::Table),
];

/// Carries out `traces query`.
pub fn verb(project: &Project, world: &World, args: QueryArgs, printer: &Printer) -> Done<Exit> {
    let form = form(&args, printer)?;
    if form == Form::Parquet && args.out.is_none() {
        return Err(Failed::usage(anyhow::anyhow!("Parquet is not for a terminal; name a file with `--out FILE`")));
    }
    let ask = QueryAsk { sql: args.sql, since: args.since, until: args.until };
    let mut answer = traces::query(project, world, &ask)?;
    let bytes = written(&mut answer, form, printer)?;
    match args.out {
        None => printer.bytes(&bytes)?,
        Some(path) => {
            files::write_atomic(&world.here.join(&path), &bytes).map_err(Failed::instrument)?;
            printer.note(&format!("{} written to {}.", count(answer.len() as u64, "row", "rows"), path.display()));
        }
    }
    Ok(Exit::Pass)
}

/// Prints what tables there are.
pub fn tables(printer: &Printer) -> Done<Exit> {
    printer.result(&TABLES, || {
        let mut text = String::new();
        for known in TABLES {
            let _ = writeln!(text, "{}: {}", known.name, known.summary);
            let rows: Vec<Vec<String>> = known
                .columns
                .iter()
                .map(|column| vec![format!("  {}", column.name), column.kind.to_owned(), column.meaning.to_owned()])
                .collect();
            let _ = writeln!(text, "{}", table(&["  column", "type", "meaning"], &rows));
        }
        text.push_str(
            "Example: the slowest tools of a day\n  assize traces query \"SELECT tool_name, COUNT(*) AS calls, \
             MAX(duration_ms) AS slowest FROM spans\n    WHERE kind = 'tool' GROUP BY tool_name ORDER BY slowest DESC\" \
             --since 2026-11-21 --until 2026-11-22\n",
        );
        text
    })?;
    Ok(Exit::Pass)
}

fn form(args: &QueryArgs, printer: &Printer) -> Done<Form> {
    let ending = args.out.as_ref().and_then(|path| path.extension()).and_then(|end| end.to_str());
    let known = ending.and_then(|ending| ENDINGS.iter().find(|(known, _)| known.eq_ignore_ascii_case(ending)));
    match (args.format, known, &args.out) {
        (Some(form), ..) => Ok(form),
        (None, Some((_, form)), _) => Ok(*form),
        (None, None, _) if printer.json => Ok(Form::Json),
        (None, None, None) => Ok(Form::Table),
        (None, None, Some(path)) => {
            let endings: Vec<String> = ENDINGS.iter().map(|(ending, _)| format!("`.{ending}`")).collect();
            Err(Failed::usage(anyhow::anyhow!(
                "`--out {}` has no ending that says its form; expected {}, or name the form with `--format`",
                one_line(&path.display().to_string(), 200),
                endings.join(", ")
            )))
        }
    }
}

fn written(answer: &mut Answer, form: Form, printer: &Printer) -> Done<Vec<u8>> {
    let mut bytes = Vec::new();
    match form {
        Form::Table => bytes = grid(answer, printer.width).into_bytes(),
        Form::Csv => answer.write_csv(&mut bytes).map_err(Failed::usage)?,
        Form::Parquet => answer.write_parquet(&mut bytes).map_err(Failed::usage)?,
        Form::Json => {
            let rows: Vec<_> = (0..answer.len()).filter_map(|at| answer.object(at)).collect();
            serde_json::to_writer_pretty(&mut bytes, &rows).map_err(Failed::instrument)?;
            bytes.push(b'\n');
        }
        Form::Jsonl => {
            for at in 0..answer.len() {
                serde_json::to_writer(&mut bytes, &answer.object(at)).map_err(Failed::instrument)?;
                bytes.push(b'\n');
            }
        }
    }
    Ok(bytes)
}

/// A table that fits the terminal: wide columns are cut, narrow ones are not.
fn grid(answer: &Answer, width: usize) -> String {
    let head: Vec<String> = answer.columns().iter().map(|name| one_line(name, 60)).collect();
    let rows: Vec<Vec<Value>> = (0..answer.len().min(SHOWN)).filter_map(|at| answer.row(at)).collect();
    let times: Vec<bool> = answer.kinds().iter().map(|kind| kind.starts_with("datetime")).collect();
    let one = |(value, time): (&Value, &bool)| cell(value, *time, width);
    let cells: Vec<Vec<String>> = rows.iter().map(|row| row.iter().zip(&times).map(one).collect()).collect();
    let wide = |text: &String| text.chars().count();
    let natural: Vec<usize> = (0..head.len())
        .map(|at| cells.iter().filter_map(|row| row.get(at)).chain(head.get(at)).map(wide).max().unwrap_or(0))
        .collect();
    let widths = fitted(&natural, width.saturating_sub(2 * head.len().saturating_sub(1)));
    let numeric = answer.numeric();
    let mut text = String::new();
    for row in std::iter::once(&head).chain(&cells) {
        let mut line = String::new();
        for ((cell, width), numeric) in row.iter().zip(&widths).zip(&numeric) {
            let cell = cut(cell, *width);
            let pad = " ".repeat(width.saturating_sub(cell.chars().count()));
            let _ = if *numeric { write!(line, "{pad}{cell}  ") } else { write!(line, "{cell}{pad}  ") };
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let left = answer.len() - rows.len();
    match (answer.len(), left) {
        (0, _) => text.push_str("No rows.\n"),
        (_, 0) => {}
        _ => {
            let _ = writeln!(text, "{} more; use LIMIT, or --format csv for all.", count(left as u64, "row", "rows"));
        }
    }
    text
}

fn cell(value: &Value, time: bool, width: usize) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if time => to_millis(text),
        Value::String(text) => one_line(text, width.max(40)),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => short(float, 6),
            _ => number.to_string(),
        },
        other => one_line(&other.to_string(), width.max(40)),
    }
}

/// A time without what is finer than a millisecond.
fn to_millis(text: &str) -> String {
    let (Some((seconds, rest)), true) = (text.split_once('.'), text.ends_with('Z')) else { return text.to_owned() };
    let digits: String = rest.chars().take_while(char::is_ascii_digit).take(3).collect();
    let fraction = digits.trim_end_matches('0');
    if fraction.is_empty() { format!("{seconds}Z") } else { format!("{seconds}.{fraction}Z") }
}

/// Widths that fit into a line: the widest give way first, none below the least.
fn fitted(natural: &[usize], room: usize) -> Vec<usize> {
    let mut widths = natural.to_vec();
    while widths.iter().sum::<usize>() > room {
        let Some(widest) = widths.iter_mut().max() else { break };
        if *widest <= LEAST {
            break;
        }
        *widest -= 1;
    }
    widths
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_column_gives_way() {
        assert_eq!(fitted(&[4, 50, 10], 30), [4, 16, 10]);
        assert_eq!(fitted(&[4, 10], 30), [4, 10]);
        assert_eq!(fitted(&[50, 50], 10), [LEAST, LEAST]);
        assert_eq!(fitted(&[], 10), [0; 0]);
    }

    #[test]
    fn times_are_shown_to_the_millisecond() {
        for (time, shown) in [
            ("2026-11-01T12:00:00.123456789Z", "2026-11-01T12:00:00.123Z"),
            ("2026-11-01T12:00:00.100000001Z", "2026-11-01T12:00:00.1Z"),
            ("2026-11-01T12:00:00.000456Z", "2026-11-01T12:00:00Z"),
            ("2026-11-01T12:00:00Z", "2026-11-01T12:00:00Z"),
        ] {
            assert_eq!(cell(&Value::from(time), true, 80), shown);
        }
        assert_eq!(cell(&Value::from("v1.23456Z"), false, 80), "v1.23456Z");
    }

    #[test]
    fn what_is_cut_says_so() {
        assert_eq!(cut("abcdef", 4), "abc…");
    }
}
