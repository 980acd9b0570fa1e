use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::{agreement, hmac, kem};
use hpke::{Deserializable, OpModeR};
use proptest::prelude::*;
use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_256;
use rustls::crypto::hpke::{EncapsulatedSecret, Hpke, HpkePrivateKey, HpkePublicKey};
use zeroize::Zeroizing;

use super::private::Cost;
use super::*;
use crate::secret::Secret;

fn hex_of(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    hex::decode(&digits).unwrap().to_vec()
}

fn passphrase() -> Zeroizing<String> {
    Zeroizing::new("correct horse battery".to_owned())
}

/// Both algorithms with one fixed private key each.
fn fixed() -> impl Iterator<Item = SealPrivateKey> {
    let secret = || Secret::from_bytes(&std::array::from_fn(|at| at as u8 + 1));
    SealAlgorithm::ALL.into_iter().map(move |it| SealPrivateKey::from_secret(it, secret()).unwrap())
}

/// Appendix A.1.1 of RFC 9180: the same KEM and key schedule as ours, with AES-128-GCM.
#[test]
fn the_numbers_of_rfc_9180_come_out() {
    let private = hex_of("4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8");
    let public = hex_of("3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d");
    let enc = hex_of("37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431");
    let sealed = hex_of(
        "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a9
         6d8770ac83d07bea87e13c512a",
    );
    let secret = Secret::from_bytes(private.as_slice().try_into().unwrap());
    assert_eq!(suite::public_of(SealAlgorithm::X25519, &secret), public);
    type X = hpke::kem::X25519HkdfSha256;
    let opened = hpke::single_shot_open::<hpke::aead::AesGcm128, hpke::kdf::HkdfSha256, X>(
        &OpModeR::Base,
        &<X as hpke::Kem>::PrivateKey::from_bytes(&private).unwrap(),
        &<X as hpke::Kem>::EncappedKey::from_bytes(&enc).unwrap(),
        b"Ode on a Grecian Urn",
        &sealed,
        b"Count-0",
    );
    assert_eq!(opened.unwrap(), b"Beauty is truth, truth beauty");
}

/// A second implementation seals what ours opens, and opens what ours seals. Planted fault: the
/// recording left out of the associated data.
#[test]
fn x25519_agrees_with_another_implementation() {
    let other: &dyn Hpke = DH_KEM_X25519_HKDF_SHA256_AES_256;
    let (recording, key) = (Uuid::now_v7(), DataKey::generate());
    let private = SealPrivateKey::generate(SealAlgorithm::X25519);
    let public = private.public();
    let aad = [
        recording.as_bytes().as_slice(),
        key.id().as_bytes(),
        &digest::digest(&digest::SHA256, &[b"x25519", public.bytes()].concat()).as_ref()[..8],
    ]
    .concat();
    let info = b"recseal/seal-data-key/1";

    let sealed = public.seal(recording, &key).unwrap();
    let (enc, ciphertext) = sealed.as_bytes()[26..].split_at(32);
    let secret = HpkePrivateKey::from(secret_of(&private).to_vec());
    let enc = EncapsulatedSecret(enc.to_vec());
    let opened = other.open(&enc, info, &aad, ciphertext, &secret).unwrap();
    assert_eq!(opened, key.secret().expose_bytes());

    let theirs = HpkePublicKey(public.bytes().to_vec());
    let message = key.secret().expose_bytes();
    let (enc, ciphertext) = other.seal(info, &aad, message, &theirs).unwrap();
    let bytes = [&sealed.as_bytes()[..26], &enc.0, &ciphertext].concat();
    let opened = private.open(recording, &SealedDataKey::from_bytes(&bytes).unwrap()).unwrap();
    assert_eq!(opened.secret().expose_bytes(), message);
}

