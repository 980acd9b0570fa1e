//! Whatever facts there are, what is written is read back; whatever text there is, it is no
//! surprise.

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ -~]{0,300}",
        select(vec!["", "-", " ", "\n", "a\nkey: x", "a\r\n\r\nb", "\u{202e}evil", "\u{2028}x"])
            .prop_map(str::to_owned),
    ]
}

fn destructions() -> impl Strategy<Value = DestructionEvidence> {
    let media = select(vec!["rotational", "flash", "virtual", "network", "memory", "x\ny"]);
    (select(Overwrite::ALL.to_vec()), texts(), media, any::<u64>()).prop_map(
        |(overwrite, file_system, media, bytes)| DestructionEvidence {
            overwrite,
            file_system,
            media: media.to_owned(),
            overwritten_bytes: if overwrite == Overwrite::Skipped { 0 } else { bytes },
        },
    )
}

fn moments() -> impl Strategy<Value = Timestamp> {
    let edges = select(vec![i64::MIN, i64::MAX, 0, -1, 999]);
    prop_oneof![any::<i64>(), edges, 0..2_000_000_000_000_i64].prop_map(at)
}

/// A file of whatever is possible, mended where it contradicts itself.
fn certified_files() -> impl Strategy<Value = CertifiedFile> {
    let kinds = [SealedKind::Media, SealedKind::Peaks, SealedKind::Sidecar].map(DoomedKind::Sealed);
    let kinds = select([&kinds[..], &[DoomedKind::Original]].concat());
    let journals = select(JournalFate::ALL.to_vec());
    let extents = prop::option::of(any::<[u8; 32]>());
    let seen = (destructions(), journals, any::<bool>(), any::<u64>(), extents, moments());
    (kinds, any::<u64>(), prop::option::of(seen)).prop_map(|(kind, bytes, seen)| {
        let evidence = seen.map(|(destruction, journal, moved, inode, extents, at)| FileEvidence {
            destruction,
            journal,
            moved,
            inode,
            extents,
            at,
        });
        let mut file = CertifiedFile { kind, bytes, found: evidence.is_some(), evidence };
        if let Some(FileEvidence { destruction, journal, moved, .. }) = &mut file.evidence {
            use {JournalFate as J, Overwrite as O};
            let stays = [O::InPlaceVerified, O::InPlaceUnverified, O::JournalCopyPossible];
            if stays.contains(&destruction.overwrite) {
                destruction.overwritten_bytes = file.bytes;
                *moved = false;
            }
            *journal = match (destruction.overwrite, *journal) {
                (O::InPlaceVerified | O::InPlaceUnverified, J::CopyPossible) => J::NotApplicable,
                (O::JournalCopyPossible, J::NotFlushed | J::NotApplicable) => J::CopyPossible,
                (_, journal) => journal,
            };
        }
        file
    })
}

fn all_facts() -> impl Strategy<Value = CertificateFacts> {
    let ids = (any::<u128>(), prop::option::of(any::<u128>()), any::<u128>(), any::<u128>());
    let words = (
        select(SelectedBy::ALL.to_vec()),
        select(ErasureReason::ALL.to_vec()),
        select(KeyFate::ALL.to_vec()),
        select(MetadataFate::ALL.to_vec()),
    );
    let names = (texts(), prop::option::of(texts()), texts(), texts(), texts());
    let times = (moments(), moments(), moments());
    let rest = (
        1..=u64::MAX,
        any::<u64>(),
        any::<u32>(),
        prop::option::of(prop::option::of(destructions())),
        prop::collection::vec(certified_files(), 0..4),
    );
    (ids, words, names, times, rest).prop_map(|(ids, words, names, times, rest)| {
        let (number, backups, version, original, mut files) = rest;
        let (selection, reason, key, metadata) = words;
        let is_plain = key == KeyFate::NonePlaintext;
        if is_plain {
            files.iter_mut().for_each(|file| file.kind = DoomedKind::Original);
        }
        let has_plain = is_plain || files.iter().any(|file| file.kind == DoomedKind::Original);
        CertificateFacts {
            number,
            previous: if number == 1 { [0; 32] } else { [7; 32] },
            issued_at: times.0,
            recording: RecordingId(Uuid::from_u128(ids.0)),
            conversation: ids.1.map(|id| ConversationId(Uuid::from_u128(id))),
            data_key: (!is_plain).then_some(DataKeyId(Uuid::from_u128(ids.2))),
            job: JobId(Uuid::from_u128(ids.3)),
            selection,
            reason,
            requested_by: names.0,
            approved_by: names.1,
            planned_at: times.1,
            cleared_at: times.2,
            key,
            key_version: (!is_plain).then_some(version / 2),
            sealed_to: (!is_plain && version / 2 == 0).then_some(names.2),
            files,
            history: match original {
                Some(original) => History::WasInClear { original },
                None if has_plain => History::WasInClear { original: None },
                None => History::NeverInClear,
            },
            metadata,
            backups,
            program: names.3,
            host: names.4,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever was observed and whatever people are called. Planted faults: control characters
    /// left in; the mark for nothing left as a name; names not cut; extents never written.
    #[test]
    fn what_is_written_is_read_back(facts in all_facts(), at in any::<Index>(), byte in any::<u8>()) {
        let certificate = ErasureCertificate::signed(facts, sign).unwrap();
        let text = certificate.to_text();
        let read = ErasureCertificate::parse(&text).unwrap();
        prop_assert_eq!(&read, &certificate);
        prop_assert_eq!(read.to_text(), text.clone());
        prop_assert!(read.verify(is_signed));

        let mut changed = text.clone().into_bytes();
        changed[at.index(text.len())] = byte;
        if let Ok(changed) = String::from_utf8(changed) {
            let read = ErasureCertificate::parse(&changed);
            prop_assert!(changed == text || !read.is_ok_and(|read| read.verify(is_signed)));
        }
        let cut = text.char_indices().map(|(at, _)| at).nth(at.index(text.chars().count()));
        prop_assert!(ErasureCertificate::parse(&text[..cut.unwrap()]).is_err());
    }

    /// The text comes from strangers: it is refused or read, and never a panic.
    #[test]
    fn strange_text_is_no_surprise(at in any::<Index>(), junk in "\\PC{0,8}", len in 0..500_usize) {
        let whole = certificate(facts()).to_text();
        let mut text = whole.clone();
        let at = at.index(text.len());
        text.replace_range(at..(at + 4).min(text.len()), &junk);
        let judged = ErasureCertificate::parse(&text).is_ok_and(|read| read.verify(is_signed));
        prop_assert!(!judged || text == whole);
        let _ = parse_with_finality(&junk.repeat(len));
        let _ = Finality::parse(&junk.repeat(len));
    }
}
