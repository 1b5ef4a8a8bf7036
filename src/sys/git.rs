//! What git says about a folder. No git, or no repository, is an answer too: nothing.

use std::path::Path;
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
