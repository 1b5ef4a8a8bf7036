//! From the text of `assize.toml` to its meaning, with all problems at once and each with its line.
//!
//! Two steps: the text is checked against the JSON Schema of [`Raw`] (which is also what `assize schema`
//! prints, so the two cannot differ), then references between parts are checked and the result is [`Config`].
//! The second step is taken whatever the first one found. Options of scorers, targets and providers belong to their
//! own tables; the use cases check them with [`Faults::options`], so that their problems come in the same list.

mod check;
mod faults;
mod gate;
mod judging;
mod model_names;
mod place;
mod prices;
mod raw;
mod validate;

use std::path::{Path, PathBuf};

pub use faults::Faults;
pub use judging::{Cascade, Others, Panel, SureRule};
pub use prices::{Call, Price, PriceError, PriceTable};
pub use raw::{OnInconclusive, Raw, RawSure, RawVote};
pub use validate::{
    Concurrency, Config, DatasetChoice, FeedConfig, GraderConfig, GraderUse, ModelConfig, ProviderConfig, SourceConfig,
    Suite, TargetConfig,
};

/// The commented configuration that `assize init` writes.
pub const DEFAULT_TOML: &str = include_str!("default.toml");

/// One thing wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// One-based line; 0 when it has none.
    pub line: usize,
    /// Where in the document: `suites.support.graders[1].scorer`.
    pub path: String,
    /// What is wrong, what was expected, and the mend.
    pub message: String,
}

/// Everything wrong with a configuration, sorted by line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.render())]
pub struct Problems {
    /// The file.
    pub file: PathBuf,
    /// At least one.
    pub problems: Vec<Problem>,
}

impl Problems {
    /// Sorts and wraps problems of a file.
    pub fn new(file: &Path, mut problems: Vec<Problem>) -> Self {
        problems.sort();
        problems.dedup();
        Self { file: file.to_owned(), problems }
    }

    fn render(&self) -> String {
        let count = self.problems.len();
        let noun = if count == 1 { "problem" } else { "problems" };
        let mut text = format!("{count} {noun} in `{}`", self.file.display());
        for problem in &self.problems {
            let line =
                if problem.line > 0 { format!("{}:{}: ", self.file.display(), problem.line) } else { String::new() };
            let path = if problem.path.is_empty() { String::new() } else { format!("`{}`: ", problem.path) };
            text.push_str(&format!("\n  {line}{path}{}", problem.message));
        }
        text
    }
}

/// Reads a configuration. With faults it is good for nothing but further checks, which add theirs.
///
/// # Errors
/// The text is not TOML, or so far from the schema that there is nothing to check further.
pub fn parse(text: &str, file: &Path) -> Result<(Config, Faults), Problems> {
    let (value, places) = place::parse(text).map_err(|problem| Problems::new(file, vec![problem]))?;
    let schema = Raw::schema();
    let found = check::check(&schema, &value, &[]);
    let mut faults = Faults::new(places);
    faults.take("", &found);
    match serde_json::from_value::<Raw>(check::without(&found, &schema, value)) {
        Ok(raw) => Ok((validate::validate(raw, &mut faults), faults)),
        Err(error) => {
            // Only when nothing was found before: else this is about what was put in a fault's place.
            if found.is_empty() {
                faults.add("", error.to_string());
            }
            faults.done(file).and_then(|()| Err(Problems::new(file, Vec::new())))
        }
    }
}

