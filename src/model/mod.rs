//! The vocabulary of the program: what a trace, an example, a score or an event *is*.
//!
//! Data only. Nothing here reads a file, asks a model, formats for people or knows a wire format; every other
//! module may import this one and it imports none of them. The words are those of `ARCHITECTURE.md`.

mod assemble;
mod chat;
mod dataset;
mod design;
mod digest;
mod drift;
mod event;
mod failure;
mod finality;
mod gate;
mod history;
mod id;
mod judging;
mod message;
mod output;
mod redact;
mod run;
mod score;
mod span;
mod span_choice;
mod trace;
mod trace_score;
mod trace_sums;

pub use assemble::{Assembled, assemble};
pub use chat::{AnswerFormat, ChatMessage, ChatReply, ChatRequest, FinishReason, Role, TokenChance};
pub use dataset::{Attachment, DatasetHeader, Example, ExpectedCall, Label, Lineage, Recorded};
pub use design::{Checkpoint, ClusterCounts, MergedNear, RuleCounts, SampleDesign, Stratum, WeightSummary};
pub use digest::{Digest, Digester, canonical_json};
pub use drift::DriftPolicy;
pub use event::{CancelReason, Event, JournalEntry, Spend, TargetOutcome};
pub use failure::{Failure, FailureKind};
pub use finality::{Activity, Finality, FinalityRule};
pub use gate::{
    Change, Estimand, FailOn, GatePolicy, Guard, MetricPolicy, MetricRole, OnMissing, SliceRate, Verdict, Waiver,
};
pub use history::{Frozen, Operation, Parent, Splits};
pub use id::{ExampleId, RunId, SessionId, SpanId, TraceId};
pub use judging::{Answered, Asked, Cascaded, Judged, Masses, Orders, PartScored, Vote};
pub use message::{Message, Part};
pub use output::{Output, ScoreInput, Usage};
pub use redact::{
    DetectorForm, OnDetectorError, RedactAction, RedactAllow, RedactDetector, RedactPattern, RedactPolicy, Redactions,
};
pub use run::{
    CellKey, Direction, GraderInfo, GraderKind, RunDesign, RunHeader, RunStatus, RunTotals, Scale, TargetInfo,
    TrialKey, UntilDecided, trial_place,
};
pub use score::{Finite, Score, ScoreValue, Scored, Unscored, UnscoredReason};
pub use span::{
    AgentRef, ModelRef, Native, PRICED_KEY, PromptRef, REVISION_KEY, Source, Span, SpanError, SpanKind, SpanStatus,
    ToolUse,
};
pub use span_choice::{CombineSpans, SpanChoice, WhichSpans, value_of};
pub use trace::{Trace, TraceFault};
pub use trace_score::{ScoreOrigin, TraceScore};
