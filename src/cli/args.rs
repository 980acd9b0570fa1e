//! The command line as people type it. `--help`, completions and man pages come from here.

pub mod authority;
pub mod backup;
pub mod certificate;
pub mod certs;
pub mod erase;
pub mod holds;
pub mod keks;
pub mod keys;
pub mod redact;
pub mod slots;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use uuid::Uuid;

use crate::access::Role;
use crate::http::view::parse_state;

/// Seals, keeps and erases the recordings of any call or screen recorder.
#[derive(Debug, Parser)]
#[command(
    name = "recseal",
    version,
    max_term_width = 100,
    arg_required_else_help = true,
    after_help = "Start here:\n  \
        recseal serve --state ./state --store /var/spool/asterisk/monitor:asterisk\n  \
        recseal status --state ./state\n  \
        recseal recordings --state ./state\n\n\
        Exit codes: 0 ok, 1 failed, 2 usage, 3 configuration, 4 verification failed,\n\
        5 refused, 6 not found, 7 daemon not reachable, 8 partly done"
)]
pub struct Cli {
    /// Where the daemon is, and how to print.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes, before or after its name.
#[derive(Args, Clone, Debug, Default)]
pub struct Global {
    /// The daemon's state folder [default: $STATE_DIRECTORY, else ./recseal-state]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Where")]
    pub state: Option<PathBuf>,
    /// The daemon's socket, if it is not DIR/recseal.sock
    #[arg(long, global = true, value_name = "PATH", help_heading = "Where")]
    pub socket: Option<PathBuf>,
    /// Print one JSON document and nothing else
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "variants that carry arguments are explained by them")]
pub enum Command {
    /// Run the daemon in the foreground
    ///
    /// Without a state folder it makes a complete one: keys, certificate, catalog and socket.
    #[command(after_help = "Example:\n  \
        recseal serve --state /var/lib/recseal --store /var/spool/asterisk/monitor:asterisk")]
    Serve(Serve),
    /// Make a state folder without starting the daemon
    #[command(after_help = "Example:\n  \
        recseal init --state /var/lib/recseal --names recorder1.example.org,localhost --passphrase")]
    ///
    /// On a terminal, and without any of its options, it asks for names and certificate.
    #[command(after_help = "Examples:\n  \
        recseal init --state /var/lib/recseal --names recorder1.example.org,localhost\n  \
        recseal init --cert chain.pem --key server.key --names recorder1.example.org\n  \
        recseal init --names recorder1.example.org --csr recorder1.csr")]
    Init(Init),
    /// Show how the daemon is doing
    #[command(after_help = "Example:\n  recseal status --json | jq .recordings")]
    Status,
    /// List recordings, show one, or release one from quarantine
    #[command(after_help = "Examples:\n  \
        recseal recordings --state-is quarantined\n  \
        recseal recordings show 0192f0c8-7a3b-7c4d-8e5f-123456789abc")]
    Recordings(Recordings),
    /// Save the media of a recording
    ///
    /// With the id of a recording the daemon opens it. With a sealed file and its key file
    /// nothing else is needed; without the key file the daemon is asked for the key.
    #[command(after_help = "Examples:\n  \
        recseal open 0192f0c8-7a3b-7c4d-8e5f-123456789abc -o call.wav\n  \
        recseal open copy.sealed --key call.key -o call.wav\n  \
        recseal open copy.sealed --key call.key --seal-key archive.private -o call.wav\n  \
        recseal open ID -o - | ffplay -")]
    Open(Open),
    /// Prove that sealed media can be opened, every byte of it
    #[command(after_help = "Examples:\n  \
        recseal verify 0192f0c8-7a3b-7c4d-8e5f-123456789abc\n  \
        recseal verify copy.sealed --key call.key")]
    Verify(Verify),
    /// Erase recordings for good, watch and steer erasures
    ///
    /// What would happen is shown first. The key is destroyed, every copy overwritten and looked
    /// at, names are scrubbed, and a signed certificate says what was seen. What a hold, a tag or a
    /// rule protects waits and goes on by itself. Exit code 5: all of it is protected; 8: some.
    #[command(after_help = "Examples:\n  \
        recseal erase --recording 0192f0c8-7a3b-7c4d-8e5f-123456789abc --wait\n  \
        echo +12025550143 | recseal erase --person - --dry-run\n  \
        recseal erase --due --yes\n  \
        recseal erase status --follow")]
    Erase(erase::Erase),
    /// Place and lift legal holds: what is held is not erased
    #[command(after_help = "Examples:\n  \
        recseal holds place --reason 'case 2026-117' --conversation 0192f0c8-7a3b-7c4d-8e5f-123456789abc\n  \
        recseal holds list")]
    Holds {
        #[command(subcommand)]
        what: holds::Holds,
    },
    /// Say how long recordings are kept and when they go
    #[command(after_help = "Examples:\n  \
        recseal retention add support --erase-after 90d\n  \
        recseal retention plan")]
    Retention {
        #[command(subcommand)]
        what: holds::Retention,
    },
    /// Leave stretches of time out of a recording, for good
    ///
    /// The recording is made anew: silence, or a tone, and a black picture stand where something
    /// is left out. It is sealed under a new id and a new key and compared with what was written;
    /// then the original is handed to the erasure, and so are the files that stood beside it.
    ///
    /// PCM and G.711 sound changes in these stretches only, to the bit. Other sound, and video,
    /// is encoded anew by ffmpeg, which has to be installed. Tags, covers, subtitles and chapters
    /// are never taken over. Recordings that are sealed to a public key cannot be redacted here.
    #[command(after_help = "Examples:\n  \
        recseal redact 0192f0c8-7a3b-7c4d-8e5f-123456789abc --range 10s-15s --dry-run\n  \
        recseal redact ID --range 00:01:05-00:01:09 --range 2m-2m30s --beep\n  \
        recseal redact ID --range 65.2-69 --channel 2\n  \
        recseal redact ID --range 10s-15s --video-only")]
    Redact(redact::Redact),
    /// Lead the lives of keys: rotate, destroy, unlock, take out that of one recording
    #[command(after_help = "Examples:\n  \
        recseal keys list\n  \
        recseal keys rotate --wait\n  \
        recseal keys slots add passphrase\n  \
        recseal keys export 0192f0c8-7a3b-7c4d-8e5f-123456789abc -o call.key\n  \
        recseal keys public -o signing.pub")]
    Keys {
        #[command(subcommand)]
        what: keys::Keys,
    },
    /// Show and change what the HTTPS listener serves
    #[command(after_help = "Examples:\n  \
        recseal certs show\n  \
        recseal certs show --pem > recseal.crt\n  \
        recseal certs import chain.pem --key server.key\n  \
        recseal certs rollback")]
    Certs {
        #[command(subcommand)]
        what: certs::Certs,
    },
    /// Save the certificate of an erasure, or check one (works with the daemon dead)
    #[command(after_help = "Examples:\n  \
        recseal certificate 0192f0c8-7a3b-7c4d-8e5f-123456789abc -o call.certificate\n  \
        recseal certificate verify call.certificate --public-key signing.pub\n  \
        recseal certificate render call.certificate --html -o call.html")]
    Certificate(certificate::Certificate),
    /// Back up keys and catalog, prove that a backup is good, restore one
    #[command(after_help = "Examples:\n  \
        recseal backup create -o /mnt/safe/monday.rsbackup\n  \
        recseal backup verify /mnt/safe/monday.rsbackup\n  \
        recseal backup restore monday.rsbackup --state /var/lib/recseal")]
    Backup {
        #[command(subcommand)]
        what: backup::Backup,
    },
    /// Create, list and revoke bearer tokens for HTTPS
    #[command(after_help = "Example:\n  \
        recseal tokens create grafana --role ops --expires 365d")]
    Tokens {
        #[command(subcommand)]
        what: Tokens,
    },
    /// Read the audit trail, or prove that nobody changed it
    #[command(after_help = "Examples:\n  \
        recseal audit --activity MEDIA_PLAYED --from 2026-11-01\n  \
        recseal audit verify --state /var/lib/recseal")]
    Audit(Audit),
    /// Check or print the configuration
    #[command(after_help = "Examples:\n  \
        recseal config check /etc/recseal/recseal.toml\n  \
        recseal config show > recseal.toml")]
    Config {
        #[command(subcommand)]
        what: ConfigVerb,
    },
    /// Check this host and say what to mend
    #[command(after_help = "Example:\n  recseal doctor --config /etc/recseal/recseal.toml")]
    Doctor(ConfigFile),
    /// Tell the daemon that a recorder is done with a file (for recorder hooks)
    #[command(after_help = "Example, in Asterisk:\n  \
        MixMonitor(call.wav,,recseal done /var/spool/asterisk/monitor/call.wav)")]
    Done {
        /// The finished file
        path: PathBuf,
    },
    /// Print shell completions
    #[command(after_help = "Example:\n  \
        recseal completions bash > /etc/bash_completion.d/recseal")]
    Completions {
        /// For which shell
        shell: Shell,
    },
    /// Write the man pages
    #[command(after_help = "Example:\n  recseal man --out /usr/local/share/man/man1")]
    Man {
        /// Folder to write into
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

#[derive(Args, Clone, Debug, Default)]
#[expect(missing_docs, reason = "the help text says it")]
pub struct ConfigFile {
    /// The configuration file; none means the defaults
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A tree to watch, and its recorder's profile; may be given again
    ///
    /// Profiles: generic (the default), asterisk, freepbx, freeswitch, rtpengine, oreka, jibri,
    /// bigbluebutton (watch the folder `recording`, not `recording/raw`), livekit, obs.
    #[arg(long = "store", value_name = "PATH[:PROFILE]")]
    pub stores: Vec<String>,
}

#[derive(Args, Debug)]
#[expect(missing_docs, reason = "the help text says it")]
pub struct Serve {
    #[command(flatten)]
    pub file: ConfigFile,
    /// Address of the API over HTTPS; port 0 picks a free one
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,
    /// Address of health and metrics; port 0 picks a free one
    #[arg(long, value_name = "ADDR:PORT")]
    pub health_listen: Option<SocketAddr>,
}

#[derive(Args, Debug, Default)]
#[expect(missing_docs, reason = "the help text says it")]
pub struct Init {
    #[command(flatten)]
    pub file: ConfigFile,
    /// Host names and addresses for the certificate
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub names: Vec<String>,
    /// Ask for a passphrase that opens the keys if this machine is lost
    #[arg(long, conflicts_with = "passphrase_file")]
    pub passphrase: bool,
    /// Read that passphrase from a file; - is standard input
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// Use this certificate instead of a self-signed one: PEM with its chain, or PKCS#12
    #[arg(long, value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// The private key of --cert, if it is in a file of its own
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// Read the password of the key from a file; - is standard input
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub password_file: Option<PathBuf>,
    /// The root of a private authority, PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub root: Option<PathBuf>,
    /// Take --cert although it lacks some of the names; the reason is shown
    #[arg(long, value_name = "REASON", requires = "cert")]
    pub allow_names: Option<String>,
    /// Make a request for an authority and write it here; self-signed until it is answered
    #[arg(long, value_name = "FILE", conflicts_with = "cert")]
    pub csr: Option<PathBuf>,
}

#[derive(Args, Debug)]
#[expect(missing_docs, reason = "the help text says it")]
pub struct Recordings {
    /// Only those in this state: available, planned_for_deletion, deleted, quarantined, waiting
    #[arg(long, value_name = "STATE", value_parser = state_word)]
    pub state_is: Option<String>,
    /// Only those of this store
    #[arg(long, value_name = "PATH")]
    pub store: Option<PathBuf>,
    #[command(subcommand)]
    pub what: Option<RecordingVerb>,
}

#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the help text says it")]
pub enum RecordingVerb {
    /// Show everything known about one recording
    Show { id: Uuid },
    /// Let a quarantined recording be looked at again
    Release { id: Uuid },
}

#[derive(Args, Debug)]
#[expect(missing_docs, reason = "the help text says it")]
pub struct Open {
    /// Id of a recording, or a sealed file
    #[arg(value_name = "ID|SEALED_FILE")]
    pub what: PathBuf,
    /// The exported key of a sealed file: nothing else is needed then
    #[arg(long, value_name = "KEYFILE")]
    pub key: Option<PathBuf>,
    #[command(flatten)]
    pub seal_key: PrivateSealKey,
    #[command(flatten)]
    pub out: Out,
}

/// What opens a recording that its server sealed to a public key.
#[derive(Args, Debug, Default)]
pub struct PrivateSealKey {
    /// The private seal key, for a sealed file whose recorder cannot open it itself
    #[arg(long, value_name = "PRIVATE")]
    pub seal_key: Option<PathBuf>,
    /// Its passphrase is the first line of this file, - is standard input [default: asked for]
    #[arg(long, value_name = "FILE", visible_alias = "password-file", requires = "seal_key")]
    pub passphrase_file: Option<PathBuf>,
}

#[derive(Args, Debug)]
#[expect(missing_docs, reason = "the help text says it")]
pub struct Out {
    /// Where to; - is standard output
    #[arg(short, long, value_name = "FILE")]
    pub out: PathBuf,
    /// Replace the file if it exists
    #[arg(long)]
    pub force: bool,
}

#[derive(Args, Debug)]
#[expect(missing_docs, reason = "the help text says it")]
pub struct Verify {
    /// Id of a recording, or a sealed file
    #[arg(value_name = "ID|SEALED_FILE")]
    pub what: PathBuf,
    /// The exported key of a sealed file: nothing else is needed then
    #[arg(long, value_name = "KEYFILE")]
    pub key: Option<PathBuf>,
    #[command(flatten)]
    pub seal_key: PrivateSealKey,
}

#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the help text says it")]
pub enum Tokens {
    /// Make a token; it is shown this one time
    Create {
        /// What will use it
        name: String,
        /// cc-manager, compliance-analyst, admin, ops or auditor
        #[arg(long)]
        role: Role,
        /// For how long, as 90d or 12h; without it until revoked
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        expires: Option<Duration>,
    },
    /// List all tokens
    List,
    /// End a token now
    Revoke {
        /// Its id, as the list shows it
        id: String,
    },
}

#[derive(Args, Debug)]
#[expect(missing_docs, reason = "the help text says it")]
pub struct Audit {
    /// From this day or moment on [default: ten days ago]
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Up to this day or moment
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// Only this activity, as MEDIA_PLAYED
    #[arg(long, value_name = "NAME")]
    pub activity: Option<String>,
    /// Only this user, as uid:0
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// Only this result: ok, refused, failed
    #[arg(long, value_name = "RESULT")]
    pub result: Option<String>,
    #[command(subcommand)]
    pub what: Option<AuditVerb>,
}

#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the help text says it")]
pub enum AuditVerb {
    /// Prove that no entry was changed, removed or reordered (works with the daemon dead)
    Verify {
        /// The public signing keys, from `keys public` [default: those in the state folder]
        #[arg(long, value_name = "FILE")]
        public_key: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the help text says it")]
pub enum ConfigVerb {
    /// Check a file without starting anything
    Check {
        /// The file; none checks the defaults
        file: Option<PathBuf>,
    },
    /// Print the configuration with every default written out
    Show(ConfigFile),
}

fn state_word(text: &str) -> Result<String, String> {
    match parse_state(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err("take available, planned_for_deletion, deleted, quarantined or waiting".into()),
    }
}
