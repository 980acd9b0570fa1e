//! The arguments of `recseal certs`.

use clap::Subcommand;

use super::authority::{Ca, Issue};

#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the help text says it")]
pub enum Certs {
    /// Show the certificate that is served now
    Show {
        /// Print the chain as PEM, for clients to trust
        #[arg(long)]
        pem: bool,
    },
    /// The internal certificate authority: make it, show it, replace its keys
    #[command(after_help = "Examples:\n  \
        recseal certs ca create\n  \
        recseal certs ca bundle -o recseal-ca.pem")]
    Ca {
        #[command(subcommand)]
        what: Ca,
    },
    /// Issue a certificate for a program or host that is to use the API
    #[command(after_help = "Examples:\n  \
        recseal certs issue prometheus -o prometheus.pem\n  \
        recseal certs issue rec-7.example --csr rec-7.csr --days 30 -o rec-7.pem")]
    Issue(Issue),
    /// List the issued certificates that are not over
    Issued,
    /// End an issued certificate now; connections that use it are closed
    #[command(after_help = "Example:\n  \
        recseal certs revoke 5c1f… --reason key-compromise")]
    Revoke {
        /// Its serial, as `certs issued` and `openssl x509 -serial` print it
        serial: String,
        /// unspecified, key-compromise, superseded, cessation-of-operation, privilege-withdrawn
        #[arg(long)]
        reason: Option<String>,
    },
}
