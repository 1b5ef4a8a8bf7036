#![doc = include_str!("../ARCHITECTURE.md")]

pub mod model;
pub mod stats;

pub mod compare;
pub mod config;
pub mod dataset;
pub mod diagnose;
pub mod receive;
pub mod redact;
pub mod rubric;
pub mod scorer;
pub mod sys;

pub mod feed;
pub mod ingest;
pub mod lake;
pub mod provider;
pub mod report;
pub mod store;

pub mod judge;
pub mod target;

pub mod runner;

pub mod ops;

pub mod cli;
