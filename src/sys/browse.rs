//! Hands a file to the program the user's desktop opens it with. Nothing waits for it.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// Opens a file; the variable `BROWSER` wins over the desktop's own opener.
///
/// # Errors
/// When there is no such program.
pub fn open(path: &Path, browser: Option<&str>) -> io::Result<()> {
    let opener = browser.unwrap_or(if cfg!(target_os = "macos") {
        "open"
    } else if cfg!(windows) {
        "explorer"
    } else {
        "xdg-open"
    });
    Command::new(opener).arg(path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().map(drop)
}
