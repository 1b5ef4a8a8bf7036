//! Workflow commands of GitHub Actions: one annotation per issue, shown beside the line of the gate.
//!
//! A command is a line; what is foreign in it can end neither the line nor its part of it.

use super::issues::{Level, issues};
use super::{Material, ReportError};

/// GitHub shows ten errors and ten warnings of a step, and keeps fifty of a job.
const SHOWN: usize = 10;

/// Renders the commands; nothing where there is nothing to point at.
pub(super) fn render(material: &Material<'_>) -> Result<Vec<u8>, ReportError> {
    let mut text = String::new();
    for (level, command) in [(Level::Error, "error"), (Level::Warning, "warning"), (Level::Note, "notice")] {
        for issue in issues(material).iter().filter(|issue| issue.level == level).take(SHOWN) {
            text.push_str(&format!(
                "::{command} file={},line={},title={}::{}\n",
                property(&issue.file),
                issue.line,
                property(&issue.title),
                data(&issue.message)
            ));
        }
    }
    Ok(text.into_bytes())
}

/// A message as it may stand behind the second `::`.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A value as it may stand between commas.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_ends_no_command() {
        assert_eq!(data("50 %\r\n::set-output name=x::y"), "50 %25%0D%0A::set-output name=x::y");
        assert_eq!(property("a,line=2::b"), "a%2Cline=2%3A%3Ab");
    }
}
