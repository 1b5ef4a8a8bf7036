//! Printing of a comparison of more than two runs.

use serde_json::json;

use super::print::Printer;
use crate::ops::matrix::{Ask, Many, compare_many};
use crate::ops::{Done, Exit, Project, World};
use crate::report::matrix_text;

/// Carries out `compare` with more than two runs.
pub async fn run(project: &Project, world: &World, ask: Ask<'_>, printer: &Printer) -> Done<Exit> {
    let done = compare_many(project, world, ask).await?;
    print(&done, printer)?;
    Ok(done.exit)
}

/// Prints the matrix unless a report took its place on stdout.
pub fn print(done: &Many, printer: &Printer) -> Done<()> {
    if super::verbs::reports_to_stdout(&done.written, printer)? {
        return Ok(());
    }
    let json = json!({ "format": 1, "matrix": done.matrix, "reports": done.written, "exit": done.exit.code() });
    printer.result(&json, || {
        let text = matrix_text(&done.matrix, printer.width);
        if printer.ascii { crate::report::to_ascii(&text) } else { text }
    })
}
