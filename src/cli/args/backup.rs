//! The arguments of `recseal backup`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use uuid::Uuid;

use super::Out;

#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the help text says it")]
pub enum Backup {
    /// Write keys and catalog into one sealed file
    ///
    /// The daemon makes it while sealing goes on. Without any of the options it asks for a
    /// passphrase; several of them together make several ways to open it. The sealed recordings
    /// themselves are not in it: copy the vault as any other files.
    #[command(after_help = "Examples:\n  \
        recseal backup create -o /mnt/safe/monday.rsbackup\n  \
        recseal backup create -o f.rsbackup --shares 3/5 --share-dir /media/usb\n  \
        recseal backup create -o f.rsbackup --recipient backup.key.pub")]
    Create(Create),
    /// Restore a backup on trial: everything in it is opened, nothing is kept
    ///
    /// Works with the daemon dead. If it runs, it remembers the result, and `status` shows it.
    #[command(after_help = "Examples:\n  \
        recseal backup verify monday.rsbackup\n  \
        recseal backup verify f.rsbackup --private-key backup.key --json")]
    Verify(Verify),
    /// Show when backups were made and verified, and what they lack
    #[command(after_help = "Example:\n  recseal backup status --json | jq .newer_recordings")]
    Status,
    /// Make a new state folder from a backup, on this or another host
    ///
    /// The state folder must not exist or be empty. It gets a new root key; stores, recordings,
    /// tokens and the audit trail are those of the backup. What was destroyed since stays
    /// destroyed if --tombstones says what that was.
    #[command(after_help = "Example:\n  \
        recseal backup restore monday.rsbackup --state /var/lib/recseal \\\n    \
        --tombstones /mnt/safe/tombstones.txt --new-passphrase-file -")]
    Restore(Restore),
    /// Make a key pair for backups: the private key for a safe, the public one for the host
    #[command(after_help = "Example:\n  \
        recseal backup keygen -o backup.key    (and backup.key.pub beside it)")]
    Keygen {
        #[command(flatten)]
        out: Out,
    },
    /// Save the signed list of what was destroyed, for restoring an older backup
    #[command(after_help = "Example:\n  recseal backup tombstones -o /mnt/safe/tombstones.txt")]
    Tombstones {
        #[command(flatten)]
        out: Out,
    },
    /// Tell the daemon that a backup was verified elsewhere
    #[command(after_help = "Example, with the answer of `backup verify --json` from there:\n  \
        recseal backup confirm 0192f0c8-7a3b-7c4d-8e5f-123456789abc")]
    Confirm {
        /// Its id, as `backup verify` and `backup status` show it
        id: Uuid,
    },
    /// Tell the daemon that the file of a backup, and every copy of it, is gone
    ///
    /// A backup with the keys to what was erased since keeps certificates from becoming final.
    #[command(after_help = "Example:\n  \
        recseal backup forget 0192f0c8-7a3b-7c4d-8e5f-123456789abc")]
    Forget {
        /// Its id, as `backup status` shows it
        id: Uuid,
    },
}

#[derive(Args, Debug)]
#[expect(missing_docs, reason = "the help text says it")]
pub struct Create {
    #[command(flatten)]
    pub out: Out,
    /// Opens with the passphrase in this file; - is standard input
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// Opens with K of N shares, as 3/5
    #[arg(long, value_name = "K/N", value_parser = quorum, requires = "share_dir")]
    pub shares: Option<(u8, u8)>,
    /// Where the shares are written, one file each
    #[arg(long, value_name = "DIR", requires = "shares")]
    pub share_dir: Option<PathBuf>,
    /// Opens with the private key of this public key; may be given again
    #[arg(long = "recipient", value_name = "FILE")]
    pub recipients: Vec<PathBuf>,
}

/// What opens a backup. Without any of it a passphrase is asked for.
#[derive(Args, Debug)]
pub struct Opener {
    /// The passphrase is in this file; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["share_files", "private_key"])]
    pub passphrase_file: Option<PathBuf>,
    /// The file of one share; give it as often as shares are needed
    #[arg(long = "share-file", value_name = "FILE", conflicts_with = "private_key")]
    pub share_files: Vec<PathBuf>,
    /// The private key that `backup keygen` wrote
    #[arg(long, value_name = "FILE")]
    pub private_key: Option<PathBuf>,
}

#[derive(Args, Debug)]
#[expect(missing_docs, reason = "the help text says it")]
pub struct Verify {
    /// The backup
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    pub opener: Opener,
    /// Folder for the trial, with room for the catalog [default: the system's temporary folder]
    #[arg(long, value_name = "DIR")]
    pub work: Option<PathBuf>,
}

#[derive(Args, Debug)]
#[expect(missing_docs, reason = "the help text says it")]
pub struct Restore {
    /// The backup
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    pub opener: Opener,
    /// The list of `backup tombstones`, or the old state folder
    #[arg(long, value_name = "FILE|OLD_STATE_DIR")]
    pub tombstones: Option<PathBuf>,
    /// Adds a recovery slot with the passphrase in this file; - is standard input
    #[arg(long, value_name = "FILE")]
    pub new_passphrase_file: Option<PathBuf>,
}

fn quorum(text: &str) -> Result<(u8, u8), String> {
    let wrong = || "write it as 3/5: three of five open".to_owned();
    let (threshold, of) = text.split_once('/').ok_or_else(wrong)?;
    let number = |text: &str| text.trim().parse::<u8>().map_err(|_| wrong());
    let (threshold, of) = (number(threshold)?, number(of)?);
    keymanager::check_quorum(threshold, of).map_err(|error| error.to_string())?;
    Ok((threshold, of))
}
