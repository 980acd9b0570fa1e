//! One order, from its beginning or from wherever an earlier try left it.

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error, Identifier,
    NewOrder, OrderStatus, RetryPolicy,
};
use keymanager::renewal::FailureClass;
use keymanager::{AcmeOrder, CertificateSource, RequestPurpose};
use tokio_rustls::rustls::pki_types::Der;
use uuid::Uuid;

use crate::clock::Clock;
use crate::daemon::pool::WorkPool;
use crate::flow::Engine;

use super::client::Client;
use super::failure::Trouble;
use super::proof::HttpProofs;
use super::{AcmeSettings, ChallengeKind, account};

/// What an order works with.
pub(super) struct Order<'a> {
    pub(super) client: &'a Client,
    pub(super) settings: &'a AcmeSettings,
    pub(super) engine: &'a Arc<Engine>,
    pub(super) pool: &'a WorkPool,
    pub(super) clock: &'a Clock,
    pub(super) account: Account,
}

/// The authority's answer to a request.
pub(super) struct Answer {
    pub(super) request: Uuid,
    pub(super) chain_pem: String,
}

/// Goes on with the order that was kept, or begins one, until there is a chain.
pub(super) async fn run(mut by: Order<'_>) -> Result<Answer, Trouble> {
    let names = by.engine.wanted_names();
    let mut order = match by.resume(&names).await? {
        Some(order) => order,
        None => by.begin(&names).await?,
    };
    let mut record = AcmeOrder {
        directory: by.settings.directory.clone(),
        url: order.url().to_owned(),
        names: names.clone(),
        request: None,
    };
    by.keep(Some(record.clone())).await?;
    if order.state().status == OrderStatus::Pending {
        // Bound only as long as this block: outside an order nobody listens there.
        let _proofs = by.prove(&mut order).await?;
        let ready = order.poll_ready(&POLL).await;
        if !matches!(ready, Ok(OrderStatus::Ready)) {
            return Err(by.why_not(&mut order, ready.err()).await);
        }
    }
    let request = by.request(&names).await?;
    record.request = Some(request.id);
    by.keep(Some(record)).await?;
    if order.state().status == OrderStatus::Ready {
        let sent = order.finalize_csr(&request.der).await;
        sent.map_err(|error| by.client.trouble(error))?;
    }
    match order.poll_certificate(&POLL).await {
        Ok(chain_pem) => Ok(Answer { request: request.id, chain_pem }),
        Err(error) => Err(by.why_not(&mut order, Some(error)).await),
    }
}

