//! The rules of keeping and erasing, as pure functions over facts.
//!
//! Nothing here reads a clock, a file or the catalog: facts come in, verdicts go out. So each rule
//! is a table in a test.

pub mod anonymize;
pub mod audit;
pub mod consent;
pub mod conversation;
pub mod erasure;
pub mod export;
pub mod field;
mod fold;
pub mod hold;
pub mod person;
pub mod request;
pub mod retention;
pub mod reviewable;
pub mod search;
pub mod tag;
