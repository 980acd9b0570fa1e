//! A certificate's way through the real program: asked, checked, imported, served, taken back.

#![expect(clippy::unwrap_used, reason = "what cannot go on fails the test")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::common::daemon::{Daemon, program};
use crate::common::{or_skip, run, tools};

/// Serve, import PKCS#12, see it over HTTPS, ask for another by a request, roll back, restart.
#[test]
fn a_certificate_is_imported_served_and_taken_back() {
    let lab = or_skip!(Lab::new());
    let names = "rec.example,localhost";
    let mut daemon = Daemon::at_rest(None, &[]);
    let state = daemon.state();
    ok(program().args(["init", "--names", names, "--state"]).arg(&state));
    daemon.start_again();
    assert_eq!(daemon.json(&["status"])["certificate"]["source"], "self-signed");
    let first = served(&lab, &daemon);

    let root = lab.text("root.crt");
    let p12 = lab.text("leaf.p12");
    let import = ["certs", "import", &p12, "--password-file", &lab.text("password")];
    // The root of a private authority is either named or comes along.
    let adopted = daemon.json(&[&import[..], &["--root", &root]].concat());
    let sha256 = adopted["sha256"].as_str().unwrap().to_owned();
    assert_eq!(served(&lab, &daemon), sha256);
    assert_ne!(sha256, first);
    let status = daemon.json(&["status"]);
    assert_eq!(status["certificate"]["source"], "imported");
    assert_eq!(status["certificate"]["sha256"], sha256.as_str());
    run(&mut lab.openssl(&["verify", "-CAfile", "root.crt", "-untrusted", "int.crt", "leaf.crt"]))
        .unwrap();
    let chain = connect(&lab, &daemon, &["-CAfile", "root.crt", "-verify_return_error"]);
    assert!(chain.contains("Verify return code: 0"), "{chain}");
    let again = daemon.recseal(&[&import[..], &["--root", &root]].concat());
    assert_eq!(again.status.code(), Some(5), "{again:?}");

    let csr = lab.text("ours.csr");
    let asked = daemon.json(&["certs", "csr", "-o", &csr]);
    let id = asked["id"].as_str().unwrap();
    lab.sign("ours");
    let answer = ["certs", "complete", id, &lab.text("ours.pem"), "--root", &root];
    let third = daemon.json(&answer)["sha256"].as_str().unwrap().to_owned();
    assert_eq!(served(&lab, &daemon), third);
    assert_eq!(daemon.recseal(&answer).status.code(), Some(6), "a request is answered twice");

    daemon.json(&["certs", "rollback"]);
    assert_eq!(served(&lab, &daemon), sha256);
    daemon.kill_nine();
    daemon.start_again();
    assert_eq!(served(&lab, &daemon), sha256, "forgotten over a restart");

    let list = daemon.json(&["certs", "list"]);
    let stored = list["certificates"].as_array().unwrap();
    let field = |name: &str| -> Vec<&str> {
        stored.iter().map(|one| one[name].as_str().unwrap()).collect()
    };
    assert_eq!(field("standing"), ["live", "previous", "previous"]);
    assert_eq!(field("source"), ["imported", "imported", "self-signed"]);
    assert_eq!(field("sha256"), [&sha256, &third, &first]);
    let oldest = field("id")[2];
    daemon.json(&["certs", "rollback", oldest]);
    assert_eq!(served(&lab, &daemon), first);

    let history = daemon.json(&["certs", "history"]);
    let done: Vec<(&str, &str)> = history
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["activity"].as_str().unwrap(), entry["result"].as_str().unwrap()))
        .collect();
    let wanted = [
        ("CERTIFICATE_IMPORTED", "ok"),
        ("CERTIFICATE_IMPORTED", "failed"),
        ("CERTIFICATE_REQUESTED", "ok"),
        ("CERTIFICATE_IMPORTED", "ok"),
        ("CERTIFICATE_IMPORTED", "failed"),
        ("CERTIFICATE_ROLLED_BACK", "ok"),
        ("CERTIFICATE_ROLLED_BACK", "ok"),
    ];
    assert_eq!(done, wanted);
    for secret in ["swordfish", "leaf.p12", "PRIVATE KEY"] {
        assert!(!daemon.log().contains(secret), "{secret:?} in the log");
    }
    for arguments in [&["certs", "list"][..], &["certs", "history"], &["certs", "show"]] {
        let said = daemon.recseal(arguments);
        assert!(said.status.success() && said.stdout.len() > 100, "{said:?}");
    }
}

