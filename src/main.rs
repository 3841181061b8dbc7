//! The `reveil` binary: parse, call, map an error to an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    reveil::cli::main()
}