/// X-Wing and the HPKE key schedule written down a second time, from the drafts, over other
/// implementations of ML-KEM, X25519, SHA-3, HMAC and AES.
#[test]
fn x_wing_agrees_with_another_implementation() {
    let (recording, key) = (Uuid::now_v7(), DataKey::generate());
    let private = SealPrivateKey::generate(SealAlgorithm::XWing);
    let public = private.public().bytes();
    let (public_m, public_x) = public.split_at(1_184);
    let encapsulation = kem::EncapsulationKey::new(&kem::ML_KEM_768, public_m).unwrap();
    let (enc_m, shared_m) = encapsulation.encapsulate().unwrap();
    let ephemeral = agreement::PrivateKey::generate(&agreement::X25519).unwrap();
    let enc_x = ephemeral.compute_public_key().unwrap();
    let peer = agreement::UnparsedPublicKey::new(&agreement::X25519, public_x);
    let shared_x = agreement::agree(&ephemeral, peer, (), |shared| Ok(shared.to_vec())).unwrap();
    let label = b"\\.//^\\";
    let parts = [shared_m.as_ref(), &shared_x, enc_x.as_ref(), public_x, label].concat();
    let shared = digest::digest(&digest::SHA3_256, &parts);
    let enc = [enc_m.as_ref(), enc_x.as_ref()].concat();

    let suite_id = [b"HPKE".as_slice(), &[0x64, 0x7a, 0, 1, 0, 2]].concat();
    let extract = |salt: &[u8], label: &[u8], ikm: &[u8]| {
        let salt = hmac::Key::new(hmac::HMAC_SHA256, salt);
        hmac::sign(&salt, &[b"HPKE-v1", suite_id.as_slice(), label, ikm].concat())
    };
    let context = [
        &[0][..],
        extract(b"", b"psk_id_hash", b"").as_ref(),
        extract(b"", b"info_hash", b"recseal/seal-data-key/1").as_ref(),
    ]
    .concat();
    let secret = extract(shared.as_ref(), b"secret", b"");
    let expand = |label: &[u8], len: u8| {
        let parts = [&[0, len][..], b"HPKE-v1", &suite_id, label, &context, &[1]].concat();
        let block = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_ref()), &parts);
        block.as_ref()[..usize::from(len)].to_vec()
    };
    let nonce = Nonce::try_assume_unique_for_key(&expand(b"base_nonce", 12)).unwrap();
    let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &expand(b"key", 32)).unwrap());
    let id = private.public().id();
    let aad = [recording.as_bytes().as_slice(), key.id().as_bytes(), id.as_bytes()].concat();
    let mut text = key.secret().expose_bytes().to_vec();
    cipher.seal_in_place_append_tag(nonce, Aad::from(aad), &mut text).unwrap();

    let header = [&[1, 2][..], id.as_bytes(), key.id().as_bytes()].concat();
    let sealed = SealedDataKey::from_bytes(&[header, enc, text].concat()).unwrap();
    let opened = private.open(recording, &sealed).unwrap();
    assert_eq!(opened.secret().expose_bytes(), key.secret().expose_bytes());
}

/// Frozen: what was sealed by the first release opens for ever. Made once by this program; the
/// two tests above say that it is what the standards say.
#[test]
fn the_forms_are_frozen() {
    let vectors = include_str!("vectors.txt");
    let mut blocks = vectors.split("---\n").skip(1);
    for private in fixed() {
        let mut next = || blocks.next().expect("three blocks for each algorithm");
        let (plain, public, file) = (next(), next(), next());
        assert_eq!(&**private.expose_export(None).unwrap(), plain);
        assert_eq!(private.public().to_text(), public);
        let file = SealedKeyFile::from_text(file).unwrap();
        assert_eq!(file.recording(), Uuid::from_u128(7));
        let key = file.open(&private, Uuid::from_u128(8)).unwrap();
        assert_eq!(key.secret().expose_bytes(), &[9; 32]);
    }
    assert_eq!(blocks.next(), None);
}