/// The gate's word is the same with the daemon and without; exit 4 and codes for scripts.
#[test]
fn a_refusal_says_what_to_do_and_changes_nothing() {
    let lab = or_skip!(Lab::new());
    let mut daemon = Daemon::at_rest(None, &[]);
    ok(program().args(["init", "--names", "other.example", "--state"]).arg(daemon.state()));
    daemon.start_again();
    let before = served(&lab, &daemon);
    let (leaf, key) = (lab.text("leaf.crt"), lab.text("leaf.key"));
    for verb in ["import", "check"] {
        let said = daemon.recseal(&["certs", verb, &leaf, "--key", &key, "--json"]);
        assert_eq!(said.status.code(), Some(4), "{said:?}");
        let report: Value = serde_json::from_slice(&said.stdout).unwrap();
        let code = |at: usize| report["refusals"][at]["code"].as_str().unwrap();
        assert_eq!([code(0), code(1)], ["wrong-names", "chain-incomplete"], "{verb}: {report}");
        let lines = String::from_utf8(said.stderr).unwrap();
        assert!(lines.contains("CN=int") && lines.contains("\nhint: ask for one"), "{lines}");
    }
    assert_eq!(served(&lab, &daemon), before);

    let whole = ["--key", &key, "--root", &lab.text("root.crt"), "--json"];
    let chain = lab.text("chain.pem");
    let check = |more: &[&str]| {
        let line = [&["certs", "check", &chain], &whole[..], more].concat();
        program().args(line).arg("--state").arg("/nonexistent").output().unwrap()
    };
    assert_eq!(check(&[]).status.code(), Some(0));
    let wrong = check(&["--names", "rec.example,other.example"]);
    assert_eq!(wrong.status.code(), Some(4));
    let report: Value = serde_json::from_slice(&wrong.stdout).unwrap();
    assert_eq!(report["refusals"][0]["code"], "wrong-names");
    let let_in = check(&["--names", "other.example", "--allow-names", "a proxy has it"]);
    assert_eq!(let_in.status.code(), Some(0), "{let_in:?}");

    let wrong = lab.write("wrong", "not this one\n");
    let p12 = lab.text("leaf.p12");
    let said = daemon.recseal(&["certs", "import", &p12, "--password-file", &wrong]);
    let lines = String::from_utf8(said.stderr).unwrap();
    assert!(said.status.code() == Some(4) && lines.contains("password is wrong"), "{lines}");
    let said = daemon.recseal(&["certs", "import", &p12]);
    let lines = String::from_utf8(said.stderr).unwrap();
    assert!(said.status.code() == Some(4) && lines.contains("--password-file"), "{lines}");
    assert_eq!(daemon.recseal(&["certs", "rollback"]).status.code(), Some(6));
}

/// What counts as public is told by the host's own roots, which a test can choose.
#[test]
fn a_root_of_the_host_is_enough() {
    let lab = or_skip!(Lab::new());
    let check = |roots: &str| {
        let mut command = program();
        command.args(["certs", "check", &lab.text("chain.pem"), "--key", &lab.text("leaf.key")]);
        command.args(["--json", "--state", "/nonexistent"]).env("SSL_CERT_FILE", lab.text(roots));
        command.env_remove("SSL_CERT_DIR");
        let said = command.output().unwrap();
        let report: Value = serde_json::from_slice(&said.stdout).unwrap();
        (said.status.code(), report)
    };
    let (code, report) = check("root.crt");
    assert_eq!((code, &report["notices"][0]["code"]), (Some(0), &"too-long".into()), "{report}");
    let (code, report) = check("empty");
    assert_eq!(code, Some(4));
    assert!(report["refusals"][0]["hint"].as_str().unwrap().contains("knows 0 roots"), "{report}");
}

/// `init` with a certificate, with a request, and refused: then nothing is made.
#[test]
fn a_first_start_with_a_certificate_of_ones_own() {
    let lab = or_skip!(Lab::new());
    let (leaf, chain, key) = (lab.text("leaf.crt"), lab.text("chain.pem"), lab.text("leaf.key"));
    let root = lab.text("root.crt");
    let state = lab.path("state");
    let init = |more: &[&str]| {
        let mut command = program();
        command.args(["init", "--json", "--state"]).arg(&state).args(more);
        command.stdin(Stdio::null()).output().unwrap()
    };
    let refused = init(&["--cert", &leaf, "--key", &key]);
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    assert!(!state.exists(), "made although the certificate was refused");
    let names = ["--names", "rec.example"];
    let bring = [&names[..], &["--cert", &chain, "--key", &key, "--root", &root]].concat();
    for _ in 0..2 {
        let made = init(&bring);
        assert!(made.status.success(), "{made:?}");
    }
    let csr = lab.text("first.csr");
    let request = [&names[..], &["--csr", &csr]].concat();
    let made = init(&request);
    assert!(made.status.success() && lab.path("first.csr").exists(), "{made:?}");
    assert_eq!(init(&request).status.code(), Some(1), "the request is written over");

    let mut daemon = Daemon::at_rest(Some(&state), &[]);
    daemon.start_again();
    assert_eq!(daemon.json(&["status"])["certificate"]["source"], "imported");
    let list = daemon.json(&["certs", "list"]);
    let id = list["requests"][0]["id"].as_str().unwrap().to_owned();
    lab.sign("first");
    let answer = lab.text("first.pem");
    let complete = ["certs", "complete", &id, &answer];
    assert_eq!(daemon.recseal(&complete).status.code(), Some(4), "without the root");
    daemon.json(&[&complete[..], &["--root", &root]].concat());
}

