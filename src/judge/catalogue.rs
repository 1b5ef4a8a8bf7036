//! Which judges there are: those shipped inside the binary, and those in the user's `judges/` folder, which win.
//!
//! Reads folders; what their texts mean is `rubric`'s business.

use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};

use super::condition::WhenFilter;
use crate::rubric::{JudgeSpec, SpecProblem};
use crate::sys::files::{self, FileError};
use crate::sys::text;

static SHIPPED: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/judges");

/// Where a judge comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Inside the binary.
    Shipped,
    /// A folder of the user.
    User(PathBuf),
}

/// The texts of one judge's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgeFiles {
    /// Name of the folder.
    pub name: String,
    /// Where from.
    pub origin: Origin,
    /// `judge.toml`.
    pub toml: String,
    /// `prompt.md`.
    pub prompt: String,
    /// `calibration.jsonl`; empty when there is none.
    pub calibration: String,
}

impl JudgeFiles {
    /// Checks them.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn parse(&self) -> Result<JudgeSpec, Vec<SpecProblem>> {
        let spec = JudgeSpec::parse(&self.name, &self.toml, &self.prompt, &self.calibration)?;
        match WhenFilter::problem(&spec) {
            Some(problem) => Err(vec![problem]),
            None => Ok(spec),
        }
    }
}

/// One line of the list of judges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Name.
    pub name: String,
    /// Where from.
    pub origin: Origin,
    /// Whether a user's judge stands in for a shipped one of the same name.
    pub overrides_shipped: bool,
}

/// A judge that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// There is none of that name.
    #[error("no judge `{name}`{}; there are `{}`", hint.as_ref().map(|hint| format!(" (did you mean `{hint}`?)")).unwrap_or_default(), known.join("`, `"))]
    NotFound {
        /// The name asked for.
        name: String,
        /// The nearest name.
        hint: Option<String>,
        /// All names.
        known: Vec<String>,
    },
    /// Its folder cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its folder is wrong.
    #[error("judge `{name}` has {} {}:\n{}", problems.len(), if problems.len() == 1 { "problem" } else { "problems" }, lines(problems))]
    Wrong {
        /// Its name.
        name: String,
        /// Everything that is wrong.
        problems: Vec<SpecProblem>,
    },
}

fn lines(problems: &[SpecProblem]) -> String {
    problems.iter().map(|problem| format!("  {problem}")).collect::<Vec<_>>().join("\n")
}

/// The judges inside the binary, by name.
pub fn shipped() -> Vec<JudgeFiles> {
    let mut all: Vec<JudgeFiles> = SHIPPED.dirs().filter_map(shipped_files).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

fn shipped_files(folder: &Dir<'static>) -> Option<JudgeFiles> {
    let name = folder.path().file_name()?.to_str()?.to_owned();
    let text = |file: &str| folder.get_file(folder.path().join(file)).and_then(|file| file.contents_utf8());
    Some(JudgeFiles {
        name,
        origin: Origin::Shipped,
        toml: text("judge.toml")?.to_owned(),
        prompt: text("prompt.md")?.to_owned(),
        calibration: text("calibration.jsonl").unwrap_or("").to_owned(),
    })
}

/// All judges, by name: the shipped ones and those in the user's folder (`judges/` beside `assize.toml`).
///
/// # Errors
/// The folder is there and cannot be read.
pub fn list(user_folder: Option<&Path>) -> Result<Vec<Entry>, FileError> {
    let mut entries: Vec<Entry> = shipped()
        .into_iter()
        .map(|files| Entry { name: files.name, origin: files.origin, overrides_shipped: false })
        .collect();
    let folders = user_folder.map(files::list_folder).transpose()?.unwrap_or_default();
    for folder in folders {
        if read_if_there(&folder.join("judge.toml"))?.is_none() {
            continue;
        }
        let Some(name) = folder.file_name().and_then(|name| name.to_str()).map(str::to_owned) else { continue };
        let before = entries.len();
        entries.retain(|entry| entry.name != name);
        let overrides_shipped = entries.len() < before;
        entries.push(Entry { name, origin: Origin::User(folder), overrides_shipped });
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// The files of one judge; a user's folder wins over a shipped judge of the same name.
///
/// # Errors
/// There is no such judge, or its folder cannot be read.
pub fn find(name: &str, user_folder: Option<&Path>) -> Result<JudgeFiles, CatalogueError> {
    let entries = list(user_folder)?;
    let Some(entry) = entries.iter().find(|entry| entry.name == name) else {
        let known: Vec<String> = entries.into_iter().map(|entry| entry.name).collect();
        let hint = text::nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
        return Err(CatalogueError::NotFound { name: name.to_owned(), hint, known });
    };
    match &entry.origin {
        Origin::User(folder) => Ok(read_folder(name, folder)?),
        Origin::Shipped => {
            let found = shipped().into_iter().find(|files| files.name == name);
            found.ok_or_else(|| CatalogueError::NotFound { name: name.to_owned(), hint: None, known: Vec::new() })
        }
    }
}

impl CatalogueError {
    /// The error of a judge whose files are wrong.
    pub fn wrong(name: &str, problems: Vec<SpecProblem>) -> Self {
        Self::Wrong { name: name.to_owned(), problems }
    }
}

fn read_folder(name: &str, folder: &Path) -> Result<JudgeFiles, FileError> {
    Ok(JudgeFiles {
        name: name.to_owned(),
        origin: Origin::User(folder.to_owned()),
        toml: files::read_text(&folder.join("judge.toml"))?,
        prompt: files::read_text(&folder.join("prompt.md"))?,
        calibration: read_if_there(&folder.join("calibration.jsonl"))?.unwrap_or_default(),
    })
}

/// The text of a file; `None` when there is no such file.
fn read_if_there(path: &Path) -> Result<Option<String>, FileError> {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    match files::read_text(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if matches!(error.cause.kind(), NotFound | NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_judge_stands_in_for_a_shipped_one() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["tone", "my_own"] {
            let toml = format!("name = \"{name}\"\nversion = \"9\"\nsummary = \"x\"\n[scale]\ntype = \"binary\"\n");
            files::write_atomic(&folder.path().join(name).join("judge.toml"), toml.as_bytes()).unwrap();
            files::write_atomic(&folder.path().join(name).join("prompt.md"), b"Judge.").unwrap();
        }
        files::write_atomic(&folder.path().join("notes.txt"), b"not a judge").unwrap();
        let entries = list(Some(folder.path())).unwrap();
        let tone = entries.iter().find(|entry| entry.name == "tone").unwrap();
        assert!(tone.overrides_shipped && tone.origin != Origin::Shipped);
        assert_eq!(entries.len(), shipped().len() + 1);
        assert_eq!(find("tone", Some(folder.path())).unwrap().parse().unwrap().version, "9");
        assert_eq!(find("tone", None).unwrap().origin, Origin::Shipped);
        assert_eq!(list(Some(&folder.path().join("absent"))).unwrap().len(), shipped().len());
    }

    #[test]
    fn a_mistyped_name_is_answered_with_the_nearest() {
        let error = find("task_completon", None).unwrap_err().to_string();
        assert!(error.starts_with("no judge `task_completon` (did you mean `task_completion`?)"), "{error}");
        assert!(find("../../etc", None).is_err());
    }
}
