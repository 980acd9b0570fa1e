//! Long-running work: the bell that says when to look, and later the tasks that look.

pub mod watch;
