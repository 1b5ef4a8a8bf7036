//! Splits: dividing examples by a keyed hash of their cluster, and holding the holdout frozen.
//!
//! A unit's place depends on the key and its name alone, so an example never moves when the dataset grows, and examples
//! of one cluster never part. Which version is written is `version`'s.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::digest::digest_of;
use super::dimension::example_dimension;
use super::error::DatasetError;
use super::reader::DatasetReader;
use super::select::hash_unit;
use super::version::folder_of;
use crate::model::{DatasetHeader, Digest, Example, ExampleId, Frozen, Splits};
use crate::sys::text::one_line;

/// Name of the split that is frozen.
pub const HOLDOUT: &str = "holdout";

/// A division into holdout, `dev` and, where a share is left, `train`.
///
/// # Errors
/// A share is not between 0 and 1, or both are more than the whole.
pub fn plan(holdout: f64, dev: Option<f64>, by: &str, seed: u64) -> Result<Splits, DatasetError> {
    let wrong = |key: &str, cause: String| Err(DatasetError::Split { key: key.to_owned(), cause });
    let open = |share: f64| share > 0.0 && share < 1.0;
    if !open(holdout) {
        return wrong("--holdout", format!("expected a share between 0 and 1, such as 0.2, found {holdout}"));
    }
    let mut shares = vec![(HOLDOUT.to_owned(), holdout)];
    match dev {
        None => shares.push(("dev".to_owned(), 1.0 - holdout)),
        Some(dev) if !open(dev) => {
            return wrong("--dev", format!("expected a share between 0 and 1, such as 0.3, found {dev}"));
        }
        Some(dev) => {
            let left = 1.0 - holdout - dev;
            // Shares such as 0.7 and 0.3 add up to the whole but for the last bit.
            if left < -1e-9 {
                return wrong("--dev", format!("holdout {holdout} and dev {dev} together are more than the whole"));
            }
            shares.push(("dev".to_owned(), dev));
            if left > 1e-9 {
                shares.push(("train".to_owned(), left));
            }
        }
    }
    Ok(Splits { by: by.to_owned(), seed, shares, frozen: None })
}

/// Gives every example its split.
///
/// # Errors
/// An example lacks the dimension to split by, or that divides a cluster.
pub fn assign(splits: &Splits, examples: &mut [Example]) -> Result<(), DatasetError> {
    for example in examples.iter_mut() {
        let unit = match splits.by.as_str() {
            "cluster" => example.cluster_key().to_owned(),
            "id" => example.id.as_str().to_owned(),
            name => example_dimension(example, name).ok_or_else(|| DatasetError::Split {
                key: name.to_owned(),
                cause: format!("example `{}` has no such dimension", one_line(example.id.as_str(), 80)),
            })?,
        };
        example.split = Some(split_of(splits, &unit).to_owned());
    }
    match straddling(examples).into_iter().next() {
        None => Ok(()),
        Some((cluster, held)) => Err(DatasetError::Split {
            key: splits.by.clone(),
            cause: format!(
                "cluster `{}` would stand in {}: its examples are not independent, so what is learned from one split \
                 is known in the other; split by `cluster`",
                one_line(cluster, 80),
                held.join(" and ")
            ),
        }),
    }
}

/// The split of a unit: its hash against the shares, one after the other. The tag keeps this hash apart from the one
/// that samples: with the same key, a sample of the lowest hashes would else fall into the holdout whole.
fn split_of<'a>(splits: &'a Splits, unit: &str) -> &'a str {
    let place = hash_unit(splits.seed, &format!("assize.split/{unit}"));
    let mut end = 0.0;
    for (name, share) in &splits.shares {
        end += share;
        if place < end {
            return name;
        }
    }
    splits.shares.last().map_or(HOLDOUT, |(name, _)| name)
}

/// Clusters that stand in more than one split, with those splits; only rows that name their own split can have them.
pub fn straddling(examples: &[Example]) -> Vec<(&str, Vec<&str>)> {
    let mut held: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for example in examples {
        if let Some(split) = example.split.as_deref() {
            let splits = held.entry(example.cluster_key()).or_default();
            if !splits.contains(&split) {
                splits.push(split);
            }
        }
    }
    held.into_iter().filter(|(_, splits)| splits.len() > 1).collect()
}

/// How many examples stand in each split; those in none are left out.
pub fn counts<'a>(examples: impl IntoIterator<Item = &'a Example>) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for split in examples.into_iter().filter_map(|example| example.split.as_ref()) {
        *counts.entry(split.clone()).or_default() += 1;
    }
    counts
}

/// The holdout of these examples, as a head notes it.
pub(super) fn frozen(examples: &[Example], since: u32) -> Frozen {
    let held: Vec<&Example> = examples.iter().filter(|example| is_held(example)).collect();
    Frozen { since, examples: held.len() as u64, digest: digest_of(held.iter().copied()).0 }
}

fn is_held(example: &Example) -> bool {
    example.split.as_deref() == Some(HOLDOUT)
}

/// Whether the holdout of a version is what its head says; `Ok` also where nothing is frozen.
///
/// # Errors
/// An example cannot be read; [`DatasetError::NoSuchPart`] when the holdout is gone.
pub fn verify_frozen(whole: DatasetReader) -> Result<bool, DatasetError> {
    let Some(frozen) = whole.header().splits.as_ref().and_then(|splits| splits.frozen.clone()) else { return Ok(true) };
    let part = whole.part(HOLDOUT)?;
    Ok((frozen.examples, &frozen.digest) == (part.header().examples, &part.header().digest))
}

/// Checks that every example of a frozen holdout is among the new ones, unchanged and still in the holdout. Labels,
/// tags and recorded outputs may come to it; so may new examples whose hash says so.
///
/// # Errors
/// [`DatasetError::Frozen`] with the first example that would change.
pub(super) fn check_frozen(root: &Path, latest: &DatasetHeader, new: &[Example]) -> Result<(), DatasetError> {
    let Some(frozen) = latest.splits.as_ref().and_then(|splits| splits.frozen.as_ref()) else { return Ok(()) };
    let whole = DatasetReader::open_folder(&folder_of(root, &latest.name, latest.version))?;
    let places: HashMap<&ExampleId, &Example> = new.iter().map(|example| (&example.id, example)).collect();
    let task = |example: &Example| -> Digest { digest_of([example]).0 };
    let (mut count, mut first) = (0, None);
    for held in whole.iter() {
        let held = held?;
        if !is_held(&held) {
            continue;
        }
        let what = match places.get(&held.id) {
            None => "would be removed",
            Some(found) if task(found) != task(&held) => "would change",
            Some(found) if !is_held(found) => "would move to another split",
            Some(_) => continue,
        };
        count += 1;
        first.get_or_insert_with(|| format!("`{}` {what}", one_line(held.id.as_str(), 80)));
    }
    match first {
        None => Ok(()),
        Some(first) => Err(DatasetError::Frozen { name: latest.name.clone(), since: frozen.since, count, first }),
    }
}

#[cfg(test)]
#[path = "splits_tests.rs"]
mod tests;
