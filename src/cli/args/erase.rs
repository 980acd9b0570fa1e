//! The arguments of `recseal erase`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use uuid::Uuid;

use crate::config::parse_rate;

/// An order, or a verb about orders.
#[derive(Args, Debug)]
#[command(subcommand_negates_reqs = true)]
#[expect(missing_docs, reason = "the help text says it")]
pub struct Erase {
    #[command(flatten)]
    pub chosen: Chosen,
    /// Why, as the certificate will say [default: request; retention with --due]
    #[arg(long, value_name = "WHY")]
    pub reason: Option<Reason>,
    /// Only show what would happen
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// The number of recordings that you believe it to be; demanded of many
    #[arg(long, value_name = "N")]
    pub confirm: Option<u64>,
    /// Stay until all that may go is gone, and show how far it is
    #[arg(long)]
    pub wait: bool,
    #[command(subcommand)]
    pub what: Option<EraseVerb>,
}

/// What is to be erased: one of them.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub struct Chosen {
    /// This recording; may be given again
    #[arg(long = "recording", value_name = "ID")]
    pub recordings: Vec<Uuid>,
    /// All recordings of this conversation; may be given again
    #[arg(long = "conversation", value_name = "ID")]
    pub conversations: Vec<Uuid>,
    /// All that a telephone number, an address, a name or an id leads to
    ///
    /// - reads it from standard input: others on this host can see what stands on a command line.
    #[arg(long, value_name = "VALUE")]
    pub person: Option<String>,
    /// All that a query finds; - reads it from standard input
    #[arg(long, value_name = "QUERY")]
    pub query: Option<String>,
    /// All whose time is over by the rules of retention
    #[arg(long)]
    pub due: bool,
    /// Those recorded as the files listed in LIST, one path a line; - is standard input
    #[arg(long, value_name = "LIST")]
    pub files: Option<PathBuf>,
}

/// Why something is erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Reason {
    Request,
    Retention,
    Decision,
}

impl Reason {
    /// The word of the interface.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Retention => "retention",
            Self::Decision => "decision",
        }
    }
}

#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the help text says it")]
pub enum EraseVerb {
    /// Show how far the queue is, or one job
    #[command(after_help = "Examples:\n  \
        recseal erase status\n  \
        recseal erase status --follow\n  \
        recseal erase status 0192f0c8-7a3b-7c4d-8e5f-123456789abc --json")]
    Status {
        /// The job; without it the whole queue
        job: Option<Uuid>,
        /// Go on showing it until it is done; goes on after a restart of the daemon
        #[arg(long)]
        follow: bool,
    },
    /// List the jobs, newest first
    #[command(after_help = "Example:\n  recseal erase list")]
    List,
    /// List the recordings of a job
    #[command(after_help = "Example:\n  \
        recseal erase items 0192f0c8-7a3b-7c4d-8e5f-123456789abc --only blocked")]
    Items {
        /// The job
        job: Uuid,
        /// Only those that something protects, or that failed
        #[arg(long, value_name = "WHICH")]
        only: Option<Only>,
    },
    /// Agree to a job as the second person
    #[command(after_help = "Example:\n  \
        recseal erase approve 0192f0c8-7a3b-7c4d-8e5f-123456789abc")]
    Approve { job: Uuid },
    /// Stop a job, or the whole queue, until it is resumed
    #[command(after_help = "Example:\n  recseal erase pause")]
    Pause { job: Option<Uuid> },
    /// Go on with a job, or the whole queue
    #[command(after_help = "Example:\n  recseal erase resume")]
    Resume { job: Option<Uuid> },
    /// Take back what was not begun of a job
    #[command(after_help = "Example:\n  \
        recseal erase cancel 0192f0c8-7a3b-7c4d-8e5f-123456789abc")]
    Cancel { job: Uuid },
    /// Set how many bytes are overwritten per second at most
    #[command(after_help = "Examples:\n  \
        recseal erase limit 50M\n  \
        recseal erase limit off")]
    Limit {
        /// As 50M or 1G; 0 or off is no limit
        #[arg(value_name = "RATE", value_parser = rate)]
        rate: u64,
    },
    /// Replace the key version that old backups need, and set the date of its destruction
    ///
    /// A backup made before an erasure still holds the wrapped key. It is worth nothing once the
    /// version that wrapped it is destroyed; then the certificates become final. Call it again once the
    /// data keys are wrapped anew.
    #[command(after_help = "Examples:\n  \
        recseal erase finalize\n  \
        recseal erase finalize --now --yes")]
    Finalize {
        /// Destroy the old versions at once, without a way back [default: after keys.destroy_wait]
        #[arg(long)]
        now: bool,
        /// Do not ask (for --now)
        #[arg(long)]
        yes: bool,
    },
}

/// Which recordings of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Only {
    Blocked,
    Failing,
}

fn rate(text: &str) -> Result<u64, String> {
    parse_rate(text).ok_or_else(|| "write it as 50M or 1G; 0 or off is no limit".to_owned())
}
