//! 200 renewals in a row under load: nobody notices but by the new certificate.

#![allow(clippy::unwrap_used, reason = "what cannot go on fails the test")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::Method;
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use keymanager::ClientPolicy;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::{HandshakeKind, version};

use crate::door::{BOTH, Client, Door, NOW_MS};

/// What the clients saw.
#[derive(Default)]
struct Seen {
    /// Fingerprints in the order of their publication.
    published: RwLock<Vec<String>>,
    done: AtomicBool,
    handshakes: AtomicU64,
    resumed: AtomicU64,
    failed: AtomicU64,
    old: AtomicU64,
    kept_alive: AtomicU64,
    broken: AtomicU64,
    /// Told at every handshake.
    progress: Notify,
}

impl Seen {
    fn published(&self) -> usize {
        self.published.read().unwrap().len()
    }

    /// Counts a handshake that began when `before` certificates had been published. One that is
    /// not in the list is newer than all of it.
    fn count(&self, stream: &TlsStream<TcpStream>, before: usize) {
        let session = stream.get_ref().1;
        let shown = session.peer_certificates().unwrap()[0].as_ref();
        let shown = keymanager::ClientCertificate::parse(shown).unwrap().sha256;
        let number = self.published.read().unwrap().iter().position(|sha256| *sha256 == shown);
        if number.is_some_and(|number| number + 1 < before) {
            self.old.fetch_add(1, Ordering::SeqCst);
        }
        if session.handshake_kind() == Some(HandshakeKind::Resumed) {
            self.resumed.fetch_add(1, Ordering::SeqCst);
        }
        self.handshakes.fetch_add(1, Ordering::SeqCst);
        self.progress.notify_one();
    }

    fn is_done(&self) -> bool {
        self.done.load(Ordering::SeqCst)
    }
}

/// Connects anew, again and again; asks once on each connection.
async fn keep_connecting(client: Client, seen: Arc<Seen>, is_h2: bool) {
    while !seen.is_done() {
        let before = seen.published();
        let Ok(stream) = client.connect().await else {
            seen.failed.fetch_add(1, Ordering::SeqCst);
            continue;
        };
        seen.count(&stream, before);
        let said =
            if is_h2 { ask_h2(stream, 1, &seen).await } else { ask_h1(stream, 1, &seen).await };
        if said.is_err() {
            seen.failed.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Asks on one connection until the end.
async fn keep_alive(client: Client, seen: Arc<Seen>, is_h2: bool) {
    let before = seen.published();
    let stream = client.connect().await.unwrap();
    seen.count(&stream, before);
    let said = if is_h2 {
        ask_h2(stream, u64::MAX, &seen).await
    } else {
        ask_h1(stream, u64::MAX, &seen).await
    };
    if said.is_err() {
        seen.broken.fetch_add(1, Ordering::SeqCst);
    }
}

fn request() -> Request<Full<Bytes>> {
    let request = Request::builder().method(Method::GET).uri("https://localhost/api/v1/ca/bundle");
    request.header("host", "localhost").body(Full::default()).unwrap()
}

async fn ask_h1(stream: TlsStream<TcpStream>, times: u64, seen: &Seen) -> Result<(), String> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
    tokio::spawn(connection);
    for asked in 0..times {
        if asked > 0 && seen.is_done() {
            break;
        }
        sender.ready().await.map_err(text)?;
        let answer = sender.send_request(request()).await.map_err(text)?;
        let body = answer.into_body().collect().await.map_err(text)?.to_bytes();
        if !body.starts_with(b"-----BEGIN") {
            return Err("another answer".to_owned());
        }
        seen.kept_alive.fetch_add(1, Ordering::SeqCst);
    }
    Ok(())
}

async fn ask_h2(stream: TlsStream<TcpStream>, times: u64, seen: &Seen) -> Result<(), String> {
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(text)?;
    tokio::spawn(connection);
    for asked in 0..times {
        if asked > 0 && seen.is_done() {
            break;
        }
        sender.ready().await.map_err(text)?;
        let answer = sender.send_request(request()).await.map_err(text)?;
        let body = answer.into_body().collect().await.map_err(text)?.to_bytes();
        if !body.starts_with(b"-----BEGIN") {
            return Err("another answer".to_owned());
        }
        seen.kept_alive.fetch_add(1, Ordering::SeqCst);
    }
    Ok(())
}

fn text(error: impl std::fmt::Debug) -> String {
    format!("{error:?}")
}

/// Every kind of client against a server that renews without a pause. Planted fault: a renewal
/// that swaps the certificate's resolver inside the old configuration. Resumed connections go on
/// under the old certificate then.
#[test]
fn two_hundred_renewals_under_load() {
    let folder = tempfile::tempdir().unwrap();
    let door = Door::open(&folder.path().join("state"), "");
    door.keys().create_authority(NOW_MS).unwrap();
    // Without client certificates sessions are resumed, which is the harder case.
    door.keys().accept_clients(ClientPolicy::default()).unwrap();
    let names = ["localhost".to_owned()];
    let seen = Arc::new(Seen::default());
    let renew = || {
        let facts = door.keys().issue_own_from_authority(&names, NOW_MS).unwrap();
        seen.published.write().unwrap().push(facts.sha256);
    };
    renew();
    door.runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for (is_h2, versions, count) in
            [(false, BOTH, 2), (true, BOTH, 2), (false, &[&version::TLS12][..], 1)]
        {
            for _ in 0..count {
                // Each has its own memory of sessions.
                let client = door.client_of(None, versions);
                tasks.spawn(keep_connecting(client, Arc::clone(&seen), is_h2));
            }
        }
        for is_h2 in [false, false, true, true] {
            tasks.spawn(keep_alive(door.client(None), Arc::clone(&seen), is_h2));
        }
        for _ in 0..RENEWALS {
            tokio::task::block_in_place(renew);
            // At least one handshake between two renewals, so that there is somebody to notice.
            timeout(Duration::from_secs(30), seen.progress.notified()).await.unwrap();
        }
        seen.done.store(true, Ordering::SeqCst);
        while let Some(ended) = timeout(Duration::from_secs(30), tasks.join_next()).await.unwrap() {
            ended.unwrap();
        }
    });
    let count = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
    let figures = format!(
        "{RENEWALS} renewals: {} handshakes ({} resumed), {} failed, {} under an old certificate; \
         {} requests, {} kept-alive connections broken",
        count(&seen.handshakes),
        count(&seen.resumed),
        count(&seen.failed),
        count(&seen.old),
        count(&seen.kept_alive),
        count(&seen.broken),
    );
    eprintln!("{figures}");
    assert_eq!(
        (count(&seen.failed), count(&seen.old), count(&seen.broken)),
        (0, 0, 0),
        "{figures}"
    );
    assert!(count(&seen.handshakes) >= RENEWALS && count(&seen.resumed) > 0, "{figures}");
}

const RENEWALS: u64 = 200;
