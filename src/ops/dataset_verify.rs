//! `assize dataset verify`: whether what is on disk is still what was written: versions, holdouts, histories,
//! attachments.

use std::collections::BTreeMap;

use serde::Serialize;

use super::datasets::root;
use super::exit::{Done, Exit, Failed};
use super::project::Project;
use crate::dataset::{self, DatasetReader, attachments, parent_of, splits};
use crate::model::{Attachment, DatasetHeader, Digest};

/// What was found about one version.
#[derive(Debug, Serialize)]
pub struct Verified {
    /// `name@version`.
    pub dataset: String,
    /// How many examples were read.
    pub examples: u64,
    /// How many attachments were read.
    pub attachments: u64,
    /// What is broken; nothing when all is well.
    pub problems: Vec<String>,
}

/// Verifies one version, all versions of a dataset, or all datasets.
pub fn verify(project: &Project, wanted: Option<&str>) -> Done<(Vec<Verified>, Exit)> {
    let root = root(project);
    let references: Vec<String> = match wanted {
        Some(one) if one.contains('@') => vec![one.split(':').next().unwrap_or(one).to_owned()],
        Some(name) => of_dataset(&root, name.split(':').next().unwrap_or(name))?,
        None => {
            let mut all = Vec::new();
            for header in dataset::list(&root).map_err(Failed::usage)? {
                all.extend(of_dataset(&root, &header.name)?);
            }
            all
        }
    };
    let mut found = Vec::new();
    for reference in references {
        found.push(version(&root, &reference)?);
    }
    let broken = found.iter().any(|verified| !verified.problems.is_empty());
    Ok((found, if broken { Exit::Instrument } else { Exit::Pass }))
}

fn of_dataset(root: &std::path::Path, name: &str) -> Done<Vec<String>> {
    dataset::resolve(root, name).map_err(Failed::usage)?;
    let versions = dataset::versions(root, name).map_err(Failed::usage)?;
    Ok(versions.into_iter().map(|version| format!("{name}@{version}")).collect())
}

fn version(root: &std::path::Path, reference: &str) -> Done<Verified> {
    let mut found = Verified { dataset: reference.to_owned(), examples: 0, attachments: 0, problems: Vec::new() };
    // A version that was asked for by a wrong name is the user's mistake, not damage.
    let folder = dataset::resolve(root, reference).map_err(Failed::usage)?.folder;
    let reader = match DatasetReader::open_folder(&folder) {
        Ok(reader) => reader,
        Err(error) => {
            found.problems.push(error.to_string());
            return Ok(found);
        }
    };
    found.examples = reader.len() as u64;
    found.problems.extend(reader.verify().err().map(|error| error.to_string()));
    let mut wanted: BTreeMap<Digest, Attachment> = BTreeMap::new();
    for example in reader.iter() {
        match example {
            Ok(example) => wanted.extend(example.attachments.into_iter().map(|one| (one.digest.clone(), one))),
            Err(error) => found.problems.push(error.to_string()),
        }
    }
    let header = reader.header().clone();
    for attachment in wanted.values() {
        found.attachments += 1;
        let read = attachments::read(root, &header.name, attachment);
        found.problems.extend(read.err().map(|error| error.to_string()));
    }
    found.problems.extend(parent_problem(root, &header));
    match splits::verify_frozen(reader) {
        Ok(true) => {}
        Ok(false) => found.problems.push("its holdout is not the one that its head says was frozen".to_owned()),
        Err(error) => found.problems.push(error.to_string()),
    }
    Ok(found)
}

/// Whether the version it was made from is still what it was. One that was removed is no damage.
fn parent_problem(root: &std::path::Path, header: &DatasetHeader) -> Option<String> {
    let parent = header.parent.as_ref()?;
    let reference = format!("{}@{}", header.name, parent.version);
    let folder = dataset::resolve(root, &reference).ok()?.folder;
    let now = DatasetReader::open_folder(&folder).ok()?;
    let same = parent_of(now.header()) == *parent;
    (!same).then(|| format!("`{reference}`, which it was made from, is another one by now"))
}
