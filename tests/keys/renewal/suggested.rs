//! Renewal information (RFC 9773) from an authority that may say anything.
//!
//! A small server of our own stands in front of pebble: its directory is pebble's, with an address
//! for renewal information that answers as the test wants. Pebble does not know `replaces`, so the
//! first order of each renewal is refused by the client and repeated without it.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

use recseal::clock::Clock;

use super::acme::renew;
use super::own::fingerprint;
use super::pebble::{Kind, Pebble, https_port};
use crate::common::daemon::Daemon;
use crate::common::{or_skip, run, tools};

/// Status line and headers, and the body, of the answer about renewal.
type Script = Arc<Mutex<(String, String)>>;

/// Serves `directory` and the script until the process ends; its address.
fn stand_in_front(pebble: &Pebble, script: Script) -> String {
    let chain = CertificateDer::pem_file_iter(pebble.path("own.pem")).unwrap();
    let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(pebble.path("own.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let own = format!("https://{}", listener.local_addr().unwrap());
    let (address, directory) = (own.clone(), pebble.directory());
    let root = pebble.path("root.pem");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { continue };
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = BufReader::new(StreamOwned::new(connection, stream));
            let mut line = String::new();
            let _ = stream.read_line(&mut line);
            let mut header = String::new();
            while stream.read_line(&mut header).is_ok_and(|read| read > 2) {
                header.clear();
            }
            let (head, body) = if line.starts_with("GET /dir") {
                let mut curl = Command::new("curl");
                let theirs = run(curl.arg("-sS").arg("--cacert").arg(&root).arg(&directory));
                match theirs {
                    Ok(theirs) => {
                        let mut listed: Value = serde_json::from_str(&theirs).unwrap();
                        listed["renewalInfo"] = Value::from(format!("{own}/info"));
                        ("200 OK".to_owned(), listed.to_string())
                    }
                    Err(_) => ("503 Service Unavailable".to_owned(), String::new()),
                }
            } else {
                script.lock().unwrap().clone()
            };
            let answer = format!(
                "HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.get_mut().write_all(answer.as_bytes());
            stream.get_mut().conn.send_close_notify();
            let _ = stream.get_mut().flush();
        }
    });
    format!("{address}/dir")
}

fn window(start: &str, end: &str) -> String {
    format!("{{\"suggestedWindow\":{{\"start\":\"{start}\",\"end\":\"{end}\"}}}}")
}

/// Each forged answer, and then a window in the past, which must be believed. Meant to catch: the
/// inverted window believed renews; an order insisting on `replaces` never does.
#[test]
fn only_what_makes_sense_is_believed() {
    or_skip!(tools(&["openssl", "pebble", "pebble-challtestsrv", "curl"]));
    let mut pebble = Pebble::at_rest(Kind::default());
    let script: Script = Arc::new(Mutex::new(("404 Not Found".to_owned(), String::new())));
    let directory = stand_in_front(&pebble, Arc::clone(&script));
    let config = pebble.config(&directory, "http-01", "");
    let mut daemon = Daemon::start(&["--config", &config]);
    pebble.start(https_port(&daemon));
    renew(&daemon, &pebble);

    let later = "200 OK\r\nRetry-After: 3600";
    // Picked from at random: nearly all of it must be over, and its end must not be.
    let soon = Clock::System.now().plus(std::time::Duration::from_secs(3_600));
    let past = window("2026-01-01T00:00:00Z", &soon.to_string());
    let mut believed = 0;
    for (what, head, body, is_believed) in [
        ("not there", "404 Not Found", String::new(), false),
        ("busy", "503 Service Unavailable\r\nRetry-After: 7", String::new(), false),
        ("no JSON", later, "{\"suggested".to_owned(), false),
        ("empty", later, "{}".to_owned(), false),
        ("no dates", later, window("soon", "later"), false),
        (
            "ends before it starts",
            later,
            window("2027-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
            false,
        ),
        (
            "over before it began",
            later,
            window("2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z"),
            false,
        ),
        ("far", later, window("2999-01-01T00:00:00Z", "2999-01-02T00:00:00Z"), false),
        ("no Retry-After", "200 OK", past.clone(), true),
        ("silly Retry-After", "200 OK\r\nRetry-After: Thursday", past.clone(), true),
        ("begun long ago", later, past, true),
    ] {
        *script.lock().unwrap() = (head.to_owned(), body);
        let before = fingerprint(&daemon);
        if is_believed {
            believed += 1;
        }
        let (mut answer, mut heard) = (None, 0);
        for _ in 0..5 {
            // At its start the daemon asks; afterwards only when it was told to. A question that
            // got no answer at all is asked again at the next start.
            daemon.stop();
            daemon.start_again();
            answer = daemon.try_json(&["certs", "renew", "--wait"]);
            heard = daemon.log().matches("due: suggested").count();
            if heard == believed {
                break;
            }
        }
        assert_eq!(heard, believed, "{what}: {answer:?}\n{}", daemon.log());
        if is_believed {
            // Pebble's chaos may have cost the try at the start.
            if fingerprint(&daemon) == before {
                renew(&daemon, &pebble);
            }
        } else {
            assert_eq!(fingerprint(&daemon), before, "{what}: {answer:?}");
            let status = daemon.json(&["status"]);
            assert_eq!(status["renewal"]["consecutive_failures"], 0, "{what}: {status}");
        }
    }
}
