//! What is said, and what is shown: nothing that was not observed, nothing that is not text.

use super::*;

/// Each way a file can end, with what has to be in its sentence and what must not be. Planted
/// fault: nothing said of a journal that may hold content.
#[test]
fn no_sentence_says_more_than_was_seen() {
    use {JournalFate as J, Overwrite as O};
    let verified = "all of it was read back from the device";
    let keyless = "older copies are ciphertext without a key";
    let rows = [
        (O::InPlaceVerified, J::NotApplicable, verified, keyless),
        (O::InPlaceVerified, J::FlushedZeroed, "overwritten with zeros", "may hold"),
        (O::InPlaceVerified, J::FlushedDiscarded, "discarded", "may hold"),
        (O::InPlaceVerified, J::NotFlushed, "may hold its name, and none", "some of its content"),
        (O::InPlaceUnverified, J::NotApplicable, "page cache only", verified),
        (O::JournalCopyPossible, J::FlushedZeroed, "overwritten with zeros", verified),
        (O::JournalCopyPossible, J::CopyPossible, "may hold some of its content", verified),
        (O::NotGuaranteedCow, J::NotApplicable, "copy-on-write", verified),
        (O::NotGuaranteedCow, J::NotApplicable, keyless, "in the same blocks"),
        (O::NotGuaranteedShared, J::NotApplicable, "clone or snapshot", verified),
        (O::NotGuaranteedInlineOrCompressed, J::NotApplicable, "compressed", verified),
        (O::NotGuaranteedRemote, J::NotApplicable, "a server", verified),
        (O::NotGuaranteedUnknownFs, J::NotApplicable, "not known where", verified),
        (O::Skipped, J::NotApplicable, "without being overwritten", "random bytes"),
    ];
    for (overwrite, journal, said, unsaid) in rows {
        let mut file = sealed_file(overwrite);
        file.evidence.as_mut().unwrap().journal = journal;
        let facts =
            CertificateFacts { files: vec![file], history: History::NeverInClear, ..facts() };
        let says = certificate(facts).says().join("\n");
        assert!(says.contains(said) && !says.contains(unsaid), "{overwrite:?} {journal:?}\n{says}");
        assert!(says.contains("below the virtual disk is not attested"), "{says}");
    }
}

/// Planted faults: the word for sealed files used for all; that of sealed copies for plaintext; the
/// part left out.
#[test]
fn plaintext_is_never_ciphertext_without_a_key() {
    for overwrite in Overwrite::ALL {
        let mut facts = plaintext_facts();
        let bytes = if overwrite == Overwrite::Skipped { 0 } else { facts.files[0].bytes };
        let mut seen = evidence(overwrite, bytes);
        seen.journal = JournalFate::CopyPossible;
        if matches!(overwrite, Overwrite::InPlaceVerified | Overwrite::InPlaceUnverified) {
            seen.journal = JournalFate::FlushedZeroed;
        }
        facts.files[0].evidence = Some(seen);
        let says = certificate(facts).says().join("\n");
        assert!(!says.contains("ciphertext") && !says.contains("data key was"), "{says}");
        assert!(says.contains("1 plaintext file was"), "{says}");
    }
    let mut facts = facts();
    facts.files[0].evidence = Some(evidence(Overwrite::NotGuaranteedCow, 7));
    assert!(certificate(facts).says().join("\n").contains("only in part overwritten"));
}

