//! Certificates in files that somebody else renews, swapped under the running daemon.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::fails;
use super::own::fingerprint;
use crate::common::daemon::Daemon;
use crate::common::{or_skip, run, tools};

/// A small authority made with openssl.
struct Authority {
    folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let this = Self { folder: tempfile::tempdir().unwrap() };
        this.openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "3650",
            "-subj",
            "/CN=test root",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
            "-addext",
            "basicConstraints=critical,CA:TRUE",
            "-addext",
            "keyUsage=critical,keyCertSign,cRLSign",
        ]);
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn openssl(&self, args: &[&str]) {
        run(Command::new("openssl").args(args).current_dir(self.folder.path())).unwrap();
    }

    /// Issues `NAME.pem` (chain) and `NAME.key`.
    fn issue(&self, name: &str) {
        let subject = "/CN=rec.test";
        let (key, csr) = (format!("{name}.key"), format!("{name}.csr"));
        self.openssl(&[
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            subject,
            "-keyout",
            &key,
            "-out",
            &csr,
        ]);
        let extensions = "subjectAltName=DNS:rec.test,DNS:localhost,IP:127.0.0.1\n\
            extendedKeyUsage=serverAuth\nbasicConstraints=critical,CA:FALSE\n\
            authorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n\
            keyUsage=critical,digitalSignature\n";
        fs::write(self.path("ext"), extensions).unwrap();
        let leaf = format!("{name}.leaf");
        self.openssl(&[
            "x509",
            "-req",
            "-in",
            &csr,
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "90",
            "-extfile",
            "ext",
            "-out",
            &leaf,
        ]);
        let chain = [fs::read(self.path(&leaf)).unwrap(), fs::read(self.path("ca.pem")).unwrap()];
        fs::write(self.path(&format!("{name}.pem")), chain.concat()).unwrap();
    }
}

fn write_config(folder: &Path, lines: &str) -> String {
    let path = folder.join("recseal.toml");
    fs::write(&path, format!("[certificate]\nsource = \"files\"\n{lines}")).unwrap();
    path.to_str().unwrap().to_owned()
}

fn warning_codes(status: &Value) -> Vec<String> {
    let warnings = status["warnings"].as_array().unwrap().iter();
    warnings.map(|warning| warning["code"].as_str().unwrap().to_owned()).collect()
}

/// certbot's way: a folder of links that lead to numbered files. Key and chain are replaced one
/// after the other; in between, the pair does not fit. Meant to catch: one read instead of two, or
/// no gate, serves nothing at that moment.
#[test]
fn a_swap_of_links_is_taken_when_it_is_whole() {
    or_skip!(tools(&["openssl"]));
    let authority = Authority::new();
    authority.issue("one");
    authority.issue("two");
    let live = authority.path("live");
    fs::create_dir(&live).unwrap();
    let link = |name: &str, to: &str| {
        let (new, place) = (live.join("new"), live.join(name));
        std::os::unix::fs::symlink(authority.path(to), &new).unwrap();
        fs::rename(new, place).unwrap();
    };
    link("fullchain.pem", "one.pem");
    link("privkey.pem", "one.key");
    let config = write_config(
        authority.folder.path(),
        &format!("chain = \"{0}/fullchain.pem\"\nkey = \"{0}/privkey.pem\"", live.display()),
    );
    let daemon = Daemon::start(&["--config", &config]);
    daemon.json(&["certs", "renew", "--wait"]);
    let first = fingerprint(&daemon);
    assert_eq!(daemon.json(&["status"])["certificate"]["source"], "files");

    // Half of it: the new key with the old chain.
    link("privkey.pem", "two.key");
    let said = fails(&daemon, &["certs", "renew", "--wait"]);
    assert!(said.contains("key-mismatch"), "{said}");
    assert_eq!(fingerprint(&daemon), first, "the old one serves on");
    let status = daemon.json(&["status"]);
    assert!(warning_codes(&status).contains(&"certificate-renewal-failing".to_owned()), "{status}");
    // Looked at again, the same content is not reported again.
    assert_eq!(daemon.json(&["certs", "renew", "--wait"])["renewal"], "not-due");
    assert_eq!(failures(&daemon), 1);

    // Put back: nothing is left to warn of.
    link("privkey.pem", "one.key");
    daemon.json(&["certs", "renew", "--wait"]);
    let failing = "certificate-renewal-failing".to_owned();
    assert!(!warning_codes(&daemon.json(&["status"])).contains(&failing));

    link("privkey.pem", "two.key");
    link("fullchain.pem", "two.pem");
    assert_eq!(daemon.json(&["certs", "renew", "--wait"])["renewal"], "renewed");
    let second = fingerprint(&daemon);
    assert_ne!(second, first);
    let status = daemon.json(&["status"]);
    assert!(!warning_codes(&status).contains(&"certificate-renewal-failing".to_owned()));

    // A half-written chain, and no file at all.
    let whole = fs::read(authority.path("two.pem")).unwrap();
    fs::write(authority.path("two.pem"), &whole[..whole.len() / 3]).unwrap();
    fails(&daemon, &["certs", "renew", "--wait"]);
    fs::rename(live.join("privkey.pem"), live.join("away")).unwrap();
    let said = fails(&daemon, &["certs", "renew", "--wait"]);
    assert!(said.contains("files-unreadable") && !said.contains("privkey"), "{said}");
    assert_eq!(fingerprint(&daemon), second);
}

fn failures(daemon: &Daemon) -> usize {
    let entries = daemon.json(&["audit", "--activity", "CERTIFICATE_RENEWAL_FAILED"]);
    entries.as_array().unwrap().len()
}

#[test]
fn a_pkcs12_file_is_taken_with_its_password() {
    or_skip!(tools(&["openssl"]));
    let authority = Authority::new();
    authority.issue("one");
    fs::write(authority.path("password"), "wrong\n").unwrap();
    authority.openssl(&[
        "pkcs12",
        "-export",
        "-in",
        "one.pem",
        "-inkey",
        "one.key",
        "-out",
        "one.p12",
        "-passout",
        "pass:secret",
    ]);
    let config = write_config(
        authority.folder.path(),
        &format!(
            "pkcs12 = \"{0}/one.p12\"\npassword_file = \"{0}/password\"",
            authority.folder.path().display()
        ),
    );
    let daemon = Daemon::start(&["--config", &config]);
    let self_signed = fingerprint(&daemon);
    daemon.try_json(&["certs", "renew", "--wait"]);
    assert_eq!(fingerprint(&daemon), self_signed, "a wrong password changes nothing");
    fs::write(authority.path("password"), "secret\n").unwrap();
    assert_eq!(daemon.json(&["certs", "renew", "--wait"])["renewal"], "renewed");
    assert_ne!(fingerprint(&daemon), self_signed);
    assert!(!daemon.log().contains("secret"));
}
