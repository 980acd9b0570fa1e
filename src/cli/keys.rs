//! `recseal keys`: taking keys out, and their lives.

use hyper::Method;

use crate::domain::RecordingId;

use super::args::Global;
use super::args::keys::Keys;
use super::failure::Failure;
use super::{online, seal_keys};

/// `recseal keys`
pub(super) fn run(global: &Global, verb: &Keys) -> Result<(), Failure> {
    let save = |text: &str, out| online::save(global, out, text.as_bytes());
    match verb {
        Keys::Export { id, out } => {
            save(&online::key_text(&super::remote(global)?, RecordingId(*id))?, out)
        }
        Keys::Public { out } => {
            save(&super::remote(global)?.text(Method::GET, "/api/v1/keys/public", None)?, out)
        }
        Keys::SealKeys { what } => seal_keys::run(global, what),
    }
}
