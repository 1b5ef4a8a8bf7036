//! Use cases, one file per verb: what happens when a user asks for something, free of how it was typed or is printed.
//!
//! Builds components from names, owns paths, decides how a command ends. Numbers and rules come from below.

pub mod bless;
mod build;
mod check;
pub mod ci;
pub mod compare;
pub mod cost;
pub mod dataset_edit;
pub mod dataset_verify;
pub mod datasets;
pub mod demo;
pub mod doctor;
mod examples;
mod exit;
mod findings;
mod holdout;
pub mod ingest;
pub mod init;
mod intake;
pub mod judges;
pub mod labels;
pub mod lake;
mod outputs;
mod pricing;
mod project;
mod pull;
mod redaction;
mod refs;
pub mod run;
pub mod sample;
pub mod schema;
pub mod serve;
mod services;
mod stored;
pub mod traces;
mod trail;
mod writing;

pub use exit::{Done, Exit, Failed};
pub use outputs::Written;
pub use project::{Project, World};
