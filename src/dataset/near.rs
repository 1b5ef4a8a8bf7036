//! Near-duplicates: inputs that share most of their shingles, found by MinHash and locality-sensitive hashing and
//! verified by exact Jaccard similarity (Broder 1997; Leskovec, Rajaraman and Ullman, chapter 3).
//!
//! Short texts are compared by five characters at a time, long ones by five words; a text of medium length by both, so
//! that no pair falls between the two. Says who is near whom; who stands for a group is `select`'s choice.

use std::collections::{BTreeMap, HashMap};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Length of a shingle, in characters or words.
const SHINGLE: usize = 5;
/// Texts of fewer words have no word shingles.
const WORDS_FROM: usize = 40;
/// Texts of so many words and more have no character shingles. The ratio to [`WORDS_FROM`] leaves every pair with a
/// similarity above two thirds in one of the two families.
const CHARACTERS_BELOW: usize = 60;
/// Hash functions of a signature.
pub(super) const PERMUTATIONS: usize = 128;
/// Least chance with which a pair at the threshold becomes a candidate.
const RECALL: f64 = 0.9999;
/// In a bucket larger than this, each member is compared with so many before it: a template that thousands share
/// must not cost the square of their number.
const COMPARED: usize = 1_000;

/// When two inputs are near-duplicates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NearRule {
    /// Least Jaccard similarity of shingles, in (0, 1].
    pub threshold: f64,
    /// Whether upper and lower case are the same.
    pub ignore_case: bool,
    /// Whether words with digits in them (numbers, dates, ids) are all the same.
    pub ignore_numbers: bool,
}

impl Default for NearRule {
    fn default() -> Self {
        Self { threshold: 0.85, ignore_case: true, ignore_numbers: false }
    }
}

impl NearRule {
    /// The form in which texts are compared: white space folded, case and words with digits as the rule says.
    pub fn normalize(&self, text: &str) -> String {
        let mut normal = String::with_capacity(text.len());
        for word in text.split_whitespace() {
            if !normal.is_empty() {
                normal.push(' ');
            }
            if self.ignore_numbers && word.contains(|c: char| c.is_ascii_digit()) {
                normal.push('#');
            } else if self.ignore_case {
                normal.extend(word.chars().flat_map(char::to_lowercase));
            } else {
                normal.push_str(word);
            }
        }
        normal
    }
}

/// The shingles of one text, as sorted hashes without repetition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Shingles {
    characters: Vec<u64>,
    words: Vec<u64>,
}

impl Shingles {
    /// Of a normalised text.
    pub(super) fn of(text: &str) -> Self {
        let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
        let mut found = Self::default();
        if words.len() >= WORDS_FROM {
            found.words = hashed(words.windows(SHINGLE).map(|window| fnv(window.iter().flat_map(|w| [*w, " "]))));
        }
        if words.len() < CHARACTERS_BELOW {
            let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
            let last = starts.len().saturating_sub(1);
            let window = |from: usize| {
                let (from, to) = (starts.get(from)?, starts.get((from + SHINGLE).min(last))?);
                text.get(*from..*to)
            };
            let windows = (0..=last.saturating_sub(SHINGLE)).filter_map(window);
            found.characters = hashed(windows.map(|part| fnv([part])));
        }
        found
    }

    /// Exact Jaccard similarity; the greater one where both kinds of shingles can be compared.
    pub(super) fn similarity(&self, other: &Self) -> f64 {
        jaccard(&self.characters, &other.characters).max(jaccard(&self.words, &other.words))
    }

    /// Signature over all shingles, for distances without a threshold.
    pub(super) fn signature(&self) -> Vec<u64> {
        signature(if self.characters.is_empty() { &self.words } else { &self.characters })
    }
}

fn hashed(hashes: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut hashes: Vec<u64> = hashes.collect();
    hashes.sort_unstable();
    hashes.dedup();
    hashes
}

fn fnv<'a>(parts: impl IntoIterator<Item = &'a str>) -> u64 {
    let bytes = parts.into_iter().flat_map(str::bytes);
    mix(bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)))
}

/// The finaliser of SplitMix64: every bit of the input moves every bit of the output.
const fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Size of the intersection over that of the union; 0 where either is empty.
fn jaccard(left: &[u64], right: &[u64]) -> f64 {
    if left.is_empty() || right.is_empty() {
        return 0.0;
    }
    let (mut shared, mut rest) = (0_usize, right);
    for hash in left {
        let skipped = rest.partition_point(|other| other < hash);
        rest = rest.get(skipped..).unwrap_or_default();
        if rest.first() == Some(hash) {
            shared += 1;
        }
    }
    shared as f64 / (left.len() + right.len() - shared) as f64
}

