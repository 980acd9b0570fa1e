//! The listeners: a unix socket, HTTPS, and plain HTTP for health.
//!
//! Connections are counted, handshakes and request heads are timed, and a stop lets what runs
//! finish for ten seconds. A TLS connection is asked to end after an hour, or with the certificate
//! of its client, and is cut when that is revoked. Every handshake takes the TLS configuration of its moment, so a renewed
//! certificate serves the next connection and disturbs none.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as BlockingUnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use keymanager::ClientCertificate;
use rustix::fs::{FileType, Mode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::CertificateDer;

use super::connections::{Connections, Guest};

/// Who is at the other end of a connection. The listener puts it into every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A process of this machine, by the kernel's word.
    Local {
        /// Its user id.
        uid: u32,
    },
    /// Somebody who must show a token, or has shown a certificate: then the request carries it
    /// as an `Arc<ClientCertificate>`.
    Remote,
}

/// Why a door does not open.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// A daemon answers there.
    #[error("another daemon answers on the socket of this state folder")]
    SocketInUse,
    /// Something that is not a socket has the name.
    #[error("the name of the socket is taken by something that is not a socket")]
    NotASocket,
    /// The kernel refused the socket.
    #[error("opening the unix socket failed")]
    Socket(#[source] io::Error),
    /// The kernel refused the address.
    #[error("listening on {address} failed")]
    Address {
        /// Which one.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// A bound unix socket. Its name goes away with it.
#[derive(Debug)]
pub struct UnixDoor {
    listener: UnixListener,
    /// None for a lent one: its end does not take the name away.
    path: Option<PathBuf>,
}

impl UnixDoor {
    /// Binds `path`, mode 0660. A socket that nobody answers on is a leftover and is replaced.
    ///
    /// # Errors
    ///
    /// [`ListenError`]; an existing name is untouched unless it was such a leftover.
    pub fn bind(path: &Path) -> Result<Self, ListenError> {
        if let Ok(stat) = rustix::fs::lstat(path) {
            if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
                return Err(ListenError::NotASocket);
            }
            match BlockingUnixStream::connect(path) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    rustix::fs::unlink(path).map_err(|e| ListenError::Socket(e.into()))?;
                }
                Ok(_) => return Err(ListenError::SocketInUse),
                Err(error) => return Err(ListenError::Socket(error)),
            }
        }
        let listener = UnixListener::bind(path).map_err(ListenError::Socket)?;
        rustix::fs::chmod(path, Mode::from_raw_mode(0o660))
            .map_err(|e| ListenError::Socket(e.into()))?;
        Ok(Self { listener, path: Some(path.to_owned()) })
    }

    /// A second handle, for a router that serves before the one this door is meant for. Whoever
    /// connects in between waits.
    ///
    /// # Errors
    ///
    /// [`ListenError::Socket`].
    pub fn lend(&self) -> Result<Self, ListenError> {
        let lent = || {
            let listener = self.listener.as_fd().try_clone_to_owned()?;
            UnixListener::from_std(listener.into())
        };
        Ok(Self { listener: lent().map_err(ListenError::Socket)?, path: None })
    }

    /// Serves `router` until `stop` becomes true and what runs is finished.
    pub async fn serve(self, router: Router, stop: watch::Receiver<bool>) {
        let mut doorman = Doorman::new(stop);
        while let Some(place) = doorman.place().await {
            let Some(accepted) = doorman.unless_stopped(self.listener.accept()).await else {
                break;
            };
            let Some((stream, _)) = settled(accepted).await else { continue };
            let Ok(credentials) = stream.peer_cred() else { continue };
            let peer = Peer::Local { uid: credentials.uid() };
            let router = router.clone().layer(Extension(peer));
            tokio::spawn(converse(stream, router, doorman.leave(place), None));
        }
        doorman.finish().await;
    }
}

impl Drop for UnixDoor {
    fn drop(&mut self) {
        // The next daemon would find out that nobody answers; this only spares people the sight.
        if let Some(path) = &self.path {
            let _ = rustix::fs::unlink(path);
        }
    }
}

/// Binds a TCP address; port 0 picks a free one, `local_addr` says which.
pub async fn bind_tcp(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|source| ListenError::Address { address, source })
}

/// A second handle on `listener`, as [`UnixDoor::lend`].
///
/// # Errors
///
/// Whatever the kernel says.
pub fn lend_tcp(listener: &TcpListener) -> io::Result<TcpListener> {
    TcpListener::from_std(listener.as_fd().try_clone_to_owned()?.into())
}

/// Serves `router` over TLS with whatever `config` gives at each handshake. Who shows a certificate
/// is in `connections` for as long as the connection lasts.
pub async fn serve_tls(
    listener: TcpListener,
    router: Router,
    config: impl Fn() -> Arc<ServerConfig> + Send,
    connections: Arc<Connections>,
    stop: watch::Receiver<bool>,
) {
    let router = router.layer(Extension(Peer::Remote));
    let mut doorman = Doorman::new(stop);
    while let Some(place) = doorman.place().await {
        let Some(accepted) = doorman.unless_stopped(listener.accept()).await else { break };
        let Some((stream, _)) = settled(accepted).await else { continue };
        let handshake = TlsAcceptor::from(config()).accept(stream);
        let (router, leave) = (router.clone(), doorman.leave(place));
        let connections = Arc::clone(&connections);
        tokio::spawn(async move {
            match time::timeout(HANDSHAKE, handshake).await {
                Ok(Ok(stream)) => {
                    let shown = stream.get_ref().1.peer_certificates();
                    let guest = shown.and_then(client).map(|facts| connections.enter(facts));
                    let router = match &guest {
                        Some(guest) => router.layer(Extension(Arc::clone(guest.certificate()))),
                        None => router,
                    };
                    converse(stream, router, leave, guest).await;
                }
                Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
                Err(_) => tracing::debug!("TLS handshake took too long"),
            }
        });
    }
    doorman.finish().await;
}

