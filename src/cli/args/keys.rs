//! The arguments of `recseal keys`.

use clap::Subcommand;
use uuid::Uuid;

use super::Out;
use super::keks::Keks;

#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the help text says it")]
pub enum Keys {
    #[command(flatten)]
    Versions(Keks),
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
