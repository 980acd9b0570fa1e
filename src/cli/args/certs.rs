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
    /// Look whether the certificate is due, and renew it if so
    ///
    /// With --now it is renewed whatever the dates say, and earlier failures are forgotten.
    #[command(after_help = "Example:\n  recseal certs renew --now --wait")]
    Renew {
        /// Renew it whatever the dates say
        #[arg(long)]
        now: bool,
        /// Wait for the end, and tell how it went
        #[arg(long)]
        wait: bool,
    },
}
