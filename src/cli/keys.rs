//! `recseal keys`: taking keys out, and their lives.

use hyper::Method;

use crate::domain::RecordingId;

use super::args::Global;
use super::args::keys::Keys;
use super::failure::Failure;
use super::{online, seal_keys, slots};

/// `recseal keys`
pub(super) fn run(global: &Global, verb: &Keys) -> Result<(), Failure> {
    let save = |text: &str, out| online::save(global, out, text.as_bytes());
    let remote = || super::remote(global);
    match verb {
        Keys::Versions(verb) => super::keks::run(global, verb),
        Keys::Slots { what } => slots::slots(global, &remote()?, what),
        Keys::RotateRoot(rotate) => slots::rotate_root(global, &remote()?, rotate),
        Keys::Unlock(unlock) => slots::unlock(global, &remote()?, unlock),
        Keys::Export { id, out } => save(&online::key_text(&remote()?, RecordingId(*id))?, out),
        Keys::Public { out } => {
            save(&remote()?.text(Method::GET, "/api/v1/keys/public", None)?, out)
        }
        Keys::SealKeys { what } => seal_keys::run(global, what),
    }
}
