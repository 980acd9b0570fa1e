//! HTTPS to the authority: one connection for each request, everything bounded.
//!
//! The certificate of the authority is checked against the roots of this host, or against those
//! of `root_file` alone.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use keymanager::renewal::FailureClass;
use tokio::net::TcpStream;
use tokio::time;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::failure::Trouble;

/// Asks one authority. Clones share what it said last about when to come back.
#[derive(Clone)]
pub(super) struct Client {
    tls: TlsConnector,
    /// The last `Retry-After` of an error, in milliseconds; 0 if there was none.
    retry_after_ms: Arc<AtomicI64>,
}

impl Client {
    /// A client that trusts the roots in `roots_pem`, or those of this host.
    pub(super) fn new(roots_pem: Option<&[u8]>) -> Result<Self, Trouble> {
        let unusable = |why: &str| {
            let hint = "let certificate.acme.root_file be PEM with the root of the authority";
            Trouble::new("acme-root-file", FailureClass::Lasting, why, hint)
        };
        let mut roots = RootCertStore::empty();
        match roots_pem {
            Some(pem) => {
                for certificate in CertificateDer::pem_slice_iter(pem).take(ROOTS_MAX) {
                    let certificate = certificate.map_err(|_| unusable("root_file is no PEM"))?;
                    roots.add(certificate).map_err(|e| unusable(&e.to_string()))?;
                }
                if roots.is_empty() {
                    return Err(unusable("root_file holds no certificate"));
                }
            }
            None => {
                roots.add_parsable_certificates(
                    keymanager::platform_roots().into_iter().map(CertificateDer::from),
                );
            }
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| unusable(&e.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), retry_after_ms: Arc::default() })
    }

    /// `GET` of a small document: status, headers, body.
    pub(super) async fn get(&self, uri: &str) -> Result<Answer, Trouble> {
        let request = Request::builder().method(Method::GET).uri(uri);
        let request = request.body(Full::new(Bytes::new())).map_err(Error::from)?;
        let (parts, body) = self.exchange(request).await?.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes);
        let body = body.unwrap_or_default();
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }

    /// The trouble of `error`, with what the authority said about when to come back.
    pub(super) fn trouble(&self, error: Error) -> Trouble {
        let retry_after_ms = self.retry_after_ms.swap(0, Ordering::Relaxed);
        let mut trouble = Trouble::from(error);
        trouble.retry_after_ms = (retry_after_ms > 0).then_some(retry_after_ms);
        trouble
    }

    async fn exchange<B>(&self, request: Request<B>) -> Result<Response<Full<Bytes>>, Error>
    where
        B: hyper::body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let exchanged = time::timeout(PATIENCE, self.exchange_slowly(request)).await;
        let response = exchanged.map_err(|_| other("the authority did not answer in time"))??;
        let is_error = !response.status().is_success();
        let wish_ms = retry_after_ms(response.headers()).filter(|_| is_error);
        if let Some(wish_ms) = wish_ms {
            self.retry_after_ms.store(wish_ms, Ordering::Relaxed);
        }
        Ok(response)
    }

    async fn exchange_slowly<B>(
        &self,
        mut request: Request<B>,
    ) -> Result<Response<Full<Bytes>>, Error>
    where
        B: hyper::body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let uri = request.uri().clone();
        let (Some("https"), Some(host)) = (uri.scheme_str(), uri.host()) else {
            return Err(other("an address of the authority does not begin with https://"));
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).map_err(|e| Error::Other(e.into()))?;
        let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(443))).await;
        let stream = stream.map_err(|e| Error::Other(e.into()))?;
        let stream = self.tls.connect(name, stream).await.map_err(|e| Error::Other(e.into()))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the sender, at the end of this function.
        let driven = tokio::spawn(connection);
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let host = HeaderValue::from_str(authority).map_err(|e| Error::Other(e.into()))?;
        request.headers_mut().insert(HOST, host);
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = path.parse::<Uri>().map_err(Error::InvalidUri)?;
        let (parts, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(Error::Other)?;
        driven.abort();
        Ok(Response::from_parts(parts, Full::new(body.to_bytes())))
    }
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let client = self.clone();
        Box::pin(async move { client.exchange(request).await.map(BytesResponse::from) })
    }
}

/// What came back, read to its end.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// `Retry-After` in milliseconds. Only the number of seconds: dates depend on two clocks.
pub(super) fn retry_after_ms(headers: &HeaderMap) -> Option<i64> {
    let seconds: i64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    (seconds >= 0).then(|| seconds.saturating_mul(1_000))
}

fn other(what: &'static str) -> Error {
    Error::Other(what.into())
}

const PATIENCE: Duration = Duration::from_secs(30);
/// More than any chain or document needs.
const BODY_BYTES_MAX: usize = 1 << 20;
const ROOTS_MAX: usize = 64;