#[test]
fn a_sealed_key_opens_for_its_recording_and_its_holder_only() {
    let lens = [106, 1_194];
    for (algorithm, len) in SealAlgorithm::ALL.into_iter().zip(lens) {
        let private = SealPrivateKey::generate(algorithm);
        let (recording, key) = (Uuid::now_v7(), DataKey::generate());
        let sealed = private.public().seal(recording, &key).unwrap();
        assert_eq!(sealed.as_bytes().len(), len);
        assert_eq!(sealed.seal_key(), private.public().id());
        assert_eq!(sealed.data_key_id(), key.id());
        let opened = private.open(recording, &sealed).unwrap();
        assert_eq!(opened.secret().expose_bytes(), key.secret().expose_bytes());
        let elsewhere = Uuid::now_v7();
        let refused = private.open(elsewhere, &sealed).unwrap_err();
        assert_eq!(refused, SealKeyError::Open { recording: elsewhere });
        let other = SealPrivateKey::generate(algorithm);
        let refused = other.open(recording, &sealed).unwrap_err();
        assert!(matches!(refused, SealKeyError::OtherSealKey { .. }), "{refused}");
        assert_ne!(sealed, private.public().seal(recording, &key).unwrap(), "sealed twice alike");
    }
}

/// The top bit of an X25519 point, which the curve itself does not look at, too: the key schedule
/// does. Planted fault: the data key id left out of the associated data.
#[test]
fn every_flipped_byte_is_refused() {
    for private in fixed() {
        let recording = Uuid::now_v7();
        let sealed = private.public().seal(recording, &DataKey::generate()).unwrap();
        let len = sealed.as_bytes().len();
        let step = if len > 200 { 61 } else { 1 };
        let top_of_the_point = [(HEADER_BYTES + 31, 0x80), (len - 1, 0x80)];
        let flips = (0..28).chain((28..len).step_by(step)).map(|at| (at, 1));
        for (at, bit) in flips.chain(top_of_the_point) {
            let mut bytes = sealed.as_bytes().to_vec();
            bytes[at] ^= bit;
            let opened = SealedDataKey::from_bytes(&bytes)
                .and_then(|changed| private.open(recording, &changed));
            assert!(opened.is_err(), "byte {at}");
        }
        for at in 0..len {
            assert!(SealedDataKey::from_bytes(&sealed.as_bytes()[..at]).is_err(), "cut at {at}");
        }
        assert!(SealedDataKey::from_bytes(&[sealed.as_bytes(), &[0]].concat()).is_err());
    }
}

/// Planted fault: no trial at the end of `from_bytes`.
#[test]
fn a_point_of_low_order_is_no_public_key() {
    let mut one = [0; 32];
    one[0] = 1;
    for weak in [[0; 32], one] {
        let refused = SealPublicKey::from_bytes(SealAlgorithm::X25519, &weak).unwrap_err();
        assert_eq!(refused, SealKeyError::WeakPublicKey);
    }
    let full = [0xff; 1_216];
    assert!(SealPublicKey::from_bytes(SealAlgorithm::XWing, &full).is_err());
}

#[test]
fn a_private_key_file_reads_back_or_says_why_not() {
    let good = passphrase();
    for private in fixed() {
        let plain = private.expose_export(None).unwrap();
        let read = SealPrivateKey::import(&plain, || panic!("nobody is asked")).unwrap();
        assert_eq!(secret_of(&read), secret_of(&private));
        let text = private.expose_export_at(Some(&good), Cost::CHEAP).unwrap();
        assert!(!text.contains(hex::encode(secret_of(&private)).as_str()));
        let read = SealPrivateKey::import(&text, || Some(good.clone())).unwrap();
        assert_eq!(secret_of(&read), secret_of(&private));
        let wrong = || Some(Zeroizing::new("wrong horse battery".to_owned()));
        let refused = SealPrivateKey::import(&text, wrong).unwrap_err();
        assert_eq!(refused, SealKeyError::WrongPassphrase);
        let refused = SealPrivateKey::import(&text, || None).unwrap_err();
        assert_eq!(refused, SealKeyError::NeedsPassphrase);
        let public = private.public().to_text();
        let refused = SealPrivateKey::import(&public, || None).unwrap_err();
        assert_eq!(refused, SealKeyError::NotOne { wanted: "private seal key" });
    }
    let short = Zeroizing::new("short".to_owned());
    let refused = fixed().next().unwrap().expose_export(Some(&short)).unwrap_err();
    assert!(matches!(refused, SealKeyError::PassphraseLength { .. }));
}

