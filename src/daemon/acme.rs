//! Certificates from an authority that speaks ACME (RFC 8555).
//!
//! ```text
//! account (kept, or registered) ─▶ order (kept) ─▶ proofs served ─▶ ready ─▶ request sent
//!                                                              chain ─▶ gate ─▶ served
//! ```
//!
//! What was reached is in the key store: the account, the order's address and the key of the
//! request. So a try that broke off anywhere goes on with the same order.

mod account;
mod client;
mod failure;
mod order;
mod proof;
mod suggestion;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time;

use crate::clock::Clock;
use crate::daemon::certificates::read_file;
use crate::daemon::pool::WorkPool;
use crate::flow::{Engine, Tended};

use client::Client;
use failure::Trouble;
use suggestion::Suggestions;

/// What the administrator said about the authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeSettings {
    /// Address of the directory, `https://…`.
    pub directory: String,
    /// Addresses of people, as `mailto:ops@example.org`.
    pub contact: Vec<String>,
    /// Binding to an account that exists elsewhere.
    pub external: Option<ExternalAccount>,
    /// Roots of the authority's own HTTPS, if this host does not know them.
    pub root_file: Option<PathBuf>,
    /// How the names are proved.
    pub challenge: ChallengeKind,
    /// Where the authority finds the proofs over plain HTTP; port 80 from its side.
    pub http_listen: SocketAddr,
}

/// An account at a commercial authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalAccount {
    /// Its public id.
    pub key_id: String,
    /// File with the secret, base64url. Read at the registration only.
    pub key_file: PathBuf,
}

/// How names are proved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChallengeKind {
    /// A file over plain HTTP, served while an order runs.
    #[default]
    Http01,
    /// A handshake with the HTTPS listener itself.
    TlsAlpn01,
}

/// The client of one authority.
pub(super) struct Acme {
    settings: AcmeSettings,
    engine: Arc<Engine>,
    pool: WorkPool,
    clock: Clock,
    suggestions: Suggestions,
}

impl Acme {
    pub(super) fn new(
        settings: AcmeSettings,
        engine: Arc<Engine>,
        pool: WorkPool,
        clock: Clock,
    ) -> Self {
        Self { settings, engine, pool, clock, suggestions: Suggestions::default() }
    }

    /// Asks the authority when it would like to renew, if it is time to ask.
    pub(super) async fn ask_when(&mut self, steady: Duration) {
        if !self.suggestions.are_due(steady) {
            return;
        }
        let asked = match self.client().await {
            Ok(client) => {
                suggestion::ask(&client, &self.settings.directory, &self.engine, &self.pool).await
            }
            Err(trouble) => Err(trouble),
        };
        self.suggestions.note(asked, steady);
    }

    /// Gets a certificate and serves it. A failure is noted; the old one serves on.
    pub(super) async fn obtain(&mut self) -> Tended {
        let obtained = time::timeout(ORDER, self.try_to_obtain()).await;
        // Whatever came of it, nobody is to find proofs any more.
        let engine = Arc::clone(&self.engine);
        let withdrawn = self.pool.run(move || engine.keys().answer_challenges(&[])).await;
        if let Err(error) = withdrawn {
            tracing::error!(%error, "proofs could not be withdrawn");
        }
        match obtained.unwrap_or_else(|_| Err(Trouble::timed_out())) {
            Ok(tended) => tended,
            Err(trouble) => {
                let (engine, now) = (Arc::clone(&self.engine), self.clock.now());
                self.pool.run(move || engine.renewal_failed(trouble.into(), now)).await
            }
        }
    }

    async fn try_to_obtain(&self) -> Result<Tended, Trouble> {
        let client = self.client().await?;
        let account = account::open(&client, &self.settings, &self.engine, &self.pool).await?;
        let answer = order::run(order::Order {
            client: &client,
            settings: &self.settings,
            engine: &self.engine,
            pool: &self.pool,
            clock: &self.clock,
            account,
        })
        .await?;
        let (engine, now) = (Arc::clone(&self.engine), self.clock.now());
        let take = move || engine.take_answer(answer.request, answer.chain_pem.as_bytes(), now);
        Ok(self.pool.run(take).await)
    }

    async fn client(&self) -> Result<Client, Trouble> {
        let root_file = self.settings.root_file.clone();
        let read = move || root_file.map(|path| read_file(&path)).transpose();
        let roots = self.pool.run(read).await.map_err(|error| Trouble::root_file(&error))?;
        Client::new(roots.as_ref().map(|pem| pem.as_slice()))
    }
}

/// Longest time for one try; then it is a failure, and the next try goes on.
const ORDER: Duration = Duration::from_secs(180);
