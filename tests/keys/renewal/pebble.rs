//! Pebble, the small authority for tests, as a child process with a DNS of its own.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::common::daemon::Daemon;
use crate::common::run;

/// What differs from one test to the next.
#[derive(Default)]
pub(super) struct Kind {
    pub(super) needs_binding: bool,
    pub(super) blocked: &'static [&'static str],
    /// As pebble is by default: validation waits, up to so many seconds.
    pub(super) sleep_s: Option<u32>,
    /// Of a hundred good nonces, so many are refused; 5 is pebble's default.
    pub(super) nonces_refused: Option<u32>,
}

/// An authority: its ports, its files, and its processes while they run.
pub(super) struct Pebble {
    pub(super) folder: tempfile::TempDir,
    kind: Kind,
    port: u16,
    dns_port: u16,
    pub(super) http_port: u16,
    children: Vec<Child>,
}

impl Pebble {
    /// Makes its files; nothing runs yet.
    pub(super) fn at_rest(kind: Kind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let openssl = |args: &[&str]| {
            run(Command::new("openssl").args(args).current_dir(folder.path())).unwrap();
        };
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        let root = ["req", "-x509", "-days", "30", "-subj", "/CN=authority's own root"];
        openssl(&[&root[..], &key, &["-keyout", "root.key", "-out", "root.pem"]].concat());
        let asked = ["req", "-new", "-subj", "/CN=authority", "-keyout", "own.key"];
        openssl(&[&asked[..], &key, &["-out", "own.csr"]].concat());
        fs::write(folder.path().join("ext"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n")
            .unwrap();
        openssl(&[
            "x509",
            "-req",
            "-in",
            "own.csr",
            "-CA",
            "root.pem",
            "-CAkey",
            "root.key",
            "-CAcreateserial",
            "-days",
            "30",
            "-extfile",
            "ext",
            "-out",
            "own.pem",
        ]);
        let [port, dns_port, http_port] = free_ports();
        Self { folder, kind, port, dns_port, http_port, children: Vec::new() }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn directory(&self) -> String {
        format!("https://127.0.0.1:{}/dir", self.port)
    }

    /// The daemon's configuration: this authority, `challenge`, and further lines of its section.
    pub(super) fn config(&self, directory: &str, challenge: &str, more: &str) -> String {
        let path = self.path("recseal.toml");
        let text = format!(
            "[listen]\nnames = [\"rec.test\", \"also.rec.test\"]\n\
             [certificate]\nsource = \"acme\"\n[certificate.acme]\n\
             directory = \"{directory}\"\nroot_file = \"{}\"\nchallenge = \"{challenge}\"\n\
             http_listen = \"127.0.0.1:{}\"\naccept_terms = true\n\
             contact = [\"mailto:ops@rec.test\"]\n{more}\n",
            self.path("root.pem").display(),
            self.http_port,
        );
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Starts it; proofs over TLS are looked for at `tls_port`.
    pub(super) fn start(&mut self, tls_port: u16) {
        let config = json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{}", self.port),
            "managementListenAddress": "127.0.0.1:0",
            "certificate": self.path("own.pem"),
            "privateKey": self.path("own.key"),
            "httpPort": self.http_port,
            "tlsPort": tls_port,
            "ocspResponderURL": "",
            "certificateValidityPeriod": 7_776_000,
            "domainBlocklist": self.kind.blocked,
            "externalAccountBindingRequired": self.kind.needs_binding,
            "externalAccountMACKeys": { "kid-1": BINDING_KEY },
        }});
        fs::write(self.path("pebble.json"), config.to_string()).unwrap();
        let log = fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        let spawn = |command: &mut Command| {
            let log = log.try_clone().unwrap();
            let errors = log.try_clone().unwrap();
            command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn().unwrap()
        };
        let dns = format!("127.0.0.1:{}", self.dns_port);
        self.children.push(spawn(Command::new("pebble-challtestsrv").args([
            "-management",
            "127.0.0.1:0",
            "-dns01",
            &dns,
            "-http01",
            "",
            "-https01",
            "",
            "-tlsalpn01",
            "",
            "-defaultIPv4",
            "127.0.0.1",
            "-defaultIPv6",
            "",
        ])));
        let mut pebble = Command::new("pebble");
        pebble.args(["-config", self.path("pebble.json").to_str().unwrap(), "-dnsserver", &dns]);
        match self.kind.sleep_s {
            None => pebble.env("PEBBLE_VA_NOSLEEP", "1"),
            Some(seconds) => pebble.env("PEBBLE_VA_SLEEPTIME", seconds.to_string()),
        };
        if let Some(percent) = self.kind.nonces_refused {
            pebble.env("PEBBLE_WFE_NONCEREJECT", percent.to_string());
        }
        // Who validated a name once would not need the proof again.
        pebble.env("PEBBLE_AUTHZREUSE", "0");
        self.children.push(spawn(&mut pebble));
        for _ in 0..400 {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return;
            }
            pause();
        }
        panic!("pebble did not start: {}", self.log());
    }

    /// Ends it; what it knew of accounts and orders is gone.
    pub(super) fn stop(&mut self) {
        for mut child in self.children.drain(..) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The port of the daemon's HTTPS listener.
pub(super) fn https_port(daemon: &Daemon) -> u16 {
    let status = daemon.json(&["status"]);
    let address = status["listen"]["https"].as_str().unwrap().to_owned();
    address.parse::<std::net::SocketAddr>().unwrap().port()
}

/// Ports that nobody used a moment ago.
pub(super) fn free_ports<const N: usize>() -> [u16; N] {
    let taken = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    taken.each_ref().map(|listener| listener.local_addr().unwrap().port())
}

/// A moment, by waiting for something that does not come.
pub(super) fn pause() {
    let (_open, never) = std::sync::mpsc::channel::<()>();
    let _ = never.recv_timeout(std::time::Duration::from_millis(50));
}

/// 32 bytes, base64url.
pub(super) const BINDING_KEY: &str =
    "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
