//! Certificates of erasure as an auditor meets them: files, public keys, and the program with no
//! daemon anywhere. Signed by a real key store.

#![expect(clippy::unwrap_used, reason = "what cannot go on fails the test")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::daemon::program;
use common::{or_skip, run, tools};
use keymanager::{KeyManager, public_keys_to_pem};
use recseal::clock::Timestamp;
use recseal::compliance::erasure::certificate::{
    CertificateFacts, CertifiedFile, ErasureCertificate, Finality, History, KeyFate, MetadataFate,
    Signed, with_finality,
};
use recseal::compliance::erasure::{ErasureReason, SelectedBy};
use recseal::domain::doomed::{DoomedKind, FileEvidence, JournalFate};
use recseal::domain::{DataKeyId, DestructionEvidence, JobId, Overwrite, RecordingId, SealedKind};

/// A host with a signing key, and a folder for what it hands out.
struct Host {
    folder: tempfile::TempDir,
    keys: KeyManager,
}

impl Host {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let names = ["localhost".to_owned()];
        let keys = KeyManager::create(&folder.path().join("keys"), &names, NOW_MS).unwrap();
        let host = Self { folder, keys };
        host.write("signing.pub", &public_keys_to_pem(&host.keys.public_signing_keys()));
        std::fs::create_dir(host.path("all")).unwrap();
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn sign(&self) -> impl FnOnce(&'static str, &[u8]) -> Signed {
        |context, message| {
            let signature = self.keys.sign(context, message);
            (signature.key_id, signature.bytes)
        }
    }

    /// `count` certificates in folder `all`, the first of them with its statement of finality.
    fn issue(&self, count: u64) -> Vec<ErasureCertificate> {
        let mut issued: Vec<ErasureCertificate> = Vec::new();
        for number in 1..=count {
            let previous = issued.last().map_or([0; 32], ErasureCertificate::sha256);
            issued.push(ErasureCertificate::signed(facts(number, previous), self.sign()).unwrap());
        }
        for (number, certificate) in (1..).zip(&issued) {
            self.write(&format!("all/{number}"), &certificate.to_text());
        }
        let finality = self.finality(&issued[0]);
        self.write("all/1", &with_finality(&issued[0].to_text(), Some(&finality.to_text())));
        issued
    }

    fn finality(&self, certificate: &ErasureCertificate) -> Finality {
        let at = Timestamp::from_millis(NOW_MS + 1);
        Finality::signed(certificate, at, &[1, 2], 0, self.sign()).unwrap()
    }

    fn verify(&self, names: &[&str], more: &[&str]) -> Output {
        let mut command = program();
        command.current_dir(self.folder.path()).args(["certificate", "verify"]).args(names);
        command.args(["--public-key", "signing.pub"]).args(more).output().unwrap()
    }

