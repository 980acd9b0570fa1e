//! Renewal by ACME, by files and by itself, and clocks that jump.
