//! Proofs over plain HTTP (http-01): a listener that is open only while an order runs, and knows
//! nothing but the tokens of that order.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use keymanager::renewal::FailureClass;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time;

use super::failure::Trouble;

/// An open listener. Dropped, it is closed.
pub(super) struct HttpProofs {
    shown: Arc<Mutex<HashMap<String, String>>>,
    serving: JoinHandle<()>,
}

impl HttpProofs {
    /// Listens on `address` and answers nothing yet.
    pub(super) async fn open(address: SocketAddr) -> Result<Self, Trouble> {
        let listener = TcpListener::bind(address).await.map_err(|error| {
            let detail = format!("listening on certificate.acme.http_listen: {}", error.kind());
            let hint = "choose a free address that port 80 of the names leads to, let the service \
                        bind it (CAP_NET_BIND_SERVICE), or set challenge = \"tls-alpn-01\"";
            Trouble::new("acme-http-listen", FailureClass::Passing, &detail, hint)
        })?;
        let shown: Arc<Mutex<HashMap<String, String>>> = Arc::default();
        let serving = tokio::spawn(serve(listener, Arc::clone(&shown)));
        Ok(Self { shown, serving })
    }

    /// Answers for `token` from now on.
    pub(super) fn show(&self, token: &str, answer: &str) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.insert(format!("{PLACE}{token}"), answer.to_owned());
    }
}

impl Drop for HttpProofs {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, shown: Arc<Mutex<HashMap<String, String>>>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let shown = Arc::clone(&shown);
        tokio::spawn(async move {
            let answer = service_fn(|request: Request<Incoming>| {
                let found = {
                    let shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
                    shown.get(request.uri().path()).cloned()
                };
                async move { Ok::<_, Infallible>(response(found)) }
            });
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE).keep_alive(false);
            builder.max_buf_size(HEAD_BYTES_MAX);
            // A connection that ends badly is the other side's affair.
            let _ = time::timeout(PATIENCE, builder.serve_connection(TokioIo::new(stream), answer))
                .await;
            drop(place);
        });
    }
}

fn response(found: Option<String>) -> Response<Full<Bytes>> {
    let status = if found.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
    let mut response = Response::new(Full::new(Bytes::from(found.unwrap_or_default())));
    *response.status_mut() = status;
    response
}

const PLACE: &str = "/.well-known/acme-challenge/";
const CONNECTIONS_MAX: usize = 32;
const HEAD_BYTES_MAX: usize = 16 << 10;
const PATIENCE: Duration = Duration::from_secs(10);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
