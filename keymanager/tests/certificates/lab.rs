//! A small authority made with openssl: root, intermediate, and whatever a test asks for.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use keymanager::gate::Report;
use keymanager::{Candidate, GatePolicy};
use zeroize::Zeroizing;

/// A folder of keys (`NAME.key`) and certificates (`NAME.crt`); `root` and `int` are authorities.
pub(crate) struct Lab {
    folder: tempfile::TempDir,
    /// A day into the life of what was made.
    pub(crate) now_ms: i64,
}

pub(crate) const SERVER: &str = "basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\n\
    extendedKeyUsage=serverAuth\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n\
    subjectAltName=DNS:rec.example,DNS:*.apps.example,IP:192.0.2.7\n";
const AUTHORITY: &str = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n\
    subjectKeyIdentifier=hash\n";
pub(crate) const P256: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
pub(crate) const RSA_2048: &[&str] = &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
pub(crate) const DAY_MS: i64 = 86_400_000;

impl Lab {
    /// Root, intermediate and the server certificate `leaf`; `None` without openssl.
    pub(crate) fn new() -> Option<Self> {
        let mut lab = Self { folder: tempfile::tempdir().unwrap(), now_ms: 0 };
        if Command::new("openssl").arg("version").output().is_err() {
            skip("openssl is not installed");
            return None;
        }
        lab.issue("root", "root", P256, AUTHORITY, &["-days", "3650"]);
        lab.issue("int", "root", P256, AUTHORITY, &["-days", "1825"]);
        lab.leaf("leaf", SERVER);
        let report = lab.check(&lab.candidate(&["leaf.crt", "int.crt", "leaf.key"]), |_| {});
        lab.now_ms =
            report.facts.expect("openssl makes readable certificates").not_before_ms + DAY_MS;
        Some(lab)
    }

    /// A server certificate by the intermediate, P-256.
    pub(crate) fn leaf(&self, name: &str, extensions: &str) {
        self.issue(name, "int", P256, extensions, &["-days", "90"]);
    }

    /// Any certificate; by itself if `issuer` is `name`.
    pub(crate) fn issue(
        &self,
        name: &str,
        issuer: &str,
        key: &[&str],
        extensions: &str,
        more: &[&str],
    ) {
        let file = |ending: &str| format!("{name}.{ending}");
        self.openssl(&[&["genpkey", "-out", &file("key")], key].concat());
        let subject = format!("/O=Lab/CN={name}");
        let request =
            ["req", "-new", "-key", &file("key"), "-subj", &subject, "-out", &file("csr")];
        self.openssl(&request);
        fs::write(self.path(&file("ext")), extensions).unwrap();
        let (crt, ikey) = (format!("{issuer}.crt"), format!("{issuer}.key"));
        let by: &[&str] =
            if issuer == name { &["-signkey", &ikey] } else { &["-CA", &crt, "-CAkey", &ikey] };
        let out = ["-extfile", &file("ext"), "-out", &file("crt")];
        let serial =
            format!("0x5{:015x}", name.bytes().fold(7_u64, |n, b| n * 31 % 999_983 + u64::from(b)));
        let number = ["-set_serial", &serial];
        let of = ["x509", "-req", "-in", &file("csr")];
        self.openssl(&[&of[..], by, &out, &number, more].concat());
    }

    /// Runs openssl in the folder; its standard output.
    pub(crate) fn openssl(&self, arguments: &[&str]) -> String {
        self.try_openssl(arguments).unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
    }

    /// The same; what it said if it failed.
    pub(crate) fn try_openssl(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new("openssl");
        let output = command.current_dir(self.folder.path()).args(arguments).output().unwrap();
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(said(&output.stdout)) } else { Err(said(&output.stderr)) }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The files one after the other.
    pub(crate) fn cat(&self, names: &[&str]) -> Vec<u8> {
        names.iter().flat_map(|name| fs::read(self.path(name)).unwrap()).collect()
    }

    /// The files in one PEM.
    pub(crate) fn candidate(&self, names: &[&str]) -> Candidate {
        Candidate::from_pem(&self.cat(names), None, None).unwrap()
    }

    /// The root as DER.
    pub(crate) fn root(&self) -> Vec<u8> {
        self.openssl(&["x509", "-in", "root.crt", "-outform", "DER", "-out", "root.der"]);
        fs::read(self.path("root.der")).unwrap()
    }

    /// Asks the gate, with the lab's root known.
    pub(crate) fn check(
        &self,
        candidate: &Candidate,
        change: impl FnOnce(&mut GatePolicy),
    ) -> Report {
        let mut policy = GatePolicy {
            wanted_names: vec!["rec.example".to_owned()],
            extra_roots: vec![self.root()],
            ..GatePolicy::default()
        };
        change(&mut policy);
        keymanager::gate::check(candidate, &policy, None, self.now_ms)
    }
}

pub(crate) fn secret(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.to_owned())
}

#[expect(clippy::disallowed_methods, reason = "tests are configured by the environment")]
pub(crate) fn skip(reason: &str) {
    assert!(std::env::var("RECSEAL_TEST_ALL").is_err(), "must not skip: {reason}");
    println!("SKIP: {reason}");
}
