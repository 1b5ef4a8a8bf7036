//! Datasets: rows and traces to examples, selection by a recorded design, digests, immutable versions.
//!
//! Rules over data. Bytes come and go through [`crate::sys::files`] alone; nothing here knows the lake, the
//! configuration, a platform's export format or a screen.

mod assemble;
pub mod attachments;
mod dialogue;
mod diff;
mod digest;
mod error;
pub mod exports;
mod extract;
mod field;
mod filter;
mod from_traces;
mod import;
pub mod labels;
mod lines;
mod mapping;
mod native;
mod parquet;
mod path;
mod reader;
mod rows;
mod sampling;
mod select;
pub mod splits;
mod turns;
mod version;

pub use dialogue::trace_of_messages;
pub use diff::{ChangedExample, DatasetDiff, diff};
pub use digest::{TaskDigester, content_id, digest_of};
pub use error::{DatasetError, Rejections, RowError};
pub use filter::{FILTER_HELP, Filter, FilterError, Slices, example_dimension, trace_dimension};
pub use from_traces::{FromTraces, LeftOut, TraceMapping, examples_from_traces};
pub use import::{Import, ImportOptions, Importer, import_file};
pub use lines::{example_of_line, line_of_example};
pub use mapping::{FieldMapping, FieldRef, FieldRule, OneOrMany, RowFilter};
pub use path::FieldPath;
pub use reader::{DatasetReader, open_file};
pub use rows::{FileFormat, Limits};
pub use sampling::{Allocate, SamplePlan};
pub use select::{Candidate, Chosen, Selection, Selector, hash_unit, stratum_name};
pub use turns::{Turn, readable, turns_of};
pub use version::{
    Change, DatasetRef, Provenance, Written, check_name, history, list, parent_of, resolve, versions, write_change,
    write_version,
};
