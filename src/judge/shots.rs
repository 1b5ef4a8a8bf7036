//! Worked examples of a judge, chosen among those that people labelled: never the example that is judged nor one of its
//! cluster, as many of each score as there are, in an order that a seed decides.

use std::collections::BTreeMap;

use super::Labelled;
use crate::model::{Digest, Digester, Example, ScoreInput};
use crate::rubric::{FewShot, JudgeSpec, Material, Shot};

/// Share of the room for material that all worked examples together may take.
const SHARE_OF_ROOM: usize = 2;

/// Examples to choose from.
#[derive(Clone, Debug, Default)]
pub struct Shots {
    pool: Vec<Candidate>,
}

#[derive(Clone, Debug)]
struct Candidate {
    id: String,
    cluster: String,
    shot: Shot,
}

impl Shots {
    /// A pool in the order in which its examples are taken: turn by turn from each score, by hashes with the seed. An
    /// example that the judge could not be shown is left out.
    pub fn of(spec: &JudgeSpec, few: FewShot, labelled: &[Labelled]) -> Self {
        let room = spec.max_input_chars / SHARE_OF_ROOM / few.count.max(1);
        let mut by_score: BTreeMap<String, Vec<(Digest, Candidate)>> = BTreeMap::new();
        for one in labelled {
            let input = ScoreInput { example: &one.example, output: &one.output };
            let Ok(material) = Material::within(spec, &input, room) else { continue };
            let id = one.example.id.to_string();
            let place = Digester::new().part("seed", &few.seed.to_le_bytes()).part("id", id.as_bytes()).finish();
            let shot = Shot { material, score: one.expected.clone(), reason: one.reason.clone() };
            let cluster = one.example.cluster_key().to_owned();
            by_score.entry(one.expected.to_string()).or_default().push((place, Candidate { id, cluster, shot }));
        }
        let mut turns: Vec<_> = by_score
            .into_values()
            .map(|mut group| {
                group.sort_by(|one, other| one.0.as_str().cmp(other.0.as_str()));
                group.into_iter()
            })
            .collect();
        let mut pool = Vec::new();
        loop {
            let taken: Vec<Candidate> = turns.iter_mut().filter_map(|group| Some(group.next()?.1)).collect();
            if taken.is_empty() {
                return Self { pool };
            }
            pool.extend(taken);
        }
    }

    /// How many there are to choose from.
    pub fn len(&self) -> usize {
        self.pool.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pool.is_empty()
    }

    /// Digest of what can be shown; `None` without a pool.
    pub(super) fn digest(&self) -> Option<Digest> {
        let mut digester = Digester::new();
        for one in &self.pool {
            let shot = format!("{:?} {} {}", one.shot.material, one.shot.score, one.shot.reason);
            digester = digester.part(&one.id, shot.as_bytes());
        }
        (!self.pool.is_empty()).then(|| digester.finish())
    }

    /// Those that are shown for an example.
    pub(super) fn choose(&self, few: Option<&FewShot>, example: &Example) -> Vec<Shot> {
        let Some(few) = few else { return Vec::new() };
        let foreign = |one: &&Candidate| one.id != example.id.as_str() && one.cluster != example.cluster_key();
        self.pool.iter().filter(foreign).take(few.count).map(|one| one.shot.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ExampleId, Output, ScoreValue};

    const TOML: &str = "name = \"j\"\nversion = \"1\"\nsummary = \"?\"\n[scale]\ntype = \"binary\"\n";

    fn labelled(count: usize) -> Vec<Labelled> {
        let one = |index: usize| Labelled {
            example: Example {
                cluster: Some(format!("c{}", index / 2)),
                ..Example::new(ExampleId::new(format!("e{index}")), "q".into())
            },
            output: Output::of_text(format!("answer {index}")),
            expected: ScoreValue::Pass { pass: !index.is_multiple_of(5) },
            people: Vec::new(),
            reason: "so it is".to_owned(),
            tags: Vec::new(),
        };
        (0..count).map(one).collect()
    }

    #[test]
    fn they_are_balanced_seeded_and_never_of_the_examples_cluster() {
        let spec = JudgeSpec::parse("j", TOML, "Judge it.", "").unwrap();
        let few = FewShot { count: 4, seed: 3 };
        let all = labelled(40);
        let shots = Shots::of(&spec, few, &all);
        assert_eq!(shots.len(), 40);
        for one in &all {
            let chosen = shots.choose(Some(&few), &one.example);
            assert_eq!(chosen.len(), 4);
            let own = format!("{:?}", chosen.iter().map(|shot| &shot.material).collect::<Vec<_>>());
            let index: usize = one.example.id.as_str()[1..].parse().unwrap();
            for kin in [index, index ^ 1] {
                assert!(!own.contains(&format!("answer {kin}\"")), "{kin}: {own}");
            }
            let passes = chosen.iter().filter(|shot| shot.score == ScoreValue::Pass { pass: true }).count();
            assert!((1..=3).contains(&passes), "{passes}");
        }
        let other = Shots::of(&spec, FewShot { seed: 4, ..few }, &all);
        assert_ne!(shots.digest(), other.digest());
        assert_eq!(shots.digest(), Shots::of(&spec, few, &all).digest());
        assert_eq!(Shots::default().digest(), None);
    }
}
