//! The keys of recseal. Key bytes never leave this crate; everyone else gets verbs.

mod data_key;
mod keystream;
mod secret;

pub use data_key::DataKey;
pub use keystream::Keystream;
