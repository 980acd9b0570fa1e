//! What is to be redacted: stretches of time, channels, and what stands there instead. Pure.

use super::RedactError;

/// From one moment up to another, which is not part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stretch {
    /// First millisecond.
    pub from_ms: u64,
    /// The millisecond behind the last.
    pub to_ms: u64,
}

/// What stands in the place of sound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fill {
    /// Silence.
    #[default]
    Mute,
    /// A tone of 1 kHz at -12 dBFS, so that a listener hears that something is missing.
    Beep,
}

/// What of a recording is redacted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Parts {
    /// Sound, and picture where there is one.
    #[default]
    All,
    /// Only sound.
    Sound,
    /// Only picture.
    Picture,
}

/// One redaction, checked as far as that is possible without the recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redaction {
    stretches: Vec<Stretch>,
    channels: Vec<u16>,
    fill: Fill,
    parts: Parts,
}

impl Redaction {
    /// Sorts and merges `stretches`. `channels` count from 1; none means all of them.
    ///
    /// # Errors
    ///
    /// [`RedactError::NoStretch`], [`RedactError::EmptyStretch`],
    /// [`RedactError::TooManyStretches`] beyond [`STRETCHES_MAX`], and
    /// [`RedactError::NoSuchChannel`] for channel 0.
    pub fn new(
        mut stretches: Vec<Stretch>,
        mut channels: Vec<u16>,
        fill: Fill,
        parts: Parts,
    ) -> Result<Self, RedactError> {
        if stretches.is_empty() {
            return Err(RedactError::NoStretch);
        }
        if stretches.len() > STRETCHES_MAX {
            return Err(RedactError::TooManyStretches { max: STRETCHES_MAX });
        }
        for Stretch { from_ms, to_ms } in &stretches {
            if from_ms >= to_ms {
                return Err(RedactError::EmptyStretch { from_ms: *from_ms, to_ms: *to_ms });
            }
        }
        if channels.contains(&0) {
            return Err(RedactError::NoSuchChannel { channel: 0, channels: 0 });
        }
        stretches.sort_unstable();
        channels.sort_unstable();
        channels.dedup();
        Ok(Self { stretches: merged(&stretches), channels, fill, parts })
    }

    /// The same, ending where a recording of `duration_ms` ends.
    ///
    /// # Errors
    ///
    /// [`RedactError::BeyondEnd`] for a stretch of which nothing would be left.
    pub fn clipped_to(&self, duration_ms: u64) -> Result<Self, RedactError> {
        let clip = |stretch: &Stretch| {
            let from_ms = stretch.from_ms;
            match from_ms < duration_ms {
                true => Ok(Stretch { from_ms, to_ms: stretch.to_ms.min(duration_ms) }),
                false => Err(RedactError::BeyondEnd { from_ms, duration_ms }),
            }
        };
        let stretches = self.stretches.iter().map(clip).collect::<Result<_, _>>()?;
        Ok(Self { stretches, ..self.clone() })
    }

    /// The same for a recording with `channels`.
    ///
    /// # Errors
    ///
    /// [`RedactError::NoSuchChannel`].
    pub fn within_channels(&self, channels: u16) -> Result<(), RedactError> {
        match self.channels.iter().find(|channel| **channel > channels) {
            Some(channel) => Err(RedactError::NoSuchChannel { channel: *channel, channels }),
            None => Ok(()),
        }
    }

    /// In order, apart from each other.
    pub fn stretches(&self) -> &[Stretch] {
        &self.stretches
    }

    /// The chosen channels, from 1; empty means all.
    pub fn channels(&self) -> &[u16] {
        &self.channels
    }

    /// What stands there instead.
    pub fn fill(&self) -> Fill {
        self.fill
    }

    /// What is redacted.
    pub fn parts(&self) -> Parts {
        self.parts
    }

    /// True if this channel, counted from 0, is redacted.
    pub(super) fn takes_channel(&self, channel: u16) -> bool {
        self.channels.is_empty() || self.channels.contains(&(channel + 1))
    }

    /// The sum of all stretches.
    pub fn total_ms(&self) -> u64 {
        self.stretches.iter().map(|stretch| stretch.to_ms - stretch.from_ms).sum()
    }

    /// The stretches with `guard_ms` more on either side.
    pub(super) fn guarded(&self, guard_ms: u64) -> Vec<Stretch> {
        let widened: Vec<Stretch> = self
            .stretches
            .iter()
            .map(|stretch| Stretch {
                from_ms: stretch.from_ms.saturating_sub(guard_ms),
                to_ms: stretch.to_ms.saturating_add(guard_ms),
            })
            .collect();
        merged(&widened)
    }
}

/// Sorted stretches without overlap and without two that touch.
fn merged(sorted: &[Stretch]) -> Vec<Stretch> {
    let mut merged: Vec<Stretch> = Vec::with_capacity(sorted.len());
    for stretch in sorted {
        match merged.last_mut() {
            Some(last) if stretch.from_ms <= last.to_ms => {
                last.to_ms = last.to_ms.max(stretch.to_ms)
            }
            Some(_) | None => merged.push(*stretch),
        }
    }
    merged
}

/// More than anybody names by hand.
pub const STRETCHES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(from_ms: u64, to_ms: u64) -> Stretch {
        Stretch { from_ms, to_ms }
    }

    fn redaction(stretches: &[(u64, u64)]) -> Result<Redaction, RedactError> {
        let stretches = stretches.iter().map(|(from, to)| stretch(*from, *to)).collect();
        Redaction::new(stretches, vec![], Fill::Mute, Parts::All)
    }

    #[test]
    fn stretches_are_sorted_merged_and_clipped() {
        let made = redaction(&[(500, 900), (100, 200), (150, 300), (300, 310)]).unwrap();
        assert_eq!(made.stretches(), [stretch(100, 310), stretch(500, 900)]);
        assert_eq!(made.total_ms(), 610);
        assert_eq!(
            made.guarded(100),
            [stretch(0, 410), stretch(400, 1_000)].map(|_| stretch(0, 1_000))[..1]
        );
        assert_eq!(
            made.clipped_to(700).unwrap().stretches(),
            [stretch(100, 310), stretch(500, 700)]
        );
    }

    /// Planted fault: `>` for `>=`, an empty stretch then redacts nothing and says it did.
    #[test]
    fn what_redacts_nothing_is_refused() {
        assert!(matches!(redaction(&[]), Err(RedactError::NoStretch)));
        for (from, to) in [(5, 5), (6, 5)] {
            assert!(matches!(redaction(&[(from, to)]), Err(RedactError::EmptyStretch { .. })));
        }
        let made = redaction(&[(0, 10), (500, 600)]).unwrap();
        assert!(matches!(
            made.clipped_to(500),
            Err(RedactError::BeyondEnd { from_ms: 500, duration_ms: 500 })
        ));
        let many = vec![(1, 2); STRETCHES_MAX + 1];
        assert!(matches!(redaction(&many), Err(RedactError::TooManyStretches { .. })));
    }

    #[test]
    fn channels_count_from_one() {
        let of = |channels: Vec<u16>| {
            Redaction::new(vec![stretch(0, 1)], channels, Fill::Mute, Parts::All)
        };
        assert!(of(vec![0]).is_err());
        let second = of(vec![2, 2]).unwrap();
        assert!(second.takes_channel(1) && !second.takes_channel(0));
        assert!(second.within_channels(1).is_err() && second.within_channels(2).is_ok());
        assert!(of(vec![]).unwrap().takes_channel(7));
    }
}