/// What the client's own certificate says. One that cannot be read counts as none.
fn client(chain: &[CertificateDer<'_>]) -> Option<ClientCertificate> {
    ClientCertificate::parse(chain.first()?).ok()
}

/// Serves `router` in clear: health and metrics only.
pub async fn serve_plain(listener: TcpListener, router: Router, stop: watch::Receiver<bool>) {
    let mut doorman = Doorman::new(stop);
    while let Some(place) = doorman.place().await {
        let Some(accepted) = doorman.unless_stopped(listener.accept()).await else { break };
        let Some((stream, _)) = settled(accepted).await else { continue };
        tokio::spawn(converse(stream, router.clone(), doorman.leave(place), None));
    }
    doorman.finish().await;
}

/// Counts who is inside and closes up.
struct Doorman {
    places: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
}

/// What a connection holds while it is open: its place, and word of the stop.
struct Leave {
    _place: OwnedSemaphorePermit,
    stop: watch::Receiver<bool>,
}

impl Doorman {
    fn new(stop: watch::Receiver<bool>) -> Self {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        Self { places, stop }
    }

    fn leave(&self, place: OwnedSemaphorePermit) -> Leave {
        Leave { _place: place, stop: self.stop.clone() }
    }

    /// Waits for a free place; `None` at the stop.
    async fn place(&mut self) -> Option<OwnedSemaphorePermit> {
        let places = Arc::clone(&self.places);
        self.unless_stopped(places.acquire_owned()).await?.ok()
    }

    /// The outcome of `work`, or `None` if the stop comes first.
    async fn unless_stopped<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            _ = self.stop.wait_for(|stopped| *stopped) => None,
            outcome = work => Some(outcome),
        }
    }

    async fn finish(self) {
        // All places are free when everybody has left.
        let all_left = self.places.acquire_many(CONNECTIONS_MAX as u32);
        if time::timeout(GRACE, all_left).await.is_err() {
            tracing::warn!("connections were cut off at the end of the grace period");
        }
    }
}

/// An accepted connection. Failing is the caller's fault, or ours for want of descriptors: then a
/// pause keeps the loop from spinning.
async fn settled<T>(accepted: io::Result<T>) -> Option<T> {
    match accepted {
        Ok(connection) => Some(connection),
        Err(error) => {
            tracing::warn!(%error, "accepting a connection failed");
            time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// Speaks HTTP/1 or HTTP/2 on one connection until it ends. At the stop, after an hour and at the
/// end of the client's certificate it takes no further request; what runs is finished.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    mut leave: Leave,
    guest: Option<Guest>,
) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(H2_STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .keep_alive_interval(HEAD)
        .keep_alive_timeout(HEAD);
    let service = TowerToHyperService::new(tower::util::MapRequest::new(
        router,
        |request: hyper::Request<hyper::body::Incoming>| -> Request {
            request.map(axum::body::Body::new)
        },
    ));
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let age = guest.as_ref().map_or(AGE_MAX, |guest| guest.remaining().min(AGE_MAX));
    let cut = async {
        match &guest {
            Some(guest) => guest.ended().await,
            None => std::future::pending().await,
        }
    };
    let last_call = async {
        tokio::select! {
            // A stop that can no longer be told is one.
            _ = leave.stop.wait_for(|stopped| *stopped) => {}
            () = time::sleep(age) => {}
        }
    };
    let (mut cut, mut last_call) = (std::pin::pin!(cut), std::pin::pin!(last_call));
    let mut is_last = false;
    loop {
        tokio::select! {
            outcome = connection.as_mut() => {
                if let Err(error) = outcome {
                    tracing::debug!(error, "a connection ended badly");
                }
                return;
            }
            () = &mut cut => return,
            () = &mut last_call, if !is_last => {
                is_last = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

const CONNECTIONS_MAX: usize = 512;
const H2_STREAMS_MAX: u32 = 64;
/// Longest request head.
const HEAD_BYTES_MAX: usize = 32 << 10;
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Time for a request head, and for an idle connection to say something.
const HEAD: Duration = Duration::from_secs(30);
/// A connection lives no longer, so that what changed is asked for again.
const AGE_MAX: Duration = Duration::from_secs(3600);
/// How long requests may go on after the stop.
const GRACE: Duration = Duration::from_secs(10);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Planted fault: removing whatever is there takes the door of a running daemon, or a file.
    #[tokio::test]
    async fn only_a_socket_that_nobody_answers_on_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let door = UnixDoor::bind(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o660);
        assert!(matches!(UnixDoor::bind(&path), Err(ListenError::SocketInUse)));
        assert!(path.exists());
        drop(door);
        assert!(!path.exists(), "an orderly end takes the name away");

        // What kill -9 leaves: a name without a listener.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        drop(UnixDoor::bind(&path).unwrap());

        std::fs::write(&path, "mine").unwrap();
        assert!(matches!(UnixDoor::bind(&path), Err(ListenError::NotASocket)));
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    }
}
