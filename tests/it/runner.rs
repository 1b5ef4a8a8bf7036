//! The runner: its invariants under failures, stops, kills and resumption.

mod doubles;
mod invariants;
mod limits;
mod resuming;
