//! Spans that a target sends while it works on a trial. Knows no wire: whoever receives them implements [`Collector`].

use std::time::Duration;

use async_trait::async_trait;

use super::TraceIds;
use crate::model::{Failure, Trace};

/// What came for one trial.
#[derive(Debug, Default)]
pub struct Collected {
    /// The spans, as a trace; `None` when none came.
    pub trace: Option<Trace>,
    /// Spans and log records that could not be read.
    pub rejected: u64,
}

/// Receives spans over OTLP while a run goes on.
#[async_trait]
pub trait Collector: Send + Sync {
    /// Begins to listen; once is enough, more does no harm.
    ///
    /// # Errors
    /// The address cannot be listened on.
    async fn open(&self) -> Result<(), Failure>;

    /// The base address that a target sends to, once it is open.
    fn endpoint(&self) -> Option<String>;

    /// Takes what came for a trial. Waits until the outermost span is there and nothing more comes, `grace` at most.
    async fn take(&self, ids: &TraceIds, grace: Duration) -> Collected;
}
