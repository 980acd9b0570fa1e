//! How fast this machine seals: a CPU without its fast path is ten times slower and says nothing.

use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, RandomizedNonceKey};

use crate::secret::Secret;

/// Bytes per second of the bulk cipher on one core, measured for about 10 ms. `elapsed` tells the
/// time since any fixed moment. `None` if that time stands still.
pub fn cipher_speed(elapsed: impl Fn() -> Duration) -> Option<u64> {
    let key = RandomizedNonceKey::new(&AES_256_GCM, Secret::generate().expose_bytes())
        .expect("32 bytes are an AES-256 key");
    let mut chunk = vec![0; CHUNK_BYTES];
    let begin = elapsed();
    for done in 1..=CHUNKS_MAX {
        let sealed = key.seal_in_place_separate_tag(Aad::empty(), &mut chunk);
        let _ = sealed.expect("a chunk is far below the GCM limit");
        let taken = elapsed().saturating_sub(begin);
        if taken >= ENOUGH {
            let bytes = u128::from(done) * CHUNK_BYTES as u128;
            return u64::try_from(bytes * 1_000_000_000 / taken.as_nanos()).ok();
        }
    }
    None
}

const CHUNK_BYTES: usize = 64 << 10;
const CHUNKS_MAX: u32 = 20_000;
const ENOUGH: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn speed_is_work_by_time() {
        let ticks = Cell::new(0);
        let elapsed = || {
            ticks.set(ticks.get() + 1);
            Duration::from_millis(1) * ticks.get()
        };
        assert_eq!(cipher_speed(elapsed), Some(CHUNK_BYTES as u64 * 1_000));
        assert_eq!(cipher_speed(|| Duration::ZERO), None);
    }
}
