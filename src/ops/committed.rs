//! Files of TOML beside the configuration that commands write and people commit: review sees them change, and a fresh
//! CI runner reads the same. What is in them is for `quarantine` and `calibrations` to say.

use anyhow::anyhow;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::exit::{Done, Failed};
use super::project::Project;
use crate::sys::files;

/// Reads a file of a project; one that is not there says nothing. `mend` ends the message about one that is broken.
pub(super) fn read<T: Default + DeserializeOwned>(project: &Project, name: &str, mend: &str) -> Done<T> {
    let path = project.path(name);
    if !path.is_file() {
        return Ok(T::default());
    }
    let text = files::read_text(&path).map_err(Failed::usage)?;
    toml::from_str(&text)
        .map_err(|error| Failed::usage(anyhow!("`{}` cannot be read: {error}; {mend}", path.display())))
}

/// Writes the file, under comments that say what it is.
pub(super) fn write(project: &Project, name: &str, head: &str, content: &impl Serialize) -> Done<()> {
    let text = toml::to_string(content).map_err(Failed::instrument)?;
    files::write_atomic(&project.path(name), format!("{head}\n{text}").as_bytes()).map_err(Failed::usage)
}