/// Reads any TOML text that has a schema: its value when nothing is wrong, else every problem with its line.
pub fn check_text(text: &str, schema: &serde_json::Value, file: &Path) -> Result<serde_json::Value, Problems> {
    let (value, places) = place::parse(text).map_err(|problem| Problems::new(file, vec![problem]))?;
    let mut faults = Faults::new(places);
    faults.options(schema, &value, "", &[]);
    faults.done(file).map(|()| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(text: &str) -> Vec<String> {
        let found = parse(text, Path::new("assize.toml")).and_then(|(_, faults)| faults.done(Path::new("assize.toml")));
        let problems = found.err().map(|problems| problems.problems).unwrap_or_default();
        problems.into_iter().map(|problem| format!("{} {}: {}", problem.line, problem.path, problem.message)).collect()
    }

    const SUITE: &str = "[suites.s]\nfile = \"x.jsonl\"\ntargets.t = { kind = \"recorded\" }\n\
                         graders = [{ scorer = \"exact\" }]\n";

    #[test]
    fn the_shipped_configuration_has_no_fault() {
        assert_eq!(messages(DEFAULT_TOML), Vec::<String>::new());
        assert_eq!(messages(SUITE), Vec::<String>::new());
        assert_eq!(messages(""), Vec::<String>::new());
    }

    #[test]
    fn faults_of_the_schema_do_not_hide_those_of_references() {
        let text =
            format!("{SUITE}trails = 3\nseed = \"many\"\nbaseline = \"u\"\n[suites.s.gate.metrics]\nexat = {{}}\n");
        let found = messages(&text);
        assert_eq!(found.len(), 4, "{found:#?}");
        assert!(found[0].starts_with("5 suites.s.trails: unknown key; did you mean `trials`?"), "{found:#?}");
        assert!(found[1].starts_with("6 suites.s.seed: expected a whole number"), "{found:#?}");
        assert!(found[2].starts_with("7 suites.s.baseline: no target `u`"), "{found:#?}");
        assert!(found[3].starts_with("9 suites.s.gate.metrics.exat: no grader") && found[3].contains("`exact`"));
    }

    #[test]
    fn one_mistake_is_told_once() {
        for (mistake, told) in [
            ("[models.m]\nprovider = 3\nmodel = \"x\"\n", "models.m.provider"),
            ("[models.m]\nmodel = \"x\"\n", "lacks the key `provider`"),
            ("[models]\nm = 3\n", "models.m"),
            ("models = 3\n", "models"),
            ("[suites.s]\ndataset = \"d\"\n[[suites.s.graders]]\nscorer = \"exact\"\n", "lacks the key `targets`"),
            (
                "[suites.s]\ndataset = 3\ntargets.t = {kind = \"recorded\"}\ngraders = [{scorer = \"e\"}]",
                "suites.s.dataset",
            ),
            ("[suites.s]\ndataset = \"d\"\ntargets = 3\ngraders = [{scorer = \"e\"}]", "suites.s.targets"),
            ("[suites.s]\ndataset = \"d\"\ntargets.t = 3\ngraders = [{scorer = \"e\"}]", "suites.s.targets.t"),
            ("[suites.s]\ndataset = \"d\"\ntargets.t = {kind = 3}\ngraders = [3]\ngate.metrics.x = {}", "graders[0]"),
            (
                "[suites.s]\ndataset = \"d\"\ntargets.t = {kind = \"recorded\"}\ngraders = [{scorer = 3}]\ngate.metrics.x = {}",
                "graders[0].scorer",
            ),
            (
                "[suites.s]\ndataset = \"d\"\ncandidate = 3\ntargets.a = {kind = \"recorded\"}\n\
                 targets.b = {kind = \"recorded\"}\ngraders = [{scorer = \"e\"}]",
                "suites.s.candidate",
            ),
            (
                "[suites.s]\ndataset = \"d\"\ntargets.a = {kind = \"recorded\"}\ngraders = [{judge = \"tone\"}]\n\
                 gate.metrics.tone = {}",
                "add a model under `[models]` first",
            ),
        ] {
            let found = messages(mistake);
            let expected = if mistake.contains("kind = 3") { 2 } else { 1 };
            assert_eq!(found.len(), expected, "{mistake}\n{found:#?}");
            assert!(found.iter().any(|message| message.contains(told)), "{mistake}\n{found:#?}");
        }
    }

    #[test]
    fn a_grader_with_a_misspelled_kind_is_told_the_nearest() {
        let found = messages(&SUITE.replace("scorer", "scorrer"));
        assert!(found[0].contains("lacks `scorer` or `judge`; did you mean `scorer`?"), "{found:#?}");
    }

    #[test]
    fn names_with_slashes_have_their_lines() {
        let found = messages("[models.'a/b']\nmodel = \"x\"\nprovider = \"none\"\n");
        assert!(found[0].starts_with("3 models.a/b.provider: no provider `none`"), "{found:#?}");
    }

    #[test]
    fn whatever_replaces_a_value_never_ends_the_reading_early() {
        for place in
            ["project", "providers", "models", "prices", "suites", "suites.s", "suites.s.gate", "prices.p.input"]
        {
            for value in ["3", "\"x\"", "[1]", "true", "{ y = 1 }", "1.5", "2026-01-01"] {
                let text = format!("{place} = {value}\n[providers.q]\nkind = 3\n");
                let text = if place == "providers" { format!("{place} = {value}\n") } else { text };
                let parsed = parse(&text, Path::new("assize.toml"));
                assert!(parsed.is_ok_and(|(_, faults)| faults.done(Path::new("x")).is_err()), "{text}");
            }
        }
    }
}
