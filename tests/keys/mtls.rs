//! The internal authority, certificates of clients, and swaps under load.
