//! Certificates made by openssl, judged by the gate: a corpus of what people really bring.

mod gate;
mod import;
mod lab;
