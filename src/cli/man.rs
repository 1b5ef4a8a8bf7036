//! `assize man`: manual pages made from the same description as the help.

use std::path::Path;

use clap::Command;

use super::print::Printer;
use crate::ops::{Done, Exit, Failed};

/// Prints the page of the program, or writes a page for each verb into a folder, nested verbs by their whole name.
pub(super) fn write(command: Command, dir: Option<&Path>, printer: &Printer) -> Done<Exit> {
    match dir {
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page).map_err(Failed::instrument)?;
            printer.bytes(&page)?;
        }
        Some(dir) => {
            std::fs::create_dir_all(dir).map_err(Failed::usage)?;
            clap_mangen::generate_to(command, dir).map_err(Failed::usage)?;
        }
    }
    Ok(Exit::Pass)
}
