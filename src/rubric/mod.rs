//! What a judge is: its rubric and scale, the prompt made of them, and the reading of its reply.
//!
//! A judge is a folder (`judge.toml`, `prompt.md`, `calibration.jsonl`); here its texts become a checked
//! [`JudgeSpec`], a [`Prompt`] and, from a reply, a [`Judgement`]. Pure: nothing here reads a file or asks a model;
//! `judge` does.

mod attack;
mod calibration;
mod fence;
mod json;
mod material;
mod parse;
mod prompt;
mod reply;
mod spec;
mod template;
mod transcript;
mod votes;

pub use attack::{Attack, addresses_judge};
pub use calibration::{CalibrationExample, CalibrationStep, parse_label};
pub use fence::{Fenced, fence, nonce};
pub use material::{Cut, Material, NotGiven};
pub use prompt::{FRESH_NOTE, PROMPT_VERSION, Prompt, render, repair_messages};
pub use reply::{Judgement, PARSER_VERSION, ReplyProblem, parse_reply, reply_schema, stands_in};
pub use spec::{
    Anchor, Condition, FAMILIES, INPUTS, InputName, InputRow, JudgeSpec, LabelSpec, LongInput, ModelDefaults,
    RubricScale, SpecProblem,
};
pub use transcript::{Shortened, tool_calls, transcript};
pub use votes::{Votes, reduce};
