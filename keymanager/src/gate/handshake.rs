//! A client and a server in memory: the last word on whether a certificate works.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection};

use crate::tls::{Certified, Published, Serving};

/// Connects over TLS 1.2, then 1.3, as a client that trusts `anchor` and asks for the first name.
///
/// # Errors
///
/// What broke, as text.
pub(super) fn check(
    certified: Certified,
    names: &[String],
    anchor: Option<CertificateDer<'static>>,
    at_ms: i64,
) -> Result<(), String> {
    let asked = names.iter().map(|name| name.replace("*.", "host."));
    let name = asked
        .filter_map(|name| ServerName::try_from(name).ok())
        .next()
        .ok_or("none of its names can be asked for")?;
    let server = Published::new(Serving { certified, clients: None, challenges: Vec::new() })
        .map_err(|e| e.to_string())?;
    let mut roots = RootCertStore::empty();
    roots.add(anchor.ok_or("there is no root")?).map_err(|error| error.to_string())?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| error.to_string())?;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = ClientConfig::builder_with_details(provider.clone(), Arc::new(At(at_ms)))
            .with_protocol_versions(&[version])
            .map_err(|error| error.to_string())?
            .with_webpki_verifier(verifier.clone())
            .with_no_client_auth();
        let client = ClientConnection::new(Arc::new(config), name.clone());
        let server = ServerConnection::new(server.config());
        connect(client.map_err(|e| e.to_string())?, server.map_err(|e| e.to_string())?)
            .map_err(|error| format!("{:?}: {error}", version.version))?;
    }
    Ok(())
}

fn connect(mut client: ClientConnection, mut server: ServerConnection) -> Result<(), String> {
    let mut wire = Vec::new();
    for _ in 0..ROUNDS_MAX {
        if !client.is_handshaking() && !server.is_handshaking() {
            return Ok(());
        }
        client.write_tls(&mut wire).map_err(|error| error.to_string())?;
        pour(&mut wire, &mut |bytes| server.read_tls(bytes))?;
        server.process_new_packets().map_err(|error| error.to_string())?;
        server.write_tls(&mut wire).map_err(|error| error.to_string())?;
        pour(&mut wire, &mut |bytes| client.read_tls(bytes))?;
        client.process_new_packets().map_err(|error| error.to_string())?;
    }
    Err("it never ends".to_owned())
}

/// Hands over what was written; the reader may take less at a time.
fn pour(
    wire: &mut Vec<u8>,
    read: &mut dyn FnMut(&mut &[u8]) -> std::io::Result<usize>,
) -> Result<(), String> {
    let mut rest = wire.as_slice();
    while !rest.is_empty() {
        read(&mut rest).map_err(|error| error.to_string())?;
    }
    wire.clear();
    Ok(())
}

/// The moment of the check, for the client's eyes.
#[derive(Debug)]
struct At(i64);

impl TimeProvider for At {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(self.0.max(0).unsigned_abs())))
    }
}

const ROUNDS_MAX: usize = 20;
