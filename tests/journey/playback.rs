//! Playing over HTTPS as a browser does: with a token, in ranges, trusting one certificate.

use std::path::PathBuf;
use std::process::Command;

use crate::Server;
use crate::common::marker::Marker;
use crate::common::{or_skip, run, tools};

/// One answer of curl.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    /// The value of a header, empty if it is missing.
    fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value.trim())
    }
}

/// A browser: the daemon's certificate, and perhaps a token.
struct Browser {
    base: String,
    certificate: PathBuf,
    answer: PathBuf,
    token: Option<String>,
}

impl Browser {
    /// The certificate is fetched once, and is the one whose fingerprint `status` shows.
    fn of(server: &Server, role: Option<&str>) -> Self {
        let certificate = server.desk.path().join("certificate.pem");
        let socket = server.daemon.state().join("recseal.sock");
        let mut fetch = Command::new("curl");
        fetch.args(["-sS", "-f", "--unix-socket"]).arg(socket).arg("-o").arg(&certificate);
        run(fetch.arg("http://localhost/api/v1/certificate")).unwrap();
        let status = server.daemon.json(&["status"]);
        let token = role.map(|role| {
            let made = server.daemon.json(&["tokens", "create", "browser", "--role", role]);
            made["secret"].as_str().unwrap().to_owned()
        });
        let base = format!("https://{}", status["listen"]["https"].as_str().unwrap());
        Self { base, certificate, answer: server.desk.path().join("answer"), token }
    }

    fn get(&self, path: &str, further: &[&str]) -> Answer {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-D", "-", "--cacert"]).arg(&self.certificate);
        curl.arg("-o").arg(&self.answer).args(further);
        if let Some(token) = &self.token {
            curl.args(["-H", &format!("Authorization: Bearer {token}")]);
        }
        std::fs::write(&self.answer, "").unwrap();
        let head = run(curl.arg(format!("{}{path}", self.base))).unwrap();
        let status = head.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap();
        Answer { status, head, body: std::fs::read(&self.answer).unwrap() }
    }
}

/// Planted faults: an off-by-one in the end of a range; `If-Range` ignored; a certificate that
/// does not name the address it is served at.
#[test]
fn a_browser_plays_and_seeks() {
    or_skip!(tools(&["curl"]));
    let mut server = Server::start("generic");
    // Longer than any piece it is opened in.
    let call = Marker::new().wav(60);
    std::fs::write(server.store.join("call.wav"), &call).unwrap();
    server.expect_sealed(1);
    let id = server.expect_sealed_one("call.wav");
    let media = format!("/api/v1/recordings/{id}/media");
    let browser = Browser::of(&server, Some("cc-manager"));

    let whole = browser.get(&media, &[]);
    assert_eq!(whole.status, 200);
    assert!(whole.body == call);
    assert_eq!(whole.header("content-type"), "audio/wav");
    assert!(whole.header("cache-control").contains("no-store"), "{}", whole.head);
    assert_eq!(whole.header("accept-ranges"), "bytes");
    let etag = whole.header("etag").to_owned();
    let len = call.len();
    for (range, from, to) in [
        ("bytes=0-", 0, len),
        ("bytes=0-0", 0, 1),
        ("bytes=262100-262200", 262_100, 262_201),
        ("bytes=-500", len - 500, len),
        ("bytes=700000-99999999", 700_000, len),
    ] {
        let part = browser.get(&media, &["-H", &format!("Range: {range}")]);
        assert_eq!(part.status, 206, "{range}");
        assert!(part.body == call[from..to], "{range}");
        assert_eq!(part.header("content-range"), format!("bytes {from}-{}/{len}", to - 1));
        assert_eq!(part.header("content-length"), (to - from).to_string());
    }
    let beyond = browser.get(&media, &["-H", &format!("Range: bytes={len}-")]);
    assert_eq!((beyond.status, beyond.header("content-range")), (416, &*format!("bytes */{len}")));
    for (tag, status) in [(&*etag, 206), ("\"another\"", 200)] {
        let if_range = format!("If-Range: {tag}");
        let answer = browser.get(&media, &["-H", "Range: bytes=9-99", "-H", &if_range]);
        assert_eq!(answer.status, status, "{if_range}");
    }
    let head = browser.get(&media, &["--head"]);
    assert_eq!((head.status, head.header("content-length")), (200, &*len.to_string()));
    assert_eq!(browser.get(&media, &["--http1.1", "-r", "5-14"]).body, call[5..15]);
    strangers_hear_nothing(&server, &media, &call);
    let listeners = server.listeners(&id);
    assert!(!listeners.is_empty() && listeners.iter().all(|how| how == "token"), "{listeners:?}");
}

