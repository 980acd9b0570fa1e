//! `recseal certificate`: certificates of erasure, from the daemon, and checked without it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use hyper::Method;
use keymanager::{KeyError, PublicKey, Signature};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::compliance::erasure::certificate::{
    self, CertifiedFile, ErasureCertificate, Finality, History, Signed, TextFault, chain,
    hexadecimal,
};

use super::args::certificate::{Certificate, CertificateVerb};
use super::args::{Global, Out};
use super::failure::{Failure, exit};
use super::online::{save, say};
use super::output;

/// `recseal certificate …`
pub(super) fn run(global: &Global, verb: &Certificate) -> Result<(), Failure> {
    match (&verb.what, verb.id, &verb.out) {
        (Some(CertificateVerb::Verify { files, public_key }), _, _) => {
            verify(global, files, public_key)
        }
        (Some(CertificateVerb::Render { file, html, out, force }), _, _) => {
            let out = out.clone().map(|out| Out { out, force: *force });
            render(global, file, *html, out)
        }
        (None, Some(id), Some(out)) => {
            fetch(global, id, verb.html, &Out { out: out.clone(), force: verb.force })
        }
        (None, _, _) => {
            Err(Failure::usage("name a recording and a file", "as `certificate ID -o FILE`"))
        }
    }
}

fn fetch(global: &Global, id: Uuid, html: bool, out: &Out) -> Result<(), Failure> {
    let format = if html { "?format=html" } else { "" };
    let target = format!("/api/v1/recordings/{id}/certificate{format}");
    let text = super::remote(global)?.text(Method::GET, &target, None)?;
    save(global, out, text.as_bytes())
}

fn render(global: &Global, file: &Path, html: bool, out: Option<Out>) -> Result<(), Failure> {
    let (certificate, finality) = match read(file)? {
        Text::Paper(certificate, finality) => (*certificate, finality),
        Text::Finality(_) | Text::Other => return Err(damaged(file, TextFault { line: 1 })),
    };
    let finalities: Vec<Finality> = finality.into_iter().collect();
    if html {
        let out = out.unwrap_or(Out { out: PathBuf::from("-"), force: false });
        return save(global, &out, certificate::html(&certificate, &finalities).as_bytes());
    }
    let words = certificate::plain(&certificate, &finalities) + "\n" + NOT_CHECKED;
    match out {
        Some(out) => save(global, &out, words.as_bytes()),
        None => say(global, &view(&certificate, finalities.first()), &words),
    }
}

fn verify(global: &Global, files: &[PathBuf], public_key: &Path) -> Result<(), Failure> {
    let keys = super::audit::read_public_keys(public_key)?;
    let papers = Papers::collect(files)?;
    for (file, certificate) in &papers.certificates {
        must_be_signed(&keys, file, |is_signed| certificate.verify(is_signed))?;
    }
    for (file, finality) in &papers.finalities {
        must_be_signed(&keys, file, |is_signed| finality.verify(is_signed))?;
        let is_ours =
            |(_, certificate): &(PathBuf, ErasureCertificate)| finality.is_of(certificate);
        if !papers.certificates.iter().any(is_ours) {
            return Err(Failure::new(
                exit::VERIFICATION_FAILED,
                format!("the statement of finality in {} is of no certificate here", name(file)),
                format!("verify it together with certificate {}", finality.number()),
            ));
        }
    }
    let ordered: Vec<&ErasureCertificate> =
        papers.certificates.iter().map(|(_, certificate)| certificate).collect();
    let chain = chain::check(&ordered).map_err(|fault| {
        let hint = "the certificates before that number are in order; ask for the others again";
        Failure::of(exit::VERIFICATION_FAILED, &fault, hint)
    })?;
    let Some(chain) = chain else {
        return Err(Failure::new(
            exit::NOT_FOUND,
            "there is no certificate of erasure",
            "name files that `recseal certificate ID -o FILE` wrote",
        ));
    };
    let is_one = matches!(files, [file] if !file.is_dir());
    match ordered[..] {
        [certificate] if is_one => say_one(global, certificate, papers.finality_of(certificate)),
        _ => say_many(global, &papers, chain),
    }
}

fn say_one(
    global: &Global,
    certificate: &ErasureCertificate,
    finality: Option<&Finality>,
) -> Result<(), Failure> {
    let mut answer = view(certificate, finality);
    answer["verified"] = json!(true);
    let finalities: Vec<Finality> = finality.cloned().into_iter().collect();
    let words = format!(
        "verified: certificate {} of recording {}, signed with key {}\n\n{}",
        certificate.facts().number,
        certificate.facts().recording,
        hexadecimal(&certificate.key_id()),
        certificate::plain(certificate, &finalities),
    );
    say(global, &answer, &words)
}

