//! The lives of key-encryption keys.
