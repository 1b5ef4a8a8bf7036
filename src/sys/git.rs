//! What git says about a folder. No git, or no repository, is an answer too: nothing.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The commit that is checked out, with `+` behind it when files were changed since.
pub fn commit(folder: &Path) -> Option<String> {
    let commit = ask(folder, &["rev-parse", "--short=12", "HEAD"])?;
    let changed = ask(folder, &["status", "--porcelain", "--untracked-files=no"]).is_some();
    Some(if changed { format!("{commit}+") } else { commit })
}

/// The name and mail git would sign a commit with.
pub fn author(folder: &Path) -> Option<String> {
    let name = ask(folder, &["config", "user.name"])?;
    match ask(folder, &["config", "user.email"]) {
        Some(mail) => Some(format!("{name} <{mail}>")),
        None => Some(name),
    }
}

/// The folder at the top of the repository.
pub fn top(folder: &Path) -> Option<PathBuf> {
    ask(folder, &["rev-parse", "--show-toplevel"]).map(PathBuf::from)
}

/// Where two branches part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeBase {
    /// The branch that was asked about, as git knows it.
    pub reference: String,
    /// The commit, whole.
    pub commit: String,
    /// Whether that is the commit checked out: the work is on that branch already.
    pub is_head: bool,
}

/// Why there is no merge base.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum GitError {
    /// No repository, or no git.
    #[error("no git repository with a commit in `{0}`, or no `git` on the PATH: a merge base needs both")]
    NoRepository(PathBuf),
    /// The history is cut off.
    #[error(
        "the clone is shallow, so the merge base is not in it; check out the whole history: `fetch-depth: 0` for \
         actions/checkout, `GIT_DEPTH: 0` for GitLab, or `git fetch --unshallow`"
    )]
    Shallow,
    /// The branch is not there.
    #[error("git knows no branch {0}; fetch it, or name one with `--baseline merge-base:REF`")]
    NoReference(String),
    /// No commit in common.
    #[error("HEAD and `{0}` have no commit in common")]
    NoBase(String),
}

/// The merge base of HEAD with the first of the branches that is there.
///
/// # Errors
/// No repository, none of the branches, or a history that does not hold the base.
pub fn merge_base(folder: &Path, references: &[String]) -> Result<MergeBase, GitError> {
    let head = ask(folder, &["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]);
    let head = head.ok_or_else(|| GitError::NoRepository(folder.to_owned()))?;
    let shallow = ask(folder, &["rev-parse", "--is-shallow-repository"]).as_deref() == Some("true");
    let known = references.iter().find_map(|name| {
        // What is typed is a name and never an option.
        let commit =
            ask(folder, &["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{name}^{{commit}}")])?;
        Some((name.clone(), commit))
    });
    let Some((reference, other)) = known else {
        let names: Vec<String> = references.iter().map(|name| format!("`{name}`")).collect();
        return Err(if shallow { GitError::Shallow } else { GitError::NoReference(names.join(" or ")) });
    };
    match ask(folder, &["merge-base", &head, &other]) {
        Some(commit) => Ok(MergeBase { is_head: commit == head, reference, commit }),
        None if shallow => Err(GitError::Shallow),
        None => Err(GitError::NoBase(reference)),
    }
}

/// A commit and those before it along its first parents, at most `most`, newest first.
pub fn line_of_commits(folder: &Path, commit: &str, most: usize) -> Vec<String> {
    let most = format!("--max-count={most}");
    let found = ask(folder, &["rev-list", "--first-parent", &most, "--end-of-options", commit]).unwrap_or_default();
    found.lines().map(str::to_owned).collect()
}

fn ask(folder: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
