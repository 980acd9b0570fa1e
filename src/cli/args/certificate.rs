//! The arguments of `recseal certificate`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use uuid::Uuid;

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[expect(missing_docs, reason = "the help text says it")]
pub struct Certificate {
    /// Id of the erased recording
    #[arg(required = true, requires = "out")]
    pub id: Option<Uuid>,
    /// Where to; - is standard output
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// As a page to print
    #[arg(long)]
    pub html: bool,
    /// Replace the file if it exists
    #[arg(long)]
    pub force: bool,
    #[command(subcommand)]
    pub what: Option<CertificateVerb>,
}

#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the help text says it")]
pub enum CertificateVerb {
    /// Prove that certificates are as they were signed, and that none between them is missing
    ///
    /// Needs the files and the public keys, nothing else: no daemon, no state folder, no network. A
    /// folder stands for all certificates and statements of finality in it.
    #[command(after_help = "Examples:\n  \
        recseal certificate verify call.certificate --public-key signing.pub\n  \
        recseal certificate verify certificates/ --public-key signing.pub --json")]
    Verify {
        /// Certificates, or folders of them
        #[arg(value_name = "FILE|FOLDER", required = true)]
        files: Vec<PathBuf>,
        /// The public signing keys, from `recseal keys public`
        #[arg(long, value_name = "FILE")]
        public_key: PathBuf,
    },
    /// Show what a certificate says, or make a page to print of it
    ///
    /// Does not check the signature: that is `verify`.
    #[command(after_help = "Examples:\n  \
        recseal certificate render call.certificate\n  \
        recseal certificate render call.certificate --html -o call.html")]
    Render {
        /// The certificate
        file: PathBuf,
        /// As a page to print
        #[arg(long)]
        html: bool,
        /// Where to; - is standard output
        #[arg(short, long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Replace the file if it exists
        #[arg(long)]
        force: bool,
    },
}
