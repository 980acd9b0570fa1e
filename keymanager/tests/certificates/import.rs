//! Files as tools write them: PEM in all clothes, keys with passwords, PKCS#12 old and new.

use keymanager::gate::{GateCode, Refusal};
use keymanager::{Candidate, FILE_BYTES_MAX};
use proptest::prelude::*;

use crate::lab::{Lab, P256, RSA_2048, SERVER, secret, skip};

fn refused(refusal: Result<Candidate, Refusal>, code: GateCode, message: &str, hint: &str) {
    let refusal = refusal.expect_err("it should be refused");
    assert_eq!(refusal.code, code, "{refusal:?}");
    assert!(refusal.message.contains(message), "{refusal:?} does not say {message:?}");
    assert!(refusal.hint.contains(hint), "{refusal:?} does not hint at {hint:?}");
}

/// Planted faults: the mark of a cut `BEGIN` line ignored; `END` without `BEGIN` ignored.
#[test]
fn a_chain_cut_anywhere_is_told() {
    let Some(lab) = Lab::new() else { return };
    let whole = lab.cat(&["leaf.key", "leaf.crt", "int.crt"]);
    let ends: Vec<usize> = {
        let text = String::from_utf8(whole.clone()).unwrap();
        text.match_indices("-----END").map(|(at, _)| at + text[at..].find('\n').unwrap()).collect()
    };
    for cut in 0..whole.len() {
        let between = ends.iter().position(|end| cut == *end || cut == *end + 1);
        let outcome = Candidate::from_pem(&whole[..cut], None, None);
        match (between, cut) {
            (_, 0) => refused(outcome, GateCode::PemEmpty, "no PEM block", "BEGIN CERTIFICATE"),
            (Some(0), _) => refused(outcome, GateCode::PemEmpty, "there is a key", "BEGIN"),
            // The silently short chain: readable, and refused by the gate.
            (Some(1), _) => {
                let report = lab.check(&outcome.unwrap(), |_| {});
                assert_eq!(report.refusals[0].code, GateCode::ChainIncomplete);
            }
            (Some(_), _) => assert!(outcome.is_ok()),
            (None, _) => refused(outcome, GateCode::PemTruncated, "", "not whole"),
        }
        // From the other side; of a marker line nothing but its dashes says nothing.
        let rest = &whole[cut..];
        let is_told = rest.first().is_some_and(|byte| *byte != b'\n')
            && !rest.starts_with(b"-----BEGIN")
            && !rest.split(|byte| *byte == b'\n').next().unwrap().iter().all(|byte| *byte == b'-');
        if is_told {
            assert!(Candidate::from_pem(rest, None, None).is_err(), "head cut at {cut}");
        }
    }
}

#[test]
fn pem_in_all_clothes() {
    let Some(lab) = Lab::new() else { return };
    let (crt, key) = (lab.cat(&["leaf.crt", "int.crt"]), lab.cat(&["leaf.key"]));
    let check = |what: &str, candidate: Result<Candidate, Refusal>| {
        let candidate = candidate.unwrap_or_else(|refusal| panic!("{what}: {refusal:?}"));
        let report = lab.check(&candidate, |_| {});
        assert!(report.passed() && report.notices.is_empty(), "{what}: {report:?}");
    };
    check("two files", Candidate::from_pem(&crt, Some(&key), None));
    check("both in both", Candidate::from_pem(&crt, Some(&[&crt[..], &key].concat()), None));
    let both = String::from_utf8([&key[..], &crt].concat()).unwrap();
    check("one file", Candidate::from_bytes(both.as_bytes(), None, None));
    check("CRLF", Candidate::from_bytes(both.replace('\n', "\r\n").as_bytes(), None, None));
    check("mark", Candidate::from_bytes(format!("\u{feff}{both}").as_bytes(), None, None));
    let chatty = both.replace("-----BEGIN", "Bag Attributes\n  friendlyName: \u{e4}\n-----BEGIN");
    check("text between", Candidate::from_bytes(chatty.as_bytes(), None, None));
    check("spaces", Candidate::from_bytes(both.replace('\n', " \n  ").as_bytes(), None, None));
    lab.openssl(&["ec", "-in", "leaf.key", "-out", "sec1.key"]);
    let sec1 = lab.cat(&["sec1.key"]);
    assert!(sec1.starts_with(b"-----BEGIN EC PRIVATE KEY"));
    check("SEC1", Candidate::from_pem(&crt, Some(&sec1), None));
    let twice = Candidate::from_pem(&crt, Some(&[&key[..], &sec1].concat()), None);
    check("one key in two clothes", twice);
    lab.openssl(&["pkey", "-in", "leaf.key", "-outform", "DER", "-out", "key.der"]);
    let binary = Candidate::from_pem(&crt, Some(&lab.cat(&["key.der"])), None);
    refused(binary, GateCode::NoKey, "key file", "-inform DER");
    lab.openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-out", "params.key"]);
    lab.issue("rsa", "int", RSA_2048, SERVER, &[]);
    lab.openssl(&["rsa", "-in", "rsa.key", "-traditional", "-out", "pkcs1.key"]);
    let pkcs1 = lab.cat(&["pkcs1.key"]);
    assert!(pkcs1.starts_with(b"-----BEGIN RSA PRIVATE KEY"));
    check("PKCS#1", Candidate::from_pem(&lab.cat(&["rsa.crt", "int.crt"]), Some(&pkcs1), None));
    let params = Candidate::from_pem(&crt, Some(&lab.cat(&["params.key"])), None).unwrap();
    let report = lab.check(&params, |_| {});
    assert_eq!(report.refusals[0].code, GateCode::KeyMismatch, "{report:?}");

    let none: [&[u8]; 3] = [b"", b"\xef\xbb\xbf", b"no certificate here\n"];
    for bytes in none {
        refused(Candidate::from_bytes(bytes, None, None), GateCode::PemEmpty, "no PEM", "BEGIN");
    }
    let long = vec![b'\n'; FILE_BYTES_MAX + 1];
    refused(Candidate::from_bytes(&long, None, None), GateCode::TooLarge, "bytes", "own chain");
    let many = crt.repeat(20);
    lab.issue("a", "int", P256, SERVER, &[]);
    assert!(Candidate::from_bytes(&many, None, None).is_err());
    lab.openssl(&["crl2pkcs7", "-nocrl", "-certfile", "leaf.crt", "-out", "leaf.p7b"]);
    let p7b = lab.cat(&["leaf.p7b"]);
    refused(
        Candidate::from_bytes(&p7b, None, None),
        GateCode::Malformed,
        "PKCS#7",
        "openssl pkcs7",
    );
    lab.openssl(&["x509", "-in", "leaf.crt", "-outform", "DER", "-out", "leaf.der"]);
    let der = lab.cat(&["leaf.der"]);
    refused(Candidate::from_bytes(&der, None, None), GateCode::PemEmpty, "DER", "-inform DER");
}