fn say_many(global: &Global, papers: &Papers, chain: chain::Chain) -> Result<(), Failure> {
    let mut ordered: Vec<&ErasureCertificate> =
        papers.certificates.iter().map(|(_, certificate)| certificate).collect();
    ordered.sort_by_key(|certificate| certificate.facts().number);
    let views = ordered.iter().map(|one| view(one, papers.finality_of(one)));
    let answer = json!({
        "verified": true,
        "chain": {
            "first": chain.first,
            "last": chain.last,
            "certificates": ordered.len(),
            "final": papers.finalities.len(),
        },
        "files_not_read": papers.others,
        "certificates": views.collect::<Vec<_>>(),
    });
    if global.json {
        return output::print_json(&answer);
    }
    let row = |one: &&ErasureCertificate| {
        let facts = one.facts();
        let finality = papers.finality_of(one);
        vec![
            facts.number.to_string(),
            facts.recording.to_string(),
            facts.issued_at.to_string(),
            facts.key.as_str().to_owned(),
            finality.map_or_else(|| "-".to_owned(), |one| one.final_at().to_string()),
        ]
    };
    let rows: Vec<Vec<String>> = ordered.iter().map(row).collect();
    output::print_table(&["NUMBER", "RECORDING", "ISSUED", "KEY", "FINAL SINCE"], &rows)?;
    let before = match chain.first {
        1 => "nothing is missing before or between them".to_owned(),
        first => format!("none is missing between them; those before {first} are not here"),
    };
    output::print(&format!("verified: certificates {} to {}; {before}\n", chain.first, chain.last))
}

/// What was found in files and folders.
#[derive(Default)]
struct Papers {
    certificates: Vec<(PathBuf, ErasureCertificate)>,
    finalities: Vec<(PathBuf, Finality)>,
    /// Files of folders that are neither.
    others: u64,
}

impl Papers {
    fn collect(files: &[PathBuf]) -> Result<Self, Failure> {
        let mut papers = Self::default();
        for file in files {
            if !file.is_dir() {
                if matches!(papers.add(file)?, Text::Other) {
                    return Err(damaged(file, TextFault { line: 1 }));
                }
                continue;
            }
            let unreadable = |error: io::Error| Failure::file("folder of certificates", &error);
            for entry in file.read_dir().map_err(unreadable)? {
                let path = entry.map_err(unreadable)?.path();
                if path.is_file() && matches!(papers.add(&path)?, Text::Other) {
                    papers.others += 1;
                }
            }
        }
        Ok(papers)
    }

    /// Takes what is in `file`. The same paper in two files is one paper.
    fn add(&mut self, file: &Path) -> Result<Text, Failure> {
        let text = read(file)?;
        let finality = match &text {
            Text::Other => None,
            Text::Finality(finality) => Some(finality),
            Text::Paper(certificate, finality) => {
                if self.certificates.iter().all(|(_, known)| known != &**certificate) {
                    self.certificates.push((file.to_owned(), (**certificate).clone()));
                }
                finality.as_ref()
            }
        };
        if let Some(finality) = finality
            && self.finalities.iter().all(|(_, known)| known != finality)
        {
            self.finalities.push((file.to_owned(), finality.clone()));
        }
        Ok(text)
    }

    fn finality_of(&self, certificate: &ErasureCertificate) -> Option<&Finality> {
        self.finalities.iter().map(|(_, one)| one).find(|one| one.is_of(certificate))
    }
}

/// What a file holds.
enum Text {
    Paper(Box<ErasureCertificate>, Option<Finality>),
    Finality(Finality),
    Other,
}

fn read(path: &Path) -> Result<Text, Failure> {
    let unreadable = |error: io::Error| Failure::file("certificate", &error);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(TEXT_BYTES_MAX).read_to_end(&mut bytes).map_err(unreadable)?;
    let Ok(text) = String::from_utf8(bytes) else { return Ok(Text::Other) };
    let faulty = |fault| damaged(path, fault);
    match text.lines().next() {
        Some(title) if title.starts_with(CERTIFICATE) => {
            let (certificate, finality) =
                certificate::parse_with_finality(&text).map_err(faulty)?;
            Ok(Text::Paper(Box::new(certificate), finality))
        }
        Some(title) if title.starts_with(FINALITY) => {
            Ok(Text::Finality(Finality::parse(&text).map_err(faulty)?))
        }
        _ => Ok(Text::Other),
    }
}

