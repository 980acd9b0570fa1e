//! Whether recordings other than plain sound can be redacted here.

use super::{Check, Outcome};
use crate::app;
use crate::config::RedactionConfig;

/// Without it redaction of video and packed sound is off, and nothing else is amiss.
pub(super) fn check(config: &RedactionConfig) -> Check {
    let name = "redaction";
    let Some(ffmpeg) = app::ffmpeg_of(config) else {
        return Check::new(
            name,
            Outcome::Warn,
            "there is no ffmpeg: only PCM, G.711 and what is decoded here can be redacted",
            "install it (apt install ffmpeg), or name it as redaction.ffmpeg",
        );
    };
    let program = ffmpeg.program().display();
    let encoders = ffmpeg.encoders();
    if encoders.is_empty() {
        return Check::new(
            name,
            Outcome::Warn,
            format!("{program} does not run confined"),
            "let every user run it, and see redaction.max_memory: too little keeps it from starting",
        );
    }
    let missing: Vec<&str> = USUAL
        .iter()
        .copied()
        .filter(|usual| !encoders.iter().any(|encoder| encoder == usual))
        .collect();
    match missing.as_slice() {
        [] => Check::ok(name, format!("{program} has the usual encoders")),
        missing => Check::new(
            name,
            Outcome::Warn,
            format!("{program} lacks the encoders {}", missing.join(", ")),
            "install a fuller build of it; recordings of these kinds are encoded in another codec",
        ),
    }
}

/// Of what recorders write.
const USUAL: [&str; 6] = ["aac", "libmp3lame", "libopus", "libvorbis", "libvpx", "libx264"];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Meant to catch: an encoder list that could not be had taken for a full one.
    #[test]
    fn a_program_that_is_no_ffmpeg_is_said() {
        let config = RedactionConfig {
            ffmpeg: Some("/bin/false".into()),
            max_memory_bytes: 1 << 30,
            time_limit: Duration::from_secs(9),
        };
        let check = check(&config);
        assert_eq!(check.outcome, Outcome::Warn);
        assert!(check.message.contains("does not run"), "{}", check.message);
    }
}
