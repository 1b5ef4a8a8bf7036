//! Where reports go: `form=path` as typed, checked before anything is spent, written at the end.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use serde::Serialize;

use super::check::unknown;
use super::exit::{Done, Failed};
use crate::report::{self, Folder, Material, Paged, ReportError, ReporterInfo};
use crate::sys::files;

/// What the name of the folder beside a report ends with.
const BESIDE: &str = "-examples";

/// One report to write.
pub struct Wanted {
    info: &'static ReporterInfo,
    /// `None` is stdout.
    path: Option<PathBuf>,
}

impl Wanted {
    /// Name of the form.
    pub fn form(&self) -> &'static str {
        self.info.name
    }
}

/// One report written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Written {
    /// Form.
    pub form: String,
    /// File; absent when it goes to stdout.
    pub path: Option<PathBuf>,
    /// Text for stdout.
    #[serde(skip)]
    pub text: Option<Vec<u8>>,
}

/// Parses what was typed and finds out whether each file can be written.
pub fn plan(typed: &[String], here: &Path) -> Done<Vec<Wanted>> {
    let wanted: Vec<Wanted> = typed.iter().map(|text| parse(text, here)).collect::<Done<_>>()?;
    for report in &wanted {
        if let Some(path) = &report.path {
            plain_file(path)?;
            files::check_writable(path).map_err(|error| {
                Failed::usage(anyhow!(
                    "{error}; nothing was run yet: name another path with `--report {}=PATH`",
                    report.info.name
                ))
            })?;
        }
    }
    Ok(wanted)
}

/// Refuses a path that is a device, a pipe or a socket. Files are written beside their place and renamed over it, which
/// for a privileged user would put a plain file in the place of `/dev/null`.
///
/// # Errors
/// Something stands there that is neither a plain file nor a folder.
pub fn plain_file(path: &Path) -> Done<()> {
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() && !found.is_dir() => Err(Failed::usage(anyhow!(
            "`{}` is a device or a pipe, not a file; the path `-` is stdout",
            path.display()
        ))),
        _ => Ok(()),
    }
}

/// The reports of a folder, one per form, under a common stem.
pub fn plan_in(folder: &Path, stem: &str, forms: &[&str]) -> Done<Vec<Wanted>> {
    let typed: Vec<String> = forms
        .iter()
        .filter_map(|form| report::find(form))
        .map(|info| format!("{}={}", info.name, folder.join(format!("{stem}.{}", info.extension)).display()))
        .collect();
    plan(&typed, folder)
}

fn parse(text: &str, here: &Path) -> Done<Wanted> {
    let forms: Vec<&str> = report::REPORTERS.iter().map(|info| info.name).collect();
    let usage = |message: String| Failed::usage(anyhow!(message));
    let (form, path) = match text.split_once('=') {
        Some((form, path)) if !path.is_empty() => (form, path),
        _ => return Err(usage(format!("expected `--report FORM=PATH`, found `{text}`; forms: {}", forms.join(", ")))),
    };
    let info = report::find(form).ok_or_else(|| usage(unknown("report form", form, &forms)))?;
    Ok(Wanted { info, path: (path != "-").then(|| here.join(path)) })
}

/// Renders and writes all reports. One that fails does not keep the others from being written; the first error is
/// given at the end.
pub fn write(wanted: &[Wanted], material: &Material<'_>) -> Done<Vec<Written>> {
    write_each(wanted, |info, folder| match (info.pages, folder) {
        (Some(pages), Some(folder)) => pages(material, folder),
        _ => (info.render)(material).map(whole),
    })
}

/// The same for what is rendered otherwise: `render` gets the form's name.
pub fn write_with(
    wanted: &[Wanted],
    render: impl Fn(&'static str) -> Result<Vec<u8>, ReportError>,
) -> Done<Vec<Written>> {
    write_each(wanted, |info, _| render(info.name).map(whole))
}

fn whole(main: Vec<u8>) -> Paged {
    Paged { main, beside: Vec::new() }
}

fn write_each(
    wanted: &[Wanted],
    render: impl Fn(&'static ReporterInfo, Option<&Folder>) -> Result<Paged, ReportError>,
) -> Done<Vec<Written>> {
    let mut written = Vec::new();
    let mut first_error = None;
    for report in wanted {
        let folder = report.path.as_deref().and_then(folder_of);
        let paged = render(report.info, folder.as_ref()).map_err(Failed::instrument);
        match paged.and_then(|paged| write_one(report, paged)) {
            Ok(done) => written.push(done),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    match first_error {
        Some(error) => Err(error),
        None => Ok(written),
    }
}

fn write_one(report: &Wanted, paged: Paged) -> Done<Written> {
    let form = report.info.name.to_owned();
    match &report.path {
        None => Ok(Written { form, path: None, text: Some(paged.main) }),
        Some(path) => {
            // The pages stand before anything links to them.
            write_beside(path, &paged.beside).map_err(Failed::instrument)?;
            files::write_atomic(path, &paged.main).map_err(Failed::instrument)?;
            Ok(Written { form, path: Some(path.clone()), text: None })
        }
    }
}

/// Where files beside a report go: `run.html` has `run-examples/`. `None` when the name is no text.
fn folder_of(path: &Path) -> Option<Folder> {
    let (stem, name) = (path.file_stem()?.to_str()?, path.file_name()?.to_str()?);
    Some(Folder { link: encoded(&format!("{stem}{BESIDE}")), back: format!("../{}", encoded(name)) })
}

/// A file's name for an address: everything but plain letters, digits and `-._` by its bytes.
fn encoded(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    name.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// Writes the files beside a report, and takes away those of the report that stood there before.
fn write_beside(path: &Path, pages: &[(String, Vec<u8>)]) -> Result<(), files::FileError> {
    let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) else { return Ok(()) };
    let folder = path.with_file_name(format!("{stem}{BESIDE}"));
    for (name, bytes) in pages {
        files::write_atomic(&folder.join(name), bytes)?;
    }
    let Ok(found) = std::fs::read_dir(&folder) else { return Ok(()) };
    for file in found.flatten() {
        let name = file.file_name();
        let Some(name) = name.to_str() else { continue };
        let ours = name.strip_suffix(".html").is_some_and(|stem| stem.len() == 4 && stem.parse::<u16>().is_ok());
        if ours && !pages.iter().any(|(kept, _)| kept == name) {
            // One that stays is linked by nothing.
            let _ = std::fs::remove_file(file.path());
        }
    }
    // Goes only when nothing is in it.
    let _ = std::fs::remove_dir(&folder);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_the_report_before_go_and_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let report = folder.path().join("r.html");
        let page = |name: &str| (name.to_owned(), b"x".to_vec());
        write_beside(&report, &[page("0001.html"), page("0002.html")]).unwrap();
        let beside = folder.path().join("r-examples");
        std::fs::write(beside.join("notes.html"), "mine").unwrap();
        write_beside(&report, &[page("0001.html")]).unwrap();
        assert!(beside.join("0001.html").is_file() && !beside.join("0002.html").exists());
        write_beside(&report, &[]).unwrap();
        assert!(!beside.join("0001.html").exists() && beside.join("notes.html").is_file());
        std::fs::remove_file(beside.join("notes.html")).unwrap();
        write_beside(&report, &[]).unwrap();
        assert!(!beside.exists());
    }

    #[test]
    fn names_are_written_for_addresses() {
        let folder = folder_of(Path::new("out/it's 5 %.html")).unwrap();
        assert_eq!(folder.link, "it%27s%205%20%25-examples");
        assert_eq!(folder.back, "../it%27s%205%20%25.html");
    }
}