    /// Verifies them and gives the answer.
    fn verified(&self, names: &[&str]) -> serde_json::Value {
        let output = self.verify(names, &["--json"]);
        assert!(output.status.success(), "{names:?}: {}", said(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// They are refused with exit code 4, in two lines of which the first says `what`.
    fn refuses(&self, names: &[&str], what: &str) {
        let output = self.verify(names, &[]);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(4), "{names:?}: {said}");
        assert!(output.stdout.is_empty(), "{names:?}");
        let lines: Vec<&str> = said.lines().collect();
        assert!(lines.len() == 2 && lines[1].starts_with("hint: "), "{said}");
        assert!(lines[0].contains(what), "{what} is not in {said}");
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn facts(number: u64, previous: [u8; 32]) -> CertificateFacts {
    let at = Timestamp::from_millis(NOW_MS);
    let destruction = DestructionEvidence {
        overwrite: Overwrite::InPlaceVerified,
        file_system: "ext4".to_owned(),
        media: "virtual".to_owned(),
        overwritten_bytes: 4_096,
    };
    let evidence = FileEvidence {
        destruction: destruction.clone(),
        journal: JournalFate::FlushedZeroed,
        moved: false,
        inode: 131,
        extents: Some([7; 32]),
        at,
    };
    CertificateFacts {
        number,
        previous,
        issued_at: at,
        recording: RecordingId::new(),
        conversation: None,
        data_key: Some(DataKeyId::new()),
        job: JobId::new(),
        selection: SelectedBy::Query,
        reason: ErasureReason::Request,
        requested_by: "uid:0".to_owned(),
        approved_by: Some("<b>second</b>".to_owned()),
        planned_at: at,
        cleared_at: at,
        key: KeyFate::DestroyedVerified,
        key_version: Some(2),
        sealed_to: None,
        files: vec![CertifiedFile {
            kind: DoomedKind::Sealed(SealedKind::Media),
            bytes: 4_096,
            found: true,
            evidence: Some(evidence),
        }],
        history: History::WasInClear { original: Some(destruction) },
        metadata: MetadataFate::RowsOverwrittenAndLogScrubbed,
        backups: 0,
        program: "recseal 0.1.0".to_owned(),
        host: "Linux 6.18 x86_64".to_owned(),
    }
}

/// Nothing but the files and the public key. Meant to catch: a daemon asked for; the finality not
/// looked at; the state folder made by asking.
#[test]
fn a_certificate_is_verified_with_the_public_key_alone() {
    let host = Host::new();
    let issued = host.issue(3);
    let answer = host.verified(&["all/1"]);
    let facts = issued[0].facts();
    assert_eq!(answer["verified"], true);
    assert_eq!(answer["recording"], facts.recording.to_string());
    assert_eq!((&answer["number"], &answer["key"]), (&1.into(), &"destroyed_verified".into()));
    assert_eq!((&answer["final"], &answer["destroyed_versions"][1]), (&true.into(), &2.into()));
    assert_eq!(answer["files"][0]["overwrite"], "in_place_verified");
    assert!(answer["sentences"].as_array().unwrap().len() > 5);
    let answer = host.verified(&["all/2"]);
    assert_eq!((&answer["number"], &answer["final"]), (&2.into(), &false.into()));

    let shown = String::from_utf8(host.verify(&["all/1"], &[]).stdout).unwrap();
    let first = format!("verified: certificate 1 of recording {}", facts.recording);
    assert!(shown.starts_with(&first) && shown.contains("Final since"), "{shown}");
    for sentence in ["The data key was destroyed", "below the virtual disk is not attested"] {
        assert!(shown.contains(sentence), "{sentence} is not in {shown}");
    }
    assert!(!host.path("recseal-state").exists(), "asking made a state folder");

    // The statement in a file of its own, and the same certificate twice.
    host.write("finality", &host.finality(&issued[1]).to_text());
    let answer = host.verified(&["all/2", "finality", "all/2"]);
    assert_eq!(
        (&answer["chain"]["certificates"], &answer["chain"]["final"]),
        (&1.into(), &1.into())
    );
}

/// Meant to catch: only the first of several looked at; the chain not asked; the keys not asked;
/// files of a folder passed over when they are damaged.
#[test]
fn what_was_changed_or_held_back_is_found() {
    let host = Host::new();
    let issued = host.issue(5);
    host.write("all/notes.txt", "not a certificate");
    let answer = host.verified(&["all"]);
    assert_eq!((&answer["chain"]["first"], &answer["chain"]["last"]), (&1.into(), &5.into()));
    assert_eq!((&answer["files_not_read"], &answer["chain"]["final"]), (&1.into(), &1.into()));
    assert_eq!(answer["certificates"].as_array().unwrap().len(), 5);
    let table = String::from_utf8(host.verify(&["all"], &[]).stdout).unwrap();
    assert!(table.contains("verified: certificates 1 to 5; nothing is missing before"), "{table}");
    let table = String::from_utf8(host.verify(&["all/4", "all/3"], &[]).stdout).unwrap();
    assert!(table.contains("those before 3 are not here"), "{table}");

    host.refuses(&["all/2", "all/5"], "certificates 3 to 4 are missing");
    host.refuses(&["all/notes.txt"], "line 1");
    let changed = issued[2].to_text().replace("key: destroyed_verified", "key: none_plaintext");
    host.write("all/3", &changed);
    host.refuses(&["all"], "3");
    host.write("all/3", &issued[2].to_text().replace("files: 1", "files:  1"));
    host.refuses(&["all"], "line ");
    host.write("all/3", &issued[2].to_text());

    // Another certificate in its place, by the same key: only the chain can tell.
    let other = facts(3, issued[1].sha256());
    let other = ErasureCertificate::signed(other, host.sign()).unwrap();
    host.write("other", &other.to_text());
    assert_eq!(host.verified(&["other"])["number"], 3);
    host.refuses(&["other", "all/4"], "exchanged");
    host.refuses(&["other", "all"], "twice");

    host.write("finality", &host.finality(&issued[1]).to_text());
    host.refuses(&["all/4", "finality"], "of no certificate here");
    let text = host.finality(&issued[1]).to_text().replace("versions: 1-2", "versions: 1-3");
    host.write("finality", &text);
    host.refuses(&["all/2", "finality"], "finality");

    let stranger = Host::new();
    stranger.issue(1);
    std::fs::copy(stranger.path("all/1"), host.path("strange")).unwrap();
    host.refuses(&["strange"], "strange");
    let missing = host.verify(&["all/none"], &[]);
    assert_eq!(missing.status.code(), Some(6), "{}", said(&missing));
    std::fs::create_dir(host.path("empty")).unwrap();
    assert_eq!(host.verify(&["empty"], &[]).status.code(), Some(6));
    let no_key = host.verify(&["all/1", "--public-key", "all/1"], &[]);
    assert_eq!(no_key.status.code(), Some(2), "two keys files");
    host.write("signing.pub", "no key");
    assert_eq!(host.verify(&["all/1"], &[]).status.code(), Some(4));
}

/// The recipe of the manual, to the letter. Planted fault: one byte of the certificate changed, here
/// at the end.
#[test]
fn openssl_alone_verifies_what_the_manual_says() {
    or_skip!(tools(&["openssl", "xxd", "sha256sum"]));
    let host = Host::new();
    let issued = host.issue(1);
    std::fs::copy(host.path("all/1"), host.path("call.certificate")).unwrap();
    let page = include_str!("../src/manual/erasure.md");
    let blocks: Vec<&str> =
        page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let script = |what: &str| *blocks.iter().find(|block| block.contains(what)).unwrap();
    let shell = |script: &str| {
        run(Command::new("bash").args(["-ec", script]).current_dir(host.folder.path()))
    };
    let recipe = script("recseal-erasure");
    let verified = shell(recipe).unwrap();
    assert!(verified.contains("Verified Successfully"), "{verified}");
    let id = shell(script("sha256sum")).unwrap();
    assert!(issued[0].to_text().contains(&format!("signing key: {id}\n")), "{id}");

    // The statement of finality lies behind the empty line; its certificate is known by its hash.
    let hash = shell("sed '/^$/,$d' call.certificate | sha256sum | cut -c 1-64").unwrap();
    shell("sed '1,/^$/d' call.certificate > finality").unwrap();
    assert!(std::fs::read_to_string(host.path("finality")).unwrap().contains(&hash));
    let (certificate, finality) = ("\\017recseal-erasure", "\\020recseal-finality");
    assert!(page.contains(finality));
    let second = recipe.replace(certificate, finality).replace("call.certificate", "finality");
    assert!(shell(&second).unwrap().contains("Verified Successfully"));

    let text = std::fs::read_to_string(host.path("call.certificate")).unwrap();
    host.write("call.certificate", &text.replacen("uid:0", "uid:1", 1));
    assert!(shell(recipe).is_err(), "a changed byte verifies");
}

/// Meant to catch: text of the certificate not escaped; an existing file replaced unasked; a
/// damaged certificate rendered.
#[test]
fn a_certificate_is_rendered_for_people() {
    let host = Host::new();
    host.issue(1);
    let render = |args: &[&str]| {
        let mut command = program();
        command.current_dir(host.folder.path()).args(["certificate", "render", "all/1"]);
        command.args(args).output().unwrap()
    };
    let shown = String::from_utf8(render(&[]).stdout).unwrap();
    assert!(shown.contains("Final since") && shown.contains("was not checked"), "{shown}");
    let answer: serde_json::Value = serde_json::from_slice(&render(&["--json"]).stdout).unwrap();
    assert!(answer["number"] == 1 && answer.get("verified").is_none(), "{answer}");

    assert!(render(&["--html", "-o", "page.html"]).status.success());
    let page = std::fs::read_to_string(host.path("page.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains("&lt;b&gt;second&lt;/b&gt;"));
    assert_eq!(render(&["--html", "-o", "page.html"]).status.code(), Some(1));
    assert!(render(&["--html", "-o", "page.html", "--force"]).status.success());
    let piped = render(&["--html"]);
    assert_eq!(String::from_utf8(piped.stdout).unwrap(), page);

    let text = std::fs::read_to_string(host.path("all/1")).unwrap();
    host.write("all/1", &text.replace("number: 1\n", "number: 01\n"));
    assert_eq!(render(&[]).status.code(), Some(4));
    assert_eq!(render(&["--html", "-o", "other.html"]).status.code(), Some(4));
    assert!(!Path::new(&host.path("other.html")).exists());
}

const NOW_MS: i64 = 1_795_000_000_000;
