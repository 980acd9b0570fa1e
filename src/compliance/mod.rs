//! The rules of keeping and erasing, as pure functions over facts.
//!
//! Nothing here reads a clock, a file or the catalog: facts come in, verdicts go out. So each rule
//! is a table in a test.

pub mod audit;
pub mod erasure;
pub mod hold;
pub mod retention;
