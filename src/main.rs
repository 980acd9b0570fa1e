//! The recseal program: see `recseal --help`.

fn main() {}
