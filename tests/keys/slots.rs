//! The ways to the root key.
