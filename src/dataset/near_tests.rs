//! Near-duplicates against the slow definition: all pairs, exact Jaccard, connected components.

use proptest::prelude::*;

use super::*;

/// Components by comparing everyone with everyone.
fn slow(texts: &[&str], threshold: f64) -> Vec<Vec<usize>> {
    let shingles: Vec<Shingles> = texts.iter().map(|text| Shingles::of(text)).collect();
    let mut forest = Forest::new(texts.len());
    for left in 0..texts.len() {
        for right in 0..left {
            if shingles[left].similarity(&shingles[right]) >= threshold {
                forest.join(left, right);
            }
        }
    }
    forest.groups()
}

fn fast(texts: &[&str], threshold: f64) -> Vec<Vec<usize>> {
    groups(texts, &vec![0; texts.len()], threshold)
}

/// A text of `words` words drawn from a small vocabulary, and copies of it with some words changed.
fn family(seed: u64, words: usize, copies: usize) -> Vec<String> {
    const WORDS: [&str; 24] = [
        "sensor", "pairs", "again", "after", "update", "please", "refund", "order", "late", "charged", "twice", "hub",
        "motion", "door", "battery", "invoice", "address", "changed", "cannot", "login", "reset", "code", "never",
        "came",
    ];
    let word = |at: u64| WORDS[(mix(at) % 24) as usize];
    let base: Vec<&str> = (0..words as u64).map(|at| word(seed * 1_000 + at)).collect();
    (0..copies as u64)
        .map(|copy| {
            let mut changed = base.clone();
            for at in 0..copy {
                let place = (mix(seed ^ (copy * 97 + at)) as usize) % words;
                changed[place] = word(copy * 31 + at);
            }
            changed.join(" ")
        })
        .collect()
}

#[test]
fn hashing_finds_what_comparing_everyone_finds() {
    for threshold in [0.5, 0.7, 0.85, 0.95] {
        let texts: Vec<String> =
            (0..40).flat_map(|seed| family(seed, 8 + (seed as usize * 7) % 80, 1 + (seed as usize) % 5)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let (found, expected) = (fast(&texts, threshold), slow(&texts, threshold));
        assert_eq!(found, expected, "{threshold}");
        assert!(!found.is_empty());
    }
}

#[test]
fn what_counts_as_the_same_is_chosen() {
    let rule = NearRule::default();
    assert_eq!(rule.normalize("  Order\n 4711 IS late "), "order 4711 is late");
    let strict = NearRule { ignore_case: false, ..NearRule::default() };
    assert_eq!(strict.normalize("Order IS"), "Order IS");
    let loose = NearRule { ignore_numbers: true, ..NearRule::default() };
    assert_eq!(loose.normalize("Order HA-4711 of 2026-11-21"), "order # of #");
    let (a, b) = ("where is order ha-4711", "where is order ha-9022");
    assert_eq!(fast(&[a, b], 0.85), Vec::<Vec<usize>>::new());
    assert_eq!(fast(&[&loose.normalize(a), &loose.normalize(b)], 0.85), [[0, 1]]);
}

#[test]
fn cells_keep_texts_apart() {
    let texts = ["the same text here", "the same text here", "the same text here"];
    assert_eq!(groups(&texts, &[1, 2, 1], 0.85), [[0, 2]]);
}

#[test]
fn tiny_and_empty_texts_are_equal_or_not() {
    assert_eq!(fast(&["hi", "hi", "ho", "", ""], 0.85), [vec![0, 1], vec![3, 4]]);
    assert_eq!(fast(&[], 0.85), Vec::<Vec<usize>>::new());
    assert_eq!(fast(&["日本語テキスト", "日本語テキスト"], 0.85), [[0, 1]]);
}

#[test]
fn a_pair_on_the_border_of_words_and_characters_is_compared() {
    for words in [38, 39, 40, 41, 58, 59, 60, 61] {
        let long: Vec<String> = (0..words).map(|at| format!("w{}", mix(at))).collect();
        let shorter = long[..long.len() - 1].join(" ");
        assert_eq!(fast(&[&long.join(" "), &shorter], 0.85).len(), 1, "{words}");
    }
}

#[test]
fn bands_are_narrow_enough_for_the_threshold() {
    assert_eq!([rows(0.85), rows(0.5), rows(0.99)], [6, 2, 16]);
}

/// A hundred thousand tickets, a third of them near-copies: for timing in a release build.
#[test]
#[ignore = "heavy: run it to measure"]
fn a_hundred_thousand_texts() {
    let texts: Vec<String> = (0..33_334).flat_map(|seed| family(seed, 25, 3)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let found = fast(&texts, 0.85);
    let merged: usize = found.iter().map(|group| group.len() - 1).sum();
    assert!(merged > 5_000, "{merged}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_texts_are_grouped_as_the_slow_way_does(texts in proptest::collection::vec("[ab ]{0,14}", 0..14), threshold in 0.3..1.0_f64) {
        let texts: Vec<&str> = texts.iter().map(|text| text.trim()).collect();
        prop_assert_eq!(fast(&texts, threshold), slow(&texts, threshold));
    }
}