/// Multipliers and offsets of the hash functions; odd multipliers, so that each is a permutation.
const FUNCTIONS: [(u64, u64); PERMUTATIONS] = {
    let mut functions = [(0, 0); PERMUTATIONS];
    let mut index = 0;
    while index < PERMUTATIONS {
        let seed = (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        functions[index] = (mix(seed) | 1, mix(seed ^ 0x5bf0_3635_f0a5_b1d3));
        index += 1;
    }
    functions
};

fn signature(shingles: &[u64]) -> Vec<u64> {
    let mut least = vec![u64::MAX; PERMUTATIONS];
    for shingle in shingles {
        for (least, (factor, offset)) in least.iter_mut().zip(&FUNCTIONS) {
            // Low bits of a product depend on low bits alone, so the halves change places.
            let value = shingle.wrapping_mul(*factor).wrapping_add(*offset).rotate_left(32).wrapping_mul(*factor);
            *least = (*least).min(value);
        }
    }
    least
}

/// Rows per band: as many as leave a pair at the threshold the wished chance to meet in one of the bands.
fn rows(threshold: f64) -> usize {
    let recall = |rows: usize| {
        let bands = PERMUTATIONS / rows;
        1.0 - (1.0 - threshold.powi(i32::try_from(rows).unwrap_or(1))).powi(i32::try_from(bands).unwrap_or(1))
    };
    (1..=16).rev().find(|rows| recall(*rows) >= RECALL).unwrap_or(1)
}

/// Groups of near-duplicates: connected components of two and more, as sorted places, sorted by their first.
///
/// Only texts with the same entry in `cells` are compared. Texts must be normalised.
pub(super) fn groups(texts: &[&str], cells: &[u64], threshold: f64) -> Vec<Vec<usize>> {
    let shingles: Vec<Shingles> = texts.iter().map(|text| Shingles::of(text)).collect();
    let mut forest = Forest::new(texts.len());
    // Equal texts need no hashing, and would fill the buckets.
    let mut first: HashMap<(u64, &Shingles), usize> = HashMap::with_capacity(texts.len());
    let mut distinct = Vec::new();
    for (place, of) in shingles.iter().enumerate() {
        let cell = cells.get(place).copied().unwrap_or_default();
        match first.get(&(cell, of)) {
            Some(other) => forest.join(*other, place),
            None => {
                first.insert((cell, of), place);
                distinct.push((place, cell));
            }
        }
    }
    drop(first);
    let alike = |left: usize, right: usize| match (shingles.get(left), shingles.get(right)) {
        (Some(left), Some(right)) => left.similarity(right) >= threshold,
        _ => false,
    };
    let families: [fn(&Shingles) -> &[u64]; 2] = [|of| &of.characters, |of| &of.words];
    for family in families {
        let members: Vec<(usize, u64, &[u64])> = distinct
            .iter()
            .filter_map(|(place, cell)| Some((*place, *cell, family(shingles.get(*place)?))))
            .filter(|(_, _, hashes)| !hashes.is_empty())
            .collect();
        join_near(&members, rows(threshold), &mut forest, &alike);
    }
    forest.groups()
}

fn join_near(
    members: &[(usize, u64, &[u64])],
    rows: usize,
    forest: &mut Forest,
    alike: &impl Fn(usize, usize) -> bool,
) {
    let signatures: Vec<Vec<u64>> = members.iter().map(|(_, _, hashes)| signature(hashes)).collect();
    for band in 0..PERMUTATIONS / rows {
        let mut keyed: Vec<(u64, usize)> = Vec::with_capacity(members.len());
        for ((place, cell, _), signature) in members.iter().zip(&signatures) {
            let part = signature.get(band * rows..(band + 1) * rows).unwrap_or_default();
            let key = part.iter().fold(mix(*cell), |key, value| mix(key.rotate_left(5) ^ value));
            keyed.push((key, *place));
        }
        keyed.sort_unstable();
        for bucket in keyed.chunk_by(|left, right| left.0 == right.0).filter(|bucket| bucket.len() > 1) {
            for (index, (_, place)) in bucket.iter().enumerate() {
                for (_, other) in bucket.iter().take(index).rev().take(COMPARED) {
                    if forest.root(*place) != forest.root(*other) && alike(*place, *other) {
                        forest.join(*place, *other);
                    }
                }
            }
        }
    }
}

/// Sets that are joined and asked for their member of least place.
struct Forest(Vec<usize>);

impl Forest {
    fn new(count: usize) -> Self {
        Self((0..count).collect())
    }

    fn root(&mut self, mut place: usize) -> usize {
        while let Some(above) = self.0.get(place).copied().filter(|above| *above != place) {
            let next = self.0.get(above).copied().unwrap_or(above);
            if let Some(link) = self.0.get_mut(place) {
                *link = next;
            }
            place = next;
        }
        place
    }

    fn join(&mut self, left: usize, right: usize) {
        let (left, right) = (self.root(left), self.root(right));
        if let Some(link) = self.0.get_mut(left.max(right)) {
            *link = left.min(right);
        }
    }

    fn groups(mut self) -> Vec<Vec<usize>> {
        let mut by_root: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for place in 0..self.0.len() {
            by_root.entry(self.root(place)).or_default().push(place);
        }
        by_root.into_values().filter(|group| group.len() > 1).collect()
    }
}

#[cfg(test)]
#[path = "near_tests.rs"]
mod tests;
