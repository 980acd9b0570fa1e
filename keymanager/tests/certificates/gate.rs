//! Every refusal and every notice, with words that help.

use keymanager::gate::{Finding, GateCode, Report};
use keymanager::{Candidate, CertificateFacts, GatePolicy};

use crate::lab::{DAY_MS, Lab, P256, RSA_2048, SERVER};

fn codes(findings: &[Finding]) -> Vec<&'static str> {
    findings.iter().map(|finding| finding.code.as_str()).collect()
}

/// What the gate says: refusals, then notices.
fn said(report: &Report) -> (Vec<&'static str>, Vec<&'static str>) {
    (codes(&report.refusals), codes(&report.notices))
}

fn must(findings: &[Finding], code: GateCode, message: &str, hint: &str) {
    let found = findings.iter().find(|finding| finding.code == code);
    let found = found.unwrap_or_else(|| panic!("no {} in {findings:?}", code.as_str()));
    assert!(found.message.contains(message), "{found:?} does not say {message:?}");
    assert!(found.hint.contains(hint), "{found:?} does not hint at {hint:?}");
}

#[test]
fn a_good_chain_has_nothing_to_remark() {
    let Some(lab) = Lab::new() else { return };
    let whole = lab.candidate(&["leaf.crt", "int.crt", "leaf.key"]);
    let report = lab.check(&whole, |_| {});
    assert_eq!(said(&report), (vec![], vec![]), "{report:?}");
    let facts = report.facts.unwrap();
    assert_eq!(facts.names, ["rec.example", "*.apps.example", "192.0.2.7"]);
    assert!(facts.issuer.contains("CN=int"), "{}", facts.issuer);
    for names in [&["REC.example."][..], &["x.apps.example", "192.0.2.7"]] {
        let owned = names.iter().map(|name| (*name).to_owned()).collect();
        let report = lab.check(&whole, |policy| policy.wanted_names = owned);
        assert_eq!(said(&report), (vec![], vec![]), "{names:?}");
    }
    lab.issue("rsa", "int", RSA_2048, SERVER, &["-days", "90"]);
    for (name, key) in [("p384", "P-384"), ("p521", "P-521")] {
        let curve = format!("ec_paramgen_curve:{key}");
        lab.issue(name, "int", &["-algorithm", "EC", "-pkeyopt", &curve], SERVER, &[]);
    }
    lab.issue("ed25519", "int", &["-algorithm", "ED25519"], SERVER, &[]);
    for (name, notices) in [
        ("rsa", vec![]),
        ("p384", vec![]),
        ("p521", vec!["key-unusual"]),
        ("ed25519", vec!["key-unusual"]),
    ] {
        let (crt, key) = (format!("{name}.crt"), format!("{name}.key"));
        let report = lab.check(&lab.candidate(&[&crt, "int.crt", &key]), |_| {});
        assert_eq!(said(&report), (vec![], notices), "{name}: {report:?}");
    }
}

/// Planted faults: `keys_match` left out (only the handshake notices then); the key not looked at
/// when several certificates are there.
#[test]
fn keys_that_do_not_fit_or_hold() {
    let Some(lab) = Lab::new() else { return };
    let report = lab.check(&lab.candidate(&["leaf.crt", "int.crt"]), |_| {});
    assert_eq!(said(&report).0, ["no-key"]);
    must(&report.refusals, GateCode::NoKey, "no private key", "--key FILE");

    lab.leaf("other", SERVER);
    let report = lab.check(&lab.candidate(&["leaf.crt", "int.crt", "other.key"]), |_| {});
    assert_eq!(said(&report).0, ["key-mismatch"]);
    must(&report.refusals, GateCode::KeyMismatch, "another certificate", "openssl pkey");

    let both = lab.cat(&["leaf.crt", "int.crt", "leaf.key", "other.key"]);
    let several = Candidate::from_pem(&both, None, None).unwrap_err();
    must(&[several], GateCode::SeveralKeys, "2 different", "keep the one");

    let small = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"];
    lab.issue("small", "int", &small, SERVER, &["-days", "90"]);
    let report = lab.check(&lab.candidate(&["small.crt", "int.crt", "small.key"]), |_| {});
    must(&report.refusals, GateCode::KeyWeak, "RSA key of 1024 bits", "2048");
    let koblitz = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"];
    lab.issue("koblitz", "int", &koblitz, SERVER, &["-days", "90"]);
    let report = lab.check(&lab.candidate(&["koblitz.crt", "int.crt", "koblitz.key"]), |_| {});
    must(&report.refusals, GateCode::KeyWeak, "secp256k1", "P-256");
    lab.issue("weak", "int", P256, SERVER, &["-sha1"]);
    // Elliptic curves have no signature with MD5; RSA does.
    lab.issue("old", "old", RSA_2048, "basicConstraints=CA:TRUE\n", &[]);
    lab.issue("weaker", "old", P256, SERVER, &["-md5"]);
    for (name, hash) in [("weak", "SHA-1"), ("weaker", "MD5")] {
        let files = [format!("{name}.crt"), "int.crt".to_owned(), format!("{name}.key")];
        let report = lab.check(&lab.candidate(&files.each_ref().map(String::as_str)), |_| {});
        must(&report.refusals, GateCode::SigWeak, hash, "SHA-256");
    }
    lab.issue("int1", "root", P256, "basicConstraints=CA:TRUE\n", &["-sha1"]);
    lab.issue("below", "int1", P256, SERVER, &[]);
    let report = lab.check(&lab.candidate(&["below.crt", "int1.crt", "below.key"]), |_| {});
    must(&report.refusals, GateCode::SigWeak, "an authority of the chain", "SHA-256");
}

