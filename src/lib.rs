//! Seals, keeps and erases the recordings of any call or screen recorder.
//!
//! The bird's eye view is `ARCHITECTURE.md`; the byte formats and the operator's pages are under
//! [`manual`]. Modules are declared in the order in which they are best read.

pub mod domain;

pub mod access;
pub mod compliance;

pub mod seal;

pub mod vault;

pub mod media;

pub mod intake;

pub mod catalog;

pub mod flow;

pub mod daemon;

pub mod http;

pub mod cli;

pub mod manual;

pub mod app;
pub mod clock;
pub mod config;
pub mod sys;
pub mod telemetry;
