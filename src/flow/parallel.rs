//! The same work on many things at once, blocking.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Maps `work` over `items` on at most `workers` threads; results keep the order of the items.
pub(crate) fn map<T, R>(workers: usize, items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R>
where
    T: Send,
    R: Send,
{
    let width = workers.clamp(1, items.len().max(1));
    if width == 1 {
        return items.into_iter().map(work).collect();
    }
    let slots: Vec<_> = items.into_iter().map(|item| Mutex::new((Some(item), None::<R>))).collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..width {
            scope.spawn(|| {
                while let Some(slot) = slots.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let item = slot.lock().expect("taken once").0.take().expect("taken once");
                    let result = work(item);
                    slot.lock().expect("taken once").1 = Some(result);
                }
            });
        }
    });
    slots
        .into_iter()
        .map(|slot| {
            slot.into_inner().expect("no worker panicked").1.expect("every index was visited")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Planted fault: results pushed as they finish come out in another order.
    #[test]
    fn order_is_kept() {
        let doubled = map(4, (0..100).collect(), |n: u32| n * 2);
        assert_eq!(doubled, (0..100).map(|n| n * 2).collect::<Vec<_>>());
        assert!(map(4, Vec::<u32>::new(), |n| n).is_empty());
    }
}
