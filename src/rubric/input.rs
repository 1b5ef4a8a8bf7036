//! The kinds of material a judge can ask for: their names in `judge.toml` and `prompt.md`, and their captions.
//!
//! Names only; what they hold for one example is `material`'s work.

use std::fmt;

/// One kind of material a judge can ask for.
#[derive(Clone, Copy, Debug)]
pub struct InputRow {
    /// Name in `inputs` and `optional_inputs`, and the placeholder in `prompt.md`.
    pub name: &'static str,
    /// What it holds.
    pub summary: &'static str,
    /// Caption in a prompt whose author wrote none.
    pub caption: &'static str,
}

/// All kinds of material, in the order in which a prompt without a `# Material` part shows them: context first, the
/// reference next, what is under test last. `metadata.NAME` and `dimensions.NAME` come besides.
pub const INPUTS: &[InputRow] = &[
    InputRow {
        name: "instructions",
        summary: "standing instructions the agent worked under (its system prompt, a policy)",
        caption: "Standing instructions the agent worked under:",
    },
    InputRow { name: "input", summary: "what the agent was asked", caption: "What the agent was asked:" },
    InputRow {
        name: "tools",
        summary: "the tools the agent could have used, with their descriptions",
        caption: "Tools that were available to the agent:",
    },
    InputRow {
        name: "reference",
        summary: "the expected answer: one acceptable answer, not the only one",
        caption: "The reference, which is one acceptable answer and not the only one:",
    },
    InputRow {
        name: "transcript",
        summary: "the agent's numbered steps: messages, tool calls with results, errors, handoffs",
        caption: "What the agent did, step by step:",
    },
    InputRow {
        name: "tool_calls",
        summary: "only the tool calls among the steps, with arguments, results and errors",
        caption: "The tool calls the agent made, in order:",
    },
    InputRow {
        name: "final_answer",
        summary: "the last text the agent gave the user, read from its trace where there is one",
        caption: "The agent's final answer:",
    },
    InputRow { name: "output", summary: "what the agent gave back", caption: "What the agent gave back:" },
];

/// A kind of material: a name of [`INPUTS`], or one field of metadata or dimensions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum InputName {
    /// A name of [`INPUTS`].
    Known(&'static str),
    /// `metadata.NAME` of the example, else of the output.
    Metadata(String),
    /// `dimensions.NAME` of the example, else a dimension of the trace.
    Dimension(String),
}

impl InputName {
    /// Reads a name as written in `judge.toml` or between braces. `trace` is another word for `transcript`.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(name) = text.strip_prefix("metadata.") {
            return is_plain(name).then(|| Self::Metadata(name.to_owned()));
        }
        if let Some(name) = text.strip_prefix("dimensions.") {
            return is_plain(name).then(|| Self::Dimension(name.to_owned()));
        }
        let text = if text == "trace" { "transcript" } else { text };
        INPUTS.iter().find(|row| row.name == text).map(|row| Self::Known(row.name))
    }

    /// The caption in a prompt whose author wrote none.
    pub fn caption(&self) -> String {
        match self {
            Self::Known(name) => {
                INPUTS.iter().find(|row| row.name == *name).map_or(*name, |row| row.caption).to_owned()
            }
            Self::Metadata(name) => format!("Known about the example, `{name}`:"),
            Self::Dimension(name) => format!("The example's `{name}`:"),
        }
    }
}

impl fmt::Display for InputName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(name) => f.write_str(name),
            Self::Metadata(name) => write!(f, "metadata.{name}"),
            Self::Dimension(name) => write!(f, "dimensions.{name}"),
        }
    }
}

/// Letters, digits, `_` and `-`: names that can stand in a template, a fence line and a folder.
pub fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.len() <= 64 && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}
