//! The HTTPS door in this process: the real router and listener on a real key store, with a clock
//! that tests set, for the TLS engine as well as for the engine behind it.

#![allow(clippy::unwrap_used, reason = "what cannot go on fails the test")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use keymanager::KeyManager;
use recseal::clock::Clock;
use recseal::config::{Config, Overrides};
use recseal::daemon::pool::WorkPool;
use recseal::flow::Engine;
use recseal::http::connections::Connections;
use recseal::http::{self, Services, listen};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::time_provider::TimeProvider;
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion, version,
};

/// An open door. Dropped, it closes.
pub(super) struct Door {
    pub(super) runtime: Runtime,
    pub(super) engine: Arc<Engine>,
    pub(super) connections: Arc<Connections>,
    pub(super) address: SocketAddr,
    pub(super) now: Arc<AtomicI64>,
    _stop: watch::Sender<bool>,
}

/// The date that the tests begin at, in milliseconds since 1970.
pub(super) const NOW_MS: i64 = 1_795_000_000_000;
pub(super) const HOUR_MS: i64 = 3_600_000;
pub(super) const DAY: Duration = Duration::from_secs(86_400);
pub(super) const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];

/// The test's date for the TLS engine.
#[derive(Debug)]
struct Date(Arc<AtomicI64>);

impl TimeProvider for Date {
    fn current_time(&self) -> Option<UnixTime> {
        let ms = u64::try_from(self.0.load(Ordering::SeqCst)).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_millis(ms)))
    }
}

impl Door {
    /// Opens it on the state folder, with this configuration.
    pub(super) fn open(state: &Path, config: &str) -> Self {
        let over = Overrides { state: Some(state.to_owned()), ..Overrides::default() };
        let config = Config::read(config, over).unwrap();
        let now = Arc::new(AtomicI64::new(NOW_MS));
        let clock = Clock::Manual(Arc::clone(&now));
        let engine = Arc::new(recseal::app::build(&config, &clock).unwrap());
        let runtime = Runtime::new().unwrap();
        let services =
            Services::new(Arc::clone(&engine), WorkPool::new(8), clock, Arc::default(), 0);
        let connections = services.connections();
        let (stop, stopped) = watch::channel(false);
        let listener = runtime.block_on(listen::bind_tcp("127.0.0.1:0".parse().unwrap())).unwrap();
        let address = listener.local_addr().unwrap();
        let (served, date) = (Arc::clone(&engine), Arc::clone(&now));
        let identity = move || {
            let mut config = ServerConfig::clone(&served.keys().tls().current());
            config.time_provider = Arc::new(Date(Arc::clone(&date)));
            Arc::new(config)
        };
        let router = http::api(services);
        let listed = Arc::clone(&connections);
        runtime.spawn(listen::serve_tls(listener, router, identity, listed, stopped));
        Self { runtime, engine, connections, address, now, _stop: stop }
    }

    pub(super) fn keys(&self) -> &KeyManager {
        self.engine.keys()
    }

    pub(super) fn pass(&self, ms: i64) -> i64 {
        self.now.fetch_add(ms, Ordering::SeqCst) + ms
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.now.load(Ordering::SeqCst)
    }

    /// A client that trusts this door and shows `bundle`, a key and a chain, if there is one.
    pub(super) fn client(&self, bundle: Option<&str>) -> Client {
        self.client_of(bundle, BOTH)
    }

    pub(super) fn client_of(
        &self,
        bundle: Option<&str>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Client {
        let mut roots = RootCertStore::empty();
        let trusted = self.keys().tls().chain_pem();
        let trusted = trusted + &self.keys().authority_bundle_pem().unwrap_or_default();
        for certificate in CertificateDer::pem_slice_iter(trusted.as_bytes()) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let date = Arc::new(Date(Arc::clone(&self.now)));
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_details(provider, date)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let config = match bundle {
            None => builder.with_no_client_auth(),
            Some(bundle) => {
                let chain = CertificateDer::pem_slice_iter(bundle.as_bytes());
                let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
                let key = PrivateKeyDer::from_pem_slice(bundle.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        Client { tls: TlsConnector::from(Arc::new(config)), address: self.address }
    }
}

/// One client, with its own memory of sessions.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) tls: TlsConnector,
    address: SocketAddr,
}

/// One connection that stays open.
pub(super) struct Open {
    sender: SendRequest<Full<Bytes>>,
    pub(super) ended: JoinHandle<()>,
}

impl Client {
    pub(super) async fn connect(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        self.tls.connect(ServerName::try_from("localhost").unwrap(), stream).await
    }

    pub(super) async fn open(&self) -> Result<Open, String> {
        let stream = self.connect().await.map_err(|error| error.to_string())?;
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        let ended = tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Open { sender, ended })
    }

    /// The status of one request on a connection of its own; the reason if there is none.
    pub(super) async fn get(&self, path: &str, token: Option<&str>) -> Result<u16, String> {
        self.open().await?.ask(Method::GET, path, token, "").await.map(|(status, _)| status)
    }
}

impl Open {
    pub(super) async fn ask(
        &mut self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: &str,
    ) -> Result<(u16, Bytes), String> {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
        self.sender.ready().await.map_err(|error| format!("{error:?}"))?;
        let answer = self.sender.send_request(request).await;
        let answer = answer.map_err(|error| format!("{error:?}"))?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.map_err(|error| format!("{error:?}"))?;
        Ok((status, body.to_bytes()))
    }

    pub(super) async fn status(&mut self) -> Result<u16, String> {
        self.ask(Method::GET, "/api/v1/status", None, "").await.map(|(status, _)| status)
    }
}
