//! Splits never move, never divide a cluster, and a frozen holdout stays.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::dataset::{Change, Provenance, Written, write_change, write_version};
use crate::sys::FixedClock;

fn examples(count: usize, clusters: usize) -> Vec<Example> {
    let one = |n: usize| {
        let mut example = Example::new(ExampleId::new(format!("e{n}")), json!({"q": n}));
        example.cluster = Some(format!("c{}", n % clusters));
        example
    };
    (0..count).map(one).collect()
}

fn clock() -> FixedClock {
    FixedClock::new(Timestamp::UNIX_EPOCH, SignedDuration::ZERO)
}

fn split(root: &Path, examples: Vec<Example>) -> Result<Written, DatasetError> {
    let splits = Some(plan(0.3, None, "cluster", 7).unwrap());
    let change = Change { splits, freeze: true, ..Change::default() };
    write_change(root, "d", examples, Provenance::default(), change, &clock())
}

fn import(root: &Path, examples: &[Example]) -> Result<Written, DatasetError> {
    write_version(root, "d", examples, Provenance::default(), &clock())
}

proptest! {
    #[test]
    fn an_example_never_moves_and_no_cluster_is_divided(
        small in 1_usize..60, more in 0_usize..60, clusters in 1_usize..30, seed in any::<u64>(),
        holdout in 0.05..0.6_f64, dev in proptest::option::of(0.05..0.39_f64),
    ) {
        let splits = plan(holdout, dev, "cluster", seed).unwrap();
        let (mut before, mut after) = (examples(small, clusters), examples(small + more, clusters));
        after.reverse();
        assign(&splits, &mut before).unwrap();
        assign(&splits, &mut after).unwrap();
        for example in &before {
            let again = after.iter().find(|other| other.id == example.id).unwrap();
            prop_assert_eq!(&again.split, &example.split);
        }
        prop_assert!(straddling(&after).is_empty());
    }
}

#[test]
fn shares_are_met_by_many_units() {
    let mut all = examples(4_000, 4_000);
    assign(&plan(0.2, Some(0.3), "cluster", 1).unwrap(), &mut all).unwrap();
    let counts = counts(&all);
    assert!((740..860).contains(&counts["holdout"]), "{counts:?}");
    assert!((1_110..1_290).contains(&counts["dev"]) && (1_890..2_110).contains(&counts["train"]), "{counts:?}");
}

#[test]
fn the_choice_of_a_sample_says_nothing_about_the_split() {
    let mut all = examples(4_000, 4_000);
    all.retain(|example| hash_unit(1, example.id.as_str()) < 0.2);
    let sampled = all.len() as f64;
    assign(&plan(0.2, None, "id", 1).unwrap(), &mut all).unwrap();
    let share = counts(&all)["holdout"] as f64 / sampled;
    assert!((0.13..0.27).contains(&share), "{share}");
}

#[test]
fn a_split_that_divides_a_cluster_is_refused() {
    let error = assign(&plan(0.5, None, "id", 0).unwrap(), &mut examples(50, 3)).unwrap_err().to_string();
    assert!(error.contains("cluster `c0`") && error.contains("split by `cluster`"), "{error}");
    assert!(assign(&plan(0.5, None, "tier", 0).unwrap(), &mut examples(2, 2)).is_err());
    assert!(plan(0.0, None, "id", 0).is_err() && plan(0.8, Some(0.3), "id", 0).is_err());
    assert_eq!(plan(0.7, Some(0.3), "id", 0).unwrap().shares.len(), 2);
}

#[test]
fn a_frozen_holdout_grows_and_never_changes() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    split(root, examples(40, 20)).unwrap();
    // The rule of the latest version goes on in an import that knows nothing of splits.
    let grown = import(root, &examples(60, 20)).unwrap();
    let frozen = grown.header().splits.as_ref().unwrap().frozen.clone().unwrap();
    assert_eq!((grown.header().version, frozen.since), (2, 1));
    let held: Vec<Example> = DatasetReader::open(root, "d:holdout").unwrap().iter().collect::<Result<_, _>>().unwrap();
    assert_eq!(held.len() as u64, frozen.examples);
    assert!(verify_frozen(DatasetReader::open(root, "d").unwrap()).unwrap());

    let mut edited = examples(60, 20);
    let place = edited.iter().position(|example| example.id == held[0].id).unwrap();
    edited[place].reference = Some(json!("other"));
    let error = import(root, &edited).unwrap_err().to_string();
    assert!(error.contains("`e") && error.contains("would change") && error.contains("--thaw"), "{error}");
    edited.remove(place);
    assert!(import(root, &edited).unwrap_err().to_string().contains("would be removed"));

    // What people say about an example is no change of it.
    let mut labelled = examples(60, 20);
    labelled[place].tags.insert("hard".into());
    assert_eq!(import(root, &labelled).unwrap().header().version, 3);

    let thaw = Change { thaw: true, ..Change::default() };
    let thawed = write_change(root, "d", edited.clone(), Provenance::default(), thaw, &clock()).unwrap();
    assert_eq!(thawed.header().splits.as_ref().unwrap().frozen, None);
    assert!(matches!(import(root, &edited[1..]).unwrap(), Written::New(_)), "nothing is frozen after a thaw");
}

#[test]
fn another_rule_cannot_move_what_is_frozen() {
    let root = tempfile::tempdir().unwrap();
    split(root.path(), examples(40, 20)).unwrap();
    let other = Change { splits: Some(plan(0.3, None, "cluster", 8).unwrap()), ..Change::default() };
    let error = write_change(root.path(), "d", examples(40, 20), Provenance::default(), other, &clock()).unwrap_err();
    assert!(error.to_string().contains("would move to another split"), "{error}");
    assert!(matches!(split(root.path(), examples(40, 20)).unwrap(), Written::Unchanged(_)));
}
