//! Recorders that can seal and not open.
