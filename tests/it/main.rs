//! The one integration binary: every test that needs more than one module, a process, a database or a browser.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "helpers of tests may panic and speak like tests"
)]

#[path = "../mock/mod.rs"]
mod mock;
mod world;

mod agents;
mod bad_input;
mod bad_traces;
mod browser;
mod bundles;
mod calibration;
mod catalogue;
mod ci;
mod ci_git;
mod cli;
mod corrected;
mod cost;
mod criteria;
mod datasets;
mod deciding;
mod detecting;
mod documents;
mod drifting;
mod explain;
mod faults;
mod feeds;
mod format_versions;
mod formats;
mod gates;
mod harness;
mod judging;
mod lake;
mod odd;
mod platforms;
mod providers;
mod pulling;
mod real_data;
mod receive;
mod redaction;
mod reports;
mod runner;
mod sampling;
mod scraped;
mod selftest;
mod store;
mod telling;
mod tidy;
mod trajectories;
mod trusting;
