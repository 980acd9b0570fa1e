//! The arguments of `recseal holds` and `recseal retention`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use uuid::Uuid;

#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the help text says it")]
pub enum Holds {
    /// Keep recordings from being erased or anonymized
    #[command(after_help = "Example:\n  \
        recseal holds place --reason 'case 2026-117' --until 2028-01-31 \\\n    \
        --recording 0192f0c8-7a3b-7c4d-8e5f-123456789abc")]
    Place(Place),
    /// List the holds in force
    #[command(after_help = "Example:\n  recseal holds list --all")]
    List {
        /// Those that were lifted, too
        #[arg(long)]
        all: bool,
    },
    /// Show one hold and what it covers
    #[command(after_help = "Example:\n  \
        recseal holds show 0192f0c8-7a3b-7c4d-8e5f-123456789abc")]
    Show { id: Uuid },
    /// End a hold; erasures that waited for it go on by themselves
    #[command(after_help = "Example:\n  \
        recseal holds lift 0192f0c8-7a3b-7c4d-8e5f-123456789abc")]
    Lift { id: Uuid },
}

#[derive(Args, Debug)]
#[expect(missing_docs, reason = "the help text says it")]
pub struct Place {
    /// Why; - reads it from standard input
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    #[command(flatten)]
    pub targets: Targets,
    /// Until when; without it until it is lifted
    #[arg(long, value_name = "DATE")]
    pub until: Option<String>,
}

/// What a hold covers.
#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
pub struct Targets {
    /// This recording; may be given again
    #[arg(long = "recording", value_name = "ID")]
    pub recordings: Vec<Uuid>,
    /// All recordings of this conversation, those that come later too; may be given again
    #[arg(long = "conversation", value_name = "ID")]
    pub conversations: Vec<Uuid>,
}

#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the help text says it")]
pub enum Retention {
    /// List the rules
    #[command(after_help = "Example:\n  recseal retention list")]
    List,
    /// Add a rule: how long recordings are kept at least, and when they go
    ///
    /// Of all rules that cover a recording the longest wins. What no rule covers is kept.
    #[command(after_help = "Examples:\n  \
        recseal retention add support --store /var/spool/asterisk/monitor --erase-after 90d\n  \
        recseal retention add trading --tag trading --keep 5y --mifid")]
    Add(Rule),
    /// Remove a rule
    #[command(after_help = "Example:\n  \
        recseal retention remove 0192f0c8-7a3b-7c4d-8e5f-123456789abc")]
    Remove { id: Uuid },
    /// Show what is due by now, and by which rule; nothing is erased
    #[command(after_help = "Example:\n  recseal retention plan")]
    Plan,
    /// Mark a recording as a MiFID record: it is neither erased nor anonymized until then
    #[command(after_help = "Example:\n  \
        recseal retention protect 0192f0c8-7a3b-7c4d-8e5f-123456789abc --until 2031-11-30")]
    Protect {
        /// The recording
        id: Uuid,
        /// Until when; without it until `retention unprotect`
        #[arg(long, value_name = "DATE")]
        until: Option<String>,
    },
    /// Take that mark away
    #[command(after_help = "Example:\n  \
        recseal retention unprotect 0192f0c8-7a3b-7c4d-8e5f-123456789abc")]
    Unprotect {
        /// The recording
        id: Uuid,
    },
    /// Show everything that protects a recording now
    #[command(after_help = "Example:\n  \
        recseal retention protections 0192f0c8-7a3b-7c4d-8e5f-123456789abc")]
    Protections {
        /// The recording
        id: Uuid,
    },
}

#[derive(Args, Debug)]
#[expect(missing_docs, reason = "the help text says it")]
pub struct Rule {
    /// Its name
    pub name: String,
    /// Only recordings of the store with this path
    #[arg(long, value_name = "PATH")]
    pub store: Option<PathBuf>,
    /// Only audio or only video
    #[arg(long, value_name = "KIND")]
    pub kind: Option<Kind>,
    /// Only recordings whose conversation has this tag
    #[arg(long, value_name = "TAG")]
    pub tag: Option<String>,
    /// Only recordings whose conversation has this key, or this pair
    #[arg(long, value_name = "KEY[=VALUE]")]
    pub metadata: Option<String>,
    /// Not erased before they are so old, as 90d or 5y; rounded up to whole days
    #[arg(long, value_name = "TIME", value_parser = days)]
    pub keep: Option<u32>,
    /// Erased once they are so old
    #[arg(long, value_name = "TIME", value_parser = days)]
    pub erase_after: Option<u32>,
    /// What it keeps are MiFID records
    #[arg(long, requires = "keep")]
    pub mifid: bool,
}

/// What a recording consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Kind {
    Audio,
    Video,
}

fn days(text: &str) -> Result<u32, String> {
    let span = humantime::parse_duration(text).map_err(|_| "write it as 90d, 6months or 5y")?;
    let days = span.as_secs().div_ceil(DAY.as_secs());
    u32::try_from(days).ok().filter(|days| *days <= DAYS_MAX).ok_or("take 1d to 100y".to_owned())
}

const DAY: Duration = Duration::from_secs(86_400);
const DAYS_MAX: u32 = 36_525;

#[cfg(test)]
mod tests {
    use super::*;

    /// Planted fault: rounded down, a rule of 12 hours keeps for no time at all.
    #[test]
    fn times_are_whole_days() {
        for (text, found) in [
            ("90d", Some(90)),
            ("12h", Some(1)),
            ("5y", Some(1_827)),
            ("1000y", None),
            ("soon", None),
            ("90", None),
        ] {
            assert_eq!(days(text).ok(), found, "{text}");
        }
    }
}
