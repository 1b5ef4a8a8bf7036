//! Names of things, as distinct types, so that a trace id cannot be passed where an example id is meant.
//!
//! No id is ever generated from ambient randomness here; `sys` owns the clock and the generator.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Wraps any text. Foreign ids are kept as they came, apart from what the source normalises.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The id as text. Hostile when it came from a trace: never a file name, escaped when shown.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }
    };
}

text_id!(
    /// One request to the agent. OTLP ids are 32 lower-case hexadecimal digits; other platforms keep their own form.
    TraceId
);
text_id!(
    /// One timed step in a trace. OTLP ids are 16 lower-case hexadecimal digits.
    SpanId
);
text_id!(
    /// One conversation or user task; the natural cluster of traces. Absent when the source names none.
    SessionId
);
text_id!(
    /// One input of a dataset, stable across dataset versions: an explicit id, or a digest of the input.
    ExampleId
);
text_id!(
    /// One execution of a target over a dataset: a UUID of version 7, so that ids sort by time.
    RunId
);

impl RunId {
    /// The last eight characters: what is shown where a person reads, and accepted where one types. The tail is
    /// used because runs started in the same minute share the head of a version 7 UUID.
    pub fn short(&self) -> &str {
        let start = self.0.len().saturating_sub(8);
        self.0.get(start..).unwrap_or(&self.0)
    }
}
