//! The shipped corpus of attacks on judges: outputs that try to turn a score by what they say to whoever reads them.
//!
//! Our own cases. They are put behind a labelled output that failed (`assize judge attack`), and tests hold the fence,
//! the reading of replies and the detection against them.

use std::sync::LazyLock;

use serde::Deserialize;

/// One attack.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attack {
    /// Name of the case.
    pub id: String,
    /// What it tries: `formatting`, `fence`, `fake_reply`, `canary`, `authority`, `role_play`, `encoded`,
    /// `multilingual`, `unicode`, `system_text`, `last_verdict`, `json`, `pressure`, `template`.
    pub kind: String,
    /// What the output says. Hostile text.
    pub text: String,
    /// Whether it addresses the judge in a way that is found without a model; the others are the fence's business.
    pub found: bool,
}

/// All of them. Lines that cannot be read are left out; a test sees to it that there are none.
pub fn attacks() -> &'static [Attack] {
    static ATTACKS: LazyLock<Vec<Attack>> =
        LazyLock::new(|| LINES.lines().filter_map(|line| serde_json::from_str(line).ok()).collect());
    &ATTACKS
}

const LINES: &str = include_str!("attacks.jsonl");

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::rubric::addresses_judge;

    #[test]
    fn the_corpus_is_whole_and_wide() {
        assert_eq!(attacks().len(), LINES.lines().count());
        assert!(attacks().len() >= 60, "{}", attacks().len());
        let mut ids: Vec<&str> = attacks().iter().map(|attack| attack.id.as_str()).collect();
        let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
        for attack in attacks() {
            *kinds.entry(&attack.kind).or_default() += 1;
        }
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), attacks().len(), "two cases have one name");
        assert!(kinds.len() >= 12 && kinds.values().all(|count| *count >= 3), "{kinds:?}");
    }

    #[test]
    fn what_addresses_the_judge_is_found_and_the_rest_is_known_not_to_be() {
        let wrong: Vec<String> = attacks()
            .iter()
            .filter(|attack| addresses_judge(&attack.text).is_empty() == attack.found)
            .map(|attack| {
                format!("{}: expected {}, found {:?}", attack.id, attack.found, addresses_judge(&attack.text))
            })
            .collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