/// Planted fault: the end compared without the hour that is left to act.
#[test]
fn dates() {
    let Some(mut lab) = Lab::new() else { return };
    let whole = lab.candidate(&["leaf.crt", "int.crt", "leaf.key"]);
    let begin_ms = lab.now_ms - DAY_MS;
    let end_ms = begin_ms + 90 * DAY_MS;
    for (now_ms, passes, stages) in [
        (begin_ms - 400 * DAY_MS, true, true),
        (begin_ms - 1, true, true),
        (begin_ms, true, false),
        (end_ms - 3_600_001, true, false),
        (end_ms - 3_600_000, false, false),
        (end_ms + 1, false, false),
        (i64::MAX, false, false),
        (i64::MIN, true, true),
    ] {
        lab.now_ms = now_ms;
        let report = lab.check(&whole, |_| {});
        assert_eq!(report.passed(), passes, "{now_ms}: {report:?}");
        assert_eq!(report.staged_until_ms, stages.then_some(begin_ms + 300_000), "{now_ms}");
        if !passes {
            must(&report.refusals, GateCode::Expired, "certificate end", "new one");
        }
        if stages {
            must(&report.notices, GateCode::NotYetValid, "begins in", "by itself");
        }
    }
}

#[test]
fn names_and_usage() {
    let Some(lab) = Lab::new() else { return };
    let whole = lab.candidate(&["leaf.crt", "int.crt", "leaf.key"]);
    for wanted in ["other.example", "a.b.apps.example", "apps.example", "192.0.2.8", "7"] {
        let report = lab.check(&whole, |policy| policy.wanted_names.push(wanted.to_owned()));
        assert_eq!(said(&report), (vec!["wrong-names"], vec![]), "{wanted}");
        must(&report.refusals, GateCode::WrongNames, wanted, "--allow-names");
        let report = lab.check(&whole, |policy| {
            policy.wanted_names.push(wanted.to_owned());
            policy.allow_other_names = Some("behind a proxy".to_owned());
        });
        assert_eq!(said(&report), (vec![], vec!["wrong-names"]), "{wanted}");
    }
    let with = |usage: &str| SERVER.replace("extendedKeyUsage=serverAuth", usage);
    for (name, extensions, code, message, hint) in [
        ("client", with("extendedKeyUsage=clientAuth"), GateCode::WrongUsage, "serverAuth", "ask"),
        (
            "cipher",
            SERVER.replace("keyUsage=digitalSignature", "keyUsage=keyEncipherment"),
            GateCode::WrongUsage,
            "digitalSignature",
            "ask",
        ),
        ("authority", SERVER.replace("CA:FALSE", "CA:TRUE"), GateCode::IsCa, "CA:TRUE", "CA:FALSE"),
        (
            "nameless",
            SERVER
                .lines()
                .filter(|line| !line.starts_with("subjectAlt"))
                .collect::<Vec<_>>()
                .join("\n"),
            GateCode::WrongNames,
            "no names",
            "common name",
        ),
        (
            "unaskable",
            SERVER.replace("DNS:rec.example,DNS:*.apps.example,IP:192.0.2.7", "DNS:a..b"),
            GateCode::Handshake,
            "did not connect",
            "new one",
        ),
    ] {
        lab.leaf(name, &extensions);
        let files = [format!("{name}.crt"), "int.crt".to_owned(), format!("{name}.key")];
        let whole = lab.candidate(&files.each_ref().map(String::as_str));
        let report = lab.check(&whole, |policy| policy.wanted_names.clear());
        must(&report.refusals, code, message, hint);
    }
    lab.leaf("any", &with("extendedKeyUsage=anyExtendedKeyUsage,serverAuth"));
    lab.leaf("none", &with(""));
    for name in ["any", "none"] {
        let files = [format!("{name}.crt"), "int.crt".to_owned(), format!("{name}.key")];
        let report = lab.check(&lab.candidate(&files.each_ref().map(String::as_str)), |_| {});
        assert!(report.passed(), "{name}: {report:?}");
    }
}

