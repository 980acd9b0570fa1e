//! The arguments of `recseal certs`.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the help text says it")]
pub enum Certs {
    /// Show the certificate that is served now
    Show {
        /// Print the chain as PEM, for clients to trust
        #[arg(long)]
        pem: bool,
    },
}
