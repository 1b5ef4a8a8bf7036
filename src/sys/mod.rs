//! The doors to the machine: clock, environment, files, network client, terminal text, retry timing.
//!
//! The only place that reads the clock, the environment or the file system for the floors below the use cases, so
//! that tests can hold all of them still. Holds no rule of evaluation.

pub mod archive;
pub mod browse;
mod clock;
mod env;
pub mod files;
pub mod git;
mod http;
mod moment;
pub mod objects;
pub(crate) mod process;
mod retry;
mod secret;
pub mod text;
pub mod threads;
pub(crate) mod worker;

pub use clock::{Clock, FixedClock, SystemClock, new_run_id};
pub use env::Env;
pub use http::{
    Authorities, HttpError, client as http_client, client_trusting as http_client_trusting,
    client_without_pool as http_client_without_pool, failure_of_status, failure_of_transport, retry_after_ms,
};
pub(crate) use http::{BODY_LIMIT, read_body, shown};
pub use moment::{Window, moment, window};
pub use retry::RetryPolicy;
pub use secret::{EnvironmentText, SecretText};
pub(crate) use secret::{Secrets, header};
