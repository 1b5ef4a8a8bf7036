//! Looking at a holdout: said before every run that does, with how many did before. A holdout looked at often is none.

use std::collections::BTreeMap;

use super::exit::{Done, Failed};
use super::project::Project;
use crate::dataset::splits::HOLDOUT;
use crate::dataset::{DatasetReader, resolve};
use crate::model::{DatasetHeader, RunId};
use crate::store::Store;

/// What a run on this dataset should be told; nothing when it does not touch a frozen holdout. `run` itself does not
/// count.
pub async fn note(project: &Project, store: &dyn Store, header: &DatasetHeader, run: &RunId) -> Done<Option<String>> {
    if !looks(header) {
        return Ok(None);
    }
    let earlier = earlier_looks(project, store, &header.name, run).await?;
    let what = if header.part.is_some() { "looks at" } else { "includes" };
    let times = match earlier {
        0 => "no earlier run looked at it".to_owned(),
        1 => "1 earlier run looked at it".to_owned(),
        many => format!("{many} earlier runs looked at it"),
    };
    let name = &header.name;
    Ok(Some(format!(
        "this run {what} the frozen holdout of `{name}`; {times}. A holdout looked at often is none: decide on \
         `{name}:dev`, and look here last"
    )))
}

/// Whether a dataset or its part holds examples of a frozen holdout.
fn looks(header: &DatasetHeader) -> bool {
    let Some(splits) = header.splits.as_ref().filter(|splits| splits.frozen.is_some()) else { return false };
    match header.part.as_deref() {
        None | Some(HOLDOUT) => true,
        // A saved slice runs across the splits.
        Some(part) => splits.shares.iter().all(|(name, _)| name != part),
    }
}

/// Runs in the store that looked at the holdout of a dataset, whatever its version.
pub async fn earlier_looks(project: &Project, store: &dyn Store, name: &str, but: &RunId) -> Done<u64> {
    let root = project.path(&project.config.datasets);
    let mut known: BTreeMap<String, bool> = BTreeMap::new();
    let mut count = 0;
    for run in store.runs(None, u32::MAX).await.map_err(Failed::instrument)? {
        let reference = &run.header.dataset;
        let same = reference.split(['@', ':']).next() == Some(name);
        if !same || run.header.id == *but || !reference.contains('@') {
            continue;
        }
        let looked = match known.get(reference) {
            Some(looked) => *looked,
            None => {
                // A version that is gone cannot be asked; its name says enough.
                let looked = match DatasetReader::open(&root, reference) {
                    Ok(reader) => looks(reader.header()),
                    Err(_) => resolve(&root, reference).is_err() && reference.ends_with(&format!(":{HOLDOUT}")),
                };
                known.insert(reference.clone(), looked);
                looked
            }
        };
        count += u64::from(looked);
    }
    Ok(count)
}