/// An absurd cost is judged before it is paid.
#[test]
fn every_changed_character_of_a_private_key_is_refused() {
    let (good, private) = (passphrase(), fixed().next().unwrap());
    for text in [
        private.expose_export(None).unwrap(),
        private.expose_export_at(Some(&good), Cost::CHEAP).unwrap(),
    ] {
        for (at, was) in text.char_indices().filter(|(_, c)| c.is_ascii_hexdigit()) {
            let mut changed = text.to_string();
            changed.replace_range(at..=at, if was == '7' { "8" } else { "7" });
            assert!(SealPrivateKey::import(&changed, || Some(good.clone())).is_err(), "byte {at}");
        }
    }
    let text = private.expose_export_at(Some(&good), Cost::CHEAP).unwrap();
    let rich = text.replace("argon2id 8 1 1", "argon2id 4000000000 1 1");
    let body = rich.rsplit_once("check ").unwrap().0.to_owned();
    let absurd = format!("{body}check {}\n", *super::text::check_of(&body));
    let refused = SealPrivateKey::import(&absurd, || Some(good)).unwrap_err();
    assert_eq!(refused, SealKeyError::AbsurdCost);
}

#[test]
fn a_public_key_file_reads_back_with_who_announced_it() {
    let signer = crate::signing::SigningKey::generate(0);
    for private in fixed() {
        let public = private.public();
        let text = public.announced(|context, message| signer.sign(context, message));
        let (read, announcement) = SealPublicKey::from_text(&text.replace('\n', "\r\n")).unwrap();
        assert_eq!(&read, public);
        read.check_announcement(announcement.as_ref(), &[signer.public()]).unwrap();
        let stranger = crate::signing::SigningKey::generate(0).public();
        for (announcement, trusted) in [(announcement.as_ref(), stranger), (None, signer.public())]
        {
            let refused = read.check_announcement(announcement, &[trusted]).unwrap_err();
            assert_eq!(refused, SealKeyError::NotAnnounced);
        }
        let other = SealPrivateKey::generate(public.algorithm());
        let refused = other.public().check_announcement(announcement.as_ref(), &[signer.public()]);
        assert_eq!(refused.unwrap_err(), SealKeyError::NotAnnounced);
        assert_eq!(SealPublicKey::from_text(&public.to_text()).unwrap().1, None);
        assert!(text.len() < 4_096);
    }
}

#[test]
fn a_key_file_holds_a_key_for_each_sealed_file() {
    let (recording, mine, other) = (Uuid::now_v7(), fixed().next().unwrap(), DataKey::generate());
    let keys = [DataKey::generate(), DataKey::generate()];
    let seal = |key| mine.public().seal(recording, key).unwrap();
    let file = SealedKeyFile::new(recording, keys.iter().map(seal).collect());
    let read = SealedKeyFile::from_text(&file.to_text()).unwrap();
    assert_eq!(read, file);
    for key in &keys {
        let opened = read.open(&mine, key.id()).unwrap();
        assert_eq!(opened.secret().expose_bytes(), key.secret().expose_bytes());
    }
    let refused = read.open(&mine, other.id()).unwrap_err();
    assert_eq!(refused, SealKeyError::OtherSealedFile { data_key: other.id() });
    for (at, was) in file.to_text().char_indices().filter(|(_, c)| c.is_ascii_hexdigit()) {
        let mut changed = file.to_text();
        changed.replace_range(at..=at, if was == '7' { "8" } else { "7" });
        assert!(SealedKeyFile::from_text(&changed).is_err(), "byte {at}");
    }
    let longest = SealKeyId::of(SealAlgorithm::XWing, &[]);
    let bytes = [&[1, 2][..], longest.as_bytes(), &[0; 16 + 1_120 + 48]].concat();
    let many = vec![SealedDataKey::from_bytes(&bytes).unwrap(); 200];
    let text = SealedKeyFile::new(recording, many).to_text();
    assert!(text.len() * 2 <= SealedKeyFile::TEXT_BYTES_MAX && SealedKeyFile::is_one(&text));
}

