//! The arguments of those verbs of `recseal keys` that concern key versions.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the help text says it")]
pub enum Keks {
    /// List the key versions: state, age, recordings under each
    #[command(after_help = "Example:\n  recseal keys list")]
    List,
    /// Show everything known about one key version, its fingerprint included
    #[command(after_help = "Example:\n  recseal keys show 3")]
    Show { version: u32 },
    /// Show how many recordings need each key version
    #[command(after_help = "Example:\n  recseal keys usage --json")]
    Usage,
    /// Let a new key version take over now
    ///
    /// New recordings come under it at once; the daemon wraps the data keys of all others anew, without
    /// touching any media. With --compromised the old version is marked as known to somebody else.
    #[command(after_help = "Examples:\n  \
        recseal keys rotate\n  \
        recseal keys rotate --compromised --wait && recseal keys destroy 3 --now")]
    Rotate {
        /// Somebody else may know the old one
        #[arg(long)]
        compromised: bool,
        /// Wait until every data key is under the new version
        #[arg(long)]
        wait: bool,
    },
    /// Wrap data keys that are under older versions anew (the daemon does so by itself)
    #[command(after_help = "Example:\n  recseal keys rewrap --wait")]
    Rewrap {
        /// Wait until none is left
        #[arg(long)]
        wait: bool,
    },
    /// Forbid the use of a retired version; what is under it cannot be opened meanwhile
    #[command(after_help = "Example:\n  recseal keys disable 2")]
    Disable { version: u32 },
    /// Allow the use of a disabled version again
    #[command(after_help = "Example:\n  recseal keys enable 2")]
    Enable { version: u32 },
    /// Destroy a key version on a date, or now
    ///
    /// Refused while a recording needs it. Until the date it can be taken back with
    /// `recseal keys restore`; afterwards nobody can, and a certificate says so.
    #[command(after_help = "Examples:\n  \
        recseal keys destroy 2 --reason 'yearly change'\n  \
        recseal keys destroy 2 --at 2027-06-30\n  \
        recseal keys destroy 2 --now --yes")]
    Destroy(Destroy),
    /// Take the date of a destruction back; the version is disabled then
    #[command(after_help = "Example:\n  recseal keys restore 2 && recseal keys enable 2")]
    Restore { version: u32 },
    /// Save the certificate of a destroyed version, or verify one (works with the daemon dead)
    #[command(after_help = "Examples:\n  \
        recseal keys certificate 2 -o key-2.certificate\n  \
        recseal keys certificate --verify key-2.certificate --public-key signing.pub")]
    Certificate(Certificate),
}

#[derive(Args, Debug)]
#[expect(missing_docs, reason = "the help text says it")]
pub struct Destroy {
    /// Its number
    pub version: u32,
    /// On this day or at this moment, 7 days ahead or more [default: keys.destroy_wait]
    #[arg(long, value_name = "DATE", conflicts_with = "now")]
    pub at: Option<String>,
    /// At once, without a way back
    #[arg(long)]
    pub now: bool,
    /// Do not ask (for --now)
    #[arg(long)]
    pub yes: bool,
    /// Why, as the certificate will say
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

#[derive(Args, Debug)]
#[expect(missing_docs, reason = "the help text says it")]
pub struct Certificate {
    /// Number of the destroyed version
    #[arg(required_unless_present = "verify", requires = "out")]
    pub version: Option<u32>,
    /// Where to; - is standard output
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Replace the file if it exists
    #[arg(long)]
    pub force: bool,
    /// Check this certificate instead
    #[arg(long, value_name = "FILE", conflicts_with = "version", requires = "public_key")]
    pub verify: Option<PathBuf>,
    /// The public signing keys, from `recseal keys public`
    #[arg(long, value_name = "FILE", requires = "verify")]
    pub public_key: Option<PathBuf>,
}
