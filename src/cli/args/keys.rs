//! The arguments of `recseal keys`.

use clap::Subcommand;
use uuid::Uuid;

use super::Out;

#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the help text says it")]
pub enum Keys {
    /// Save the key of one recording (audited; whoever has it can open every copy)
    Export {
        id: Uuid,
        #[command(flatten)]
        out: Out,
    },
    /// Save the public signing keys, which prove audit trails and certificates
    Public {
        #[command(flatten)]
        out: Out,
    },
}
