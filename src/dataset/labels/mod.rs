//! Labels of people: what to show them, how their sheets are read, how their labels join, how far they agree.
//!
//! Rules over examples and rows. Which judge a name means, and where sheets stand, is the caller's.

mod agreement;
mod merge;
mod queue;
mod sheet;
mod value;

pub use agreement::{Disagreement, LabelReport, PairAgreement, report};
pub use merge::{Merge, Merged, Target};
pub use queue::{Queue, QueueAsk, QueueRow, item_key, queue};
pub use sheet::{guarded, is_formula, read_sheet, write_csv, write_jsonl};
pub use value::{Answer, parse_value};
