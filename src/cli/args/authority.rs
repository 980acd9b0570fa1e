//! The arguments of `recseal certs ca`, `issue` and `revoke`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Out;

#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the help text says it")]
pub enum Ca {
    /// Make the internal certificate authority: a root for ten years, one that issues for two
    Create,
    /// Show its issuing authorities, their states, and when they are replaced
    Show,
    /// Save or print the roots that clients should trust, as PEM
    Bundle(PublicOut),
    /// Save or print the revocation lists, as PEM
    Crl(PublicOut),
    /// Make the next issuing authority now; it takes over when it is activated
    Prepare,
    /// Let the prepared issuing authority sign from now on
    Activate,
    /// Replace a root whose keys somebody else may know, and all below it, at once
    ///
    /// What it issued is accepted until `ca revoke`: issue it anew and hand out the new bundle
    /// in between.
    #[command(after_help = "Example:\n  recseal certs ca taint 1 --yes")]
    Taint(Which),
    /// End a tainted root: nothing below it is accepted any more
    #[command(after_help = "Example:\n  recseal certs ca revoke 1 --yes")]
    Revoke(Which),
}

#[derive(Args, Debug)]
#[expect(missing_docs, reason = "the help text says it")]
pub struct Which {
    /// Number of an issuing authority, as `ca show` prints it
    pub number: u32,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

#[derive(Args, Debug)]
#[expect(missing_docs, reason = "the help text says it")]
pub struct PublicOut {
    /// Where to; without it standard output
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Replace the file if it exists
    #[arg(long)]
    pub force: bool,
}

#[derive(Args, Debug)]
#[expect(missing_docs, reason = "the help text says it")]
pub struct Issue {
    /// The program or host it is for; `[[client]]` in the configuration gives the name a role
    pub name: String,
    /// A signing request, PEM or DER; only its key is used. Without it a key is made here
    #[arg(long, value_name = "FILE")]
    pub csr: Option<PathBuf>,
    /// How long it is valid, 1 to 90 days
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=90))]
    pub days: u64,
    #[command(flatten)]
    pub out: Out,
}