#[test]
fn keys_with_a_password() {
    let Some(lab) = Lab::new() else { return };
    let crt = lab.cat(&["leaf.crt", "int.crt"]);
    let topk8 =
        ["pkcs8", "-topk8", "-in", "leaf.key", "-out", "enc.key", "-passout", "pass:secret"];
    let good: [&[&str]; 4] = [
        &["-v2", "aes-256-cbc"],
        &["-v2", "aes-128-cbc", "-iter", "5000"],
        &["-scrypt", "-scrypt_N", "1024"],
        &["-v2", "des3", "-v2prf", "hmacWithSHA1"],
    ];
    for how in good {
        lab.openssl(&[&topk8[..], how].concat());
        let key = lab.cat(&["enc.key"]);
        let with = |password: Option<&str>| {
            Candidate::from_pem(&crt, Some(&key), password.map(secret).as_ref())
        };
        assert!(lab.check(&with(Some("secret")).unwrap(), |_| {}).passed(), "{how:?}");
        refused(with(Some("wrong")), GateCode::KeyEncrypted, "password is wrong", "openssl");
        refused(with(None), GateCode::KeyEncrypted, "no password", "--password-file");
    }
    let costly = ["-v2", "aes-256-cbc", "-iter", "20000000"];
    if lab.try_openssl(&[&topk8[..], &costly].concat()).is_ok() {
        let key = lab.cat(&["enc.key"]);
        let outcome = Candidate::from_pem(&crt, Some(&key), Some(&secret("secret")));
        refused(outcome, GateCode::TooLarge, "ten million rounds", "openssl pkcs8");
    }
    lab.openssl(&[&topk8[..], &["-v1", "PBE-SHA1-3DES"]].concat());
    lab.openssl(&[
        "ec",
        "-aes256",
        "-in",
        "leaf.key",
        "-out",
        "old.key",
        "-passout",
        "pass:secret",
    ]);
    for name in ["enc.key", "old.key"] {
        let key = lab.cat(&[name]);
        let outcome = Candidate::from_pem(&crt, Some(&key), Some(&secret("secret")));
        refused(outcome, GateCode::LegacyEncryption, "too old", "openssl pkcs8 -topk8");
    }
}

