mod properties;
mod words;

use uuid::Uuid;

use super::chain::{Chain, ChainFault};
use super::*;
use crate::domain::doomed::JournalFate;
use crate::domain::{Overwrite, SealedKind};

/// A keyed hash stands for the signature: what matters here is that a forger lacks the key.
fn sign(context: &'static str, message: &[u8]) -> Signed {
    let hash = Sha256::new().chain_update(b"key").chain_update(context).chain_update(message);
    let tag: [u8; 32] = hash.finalize().into();
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&tag);
    (*b"testkey1", signature)
}

fn is_signed(context: &'static str, message: &[u8], signed: &Signed) -> bool {
    sign(context, message) == *signed
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn evidence(overwrite: Overwrite, bytes: u64) -> FileEvidence {
    FileEvidence {
        destruction: DestructionEvidence {
            overwrite,
            file_system: "ext4".to_owned(),
            media: "virtual".to_owned(),
            overwritten_bytes: bytes,
        },
        journal: JournalFate::FlushedZeroed,
        moved: false,
        inode: 131,
        extents: Some([0xab; 32]),
        at: at(1_795_810_520_000),
    }
}

fn sealed_file(overwrite: Overwrite) -> CertifiedFile {
    let bytes = if overwrite == Overwrite::Skipped { 0 } else { 4_096 };
    CertifiedFile {
        kind: DoomedKind::Sealed(SealedKind::Media),
        bytes: 4_096,
        found: true,
        evidence: Some(evidence(overwrite, bytes)),
    }
}

/// A recording on ext4, the 17th.
fn facts() -> CertificateFacts {
    let original = evidence(Overwrite::InPlaceVerified, 4_000).destruction;
    CertificateFacts {
        number: 17,
        previous: [0x1f; 32],
        issued_at: at(1_795_810_522_123),
        recording: RecordingId(Uuid::from_u128(0xa1)),
        conversation: None,
        data_key: Some(DataKeyId(Uuid::from_u128(0xb2))),
        job: JobId(Uuid::from_u128(0xc3)),
        selection: SelectedBy::Query,
        reason: ErasureReason::Request,
        requested_by: "uid:0".to_owned(),
        approved_by: None,
        planned_at: at(1_795_810_500_000),
        cleared_at: at(1_795_810_510_000),
        key: KeyFate::DestroyedVerified,
        key_version: Some(3),
        sealed_to: None,
        files: vec![
            sealed_file(Overwrite::InPlaceVerified),
            CertifiedFile {
                kind: DoomedKind::Sealed(SealedKind::Peaks),
                bytes: 99,
                found: false,
                evidence: None,
            },
        ],
        history: History::WasInClear { original: Some(original) },
        metadata: MetadataFate::RowsOverwrittenAndLogScrubbed,
        backups: 2,
        program: "recseal 0.1.0".to_owned(),
        host: "Linux 6.18 x86_64".to_owned(),
    }
}

/// A recording that never was sealed.
fn plaintext_facts() -> CertificateFacts {
    let file =
        CertifiedFile { kind: DoomedKind::Original, ..sealed_file(Overwrite::InPlaceVerified) };
    CertificateFacts {
        data_key: None,
        key: KeyFate::NonePlaintext,
        key_version: None,
        files: vec![file],
        history: History::WasInClear { original: None },
        backups: 0,
        ..facts()
    }
}

fn certificate(facts: CertificateFacts) -> ErasureCertificate {
    ErasureCertificate::signed(facts, sign).unwrap()
}

/// `count` certificates, each with the hash of the one before.
fn chain_of(count: u64) -> Vec<ErasureCertificate> {
    let mut chain: Vec<ErasureCertificate> = Vec::new();
    for number in 1..=count {
        let previous = chain.last().map_or([0; 32], ErasureCertificate::sha256);
        let recording = RecordingId(Uuid::from_u128(u128::from(number)));
        chain.push(certificate(CertificateFacts { number, previous, recording, ..facts() }));
    }
    chain
}

/// What was signed once can be read for ever. Planted faults: a label changed; two lines
/// exchanged; a stored name changed.
#[test]
fn the_format_is_frozen() {
    let text = include_str!("frozen.txt");
    let certificate = ErasureCertificate::parse(text).unwrap();
    assert!(certificate.verify(is_signed));
    assert_eq!(*certificate.facts(), facts());
    // Not the sentences of today: those may become better.
    assert_eq!(certificate.to_text(), text);
    let frozen = include_str!("frozen-finality.txt");
    let finality = Finality::parse(frozen).unwrap();
    assert!(finality.verify(is_signed) && finality.is_of(&certificate));
    assert_eq!(finality.to_text(), frozen);
    assert_eq!(finality.destroyed_versions(), [1, 2, 3, 5]);
}

/// The words that frozen text does not happen to hold. Planted fault: one of them changed.
#[test]
fn the_words_are_frozen() {
    let words = |names: Vec<&str>| names.join(" ");
    assert_eq!(
        words(KeyFate::ALL.iter().map(|one| one.as_str()).collect()),
        "destroyed_verified destroyed_medium_unattested destroyed_not_looked_for none_plaintext"
    );
    assert_eq!(
        words(MetadataFate::ALL.iter().map(|one| one.as_str()).collect()),
        "rows_overwritten_and_log_scrubbed rows_overwritten pending"
    );
    assert_eq!(
        words(SelectedBy::ALL.iter().map(|one| one.as_str()).collect()),
        "recording conversation person query due files anonymization redaction tombstone"
    );
    assert_eq!(
        words(ErasureReason::ALL.iter().map(|one| one.as_str()).collect()),
        "request retention anonymization redaction decision erased_before"
    );
    assert_eq!(
        words(JournalFate::ALL.iter().map(|one| one.as_str()).collect()),
        "flushed_zeroed flushed_discarded not_applicable not_flushed copy_possible"
    );
    assert_eq!(
        words(Overwrite::ALL.iter().map(|one| one.as_str()).collect()),
        "in_place_verified in_place_unverified not_guaranteed_cow not_guaranteed_shared \
         not_guaranteed_inline_or_compressed not_guaranteed_remote journal_copy_possible \
         not_guaranteed_unknown_fs skipped"
    );
}

/// Every byte of both papers, and every place to cut. Planted faults: what was read not compared
/// with what is written again; the sentences left out of what is signed.
#[test]
fn no_byte_can_be_changed() {
    let certificate = certificate(facts());
    let finality = Finality::signed(&certificate, at(5), &[3, 1, 2], 0, sign).unwrap();
    let holds = |text: &str| match ErasureCertificate::parse(text) {
        Ok(certificate) => certificate.verify(is_signed),
        Err(_) => Finality::parse(text).is_ok_and(|finality| finality.verify(is_signed)),
    };
    for text in [certificate.to_text(), finality.to_text()] {
        assert!(holds(&text) && text.is_ascii());
        for at in 0..text.len() {
            for with in ["", "+", "0", "x", "\n"] {
                let mut changed = text.clone();
                changed.replace_range(at..=at, with);
                assert!(changed == text || !holds(&changed), "byte {at} as {with:?}");
            }
            assert!(ErasureCertificate::parse(&text[..at]).is_err(), "cut at {at}");
            assert!(Finality::parse(&text[..at]).is_err(), "cut at {at}");
        }
        for more in ["\n", " ", "signature: 00\n", "x"] {
            assert!(!holds(&format!("{text}{more}")), "{more:?} behind");
        }
    }
}

/// Planted fault: both papers signed under one context.
#[test]
fn a_signature_of_one_paper_is_none_of_the_other() {
    let certificate = certificate(facts());
    let finality = Finality::signed(&certificate, at(5), &[1, 2, 3], 0, sign).unwrap();
    assert!(certificate.verify(|context, _, _| context == "recseal-erasure"));
    assert!(finality.verify(|context, _, _| context == "recseal-finality"));
}

/// Planted fault: the first line named for a number that is written in another way.
#[test]
fn the_line_that_is_wrong_is_named() {
    let text = certificate(facts()).to_text();
    let other_way = text.replace("\nfiles: 2\n", "\nfiles: +2\n");
    let line = text.lines().position(|line| line == "files: 2").unwrap() + 1;
    assert_eq!(ErasureCertificate::parse(&other_way).unwrap_err(), TextFault { line });
    for (line, what) in (1..).zip(text.lines()) {
        let changed = text.replacen(&format!("{what}\n"), &format!("{what} \n"), 1);
        match ErasureCertificate::parse(&changed) {
            Err(fault) => assert_eq!(fault.line, line, "{what}"),
            // One more blank in a free text is read, and found by the signature.
            Ok(read) => assert!(!read.verify(is_signed), "{what}"),
        }
    }
}

/// Planted faults: the finality not looked at; its lines counted from 1 again.
#[test]
fn both_papers_travel_as_one_text() {
    let certificate = certificate(facts());
    let finality = Finality::signed(&certificate, at(5), &[1, 2, 3], 0, sign).unwrap();
    let (first, second) = (certificate.to_text(), finality.to_text());
    let alone = parse_with_finality(&with_finality(&first, None)).unwrap();
    assert_eq!(alone, (certificate.clone(), None));
    let both = with_finality(&first, Some(&second));
    assert_eq!(parse_with_finality(&both).unwrap(), (certificate, Some(finality)));
    let changed = both.replace("final at: ", "final at:");
    let line = both.lines().position(|line| line.starts_with("final at")).unwrap() + 1;
    assert_eq!(parse_with_finality(&changed).unwrap_err().line, line);
    for bad in [format!("{both}\n"), first.clone() + "\n", first + "\n\n" + &second] {
        assert!(parse_with_finality(&bad).is_err());
    }
}

type Change = fn(&mut CertificateFacts);

fn change_file(facts: &mut CertificateFacts, change: impl FnOnce(&mut FileEvidence)) {
    change(facts.files[0].evidence.as_mut().unwrap());
}

/// Signs `facts` after each change; all are refused, and none is signed.
fn refused(facts: impl Fn() -> CertificateFacts, rows: &[(CertificateRefusal, Change)]) {
    for (refusal, change) in rows {
        let mut changed = facts();
        change(&mut changed);
        let refused = ErasureCertificate::signed(changed, |_, _| panic!("it was signed"));
        assert_eq!(refused.unwrap_err(), *refusal);
    }
}

/// What cannot have been observed is not signed. Planted faults: each check of `refusal` taken
/// out in turn, in this test and the next; each is a row that is then signed.
#[test]
fn contradictions_about_the_recording_are_refused() {
    use CertificateRefusal as R;
    let rows: &[(R, Change)] = &[
        (R::Number, |f| f.number = 0),
        (R::Number, |f| f.number = 1),
        (R::Number, |f| f.previous = [0; 32]),
        (R::KeyOfPlaintext, |f| f.key = KeyFate::NonePlaintext),
        (R::KeyUnknown, |f| f.key_version = None),
        (R::KeyUnknown, |f| f.data_key = None),
        (R::SealedTo, |f| f.key_version = Some(0)),
        (R::SealedTo, |f| f.sealed_to = Some("0011".to_owned())),
    ];
    refused(facts, rows);
    let rows: &[(R, Change)] = &[
        (R::KeyOfPlaintext, |f| f.key_version = Some(0)),
        (R::KeyOfPlaintext, |f| f.data_key = Some(DataKeyId(Uuid::from_u128(1)))),
        (R::KeyOfPlaintext, |f| f.sealed_to = Some("0011".to_owned())),
        (R::SealedPlaintext { file: 1 }, |f| {
            f.files[0].kind = DoomedKind::Sealed(SealedKind::Media);
        }),
        (R::NeverInClear, |f| {
            f.files.clear();
            f.history = History::NeverInClear;
        }),
    ];
    refused(plaintext_facts, rows);
}

/// See the test before.
#[test]
fn contradictions_about_files_are_refused() {
    use CertificateRefusal as R;
    let rows: &[(R, Change)] = &[
        (R::EvidenceOfMissing { file: 1 }, |f| f.files[0].found = false),
        (R::NoEvidence { file: 2 }, |f| f.files[1].found = true),
        (R::TooFewBytes { file: 1 }, |f| f.files[0].bytes += 1),
        (R::InPlaceMoved { file: 1 }, |f| change_file(f, |e| e.moved = true)),
        (R::InPlaceJournal { file: 1 }, |f| {
            change_file(f, |e| e.journal = JournalFate::CopyPossible);
        }),
        (R::JournalUnknown { file: 1 }, |f| {
            change_file(f, |e| {
                e.destruction.overwrite = Overwrite::JournalCopyPossible;
                e.journal = JournalFate::NotApplicable;
            });
        }),
        (R::JournalUnknown { file: 1 }, |f| {
            change_file(f, |e| {
                e.destruction.overwrite = Overwrite::JournalCopyPossible;
                e.journal = JournalFate::NotFlushed;
            });
        }),
        (R::TooFewBytes { file: 1 }, |f| {
            change_file(f, |e| e.destruction.overwrite = Overwrite::JournalCopyPossible);
            f.files[0].bytes += 1;
        }),
        (R::InPlaceMoved { file: 1 }, |f| {
            change_file(f, |e| {
                e.destruction.overwrite = Overwrite::JournalCopyPossible;
                e.moved = true;
            });
        }),
        (R::SkippedBytes { file: 1 }, |f| {
            change_file(f, |e| e.destruction.overwrite = Overwrite::Skipped);
        }),
        (R::OriginalBytes, |f| {
            let mut original = evidence(Overwrite::Skipped, 7).destruction;
            original.file_system = "btrfs".to_owned();
            f.history = History::WasInClear { original: Some(original) };
        }),
        (R::NeverInClear, |f| {
            f.files[0].kind = DoomedKind::Original;
            f.history = History::NeverInClear;
        }),
        (R::TooManyFiles, |f| f.files = vec![f.files[1].clone(); text::FILES_MAX + 1]),
    ];
    refused(facts, rows);
}

/// Planted faults: each check of `Finality::signed` taken out in turn.
#[test]
fn only_what_is_final_is_said_to_be() {
    use CertificateRefusal as R;
    let state = |facts: CertificateFacts, versions: &[u32], backups| {
        Finality::signed(&certificate(facts), at(5), versions, backups, sign).err()
    };
    let to_public_key =
        CertificateFacts { key_version: Some(0), sealed_to: Some("0011".to_owned()), ..facts() };
    assert_eq!(state(facts(), &[1, 2, 3], 0), None);
    assert_eq!(state(facts(), &[1, 2, 3], 1), Some(R::BackupsLeft { backups: 1 }));
    assert_eq!(state(facts(), &[1, 2, 4], 0), Some(R::VersionAlive { version: 3 }));
    assert_eq!(state(facts(), &[], 0), Some(R::VersionAlive { version: 3 }));
    assert_eq!(state(plaintext_facts(), &[1, 2, 3], 0), Some(R::NeverFinal));
    assert_eq!(state(to_public_key, &[0, 1, 2, 3], 0), Some(R::NeverFinal));
}

/// Planted faults: only the number compared; the hash not compared.
#[test]
fn a_finality_is_of_one_certificate() {
    let chain = chain_of(3);
    let finality = Finality::signed(&chain[1], at(5), &[3], 0, sign).unwrap();
    let is_of: Vec<bool> = chain.iter().map(|one| finality.is_of(one)).collect();
    assert_eq!(is_of, [false, true, false]);
    let other = CertificateFacts { host: "Linux 7".to_owned(), ..chain[1].facts().clone() };
    assert!(!finality.is_of(&certificate(other)));
}

/// Planted faults: ranges without a limit; ranges that are not in order.
#[test]
fn versions_of_strangers_do_not_fill_the_memory() {
    let finality = Finality::signed(&certificate(facts()), at(5), &[3], 0, sign).unwrap();
    for bad in ["1-4294967295", "3-1", "2, 1", "1, 1", "1-2, 2-3", "", "1-", "-1", "1,2", "01"] {
        let text = finality.to_text().replace("versions: 3\n", &format!("versions: {bad}\n"));
        assert!(Finality::parse(&text).is_err(), "{bad}");
    }
}

/// Planted faults: the numbers not compared; the hash not compared; the order of the arguments
/// taken for that of the numbers; recordings not compared.
#[test]
fn a_chain_shows_what_was_left_out_or_exchanged() {
    let chain = chain_of(5);
    let look = |of: &[&ErasureCertificate]| chain::check(of);
    let all: Vec<_> = chain.iter().collect();
    assert_eq!(look(&[]), Ok(None));
    assert_eq!(look(&all), Ok(Some(Chain { first: 1, last: 5 })));
    assert_eq!(look(&all[2..]), Ok(Some(Chain { first: 3, last: 5 })));
    assert_eq!(look(&[all[1], all[2], all[0]]), Ok(Some(Chain { first: 1, last: 3 })));
    let missing = ChainFault::Missing { first: 3, last: 4 };
    assert_eq!(look(&[all[0], all[1], all[4]]), Err(missing));
    assert_eq!(look(&[all[0], all[1], all[1]]), Err(ChainFault::Twice { number: 2 }));
    let other = certificate(CertificateFacts { backups: 9, ..chain[2].facts().clone() });
    let exchanged = ChainFault::Exchanged { number: 4 };
    assert_eq!(look(&[all[1], &other, all[3]]), Err(exchanged));
    let recording = chain[0].facts().recording;
    let (number, previous) = (6, chain[4].sha256());
    let again = certificate(CertificateFacts { number, previous, recording, ..facts() });
    let fault = ChainFault::SecondOfRecording { number, recording };
    assert_eq!(look(&[&all[..], &[&again]].concat()), Err(fault));
}

/// Planted fault: names not cut.
#[test]
fn a_name_of_a_megabyte_stays_a_line() {
    for (name, len) in [("ü", 200), ("\n", 1), ("x\u{0}", 199), ("\u{1f512}", 200)] {
        let requested_by = name.repeat(1 << 20);
        let certificate = certificate(CertificateFacts { requested_by, ..facts() });
        assert_eq!(certificate.facts().requested_by.len(), len, "{name:?}");
        let read = ErasureCertificate::parse(&certificate.to_text()).unwrap();
        assert_eq!(read, certificate);
    }
}