#[test]
fn names_and_versions_keep_their_rules() {
    let public = || SealPrivateKey::generate(SealAlgorithm::X25519).public().clone();
    let (first, second) = (public(), public());
    let mut table = SealKeyTable::default();
    assert_eq!(table.current("archive").unwrap_err(), SealKeyError::UnknownName);
    table.add("archive", &first, 1).unwrap();
    assert_eq!(table.add("archive", &second, 2).unwrap_err(), SealKeyError::NameTaken);
    let taken = SealKeyError::KeyTaken { id: first.id() };
    assert_eq!(table.add("other", &first, 2).unwrap_err(), taken);
    assert_eq!(table.rotate("archive", &first, 2).unwrap_err(), taken);
    table.rotate("archive", &second, 3).unwrap();
    assert_eq!(table.current("archive").unwrap(), second);
    assert_eq!(table.name_of(first.id()), Some("archive"));
    assert!(table.set_disabled("archive", true).unwrap());
    assert!(!table.set_disabled("archive", true).unwrap());
    assert_eq!(table.current("archive").unwrap_err(), SealKeyError::Disabled);
    assert_eq!(table.newest("archive").unwrap(), second);
    for bad in ["", "A", "a b", "ä", "a/b", &"a".repeat(65)] {
        let refused = table.add(bad, &public(), 4).unwrap_err();
        assert_eq!(refused, SealKeyError::BadName { max: 64 }, "{bad}");
    }
    table.check().unwrap();
    let stored = serde_json::to_string(&table).unwrap();
    let mut read: SealKeyTable = serde_json::from_str(&stored).unwrap();
    assert_eq!(read.infos(), table.infos());
    read = serde_json::from_str(&stored.replace("x25519", "x-wing")).unwrap();
    assert!(read.check().is_err());
}

/// Planted fault: `derive(Debug)` for the sealed data key.
#[test]
fn debug_shows_no_private_key() {
    let private = SealPrivateKey::generate(SealAlgorithm::X25519);
    let (recording, key) = (Uuid::now_v7(), DataKey::generate());
    let sealed = private.public().seal(recording, &key).unwrap();
    let shown = format!("{private:?} {sealed:?} {:?}", StoredDataKey::Sealed(sealed.clone()));
    for secret in [secret_of(&private).as_slice(), &sealed.as_bytes()[26..]] {
        assert!(!shown.contains(hex::encode(secret).as_str()));
        assert!(!shown.contains(format!("{secret:?}").trim_matches(['[', ']'])));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Files and rows come from strangers: read or refused, and never a panic.
    #[test]
    fn what_strangers_wrote_is_no_surprise(
        which in 0..3_usize,
        at in 0..400_usize,
        cut in 0..8_usize,
        junk in "\\PC{0,8}|\n{0,3}",
        bytes in prop::collection::vec(any::<u8>(), 0..130),
    ) {
        let private = fixed().next().unwrap();
        let sealed = private.public().seal(Uuid::nil(), &DataKey::generate()).unwrap();
        let mut text = match which {
            0 => private.expose_export_at(Some(&passphrase()), Cost::CHEAP).unwrap().to_string(),
            1 => private.public().to_text(),
            _ => SealedKeyFile::new(Uuid::nil(), vec![sealed]).to_text(),
        };
        let at = at.min(text.len());
        text.replace_range(at..(at + cut).min(text.len()), &junk);
        let _ = SealPrivateKey::import(&text, || Some(passphrase()));
        let _ = SealPublicKey::from_text(&text);
        let _ = SealedKeyFile::from_text(&text);
        let framed = [&[1, 1][..], &bytes].concat();
        for bytes in [bytes, framed] {
            if let Ok(sealed) = SealedDataKey::from_bytes(&bytes) {
                prop_assert!(private.open(Uuid::nil(), &sealed).is_err());
            }
        }
    }
}

fn secret_of(private: &SealPrivateKey) -> &[u8; 32] {
    private.expose_secret()
}