impl Order<'_> {
    /// The order of an earlier try, if it is for the same names and can still lead somewhere.
    async fn resume(&self, names: &[String]) -> Result<Option<instant_acme::Order>, Trouble> {
        let Some(record) = self.engine.keys().acme_order() else { return Ok(None) };
        let is_ours = record.directory == self.settings.directory && record.names == names;
        if is_ours {
            match self.account.order(record.url).await {
                Ok(mut order) => {
                    let has_key = record.request.is_some_and(|id| {
                        self.engine.keys().requests().iter().any(|request| request.id == id)
                    });
                    match order.state().status {
                        OrderStatus::Pending | OrderStatus::Ready => return Ok(Some(order)),
                        OrderStatus::Processing | OrderStatus::Valid if has_key => {
                            return Ok(Some(order));
                        }
                        OrderStatus::Processing | OrderStatus::Valid | OrderStatus::Invalid => {}
                    }
                }
                // Gone, or of an account that is gone: begin anew.
                Err(Error::Api(_)) => {}
                Err(error) => return Err(self.client.trouble(error)),
            }
        }
        self.keep(None).await?;
        Ok(None)
    }

    /// A new order. It says which certificate it replaces where the authority wants to know, and
    /// does not insist on it; a forgotten account is registered again, once.
    async fn begin(&mut self, names: &[String]) -> Result<instant_acme::Order, Trouble> {
        let identifiers: Vec<Identifier> = names.iter().map(|name| identifier(name)).collect();
        let replaced = match self.engine.keys().certificate_source() {
            CertificateSource::Acme => self.engine.keys().certificate_id(),
            _ => None,
        };
        let replaces = replaced.as_ref().map(|id| {
            let (key, serial) = (Der::from_slice(&id.authority_key), Der::from_slice(&id.serial));
            CertificateIdentifier::new(key, serial).into_owned()
        });
        let plain = NewOrder::new(&identifiers);
        if let Some(replaces) = replaces {
            let order = NewOrder::new(&identifiers).replaces(replaces);
            match self.account.new_order(&order).await {
                Ok(order) => return Ok(order),
                Err(error) => {
                    // Its word on `replaces` does not matter: what remains is told by the next.
                    let trouble = self.client.trouble(error);
                    tracing::debug!(code = trouble.code, "an order without `replaces` is tried");
                }
            }
        }
        let trouble = match self.account.new_order(&plain).await {
            Ok(order) => return Ok(order),
            Err(error) => self.client.trouble(error),
        };
        if !trouble.is("accountDoesNotExist") {
            return Err(trouble);
        }
        self.account = account::reopen(self.client, self.settings, self.engine, self.pool).await?;
        self.account.new_order(&plain).await.map_err(|error| self.client.trouble(error))
    }

    /// Serves the proofs and tells the authority. They are served as long as the result lives, or
    /// until they are withdrawn from the HTTPS listener.
    async fn prove(&self, order: &mut instant_acme::Order) -> Result<Option<HttpProofs>, Trouble> {
        let http = match self.settings.challenge {
            ChallengeKind::Http01 => Some(HttpProofs::open(self.settings.http_listen).await?),
            ChallengeKind::TlsAlpn01 => None,
        };
        let mut shown: Vec<(String, [u8; 32])> = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(|error| self.client.trouble(error))?;
            if authorization.status != AuthorizationStatus::Pending {
                continue;
            }
            let name = match authorization.identifier().identifier {
                Identifier::Dns(name) => name.clone(),
                Identifier::Ip(address) => address.to_string(),
                _ => return Err(no_way("a name of a kind that is not known")),
            };
            let kind = match http {
                Some(_) => ChallengeType::Http01,
                None => ChallengeType::TlsAlpn01,
            };
            let Some(mut challenge) = authorization.challenge(kind) else {
                return Err(no_way("the authority does not offer this kind of proof"));
            };
            let answer = challenge.key_authorization();
            match &http {
                Some(http) => http.show(&challenge.token, answer.as_str()),
                None => {
                    let digest = answer.digest();
                    let digest = <[u8; 32]>::try_from(digest.as_ref());
                    shown.push((name, digest.expect("SHA-256 has 32 bytes")));
                    let (engine, shown) = (Arc::clone(self.engine), shown.clone());
                    let served =
                        self.pool.run(move || engine.keys().answer_challenges(&shown)).await;
                    served.map_err(|error| Trouble::keys(&error))?;
                }
            }
            challenge.set_ready().await.map_err(|error| self.client.trouble(error))?;
        }
        Ok(http)
    }

    /// Why an order came to nothing: what the authority found when it looked for a proof says more
    /// than the order itself.
    async fn why_not(&self, order: &mut instant_acme::Order, error: Option<Error>) -> Trouble {
        let told = error.map(|error| self.client.trouble(error));
        if order.state().status != OrderStatus::Invalid {
            return told.unwrap_or_else(Trouble::timed_out);
        }
        let mut found = None;
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            if authorization.refresh().await.is_err() {
                break;
            }
            let problem = authorization.challenges.iter().find_map(|one| one.error.as_ref());
            if let Some(problem) = problem {
                found = Some(Trouble::problem(problem));
                break;
            }
        }
        // An order that failed stays so: the next try begins another one.
        if let Err(trouble) = self.keep(None).await {
            return trouble;
        }
        found.or(told).unwrap_or_else(|| no_way("the order became invalid"))
    }

    async fn request(&self, names: &[String]) -> Result<keymanager::CertificateRequest, Trouble> {
        let (engine, names) = (Arc::clone(self.engine), names.to_vec());
        let now_ms = self.clock.now().as_millis();
        let make = move || engine.keys().request_certificate(&names, RequestPurpose::Acme, now_ms);
        self.pool.run(make).await.map_err(|error| Trouble::keys(&error))
    }

    async fn keep(&self, record: Option<AcmeOrder>) -> Result<(), Trouble> {
        let engine = Arc::clone(self.engine);
        let kept = self.pool.run(move || engine.keys().store_acme_order(record)).await;
        kept.map_err(|error| Trouble::keys(&error))
    }
}

fn identifier(name: &str) -> Identifier {
    match name.parse() {
        Ok(address) => Identifier::Ip(address),
        Err(_) => Identifier::Dns(name.to_owned()),
    }
}

fn no_way(why: &str) -> Trouble {
    let hint = "choose another certificate.acme.challenge, or see what the authority offers";
    Trouble::new("acme-no-way", FailureClass::Passing, why, hint)
}

/// How long the authority may take for its looks and for the issuing.
const POLL: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.5)
    .timeout(Duration::from_secs(60));
