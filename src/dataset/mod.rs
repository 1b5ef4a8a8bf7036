//! Datasets: rows and traces to examples, selection by a recorded design, digests, immutable versions.
//!
//! Rules over data. Bytes come and go through [`crate::sys::files`] alone; nothing here knows the lake, the
//! configuration, a platform's export format or a screen.

mod allocate;
mod assemble;
pub mod attachments;
mod boost;
mod candidate;
mod conversation;
mod decision;
mod dialogue;
mod diff;
mod digest;
mod dimension;
mod diverse;
mod draw;
mod error;
pub mod exports;
mod extract;
mod features;
mod field;
mod filter;
mod filter_syntax;
pub mod formats;
mod from_traces;
mod import;
mod join;
mod label_rules;
pub mod labels;
mod lines;
mod mapping;
mod native;
mod near;
mod opinions;
mod outcome;
mod parquet;
mod path;
mod poisson;
mod reader;
mod rows;
mod sampling;
mod select;
pub mod splits;
mod turns;
mod version;

pub use boost::{Boost, Combine};
pub use candidate::{Candidate, CandidateReader, stratum_name};
pub use conversation::{Turn, readable, turns_of};
pub use decision::{Decided, Decision};
pub use dialogue::trace_of_messages;
pub use diff::{ChangedExample, DatasetDiff, diff};
pub use digest::{TaskDigester, content_id, digest_of, id_of_input};
pub use dimension::{TRACE_DIMENSIONS, attribute_names, example_dimension, trace_dimension};
pub use error::{DatasetError, Place, Rejections, RowError};
pub use field::Field;
pub use filter::{FILTER_HELP, Filter, FilterError, Slices};
pub use from_traces::{FromTraces, LeftOut, TraceMapping, examples_from_traces, input_digest};
pub use import::{Import, ImportOptions, Importer, Recognised, import_file};
pub use lines::{example_of_line, line_of_example};
pub use mapping::{
    FieldMapping, FieldRef, FieldRule, JoinRule, LabelRef, LabelRule, MessagesRef, MessagesRule, OneOrMany, RowFilter,
};
pub use near::NearRule;
pub use opinions::{NEGATIVE_FEEDBACK, Opinions};
pub use parquet::{Table, parquet_columns};
pub use path::FieldPath;
pub use reader::{DatasetReader, open_file};
pub use rows::{FileFormat, Limits, Row};
pub use sampling::{Allocate, Diverse, Risk, SamplePlan};
pub use select::{Chosen, Frame, Selection, Selector, hash_unit};
pub use version::{
    Change, DatasetRef, FORMAT as DATASET_FORMAT, Provenance, Seen, Written, check_name, history, list, parent_of,
    resolve, seen_in, versions, write_change, write_version,
};
