//! Receiving spans as they are made: OTLP over HTTP (protobuf and JSON, compressed or not) and over gRPC.
//!
//! A request is answered when what it holds is on disk: the gate reads it (so nothing unredacted is kept), `inbox`
//! appends it to a spool together with whatever else is waiting, and only then the sender hears yes. What is in the
//! spool is handed to a [`Keeper`] in larger pieces; after a crash it is handed over again. What the keeper cannot keep
//! yet, log records without their span, stays in the spool. Memory is bounded by bytes. Knows no lake.

mod body;
mod budget;
mod grpc;
mod http;
mod inbox;
mod page;
mod parcel;
mod patience;
mod spool;

pub use budget::Budget;
pub use http::{Receiver, serve};
pub use inbox::{Flushed, Inbox, Keeper, Pace, Told};
pub use page::{PageFn, serve_page};
pub use patience::Patience;
pub use spool::{SetAside, Spool};
