//! The account at the authority: kept, found again, or registered.

use std::sync::Arc;

use instant_acme::{Account, AccountCredentials, ExternalAccountKey, Key, NewAccount};
use keymanager::renewal::FailureClass;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use crate::daemon::certificates::read_file;
use crate::daemon::pool::WorkPool;
use crate::flow::Engine;

use super::client::Client;
use super::failure::Trouble;
use super::{AcmeSettings, ExternalAccount};

/// The account that was kept, or a new one, kept from now on.
pub(super) async fn open(
    client: &Client,
    settings: &AcmeSettings,
    engine: &Arc<Engine>,
    pool: &WorkPool,
) -> Result<Account, Trouble> {
    match kept(engine, settings) {
        Some(credentials) => Account::builder_with_http(Box::new(client.clone()))
            .from_credentials(credentials)
            .await
            .map_err(|error| client.trouble(error)),
        None => register(client, settings, None, engine, pool).await,
    }
}

/// The authority has forgotten the account: registers again, with the same key if that may be.
pub(super) async fn reopen(
    client: &Client,
    settings: &AcmeSettings,
    engine: &Arc<Engine>,
    pool: &WorkPool,
) -> Result<Account, Trouble> {
    tracing::warn!("the authority does not know the account any more; registering again");
    register(client, settings, kept(engine, settings), engine, pool).await
}

async fn register(
    client: &Client,
    settings: &AcmeSettings,
    known: Option<AccountCredentials>,
    engine: &Arc<Engine>,
    pool: &WorkPool,
) -> Result<Account, Trouble> {
    let builder = || Account::builder_with_http(Box::new(client.clone()));
    if let Some(known) = known {
        let pkcs8 = known.private_key().secret_pkcs8_der();
        let key = Key::from_pkcs8_der(PrivatePkcs8KeyDer::from(pkcs8));
        let key = key.map_err(|error| client.trouble(error))?;
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8.to_vec()));
        match builder().create_from_key((key, der), settings.directory.clone()).await {
            Ok((account, credentials)) => {
                keep(&credentials, settings, engine, pool).await?;
                return Ok(account);
            }
            Err(error) => {
                let trouble = client.trouble(error);
                // Bound to an account elsewhere: only a whole registration does.
                if !trouble.is("externalAccountRequired") || settings.external.is_none() {
                    return Err(trouble);
                }
            }
        }
    }
    let contact: Vec<&str> = settings.contact.iter().map(String::as_str).collect();
    let new = NewAccount {
        contact: &contact,
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let external = match &settings.external {
        Some(external) => Some(external_key(external, pool).await?),
        None => None,
    };
    let created = builder().create(&new, settings.directory.clone(), external.as_ref()).await;
    let (account, credentials) = created.map_err(|error| client.trouble(error))?;
    keep(&credentials, settings, engine, pool).await?;
    tracing::info!("registered with the authority");
    Ok(account)
}

fn kept(engine: &Engine, settings: &AcmeSettings) -> Option<AccountCredentials> {
    let bytes = engine.keys().expose_acme_account(&settings.directory)?;
    serde_json::from_slice(&bytes).ok()
}

async fn keep(
    credentials: &AccountCredentials,
    settings: &AcmeSettings,
    engine: &Arc<Engine>,
    pool: &WorkPool,
) -> Result<(), Trouble> {
    let bytes = serde_json::to_vec(credentials).map(Zeroizing::new);
    let bytes = bytes.map_err(|error| Trouble::from(instant_acme::Error::from(error)))?;
    let (engine, directory) = (Arc::clone(engine), settings.directory.clone());
    let stored = pool.run(move || engine.keys().store_acme_account(&directory, &bytes)).await;
    stored.map_err(|error| Trouble::keys(&error))
}

async fn external_key(
    external: &ExternalAccount,
    pool: &WorkPool,
) -> Result<ExternalAccountKey, Trouble> {
    let path = external.key_file.clone();
    let unusable = |why: &str| {
        let hint = "let eab_key_file hold the key as the authority gave it, base64url on one line";
        Trouble::new("acme-eab-key", FailureClass::Lasting, why, hint)
    };
    let text = pool.run(move || read_file(&path)).await;
    let text = text.map_err(|e| unusable(&format!("eab_key_file: {}", e.kind())))?;
    let key = decode_base64url(&text).ok_or_else(|| unusable("eab_key_file is no base64url"))?;
    Ok(ExternalAccountKey::new(external.key_id.clone(), &key))
}

/// Base64 in either alphabet, white space and padding passed over; `None` if it is none.
fn decode_base64url(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let (mut held, mut bits) = (0_u32, 0_u32);
    for byte in text.iter().filter(|byte| !byte.is_ascii_whitespace() && **byte != b'=') {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' | b'+' => 62,
            b'_' | b'/' => 63,
            _ => return None,
        };
        held = held << 6 | u32::from(digit);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits & 0xff).ok()?);
        }
    }
    (!bytes.is_empty()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Meant to catch: the other alphabet refused, in which half of the authorities write.
    #[test]
    fn base64_in_both_alphabets() {
        let whole = |text: &str| decode_base64url(text.as_bytes()).map(|bytes| bytes.to_vec());
        assert_eq!(whole("-_-_\n"), whole("+/+/"));
        assert_eq!(whole("Zm9vYmE=").as_deref(), Some(&b"fooba"[..]));
        assert_eq!(whole("Zm9vYg").as_deref(), Some(&b"foob"[..]));
        for nonsense in ["", "\n", "=", "Zm9v!", "kid: abc"] {
            assert_eq!(whole(nonsense), None, "{nonsense}");
        }
    }
}