fn ok(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    output
}

/// The fingerprint of what HTTPS serves.
fn served(lab: &Lab, daemon: &Daemon) -> String {
    std::fs::write(lab.path("served.pem"), connect(lab, daemon, &[])).unwrap();
    let shown =
        run(&mut lab.openssl(&["x509", "-in", "served.pem", "-noout", "-fingerprint", "-sha256"]));
    let shown = shown.unwrap();
    shown.rsplit('=').next().unwrap().replace(':', "").to_lowercase()
}

fn connect(lab: &Lab, daemon: &Daemon, more: &[&str]) -> String {
    let status = daemon.json(&["status"]);
    let address = status["listen"]["https"].as_str().unwrap().to_owned();
    let connect = ["s_client", "-connect", &address, "-servername", "rec.example", "-showcerts"];
    let mut command = lab.openssl(&[&connect[..], more].concat());
    run(command.stdin(Stdio::null())).unwrap()
}

/// Root, intermediate and a server certificate for rec.example, made by openssl.
struct Lab(tempfile::TempDir);

impl Lab {
    fn new() -> Result<Self, String> {
        tools(&["openssl"])?;
        let lab = Self(tempfile::tempdir().map_err(|error| error.to_string())?);
        lab.write("ca.ext", "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n");
        lab.write(
            "server.ext",
            "keyUsage=digitalSignature\nextendedKeyUsage=serverAuth\n\
             subjectAltName=DNS:rec.example,DNS:localhost\n",
        );
        lab.write("password", "swordfish\n");
        lab.write("empty", "");
        for (name, by, extensions) in [
            ("root", None, "ca.ext"),
            ("int", Some("root"), "ca.ext"),
            ("leaf", Some("int"), "server.ext"),
        ] {
            let (key, csr) = (format!("{name}.key"), format!("{name}.csr"));
            let kind = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
            run(lab.openssl(&["genpkey", "-out", &key]).args(kind))?;
            let subject = format!("/CN={name}");
            run(&mut lab.openssl(&["req", "-new", "-key", &key, "-subj", &subject, "-out", &csr]))?;
            lab.issue(name, by, extensions)?;
        }
        let chain = std::fs::read_to_string(lab.path("leaf.crt")).unwrap()
            + &std::fs::read_to_string(lab.path("int.crt")).unwrap();
        lab.write("chain.pem", &chain);
        let export = ["pkcs12", "-export", "-inkey", "leaf.key", "-in", "chain.pem"];
        run(lab.openssl(&export).args(["-passout", "pass:swordfish", "-out", "leaf.p12"]))?;
        Ok(lab)
    }

    fn issue(&self, name: &str, by: Option<&str>, extensions: &str) -> Result<String, String> {
        let (csr, crt) = (format!("{name}.csr"), format!("{name}.crt"));
        let mut command = self.openssl(&["x509", "-req", "-in", &csr, "-days", "300"]);
        command.args(["-extfile", extensions, "-out", &crt]);
        match by {
            None => command.args(["-signkey", &format!("{name}.key")]),
            Some(by) => command.args([
                "-CA",
                &format!("{by}.crt"),
                "-CAkey",
                &format!("{by}.key"),
                "-CAcreateserial",
            ]),
        };
        run(&mut command)
    }

    /// The authority's answer to NAME.csr, as NAME.pem.
    fn sign(&self, name: &str) {
        self.issue(name, Some("int"), "server.ext").unwrap();
        let own = std::fs::read_to_string(self.path(&format!("{name}.crt"))).unwrap();
        let int = std::fs::read_to_string(self.path("int.crt")).unwrap();
        self.write(&format!("{name}.pem"), &format!("{own}{int}"));
    }

    fn openssl(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("openssl");
        command.current_dir(self.0.path()).args(arguments);
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new(self.0.path()).join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, content: &str) -> String {
        std::fs::write(self.path(name), content).unwrap();
        self.text(name)
    }
}
