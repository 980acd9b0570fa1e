//! `recseal keys`: taking keys out, and their lives.

use hyper::Method;

use crate::domain::RecordingId;

use super::args::Global;
use super::args::keys::Keys;
use super::failure::Failure;
use super::{online, slots};

/// `recseal keys`
pub(super) fn run(global: &Global, verb: &Keys) -> Result<(), Failure> {
    let remote = super::remote(global)?;
    let (text, out) = match verb {
        Keys::Slots { what } => return slots::slots(global, &remote, what),
        Keys::RotateRoot(rotate) => return slots::rotate_root(global, &remote, rotate),
        Keys::Unlock(unlock) => return slots::unlock(global, &remote, unlock),
        Keys::Export { id, out } => (online::key_text(&remote, RecordingId(*id))?, out),
        Keys::Public { out } => (remote.text(Method::GET, "/api/v1/keys/public", None)?, out),
    };
    online::save(global, out, text.as_bytes())
}
