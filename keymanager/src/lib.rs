//! The keys of recseal. Key bytes never leave this crate; everyone else gets verbs.

mod data_key;
pub mod floe;
mod keystream;
mod secret;
mod wrapped;

pub use data_key::{DataKey, KeyFileError};
pub use keystream::Keystream;
pub use wrapped::WrappedKey;
