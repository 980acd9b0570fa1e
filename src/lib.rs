//! Seals, keeps and erases the recordings of any call or screen recorder.
//!
//! The bird's eye view is `ARCHITECTURE.md`; the byte formats and the operator's pages are under
//! [`manual`]. Modules are declared in the order in which they are best read.

pub mod clock;
pub mod domain;
pub mod media;
