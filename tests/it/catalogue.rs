//! The shipped judges as a user meets them: the list, one in full, the check of all, and the digests that pin rubrics.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::world::World;

#[test]
fn the_list_stands_in_families_within_the_terminal() {
    let world = World::new();
    let text = world.run(&["judge", "ls"]).expect(0).stdout;
    for family in ["Outcome: ", "Answers: ", "Tools: ", "Planning: ", "Teamwork: ", "Safety: "] {
        assert_eq!(text.lines().filter(|line| line.starts_with(family)).count(), 1, "{family}{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let listed = world.run(&["judge", "ls", "--json"]).expect(0).json();
    for judge in listed.as_array().unwrap() {
        let name = judge["name"].as_str().unwrap();
        let rows = text.lines().filter(|line| line.starts_with(&format!("  {name} "))).count();
        assert_eq!(rows, 1, "{name}: {text}");
    }
}

#[test]
fn one_judge_is_shown_with_scale_examples_and_rubric() {
    let world = World::new();
    let text = world.run(&["judge", "show", "policy_compliance"]).expect(0).stdout;
    for part in ["policy_compliance version 1, safety", "Needs     instructions, input, output", "May see   transcript"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    for part in ["minor_breach", "## Boundary cases", "## When it does not apply", "adversarial", "Digest    "] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let json = world.run(&["judge", "show", "policy_compliance", "--json"]).expect(0).json();
    let of_scores: u64 =
        json["scores"].as_array().unwrap().iter().map(|score| score["calibration_examples"].as_u64().unwrap()).sum();
    assert_eq!(Some(of_scores), json["calibration_examples"].as_u64());
    assert!(json["example_tags"]["boundary"].as_u64() >= Some(6));
}

#[test]
fn nothing_is_to_mend_in_any_shipped_judge() {
    let world = World::new();
    let checked = world.run(&["judge", "check", "--json"]).expect(0).json();
    let judges = checked.as_array().unwrap();
    assert!(judges.len() >= 30, "{}", judges.len());
    for judge in judges {
        assert_eq!(judge["findings"], Value::Array(Vec::new()), "{}", judge["judge"]);
    }
}

/// Scores of different rubrics are not compared, so a rubric changes on purpose: with its version, and here.
#[test]
fn rubrics_change_only_with_their_version() {
    let world = World::new();
    let listed = world.run(&["judge", "ls", "--json"]).expect(0).json();
    let field = |judge: &Value, key: &str| judge[key].as_str().unwrap().to_owned();
    let rows: Vec<String> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|judge| format!("{} {} {}", field(judge, "name"), field(judge, "version"), field(judge, "digest")))
        .collect();
    let digests: BTreeSet<&str> = rows.iter().filter_map(|row| row.rsplit(' ').next()).collect();
    assert_eq!(digests.len(), rows.len(), "every judge has a digest of its own");
    insta::assert_snapshot!("digests_of_the_judges", rows.join("\n"));
}
