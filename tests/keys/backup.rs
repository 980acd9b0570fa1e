//! Backups, trial restores and moves to another host.
