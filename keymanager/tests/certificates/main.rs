//! Certificates made by openssl, judged by the gate: a corpus of what people really bring.

#![expect(clippy::unwrap_used, reason = "what cannot go on fails the test")]

mod catalogue;
mod gate;
mod import;
mod lab;
mod requests;
