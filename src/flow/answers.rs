//! Requests that may be sent twice: the answer to the first is the answer to the second.
//!
//! Whoever sends a key with a request and hears nothing sends both again. What was answered under
//! that key is kept for a day, over a restart too. Neither key nor request is kept, only handles
//! that cannot be tried out without the key store: a request may name a person.
//!
//! If the power goes here: the act is done and its answer is not kept. Asked again, the act is
//! done again, so only acts that do no harm twice may be guarded by this. An erasure is one: what
//! is owed already is not owed twice.

use std::time::Duration;

use crate::catalog::AnswerRow;
use crate::clock::Timestamp;
use crate::flow::{Engine, FlowError};

/// A request and the key it came with, as handles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeatable {
    handle: [u8; 32],
    body: [u8; 32],
}

impl Repeatable {
    /// The handle of sender, route and key, whatever was asked for.
    pub fn handle(self) -> [u8; 32] {
        self.handle
    }
}

/// What is known of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recalled {
    /// It is new, or its answer was forgotten.
    Nothing,
    /// It was answered: the status and the document.
    Answer(u16, String),
    /// The key came with another request.
    OtherRequest,
}

impl Engine {
    /// The handles of a request for `route`, sent by `user` with the idempotency key `key`.
    pub fn repeatable(&self, user: &str, route: &str, key: &[u8], body: &[u8]) -> Repeatable {
        let parts = [user.as_bytes(), route.as_bytes(), key];
        Repeatable {
            handle: self.keys.handle("recseal idempotency key", &parts),
            body: self.keys.handle("recseal idempotent request", &[body]),
        }
    }

    /// What was answered to it within the last day.
    ///
    /// # Errors
    ///
    /// [`FlowError::Catalog`].
    pub fn recall_answer(&self, asked: Repeatable, now: Timestamp) -> Result<Recalled, FlowError> {
        let row = self.catalog.read(|tx| tx.answer(&asked.handle))?;
        Ok(match row.filter(|row| now.since(row.at) < KEPT) {
            None => Recalled::Nothing,
            Some(row) if row.body != asked.body => Recalled::OtherRequest,
            Some(row) => Recalled::Answer(row.status, row.text),
        })
    }

    /// Keeps what was answered.
    ///
    /// # Errors
    ///
    /// [`FlowError::Catalog`]; the act stays done.
    pub fn keep_answer(
        &self,
        asked: Repeatable,
        status: u16,
        text: &str,
        now: Timestamp,
    ) -> Result<(), FlowError> {
        let row = AnswerRow { body: asked.body, at: now, status, text: text.to_owned() };
        let kept_ms = i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX);
        let oldest = Timestamp::from_millis(now.as_millis().saturating_sub(kept_ms));
        Ok(self.catalog.write(|tx| tx.put_answer(&asked.handle, &row, oldest, ANSWERS_MAX))?)
    }
}

const KEPT: Duration = Duration::from_secs(86_400);
const ANSWERS_MAX: u32 = 10_000;
