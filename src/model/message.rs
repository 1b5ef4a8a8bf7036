//! What a model reads and writes in a trace: messages of parts, in the shape of OpenTelemetry's GenAI messages.
//!
//! The messages that are sent to a judge's model are plainer and stand in `chat`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One message of a conversation with a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant`, `tool`, or what the source said.
    pub role: String,
    /// What the message holds, in order.
    pub parts: Vec<Part>,
}

/// One part of a message; the shape of OpenTelemetry's GenAI messages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Part {
    /// Plain text.
    Text {
        /// The text.
        content: String,
    },
    /// The model asks for a tool to be run.
    ToolCall {
        /// Id that the result refers to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// Name of the tool.
        name: String,
        /// Arguments, JSON where they parsed.
        #[serde(default)]
        arguments: Value,
    },
    /// What a tool gave back.
    ToolResult {
        /// Id of the call that is answered.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// The result, JSON where it parsed.
        #[serde(default)]
        result: Value,
    },
    /// Text the model produced for itself.
    Reasoning {
        /// The text.
        content: String,
    },
    /// A part of a type this program does not read, kept as it came.
    Other {
        /// The part verbatim.
        value: Value,
    },
}

impl Message {
    /// A message of plain text.
    pub fn text(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), parts: vec![Part::Text { content: content.into() }] }
    }

    /// The text parts, joined by line breaks; empty when there are none.
    pub fn plain_text(&self) -> String {
        let texts: Vec<&str> = self
            .parts
            .iter()
            .filter_map(|part| match part {
                Part::Text { content } => Some(content.as_str()),
                _ => None,
            })
            .collect();
        texts.join("\n")
    }

    /// Whether the message asks for a tool.
    pub fn calls_tools(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::ToolCall { .. }))
    }
}