/// Planted faults: the issuer not named; `allow_private` softening more than an unknown issuer.
#[test]
fn chains() {
    let Some(lab) = Lab::new() else { return };
    let alone = lab.candidate(&["leaf.crt", "leaf.key"]);
    let report = lab.check(&alone, |_| {});
    assert_eq!(said(&report).0, ["chain-incomplete"]);
    must(&report.refusals, GateCode::ChainIncomplete, "CN=int\"", "intermediate");
    let unknown = |policy: &mut GatePolicy| policy.extra_roots.clear();
    let whole = lab.candidate(&["leaf.crt", "int.crt", "leaf.key"]);
    let report = lab.check(&whole, unknown);
    must(&report.refusals, GateCode::ChainIncomplete, "CN=root\"", "--root FILE");
    let report = lab.check(&whole, |policy| {
        unknown(policy);
        policy.allow_private = true;
    });
    assert_eq!(said(&report), (vec![], vec!["chain-incomplete"]));

    let with_root = lab.candidate(&["leaf.crt", "int.crt", "root.crt", "leaf.key"]);
    assert_eq!(said(&lab.check(&with_root, |_| {})), (vec![], vec!["root-removed"]));
    let report = lab.check(&with_root, unknown);
    assert_eq!(said(&report), (vec![], vec!["root-removed", "private-root"]));
    must(&report.notices, GateCode::PrivateRoot, "does not know", "every client");

    let reversed = lab.candidate(&["leaf.key", "root.crt", "int.crt", "leaf.crt"]);
    let report = lab.check(&reversed, |_| {});
    assert_eq!(said(&report), (vec![], vec!["ca-first", "root-removed"]));
    lab.leaf("stranger", SERVER);
    let stranger = lab.candidate(&["stranger.crt", "leaf.crt", "int.crt", "leaf.crt", "leaf.key"]);
    assert_eq!(said(&lab.check(&stranger, |_| {})), (vec![], vec!["ca-first", "unrelated"]));

    // Signed by another authority of the same name.
    lab.issue("fake", "fake", P256, "basicConstraints=CA:TRUE\n", &[]);
    std::fs::rename(lab.path("int.crt"), lab.path("kept.crt")).unwrap();
    lab.issue("int", "fake", P256, "basicConstraints=CA:TRUE\n", &[]);
    let report = lab.check(&lab.candidate(&["leaf.crt", "int.crt", "leaf.key"]), |policy| {
        policy.allow_private = true;
    });
    must(&report.refusals, GateCode::ChainIncomplete, "does not hold", "add that certificate");

    let server = SERVER.replace("authorityKeyIdentifier=keyid\n", "");
    lab.issue("self", "self", P256, &server, &["-days", "90"]);
    let report = lab.check(&lab.candidate(&["self.crt", "self.key"]), |_| {});
    assert_eq!(said(&report), (vec![], vec!["private-root"]));
}

#[test]
fn beside_the_live_one() {
    let Some(lab) = Lab::new() else { return };
    let first = lab.check(&lab.candidate(&["leaf.crt", "int.crt", "leaf.key"]), |_| {});
    let live = first.facts.unwrap();
    lab.issue("leaf", "int", P256, SERVER, &["-days", "30"]);
    let second = lab.candidate(&["leaf.crt", "int.crt", "leaf.key"]);
    let policy = GatePolicy { extra_roots: vec![lab.root()], ..GatePolicy::default() };
    let report = keymanager::gate::check(&second, &policy, Some(&live), lab.now_ms);
    assert_eq!(said(&report), (vec![], vec!["duplicate-serial", "older-than-live"]));
    must(&report.notices, GateCode::OlderThanLive, "days before", "rollback");
    must(&report.notices, GateCode::DuplicateSerial, "serial number", "authority");
    // Our own live for 365 days: every first certificate of an authority ends before them.
    let ours = CertificateFacts {
        issuer: "CN=recseal self-signed".to_owned(),
        not_after_ms: live.not_after_ms + 275 * DAY_MS,
        ..CertificateFacts::default()
    };
    let report = keymanager::gate::check(&second, &policy, Some(&ours), lab.now_ms);
    assert_eq!(said(&report), (vec![], vec![]));
}

/// What passes here passes openssl, also by the letter of the standard; what openssl refuses is
/// refused here.
#[test]
fn openssl_agrees() {
    let Some(lab) = Lab::new() else { return };
    for strict in [&[][..], &["-x509_strict"]] {
        let verify = ["verify", "-purpose", "sslserver", "-CAfile", "root.crt"];
        lab.openssl(&[&verify[..], strict, &["-untrusted", "int.crt", "leaf.crt"]].concat());
    }
    lab.issue("narrow", "root", P256,
        "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\nnameConstraints=critical,permitted;DNS:elsewhere.example\n", &[]);
    lab.issue("outside", "narrow", P256, SERVER, &[]);
    let openssl = lab.try_openssl(&[
        "verify",
        "-CAfile",
        "root.crt",
        "-untrusted",
        "narrow.crt",
        "outside.crt",
    ]);
    assert!(openssl.is_err());
    let report =
        lab.check(&lab.candidate(&["outside.crt", "narrow.crt", "outside.key"]), |policy| {
            policy.allow_private = true;
        });
    must(&report.refusals, GateCode::ChainIncomplete, "NameConstraintViolation", "");
}
