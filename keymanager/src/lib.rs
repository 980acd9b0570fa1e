//! The keys of recseal. Key bytes never leave this crate; everyone else gets verbs.

mod data_key;
mod secret;
mod wrapped;

pub use data_key::DataKey;
pub use wrapped::WrappedKey;
