//! `assize init`: a project that runs at once, without a key: configuration, dataset, agent, judge, CI workflow.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use serde::Serialize;

use super::exit::{Done, Failed};
use crate::config::DEFAULT_TOML;
use crate::sys::files;

/// The files of a new project. A dataset small enough to read, an agent small enough to replace.
const STARTER: &[(&str, &str)] = &[
    ("assize.toml", DEFAULT_TOML),
    ("agent.py", include_str!("starter/agent.py")),
    ("datasets/support.jsonl", include_str!("starter/support.jsonl")),
    ("judges/reply_is_complete/judge.toml", include_str!("starter/judge/judge.toml")),
    ("judges/reply_is_complete/prompt.md", include_str!("starter/judge/prompt.md")),
    ("judges/reply_is_complete/calibration.jsonl", include_str!("starter/judge/calibration.jsonl")),
    (".github/workflows/assize.yml", include_str!("starter/workflow.yml")),
];

/// What was written.
#[derive(Clone, Debug, Serialize)]
pub struct Started {
    /// Folder.
    pub folder: PathBuf,
    /// Files, relative to it.
    pub files: Vec<String>,
}

/// Writes a new project. Refuses to touch a file that is already there, before writing any.
pub fn init(folder: &Path) -> Done<Started> {
    let there: Vec<&str> = STARTER.iter().map(|(name, _)| *name).filter(|name| folder.join(name).exists()).collect();
    if !there.is_empty() {
        let list = there.join(", ");
        return Err(Failed::usage(anyhow!("`{}` already has {list}; nothing was written", folder.display())));
    }
    for (name, text) in STARTER {
        files::write_atomic(&folder.join(name), text.as_bytes()).map_err(Failed::usage)?;
    }
    let files = STARTER.iter().map(|(name, _)| (*name).to_owned()).collect();
    Ok(Started { folder: folder.to_owned(), files })
}
