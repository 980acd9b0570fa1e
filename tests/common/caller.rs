//! Callers of the doors: over HTTPS with a token, over the unix socket as oneself.

#![expect(clippy::unwrap_used, reason = "what cannot go on fails the test")]

use std::path::PathBuf;
use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{HeaderMap, Method, Request, Response};
use hyper_util::rt::TokioIo;
use recseal::access::Role;
use serde_json::Value;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::daemon::Daemon;

/// One answer, read to its end; `None` as body if it broke off.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Option<Bytes>,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// The document.
    pub fn json(&self) -> Value {
        serde_json::from_slice(self.body.as_ref().unwrap()).unwrap()
    }

    pub fn code(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.status);
        let problem: Value = serde_json::from_slice(self.body.as_ref().unwrap()).unwrap();
        assert_eq!(problem["status"], self.status);
        assert!(!problem["hint"].as_str().unwrap().is_empty());
        problem["code"].as_str().unwrap().to_owned()
    }
}

/// A caller over HTTPS who trusts the daemon's certificate and nothing else.
pub struct Caller {
    pub runtime: tokio::runtime::Runtime,
    tls: TlsConnector,
    address: String,
}

impl Caller {
    pub fn new(daemon: &Daemon) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let socket = daemon.state().join("recseal.sock");
        let pem = runtime.block_on(async {
            let stream = UnixStream::connect(socket).await.unwrap();
            let request = Request::get("/api/v1/certificate").body(Full::default()).unwrap();
            exchange(stream, request).await.body.unwrap()
        });
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let address = daemon.json(&["status"])["listen"]["https"].as_str().unwrap().to_owned();
        Self { runtime, tls: TlsConnector::from(Arc::new(config)), address }
    }

    /// Opens a stream and returns with its head: what follows is read by [`Caller::rest`].
    pub fn begin(&self, path: &str, headers: &[(&str, &str)]) -> Response<Incoming> {
        let mut request = Request::get(path).header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::<Bytes>::default()).unwrap();
        self.runtime.block_on(async {
            let stream = TcpStream::connect(&self.address).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let stream = TokioIo::new(self.tls.connect(name, stream).await.unwrap());
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        })
    }

    /// The rest of a stream, once it has ended; `None` if it does not within a minute.
    pub fn rest(&self, response: Response<Incoming>) -> Option<Bytes> {
        let body = response.into_body().collect();
        let collected = self.runtime.block_on(async {
            tokio::time::timeout(std::time::Duration::from_secs(60), body).await
        });
        collected.ok()?.ok().map(|body| body.to_bytes())
    }

    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(path)
            .header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
        self.runtime.block_on(async {
            let stream = TcpStream::connect(&self.address).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            exchange(self.tls.connect(name, stream).await.unwrap(), request).await
        })
    }
}

pub async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Answer
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let response = sender.send_request(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.ok().map(|body| body.to_bytes());
    Answer { status: head.status.as_u16(), headers: head.headers, body }
}

/// `Authorization` for a fresh token of `role`.
pub fn bearer(daemon: &Daemon, role: Role) -> String {
    let made = daemon.json(&["tokens", "create", "test", "--role", role.as_str()]);
    format!("Bearer {}", made["secret"].as_str().unwrap())
}

/// A caller over the unix socket: whoever runs the test.
pub struct Local {
    runtime: tokio::runtime::Runtime,
    socket: PathBuf,
}

impl Local {
    pub fn new(daemon: &Daemon) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        Self { runtime, socket: daemon.state().join("recseal.sock") }
    }

    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(path)
            .header("host", "localhost");
        if !body.is_empty() && headers.iter().all(|(name, _)| *name != "content-type") {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
        self.runtime.block_on(async {
            exchange(UnixStream::connect(&self.socket).await.unwrap(), request).await
        })
    }
}
