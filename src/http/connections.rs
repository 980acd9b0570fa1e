//! The open connections whose clients showed a certificate, so that one can be ended when its
//! certificate is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keymanager::ClientCertificate;
use tokio::sync::Notify;

use crate::clock::Clock;

/// Who is connected with a certificate. Shared by the listener and by those who revoke.
#[derive(Debug)]
pub struct Connections {
    clock: Clock,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    last: u64,
    guests: HashMap<u64, (Arc<ClientCertificate>, Arc<Notify>)>,
}

/// One connection in the list; dropped, it is out of it.
#[derive(Debug)]
pub(super) struct Guest {
    connections: Arc<Connections>,
    number: u64,
    ended: Arc<Notify>,
    certificate: Arc<ClientCertificate>,
}

impl Connections {
    /// An empty list.
    pub fn new(clock: Clock) -> Self {
        Self { clock, open: Mutex::default() }
    }

    /// Takes a connection into the list.
    pub(super) fn enter(self: &Arc<Self>, certificate: ClientCertificate) -> Guest {
        let (certificate, ended) = (Arc::new(certificate), Arc::new(Notify::new()));
        let mut open = self.open();
        open.last += 1;
        let number = open.last;
        open.guests.insert(number, (Arc::clone(&certificate), Arc::clone(&ended)));
        drop(open);
        Guest { connections: Arc::clone(self), number, ended, certificate }
    }

    /// Ends every connection whose certificate does not pass `is_good`, in the middle of whatever
    /// it does. Tells how many.
    pub fn end_unless(&self, is_good: impl Fn(&ClientCertificate) -> bool) -> usize {
        let open = self.open();
        let bad = open.guests.values().filter(|(certificate, _)| !is_good(certificate));
        bad.map(|(_, ended)| ended.notify_one()).count()
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.open().guests.len()
    }

    /// True if none is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        // Each change is one insertion or removal, so a panic elsewhere left nothing half-done.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guest {
    /// What the client showed.
    pub(super) fn certificate(&self) -> &Arc<ClientCertificate> {
        &self.certificate
    }

    /// How long the certificate is still valid.
    pub(super) fn remaining(&self) -> Duration {
        let now_ms = self.connections.clock.now().as_millis();
        let left_ms = self.certificate.not_after_ms.saturating_sub(now_ms);
        Duration::from_millis(u64::try_from(left_ms).unwrap_or(0))
    }

    /// Returns when the connection is to be cut.
    pub(super) async fn ended(&self) {
        self.ended.notified().await;
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.connections.open().guests.remove(&self.number);
    }
}
