//! Use cases, one file per verb: what happens when a user asks for something, free of how it was typed or is printed.
//!
//! Builds components from names, owns paths, decides how a command ends. Numbers and rules come from below.

pub mod bless;
mod build;
mod calibrations;
mod check;
pub mod ci;
pub mod compare;
mod correct;
pub mod cost;
pub mod dataset_edit;
pub mod dataset_verify;
pub mod datasets;
pub mod decide;
pub mod demo;
pub mod diagnose;
mod dimensions;
pub mod doctor;
pub mod drift;
mod evidence;
mod examples;
mod exit;
mod findings;
pub mod flaky;
mod holdout;
pub mod ingest;
pub mod init;
mod intake;
pub mod judges;
pub mod labels;
pub mod lake;
pub mod matrix;
pub mod outcomes;
mod outputs;
pub mod plan;
mod preflight;
mod pricing;
mod project;
mod pull;
mod quarantine;
mod redaction;
mod refs;
pub mod run;
pub mod sample;
pub mod schema;
pub mod selftest;
pub mod serve;
mod services;
mod stored;
pub mod traces;
mod trail;

pub use exit::{Done, Exit, Failed};
pub use outputs::Written;
pub use project::{Project, World};