/// Without a token, with a wrong one, and with one that may not.
fn strangers_hear_nothing(server: &Server, media: &str, call: &[u8]) {
    let nobody = Browser::of(server, None);
    let ops = Browser::of(server, Some("ops"));
    let wrong = Browser { token: Some("not-a-token".to_owned()), ..Browser::of(server, None) };
    for (browser, status) in [(&nobody, 401), (&wrong, 401), (&ops, 403)] {
        for range in ["Range: bytes=0-", "Range: bytes=100-200"] {
            let refused = browser.get(media, &["-H", range]);
            assert_eq!(refused.status, status);
            assert_eq!(refused.header("content-type"), "application/problem+json");
            assert!(!refused.body.windows(16).any(|bytes| bytes == &call[100..116]));
        }
    }
    let refusals = server.audit("ACCESS_REFUSED");
    assert!(!refusals.is_empty() && refusals.iter().all(|entry| entry["result"] == "refused"));
}

/// GSM in a WAV (Asterisk's `wav49`) says nothing to a browser: it comes as the WAV it decodes
/// to, sample by sample as sox decodes it, and seeks like any other.
///
/// Planted faults: one bit of one sample in each block; a block that is a sample short.
#[test]
fn a_gsm_call_plays_as_wav_and_has_a_waveform() {
    or_skip!(tools(&["curl", "sox"]));
    let mut server = Server::start("asterisk");
    let place = |name: &str| server.desk.path().join(name);
    let (gsm, decoded) = (place("call.wav"), place("decoded.wav"));
    let tone = ["-n", "-r", "8000", "-c", "1", "-e", "gsm-full-rate"];
    run(Command::new("sox").args(tone).arg(&gsm).args(["synth", "20", "sine", "200-2000"]))
        .unwrap();
    run(Command::new("sox").arg(&gsm).args(["-e", "signed", "-b", "16"]).arg(&decoded)).unwrap();
    std::fs::copy(&gsm, server.store.join("call.wav")).unwrap();
    server.expect_sealed(1);
    let id = server.expect_sealed_one("call.wav");
    assert!(server.open(&id) == std::fs::read(gsm).unwrap());

    let browser = Browser::of(&server, Some("compliance-analyst"));
    let path = format!("/api/v1/recordings/{id}/media?as=playable");
    let whole = browser.get(&path, &[]);
    assert_eq!((whole.status, whole.header("content-type")), (200, "audio/wav"));
    let samples = |wav: &[u8]| {
        let mut wav = hound::WavReader::new(std::io::Cursor::new(wav)).unwrap();
        assert_eq!((wav.spec().sample_rate, wav.spec().channels), (8_000, 1));
        wav.samples::<i16>().map(Result::unwrap).collect::<Vec<_>>()
    };
    assert!(
        samples(&whole.body) == samples(&std::fs::read(decoded).unwrap()),
        "not as sox hears it"
    );
    let part = browser.get(&path, &["-r", "100001-150000"]);
    assert_eq!(part.status, 206);
    assert!(part.body == whole.body[100_001..150_001]);
    assert_ne!(
        part.header("etag"),
        browser.get(&path.replace("playable", "original"), &[]).header("etag")
    );

    let peaks = browser.get(&format!("/api/v1/recordings/{id}/peaks"), &[]);
    assert_eq!(peaks.status, 200);
    assert!(peaks.body.iter().any(|byte| *byte > 100), "a waveform without a wave");
    assert!(server.listeners(&id).contains(&"token".to_owned()));
}
