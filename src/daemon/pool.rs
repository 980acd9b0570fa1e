//! The one bridge between async and blocking code.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task;

/// Runs blocking work on threads of its own, a bounded number at a time.
#[derive(Clone, Debug)]
pub struct WorkPool {
    permits: Arc<Semaphore>,
}

impl WorkPool {
    /// A pool of at most `width` (at least 1) jobs at a time.
    pub fn new(width: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(width.max(1))) }
    }

    /// Runs `work` when a place is free; a panic in it goes on here.
    ///
    /// The permit travels with the work, so dropping the returned future does not let one more
    /// job start beside those that still run.
    pub async fn run<T, F>(&self, work: F) -> T
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let permit =
            Arc::clone(&self.permits).acquire_owned().await.expect("the semaphore is never closed");
        let span = tracing::Span::current();
        #[expect(clippy::disallowed_methods, reason = "this is the bridge")]
        let joined = task::spawn_blocking(move || {
            let _permit = permit;
            span.in_scope(work)
        });
        match joined.await {
            Ok(value) => value,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Planted fault: dropping the permit before the work starts lets all eight run at once.
    #[tokio::test]
    async fn no_more_than_width_run_at_once() {
        let pool = WorkPool::new(2);
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut jobs = task::JoinSet::new();
        for _ in 0..8 {
            let (pool, running, most) = (pool.clone(), Arc::clone(&running), Arc::clone(&most));
            jobs.spawn(async move {
                pool.run(move || {
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::yield_now();
                    running.fetch_sub(1, Ordering::SeqCst);
                })
                .await;
            });
        }
        while jobs.join_next().await.is_some() {}
        assert!(most.load(Ordering::SeqCst) <= 2);
    }
}
