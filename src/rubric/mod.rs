//! What a judge is: its rubric and scale, the prompt made of them, and the reading of its reply.
//!
//! A judge is a folder (`judge.toml`, `prompt.md`, `calibration.jsonl`); here its texts become a checked
//! [`JudgeSpec`], a [`Prompt`] and, from a reply, a [`Judgement`]. Pure: nothing here reads a file or asks a model;
//! `judge` does.

mod attack;
mod calibration;
mod chances;
mod fence;
mod input;
mod json;
mod material;
mod method;
mod parse;
mod parse_method;
mod parse_scale;
mod prompt;
mod reader;
mod reply;
mod scale;
mod sheet;
mod spec;
mod template;
mod transcript;
mod votes;

pub use attack::{Attack, addresses_judge};
pub use calibration::{CalibrationExample, CalibrationStep, parse_label};
pub use chances::{likeliest_share, score_masses};
pub use fence::{Fenced, fence, nonce};
pub use input::{INPUTS, InputName, InputRow};
pub use material::{Cut, Material, NotGiven};
pub use method::{
    Criterion, Disagreement, ExpectedScore, FewShot, Leads, Method, Otherwise, Over, Pair, PartFold, Parts, Tree,
    TreeAnswer, TreeQuestion,
};
pub use prompt::{
    FRESH_NOTE, PROMPT_VERSION, Prompt, Shot, Wanted, render, repair_messages, summary_messages, wanted_schema,
};
pub use reply::{Judgement, PARSER_VERSION, ReplyProblem, Sure, parse_alone, parse_reply, reply_schema, stands_in};
pub use scale::{Anchor, LabelSpec, RubricScale};
pub use sheet::{Sheet, parse_sheet, sheet_schema};
pub use spec::{Condition, FAMILIES, JudgeSpec, LongInput, ModelDefaults, SpecProblem};
pub use transcript::{Shortened, tool_calls, transcript};
pub use votes::{Votes, reduce};