/// The files of other programs, as openssl can imitate them.
#[test]
fn pkcs12_of_every_make() {
    let Some(lab) = Lab::new() else { return };
    lab.issue("rsa", "int", RSA_2048, SERVER, &[]);
    lab.issue("ed", "int", &["-algorithm", "ED25519"], SERVER, &[]);
    let p521 = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"];
    lab.issue("p521", "int", &p521, SERVER, &[]);
    let triple = ["-legacy", "-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES"];
    let windows =
        ["-keypbe", "AES-256-CBC", "-certpbe", "AES-256-CBC", "-macalg", "sha256", "-iter", "2000"];
    let bare = ["-certpbe", "NONE", "-keypbe", "NONE", "-nomac"];
    let ways: [(&str, &[&str], &str); 13] = [
        ("leaf", &[], "secret"),
        ("rsa", &[], "secret"),
        ("p521", &[], "secret"),
        ("ed", &[], "secret"),
        ("leaf", &["-legacy"], "secret"),
        ("rsa", &triple, "secret"),
        ("rsa", &windows, "secret"),
        ("leaf", &["-macalg", "sha512"], "secret"),
        ("leaf", &[], ""),
        ("leaf", &[], "P\u{e4}ssw\u{f6}rd\u{260e}"),
        ("leaf", &["-nomac"], "secret"),
        ("leaf", &["-certpbe", "NONE"], "secret"),
        ("leaf", &bare, "secret"),
    ];
    for (name, how, password) in ways {
        let Some(bytes) = export(&lab, name, how, password) else { continue };
        let given = secret(password);
        let candidate = Candidate::from_bytes(&bytes, None, Some(&given))
            .unwrap_or_else(|refusal| panic!("{name} {how:?}: {refusal:?}"));
        let report = lab.check(&candidate, |_| {});
        assert!(report.passed(), "{name} {how:?}: {report:?}");
        let is_open = how.contains(&"-nomac") && how.contains(&"-keypbe");
        if !is_open {
            let wrong = Candidate::from_bytes(&bytes, None, Some(&secret("wrong")));
            refused(wrong, GateCode::KeyEncrypted, "password is wrong", "openssl pkcs12");
        }
        if !is_open && !password.is_empty() {
            let none = Candidate::from_bytes(&bytes, None, None);
            refused(none, GateCode::KeyEncrypted, "no password", "--password-file");
        }
    }
    for cipher in ["PBE-SHA1-RC2-128", "PBE-SHA1-RC4-128"] {
        let how = ["-legacy", "-keypbe", cipher, "-certpbe", cipher];
        let Some(bytes) = export(&lab, "leaf", &how, "secret") else { continue };
        let outcome = Candidate::from_bytes(&bytes, None, Some(&secret("secret")));
        refused(outcome, GateCode::LegacyEncryption, "too old", "openssl pkcs12");
    }
    lab.openssl(&[
        "pkcs12", "-export", "-nokeys", "-in", "leaf.crt", "-out", "t.p12", "-passout", "pass:x",
    ]);
    let trust = lab.cat(&["t.p12"]);
    let outcome = Candidate::from_bytes(&trust, None, Some(&secret("x")));
    refused(outcome, GateCode::NoKey, "no key", "private key");
    let whole = export(&lab, "leaf", &[], "secret").unwrap();
    for cut in [20, 100, whole.len() - 1] {
        let outcome = Candidate::from_bytes(&whole[..cut], None, Some(&secret("secret")));
        refused(outcome, GateCode::Malformed, "cut", "binary");
    }
    let args = [
        "pkcs12", "-export", "-inkey", "leaf.key", "-in", "leaf.crt", "-out", "l.p12", "-passout",
        "pass:x",
    ];
    lab.openssl(&args);
    let alone = Candidate::from_bytes(&lab.cat(&["l.p12"]), None, Some(&secret("x"))).unwrap();
    assert_eq!(lab.check(&alone, |_| {}).refusals[0].code, GateCode::ChainIncomplete);
}

/// `None` if this openssl lacks its legacy part.
fn export(lab: &Lab, name: &str, how: &[&str], password: &str) -> Option<Vec<u8>> {
    let (key, crt) = (format!("{name}.key"), format!("{name}.crt"));
    std::fs::write(lab.path("chain.pem"), lab.cat(&["int.crt", "root.crt"])).unwrap();
    let pass = format!("pass:{password}");
    let files = ["-inkey", &key, "-in", &crt, "-certfile", "chain.pem", "-out", "f.p12"];
    let command = [&["pkcs12", "-export", "-passout", &pass], &files[..], how].concat();
    match lab.try_openssl(&command) {
        Ok(_) => Some(lab.cat(&["f.p12"])),
        Err(why) if how.contains(&"-legacy") => {
            skip(&format!("openssl has no legacy ciphers: {why}"));
            None
        }
        Err(why) => panic!("{command:?}: {why}"),
    }
}

/// Damage of any kind ends in an answer, never in a panic or a hang.
#[test]
fn damage_never_panics() {
    let Some(lab) = Lab::new() else { return };
    let pem = lab.cat(&["leaf.key", "leaf.crt", "int.crt"]);
    let p12 = export(&lab, "leaf", &["-certpbe", "NONE", "-keypbe", "NONE", "-nomac"], "").unwrap();
    let sealed = export(&lab, "leaf", &["-iter", "1", "-maciter"], "secret").unwrap();
    let seeds = [pem, p12, sealed];
    let strategy = (
        0..seeds.len(),
        proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        any::<prop::sample::Index>(),
        any::<bool>(),
    );
    proptest!(ProptestConfig::with_cases(64), |((seed, damages, cut, is_cut) in strategy)| {
        let mut bytes = seeds[seed].clone();
        for (at, byte) in damages {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if is_cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(candidate) = Candidate::from_bytes(&bytes, None, Some(&secret("secret"))) {
            let _ = lab.check(&candidate, |_| {});
        }
        let _ = Candidate::from_pkcs12(&bytes, None);
        let _ = Candidate::from_pem(&bytes, Some(&bytes), None);
    });
}
