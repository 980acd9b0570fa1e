//! The recseal program: see `recseal --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    recseal::cli::main()
}
