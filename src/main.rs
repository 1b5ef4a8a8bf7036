//! The binary: everything is in the library.

use std::process::ExitCode;

/// Reading traces makes and drops millions of small texts, on several threads; the system's allocator takes about a
/// third of the time then.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    assize::cli::main()
}
