//! The `reveil` binary: parse, call, map an error to an exit code.

use std::process::ExitCode;

/// A daemon that has compared millions of members gives their memory back; the system's allocator keeps it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    reveil::cli::main()
}
