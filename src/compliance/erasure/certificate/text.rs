//! The lines of a certificate: written and read in one order, `label: value` each.

use std::fmt::{self, Display};
use std::str::{FromStr, Split};

use crate::clock::Timestamp;
use crate::compliance::erasure::{ErasureReason, SelectedBy};
use crate::domain::doomed::{DoomedKind, FileEvidence, JournalFate};
use crate::domain::{DestructionEvidence, Overwrite};

use super::fields::history_word;
use super::{CertificateFacts, CertifiedFile, History, KeyFate, MetadataFate, Signed};

/// A text that is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is not as this program writes it")]
pub struct TextFault {
    /// The first line that is not, from 1.
    pub line: usize,
}

impl TextFault {
    pub(super) fn moved_by(self, lines: usize) -> Self {
        Self { line: self.line + lines }
    }
}

/// Everything that is signed.
pub(super) fn statement(facts: &CertificateFacts, says: &[String]) -> String {
    let mut out = Lines::titled(TITLE);
    out.put("number", facts.number);
    out.put("previous", Hex(&facts.previous));
    out.put("issued at", facts.issued_at);
    out.put("recording", facts.recording);
    out.put("conversation", unknown_as_dash(facts.conversation));
    out.put("data key", unknown_as_dash(facts.data_key));
    out.put("job", facts.job);
    out.put("chosen by", facts.selection.as_str());
    out.put("reason", facts.reason.as_str());
    out.put("requested by", &facts.requested_by);
    out.put("approved by", unknown_as_dash(facts.approved_by.as_ref()));
    out.put("planned at", facts.planned_at);
    out.put("nothing protected it at", facts.cleared_at);
    out.put("key", facts.key.as_str());
    out.put("key version", unknown_as_dash(facts.key_version));
    out.put("sealed to", unknown_as_dash(facts.sealed_to.as_ref()));
    out.put("history", history_word(&facts.history));
    match &facts.history {
        History::NeverInClear => {}
        History::WasInClear { original: None } => out.put("original", NONE),
        History::WasInClear { original: Some(evidence) } => {
            out.put("original", DESTROYED);
            put_destruction(&mut out, "original", evidence);
        }
    }
    out.put("metadata", facts.metadata.as_str());
    out.put("known backups with the key", facts.backups);
    out.put("files", facts.files.len());
    for (number, file) in (1..).zip(&facts.files) {
        put_file(&mut out, number, file);
    }
    out.put("below the block device", NOT_ATTESTED);
    out.put("program", &facts.program);
    out.put("host", &facts.host);
    says.iter().for_each(|sentence| out.put(SAYS, sentence));
    out.0
}

/// Adds the last two lines.
pub(super) fn close(statement: String, (key_id, signature): &Signed) -> String {
    let mut out = Lines(statement);
    out.put(SIGNING_KEY, Hex(key_id));
    out.put(SIGNATURE, Hex(signature));
    out.0
}

/// Reads what [`statement`] and [`close`] wrote; the caller compares with [`same`].
pub(super) fn parse(text: &str) -> Result<(CertificateFacts, Vec<String>, Signed), TextFault> {
    let mut from = Reader::begin(text, TITLE)?;
    let mut facts = CertificateFacts {
        number: from.value("number")?,
        previous: from.with("previous", unhex)?,
        issued_at: from.with("issued at", moment)?,
        recording: from.value("recording")?,
        conversation: from.maybe("conversation")?,
        data_key: from.maybe("data key")?,
        job: from.value("job")?,
        selection: from.with("chosen by", SelectedBy::from_name)?,
        reason: from.with("reason", ErasureReason::from_name)?,
        requested_by: from.value("requested by")?,
        approved_by: from.maybe("approved by")?,
        planned_at: from.with("planned at", moment)?,
        cleared_at: from.with("nothing protected it at", moment)?,
        key: from.with("key", KeyFate::from_name)?,
        key_version: from.maybe("key version")?,
        sealed_to: from.maybe("sealed to")?,
        history: read_history(&mut from)?,
        metadata: from.with("metadata", MetadataFate::from_name)?,
        backups: from.value("known backups with the key")?,
        files: read_files(&mut from)?,
        program: String::new(),
        host: String::new(),
    };
    from.with("below the block device", |value| (value == NOT_ATTESTED).then_some(()))?;
    facts.program = from.value("program")?;
    facts.host = from.value("host")?;
    let says = from.all(SAYS);
    let signed = from.signed()?;
    Ok((facts, says, signed))
}

