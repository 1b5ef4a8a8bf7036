//! Where reports go: `form=path` as typed, checked before anything is spent, written at the end.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use serde::Serialize;

use super::check::unknown;
use super::exit::{Done, Failed};
use crate::report::{self, Material, ReportError, ReporterInfo};
use crate::sys::files;

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
    write_each(wanted, |info| (info.render)(material))
}

/// The same for what is rendered otherwise: `render` gets the form's name.
pub fn write_with(
    wanted: &[Wanted],
    render: impl Fn(&'static str) -> Result<Vec<u8>, ReportError>,
) -> Done<Vec<Written>> {
    write_each(wanted, |info| render(info.name))
}

fn write_each(
    wanted: &[Wanted],
    render: impl Fn(&'static ReporterInfo) -> Result<Vec<u8>, ReportError>,
) -> Done<Vec<Written>> {
    let mut written = Vec::new();
    let mut first_error = None;
    for report in wanted {
        let bytes = render(report.info).map_err(Failed::instrument);
        match bytes.and_then(|bytes| write_one(report, bytes)) {
            Ok(done) => written.push(done),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    match first_error {
        Some(error) => Err(error),
        None => Ok(written),
    }
}

fn write_one(report: &Wanted, bytes: Vec<u8>) -> Done<Written> {
    let form = report.info.name.to_owned();
    match &report.path {
        None => Ok(Written { form, path: None, text: Some(bytes) }),
        Some(path) => {
            files::write_atomic(path, &bytes).map_err(Failed::instrument)?;
            Ok(Written { form, path: Some(path.clone()), text: None })
        }
    }
}
