//! What GitHub Actions is told beside the reports: the summary of the step, and annotations, where the environment says
//! that it listens. Nothing here decides anything or makes a run fail.

use super::compare::Compared;
use super::places;
use super::project::{Project, World};
use crate::report::{self, Material, Subject};
use crate::sys::files;

/// What came of it.
#[derive(Default)]
pub struct Told {
    /// Workflow commands for the log.
    pub annotations: Option<String>,
    /// What could not be told.
    pub warning: Option<String>,
}

/// Tells of a comparison. Annotations are left to the caller, unless a report of them was asked for.
pub fn tell(project: &Project, world: &World, compared: &Compared) -> Told {
    let suite = &compared.comparison.candidate.suite;
    let places = places::of(project, suite);
    let material = Material {
        subject: Subject::Comparison(&compared.comparison),
        details: &compared.details,
        made_at: world.clock.now(),
        places: places.as_ref(),
    };
    let text = |form: &str| {
        let bytes = report::find(form).and_then(|info| (info.render)(&material).ok())?;
        String::from_utf8(bytes).ok()
    };
    let mut told = Told::default();
    if let Some(file) = world.env.get("GITHUB_STEP_SUMMARY").filter(|file| !file.is_empty()) {
        let markdown = text("markdown").unwrap_or_default();
        let error = files::append_line(&world.here.join(file), &markdown).err();
        told.warning = error.map(|error| format!("no step summary: {error}"));
    }
    let wanted = compared.written.iter().any(|written| written.form == "annotations");
    if world.env.get("GITHUB_ACTIONS") == Some("true") && !wanted {
        told.annotations = text("annotations").filter(|text| !text.trim().is_empty());
    }
    told
}