/// Compares what was read, written again, with what it was read from.
pub(super) fn same(written: &str, read: &str) -> Result<(), TextFault> {
    if written == read {
        return Ok(());
    }
    let (mut written, mut read) = (written.split('\n'), read.split('\n'));
    let line = (1..).find(|_| written.next() != read.next());
    Err(TextFault { line: line.expect("two texts that differ differ in a line") })
}

/// Makes every text keep to its line, so that what is read back is what was written.
pub(super) fn keep_to_lines(facts: &mut CertificateFacts) {
    let texts = [&mut facts.requested_by, &mut facts.program, &mut facts.host];
    for text in texts.into_iter().chain(&mut facts.approved_by).chain(&mut facts.sealed_to) {
        *text = one_line(text);
    }
    let original = match &mut facts.history {
        History::NeverInClear | History::WasInClear { original: None } => None,
        History::WasInClear { original: Some(evidence) } => Some(evidence),
    };
    let of_files = facts.files.iter_mut().filter_map(|file| file.evidence.as_mut());
    for evidence in of_files.map(|evidence| &mut evidence.destruction).chain(original) {
        evidence.file_system = one_line(&evidence.file_system);
        evidence.media = one_line(&evidence.media);
    }
}

/// Text on one line of at most 200 bytes, without what moves other text about on screen or paper.
/// What is left of nothing, and the mark that stands for nothing, become a question mark.
fn one_line(text: &str) -> String {
    let mut line = String::new();
    for c in text.chars().take(LINE_BYTES_MAX).map(|c| if is_unprintable(c) { ' ' } else { c }) {
        if line.len() + c.len_utf8() > LINE_BYTES_MAX {
            break;
        }
        line.push(c);
    }
    match line.trim() {
        "" | NONE => UNNAMED.to_owned(),
        line => line.to_owned(),
    }
}

fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

fn put_file(out: &mut Lines, number: usize, file: &CertifiedFile) {
    let label = |what: &str| format!("file {number} {what}");
    out.put(&label("kind"), file.kind.as_str());
    out.put(&label("bytes"), file.bytes);
    out.put(&label("found"), yes_no(file.found));
    let Some(evidence) = &file.evidence else { return };
    put_destruction(out, &format!("file {number}"), &evidence.destruction);
    out.put(&label("journal"), evidence.journal.as_str());
    out.put(&label("moved"), yes_no(evidence.moved));
    out.put(&label("inode"), evidence.inode);
    out.put(&label("extents"), unknown_as_dash(evidence.extents.as_ref().map(|hash| Hex(hash))));
    out.put(&label("overwritten at"), evidence.at);
}

fn put_destruction(out: &mut Lines, whose: &str, evidence: &DestructionEvidence) {
    out.put(&format!("{whose} overwrite"), evidence.overwrite.as_str());
    out.put(&format!("{whose} overwritten bytes"), evidence.overwritten_bytes);
    out.put(&format!("{whose} file system"), &evidence.file_system);
    out.put(&format!("{whose} medium"), &evidence.media);
}

fn read_history(from: &mut Reader<'_>) -> Result<History, TextFault> {
    let unknown_end = History::WasInClear { original: None };
    let named = |value: &str| {
        [History::NeverInClear, unknown_end].into_iter().find(|one| history_word(one) == value)
    };
    if from.with("history", named)? == History::NeverInClear {
        return Ok(History::NeverInClear);
    }
    let is_known = |value: &str| match value {
        NONE => Some(false),
        DESTROYED => Some(true),
        _ => None,
    };
    let original = match from.with("original", is_known)? {
        true => Some(read_destruction(from, "original")?),
        false => None,
    };
    Ok(History::WasInClear { original })
}

fn read_files(from: &mut Reader<'_>) -> Result<Vec<CertifiedFile>, TextFault> {
    let count = from.with("files", |value| value.parse().ok().filter(|n| *n <= FILES_MAX))?;
    (1..=count).map(|number| read_file(from, number)).collect()
}

fn read_file(from: &mut Reader<'_>, number: usize) -> Result<CertifiedFile, TextFault> {
    let label = |what: &str| format!("file {number} {what}");
    let kind = from.with(&label("kind"), DoomedKind::from_name)?;
    let bytes = from.value(&label("bytes"))?;
    let found = from.with(&label("found"), from_yes_no)?;
    if !from.is_next(&label("overwrite")) {
        return Ok(CertifiedFile { kind, bytes, found, evidence: None });
    }
    let evidence = FileEvidence {
        destruction: read_destruction(from, &format!("file {number}"))?,
        journal: from.with(&label("journal"), JournalFate::from_name)?,
        moved: from.with(&label("moved"), from_yes_no)?,
        inode: from.value(&label("inode"))?,
        extents: from.with(&label("extents"), |value| match value {
            NONE => Some(None),
            hash => unhex(hash).map(Some),
        })?,
        at: from.with(&label("overwritten at"), moment)?,
    };
    Ok(CertifiedFile { kind, bytes, found, evidence: Some(evidence) })
}

