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

mod bad_input;
mod bad_traces;
mod browser;
mod calibration;
mod catalogue;
mod ci;
mod cli;
mod corrected;
mod cost;
mod datasets;
mod deciding;
mod detecting;
mod drifting;
mod explain;
mod faults;
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
mod selftest;
mod store;
mod telling;
mod tidy;
mod trajectories;
mod trusting;