/// Each fate of key, history, rows and backups has words of its own, and some words have no
/// fate: standards for whole devices, and promises without a layer. Planted fault: two numbers of
/// backups told alike.
#[test]
fn fates_are_told_apart_and_some_words_are_never_said() {
    let mut all = Vec::new();
    let mut add = |facts: CertificateFacts| all.push(certificate(facts).says().join("\n"));
    add(plaintext_facts());
    for key in KeyFate::ALL.iter().copied().filter(|key| *key != KeyFate::NonePlaintext) {
        add(CertificateFacts { key, ..facts() });
    }
    for metadata in [MetadataFate::RowsOverwritten, MetadataFate::Pending] {
        add(CertificateFacts { metadata, ..facts() });
    }
    for backups in [0, 1, 7] {
        add(CertificateFacts { backups, ..facts() });
    }
    let sealed_to = Some("00112233".to_owned());
    add(CertificateFacts { key_version: Some(0), sealed_to, ..facts() });
    for history in [History::NeverInClear, History::WasInClear { original: None }] {
        add(CertificateFacts { history, ..facts() });
    }
    for media in ["rotational", "flash", "virtual", "network", "memory", "unknown"] {
        let mut facts = facts();
        change_file(&mut facts, |evidence| evidence.destruction.media = media.to_owned());
        facts.history = History::NeverInClear;
        if media != "virtual" {
            add(facts);
        }
    }
    add(CertificateFacts { files: vec![sealed_file(Overwrite::Skipped); 3], ..facts() });
    for (at, says) in all.iter().enumerate() {
        assert!(!all[..at].contains(says), "said twice:\n{says}");
        for word in ["NIST", "DoD", "military", "unrecoverable", "Purge", "securely"] {
            assert!(!says.contains(word), "{word} in\n{says}");
        }
    }
    assert!(all.last().unwrap().contains("3 sealed files were removed without"));
}

/// Planted faults: text not escaped; the statement of another certificate shown; the signed text
/// cut short.
#[test]
fn the_page_is_whole_and_harmless() {
    let evil = "<script>alert(1)</script>\" onload='x' &amp;";
    let mut facts = facts();
    facts.requested_by = evil.to_owned();
    facts.host = evil.to_owned();
    change_file(&mut facts, |evidence| evidence.destruction.file_system = evil.to_owned());
    let certificate = certificate(facts);
    let finality = Finality::signed(&certificate, at(5), &[3], 0, sign).unwrap();
    let other = Finality::signed(&chain_of(1)[0], at(7), &[3], 0, sign).unwrap();

    let page = html(&certificate, &[other.clone(), finality.clone()]);
    for bad in ["<script", "onload='", "http://", "https://", "src=", "href=", "url("] {
        assert!(!page.contains(bad), "{bad}");
    }
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    assert!(page.contains("@media print") && page.contains("A4"));
    for sentence in certificate.says().iter().chain(finality.says()) {
        assert!(
            page.contains(
                &sentence
                    .replace('<', "&lt;")
                    .replace('>', "&gt;")
                    .replace('"', "&quot;")
                    .replace('\'', "&#39;")
            ) || sentence.contains('&'),
            "{sentence}"
        );
    }
    let pre = page.split_once("<pre>").unwrap().1.split_once("</pre>").unwrap().0;
    let unescape = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")];
    let text = unescape.iter().fold(pre.to_owned(), |text, (from, to)| text.replace(from, to));
    let read = parse_with_finality(&text).unwrap();
    assert_eq!(read, (certificate.clone(), Some(finality.clone())));

    let shown = plain(&certificate, &[other, finality]);
    assert!(shown.contains("Final since 1970-01-01T00:00:00.005Z."), "{shown}");
    assert!(shown.lines().all(|line| !line.contains('\r')) && shown.contains(evil));
    assert!(plain(&certificate, &[]).contains("No statement of finality"));
}

/// Every line of the text up to the sentences is explained, under its own label. Planted fault:
/// the value of one line under the label of another.
#[test]
fn every_line_has_a_meaning() {
    let mut facts = facts();
    facts.history = History::NeverInClear;
    facts.files.clear();
    let certificate = certificate(facts);
    let explained = fields(certificate.facts());
    let lines: Vec<String> =
        explained.iter().map(|field| format!("{}: {}", field.label, field.value)).collect();
    let text = certificate.to_text();
    let written: Vec<&str> = text
        .lines()
        .skip(1)
        .filter(|line| {
            !["says", "files", "signing key", "signature"]
                .contains(&line.split(": ").next().unwrap())
        })
        .collect();
    assert_eq!(lines, written);
    assert!(explained.iter().all(|field| !field.meaning.is_empty()));
}