fn damaged(file: &Path, fault: TextFault) -> Failure {
    Failure::new(
        exit::VERIFICATION_FAILED,
        format!("{} is not a certificate as it was issued: {fault}", name(file)),
        "take the file as `recseal certificate ID -o FILE` wrote it, to the byte",
    )
}

/// Asks `verify` with a check against `keys`.
fn must_be_signed(
    keys: &[PublicKey],
    file: &Path,
    verify: impl FnOnce(&mut dyn FnMut(&'static str, &[u8], &Signed) -> bool) -> bool,
) -> Result<(), Failure> {
    let mut why: Option<KeyError> = None;
    let mut is_signed = |context: &'static str, message: &[u8], signed: &Signed| {
        let signature = Signature { key_id: signed.0, bytes: signed.1 };
        why = keymanager::verify_signature(keys, context, message, &signature).err();
        why.is_none()
    };
    let is_good = verify(&mut is_signed);
    match why {
        None if is_good => Ok(()),
        why => {
            let why = why.map_or_else(|| "it was not signed".to_owned(), |why| why.to_string());
            Err(Failure::new(
                exit::VERIFICATION_FAILED,
                format!("{}: {why}", name(file)),
                "it was changed, or the public keys are not those of the host that signed it",
            ))
        }
    }
}

/// The last part of the path that was typed.
fn name(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn view(certificate: &ErasureCertificate, finality: Option<&Finality>) -> Value {
    let facts = certificate.facts();
    let id = |id: Option<String>| id.map_or(Value::Null, Value::String);
    let original = match &facts.history {
        History::NeverInClear | History::WasInClear { original: None } => Value::Null,
        History::WasInClear { original: Some(seen) } => json!({
            "overwrite": seen.overwrite.as_str(),
            "overwritten_bytes": seen.overwritten_bytes,
            "file_system": seen.file_system,
            "medium": seen.media,
        }),
    };
    let says = certificate.says().iter().chain(finality.into_iter().flat_map(Finality::says));
    json!({
        "number": facts.number,
        "previous": hexadecimal(&facts.previous),
        "sha256": hexadecimal(&certificate.sha256()),
        "issued_at": facts.issued_at.to_string(),
        "recording": facts.recording.to_string(),
        "conversation": id(facts.conversation.map(|id| id.to_string())),
        "data_key": id(facts.data_key.map(|id| id.to_string())),
        "job": facts.job.to_string(),
        "chosen_by": facts.selection.as_str(),
        "reason": facts.reason.as_str(),
        "requested_by": facts.requested_by,
        "approved_by": facts.approved_by,
        "planned_at": facts.planned_at.to_string(),
        "cleared_at": facts.cleared_at.to_string(),
        "key": facts.key.as_str(),
        "key_version": facts.key_version,
        "sealed_to": facts.sealed_to,
        "was_in_clear": facts.history != History::NeverInClear,
        "original": original,
        "metadata": facts.metadata.as_str(),
        "backups": facts.backups,
        "files": facts.files.iter().map(file_view).collect::<Vec<_>>(),
        "program": facts.program,
        "host": facts.host,
        "signer": hexadecimal(&certificate.key_id()),
        "final": finality.is_some(),
        "final_at": finality.map(|one| one.final_at().to_string()),
        "destroyed_versions": finality.map(|one| one.destroyed_versions().to_vec()),
        "sentences": says.collect::<Vec<_>>(),
    })
}

fn file_view(file: &CertifiedFile) -> Value {
    let mut view = json!({
        "kind": file.kind.as_str(),
        "bytes": file.bytes,
        "found": file.found,
    });
    if let Some(evidence) = &file.evidence {
        view["overwrite"] = json!(evidence.destruction.overwrite.as_str());
        view["overwritten_bytes"] = json!(evidence.destruction.overwritten_bytes);
        view["overwritten_at"] = json!(evidence.at.to_string());
        view["journal"] = json!(evidence.journal.as_str());
        view["moved"] = json!(evidence.moved);
        view["file_system"] = json!(evidence.destruction.file_system);
        view["medium"] = json!(evidence.destruction.media);
        view["inode"] = json!(evidence.inode);
        view["extents"] = json!(evidence.extents.as_ref().map(|hash| hexadecimal(hash)));
    }
    view
}

const CERTIFICATE: &str = "recseal certificate of erasure ";
const FINALITY: &str = "recseal statement of finality ";
const NOT_CHECKED: &str =
    "The signature was not checked: recseal certificate verify FILE --public-key FILE\n";
/// More than the longest certificate with its statement of finality.
const TEXT_BYTES_MAX: u64 = 32 << 20;