fn read_destruction(from: &mut Reader<'_>, whose: &str) -> Result<DestructionEvidence, TextFault> {
    Ok(DestructionEvidence {
        overwrite: from.with(&format!("{whose} overwrite"), Overwrite::from_name)?,
        overwritten_bytes: from.value(&format!("{whose} overwritten bytes"))?,
        file_system: from.value(&format!("{whose} file system"))?,
        media: from.value(&format!("{whose} medium"))?,
    })
}

/// A text that is being written.
pub(super) struct Lines(pub(super) String);

impl Lines {
    pub(super) fn titled(title: &str) -> Self {
        Self(format!("{title}\n"))
    }

    pub(super) fn put(&mut self, label: &str, value: impl Display) {
        self.0.push_str(&format!("{label}: {value}\n"));
    }
}

/// A text that is being read.
pub(super) struct Reader<'t> {
    lines: Split<'t, char>,
    line: usize,
}

impl<'t> Reader<'t> {
    pub(super) fn begin(text: &'t str, title: &str) -> Result<Self, TextFault> {
        let mut reader = Self { lines: text.split('\n'), line: 1 };
        let is_ours = text.len() <= TEXT_BYTES_MAX && reader.lines.next() == Some(title);
        if is_ours { Ok(reader) } else { Err(TextFault { line: 1 }) }
    }

    /// The value of the next line, which has to be `label`'s, as `read` understands it.
    pub(super) fn with<T>(
        &mut self,
        label: &str,
        read: impl FnOnce(&'t str) -> Option<T>,
    ) -> Result<T, TextFault> {
        self.line += 1;
        let value = self.lines.next().and_then(|line| value_of(line, label));
        value.and_then(read).ok_or(TextFault { line: self.line })
    }

    pub(super) fn value<T: FromStr>(&mut self, label: &str) -> Result<T, TextFault> {
        self.with(label, |value| value.parse().ok())
    }

    fn maybe<T: FromStr>(&mut self, label: &str) -> Result<Option<T>, TextFault> {
        self.with(label, |value| match value {
            NONE => Some(None),
            value => value.parse().ok().map(Some),
        })
    }

    fn is_next(&self, label: &str) -> bool {
        self.lines.clone().next().is_some_and(|line| value_of(line, label).is_some())
    }

    /// The values of all lines of `label` that follow.
    pub(super) fn all(&mut self, label: &str) -> Vec<String> {
        let mut values = Vec::new();
        while self.is_next(label) {
            let value = self.with(label, |value| Some(value.to_owned()));
            values.push(value.expect("it was looked at"));
        }
        values
    }

    /// The last two lines.
    pub(super) fn signed(&mut self) -> Result<Signed, TextFault> {
        Ok((self.with(SIGNING_KEY, unhex)?, self.with(SIGNATURE, unhex)?))
    }
}

fn value_of<'l>(line: &'l str, label: &str) -> Option<&'l str> {
    line.strip_prefix(label)?.strip_prefix(": ")
}

/// Bytes as lower-case hexadecimal digits.
pub(super) struct Hex<'b>(pub(super) &'b [u8]);

impl Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

pub(super) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let mut bytes = [0; N];
    let pairs = text.as_bytes().chunks_exact(2);
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

pub(super) fn moment(text: &str) -> Option<Timestamp> {
    let moment: jiff::Timestamp = text.parse().ok()?;
    Some(Timestamp::from_millis(moment.as_millisecond()))
}

/// `-` for what there is none of.
pub(super) fn unknown_as_dash(value: Option<impl Display>) -> String {
    value.map_or_else(|| NONE.to_owned(), |value| value.to_string())
}

fn yes_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

fn from_yes_no(text: &str) -> Option<bool> {
    [true, false].into_iter().find(|value| yes_no(*value) == text)
}

const TITLE: &str = "recseal certificate of erasure 1";
const DESTROYED: &str = "destroyed";
const NOT_ATTESTED: &str = "not attested";
pub(super) const SAYS: &str = "says";
const SIGNING_KEY: &str = "signing key";
const SIGNATURE: &str = "signature";
const NONE: &str = "-";
const UNNAMED: &str = "?";
const LINE_BYTES_MAX: usize = 200;
/// More than any recording has; what has more is not certified.
pub(super) const FILES_MAX: usize = 10_000;
/// More than a certificate of that many files takes.
const TEXT_BYTES_MAX: usize = 16 << 20;
