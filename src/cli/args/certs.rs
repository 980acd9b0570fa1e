//! The arguments of `recseal certs`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use uuid::Uuid;

use super::Out;

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
    /// List the live certificate, those kept for a rollback, and the requests that wait
    List,
    /// Ask the gate about a certificate; nothing is stored (works with the daemon dead)
    #[command(after_help = "Example:\n  \
        recseal certs check chain.pem --key server.key --names recorder1.example.org")]
    Check {
        #[command(flatten)]
        file: CertificateFile,
        /// Names that it must be for [default: those of the running daemon]
        #[arg(long, value_name = "NAME", value_delimiter = ',')]
        names: Vec<String>,
    },
    /// Bring a certificate: PEM or PKCS#12; it is checked, stored and served
    #[command(after_help = "Examples:\n  \
        recseal certs import chain.pem --key server.key\n  \
        recseal certs import server.p12 --password-file password.txt")]
    Import(CertificateFile),
    /// Make a key, which stays here, and a request to send to an authority
    #[command(after_help = "Example:\n  \
        recseal certs csr --names recorder1.example.org -o recorder1.csr\n  \
        (send the file to your authority)\n  \
        recseal certs complete ID chain.pem")]
    Csr {
        /// Names to ask for [default: those of the running daemon]
        #[arg(long, value_name = "NAME", value_delimiter = ',')]
        names: Vec<String>,
        #[command(flatten)]
        out: Out,
    },
    /// Bring an authority's answer to a request
    #[command(after_help = "Example:\n  \
        recseal certs complete 0192f0c8-7a3b-7c4d-8e5f-123456789abc chain.pem")]
    Complete {
        /// The request, as `certs list` shows it
        id: Uuid,
        /// The certificate with its chain, PEM
        chain: PathBuf,
        #[command(flatten)]
        trust: Trust,
    },
    /// Forget a request and its key; an answer that still comes is of no use then
    Cancel {
        /// The request, as `certs list` shows it
        id: Uuid,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Serve an earlier certificate again
    Rollback {
        /// Which one, as `certs list` shows it [default: the one before]
        id: Option<Uuid>,
    },
    /// Show what happened to certificates, from the audit trail
    History,
}

#[derive(Args, Clone, Debug)]
#[expect(missing_docs, reason = "the help text says it")]
pub struct CertificateFile {
    /// Certificate and chain as PEM, in any order, or PKCS#12 (.p12, .pfx)
    pub file: PathBuf,
    /// The private key, if it is in a file of its own
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// The password of the key, in the first line of a file; - is standard input
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    #[command(flatten)]
    pub trust: Trust,
}

#[derive(Args, Clone, Debug, Default)]
#[expect(missing_docs, reason = "the help text says it")]
pub struct Trust {
    /// The root of a private authority, PEM
    #[arg(long, value_name = "FILE")]
    pub root: Option<PathBuf>,
    /// Let it in although it lacks some of the names; the reason is shown
    #[arg(long, value_name = "REASON")]
    pub allow_names: Option<String>,
}
