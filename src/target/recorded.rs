//! The target that is already there: outputs recorded in the dataset.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{BuildContext, Target, TargetCall, TargetReply, options};
use crate::model::{Digester, Example, Failure, FailureKind, Output, Recorded, Spend, TargetInfo};

pub(super) const SAMPLE: &str = "variant = \"v2\"";

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// Which recorded variant; may be left out where an example holds only one.
    variant: Option<String>,
}

pub(super) fn schema() -> Value {
    schemars::schema_for!(Options).to_value()
}

pub(super) fn build(value: &Value, context: &BuildContext<'_>) -> Result<Box<dyn Target>, String> {
    let Options { variant } = options(value)?;
    Ok(Box::new(RecordedTarget { name: context.name.to_owned(), variant }))
}

struct RecordedTarget {
    name: String,
    variant: Option<String>,
}

#[async_trait]
impl Target for RecordedTarget {
    /// The digest covers the choice; what was recorded is covered by the dataset's own digest.
    fn info(&self) -> TargetInfo {
        let chosen = self.variant.as_deref();
        let digest = Digester::new()
            .part("kind", b"recorded")
            .part("variant", chosen.unwrap_or_default().as_bytes())
            .part("any", &[u8::from(chosen.is_none())])
            .finish();
        let settings = chosen.map(|variant| ("variant".to_owned(), json!(variant))).into_iter().collect();
        TargetInfo { kind: "recorded".to_owned(), name: self.name.clone(), digest, settings }
    }

    async fn run(&self, call: &TargetCall<'_>) -> Result<TargetReply, Failure> {
        let found = self.choose(call.example, call.trial)?;
        Ok(TargetReply { output: completed(&found.output), spend: Spend::default(), cached: false })
    }
}

impl RecordedTarget {
    fn choose<'a>(&self, example: &'a Example, trial: u32) -> Result<&'a Recorded, Failure> {
        let mut variants: Vec<Option<&str>> = Vec::new();
        for recorded in &example.recorded {
            let variant = recorded.variant.as_deref();
            if !variants.contains(&variant) {
                variants.push(variant);
            }
        }
        let missing = |why: String| {
            Failure::new(FailureKind::NotRecorded, format!("example `{}`, trial {trial}: {why}", example.id))
        };
        let there = variants.iter().map(|variant| named(*variant)).collect::<Vec<_>>().join(", ");
        let wanted = match (self.variant.as_deref(), variants.as_slice()) {
            (_, []) => return Err(missing("no output is recorded".to_owned())),
            (Some(wanted), _) if !variants.contains(&Some(wanted)) => {
                return Err(missing(format!("no output of variant `{wanted}` is recorded; there are {there}")));
            }
            (Some(wanted), _) => Some(wanted),
            (None, [only]) => *only,
            (None, several) if several.contains(&None) => None,
            (None, _) => {
                return Err(missing(format!(
                    "outputs of several variants are recorded; set `variant` to one of {there}"
                )));
            }
        };
        let of_variant = || example.recorded.iter().filter(move |recorded| recorded.variant.as_deref() == wanted);
        of_variant().find(|recorded| recorded.trial == trial).ok_or_else(|| {
            let trials: Vec<String> = of_variant().map(|recorded| recorded.trial.to_string()).collect();
            missing(format!("variant {} is recorded for trials {} only", named(wanted), trials.join(", ")))
        })
    }
}

fn named(variant: Option<&str>) -> String {
    variant.map_or_else(|| "one without a name".to_owned(), |name| format!("`{name}`"))
}

/// What an output leaves unsaid and its own trace says.
fn completed(output: &Output) -> Output {
    let mut output = output.clone();
    if let Some(trace) = &output.trace {
        if output.usage.is_unknown() {
            output.usage = trace.usage();
        }
        output.cost_usd = output.cost_usd.or_else(|| trace.cost_usd());
        output.latency_ms = output.latency_ms.or_else(|| trace.duration_ms());
    }
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Example {
        let mut example = Example::new("e1".into(), json!("q"));
        for (variant, trial) in [("a", 0), ("b", 0), ("b", 1)] {
            let output = Output::of_text(format!("{variant}{trial}"));
            example.recorded.push(Recorded { variant: Some(variant.to_owned()), trial, output });
        }
        example
    }

    fn chosen(variant: Option<&str>, trial: u32) -> Result<String, Failure> {
        let target = RecordedTarget { name: "n".to_owned(), variant: variant.map(str::to_owned) };
        target.choose(&example(), trial).map(|recorded| recorded.output.text())
    }

    #[test]
    fn variant_and_trial_choose() {
        assert_eq!(chosen(Some("b"), 1).unwrap(), "b1");
        let cases = [
            (chosen(Some("c"), 0), "no output of variant `c` is recorded; there are `a`, `b`"),
            (chosen(None, 0), "set `variant` to one of `a`, `b`"),
            (chosen(Some("b"), 2), "example `e1`, trial 2: variant `b` is recorded for trials 0, 1 only"),
        ];
        for (found, expected) in cases {
            let failure = found.unwrap_err();
            assert_eq!(failure.kind, FailureKind::NotRecorded);
            assert!(failure.message.contains(expected), "{failure}");
        }
        let target = RecordedTarget { name: "n".to_owned(), variant: None };
        let mut only = example();
        only.recorded.truncate(1);
        assert_eq!(target.choose(&only, 0).unwrap().output.text(), "a0");
        only.recorded.clear();
        assert!(target.choose(&only, 0).unwrap_err().message.contains("no output is recorded"));
    }
}
