//! The pages for operators and reviewers, rendered here so that their links are checked.

#[doc = include_str!("decisions.md")]
pub mod decisions {}

#[doc = include_str!("operations.md")]
pub mod operations {}

#[doc = include_str!("security.md")]
pub mod security {}

#[doc = include_str!("format.md")]
pub mod format {}

#[doc = include_str!("keys.md")]
pub mod keys {}

#[doc = include_str!("redaction.md")]
pub mod redaction {}

#[doc = include_str!("audit.md")]
pub mod audit {}

#[doc = include_str!("erasure.md")]
pub mod erasure {}
