//! The life of a key-encryption key version, as one table.
//!
//! ```text
//! Pending ─▶ Active ─▶ Retired ⇄ Disabled ⇄ DestroyScheduled ─▶ Destroying ─▶ Destroyed
//! ```
//!
//! `Destroying` is the honest word for the time in which the live generation of the store has
//! lost the key and an older one may still hold it. There is no way back from there, and nobody
//! is told "destroyed" before the last of them is gone.

use serde::{Deserialize, Serialize};

/// Where a KEK version is in its life. Stored by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// Made, but not yet in use.
    Pending,
    /// Wraps new data keys.
    Active,
    /// Only unwraps.
    Retired,
    /// Refused, but still there.
    Disabled,
    /// Refused, and to be destroyed on a date.
    DestroyScheduled,
    /// Out of the live store; older generations that may hold it are being destroyed.
    Destroying,
    /// Gone; only its number and its tombstone are left.
    Destroyed,
}

/// What can happen to a KEK version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyEvent {
    /// Takes over from the active one.
    Activated,
    /// Another one took over.
    Superseded,
    /// A person forbade its use.
    Disabled,
    /// A person allowed its use again.
    Enabled,
    /// A date was set.
    DestructionScheduled,
    /// The date was taken back.
    DestructionCancelled,
    /// The date came and nothing needs it.
    DestructionStarted,
    /// No generation holds it any more.
    Destroyed,
}

/// A transition that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} cannot follow {}", from.as_str())]
pub struct IllegalKeyTransition {
    /// The state it was in.
    pub from: KeyState,
    /// What should have happened.
    pub event: KeyEvent,
}

impl KeyState {
    /// Every state, in the order of a life.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Active,
        Self::Retired,
        Self::Disabled,
        Self::DestroyScheduled,
        Self::Destroying,
        Self::Destroyed,
    ];

    /// The whole life cycle: a transition not listed here does not exist.
    pub fn next(self, event: KeyEvent) -> Result<Self, IllegalKeyTransition> {
        use {KeyEvent as E, KeyState as S};
        Ok(match (self, event) {
            (S::Pending, E::Activated) => S::Active,
            (S::Active, E::Superseded) => S::Retired,
            (S::Retired, E::Disabled) => S::Disabled,
            (S::Disabled, E::Enabled) => S::Retired,
            (S::Disabled, E::DestructionScheduled) => S::DestroyScheduled,
            (S::DestroyScheduled, E::DestructionCancelled) => S::Disabled,
            (S::DestroyScheduled, E::DestructionStarted) => S::Destroying,
            (S::Destroying, E::Destroyed) => S::Destroyed,
            (from, event) => return Err(IllegalKeyTransition { from, event }),
        })
    }

    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Retired => "retired",
            Self::Disabled => "disabled",
            Self::DestroyScheduled => "destroy_scheduled",
            Self::Destroying => "destroying",
            Self::Destroyed => "destroyed",
        }
    }

    /// The state of a stored name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// True if data keys may be unwrapped. A pending version has wrapped nothing, unless an older
    /// generation of the store had to be opened: then refusing it would lose recordings.
    pub fn can_unwrap(self) -> bool {
        match self {
            Self::Pending | Self::Active | Self::Retired => true,
            Self::Disabled | Self::DestroyScheduled | Self::Destroying | Self::Destroyed => false,
        }
    }

    /// True if data keys under such a version are wrapped anew under the active one. A disabled
    /// version is left alone: somebody forbade its use, and moving would allow it again. One that
    /// waits for its destruction had nothing under it when the date was set, so what is there now
    /// came late and is saved.
    pub fn is_left_behind(self) -> bool {
        match self {
            Self::Pending | Self::Retired | Self::DestroyScheduled => true,
            Self::Active | Self::Disabled | Self::Destroying | Self::Destroyed => false,
        }
    }

    /// True as long as the store has the key itself.
    pub fn has_key(self) -> bool {
        match self {
            Self::Pending
            | Self::Active
            | Self::Retired
            | Self::Disabled
            | Self::DestroyScheduled => true,
            Self::Destroying | Self::Destroyed => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: [KeyEvent; 8] = [
        KeyEvent::Activated,
        KeyEvent::Superseded,
        KeyEvent::Disabled,
        KeyEvent::Enabled,
        KeyEvent::DestructionScheduled,
        KeyEvent::DestructionCancelled,
        KeyEvent::DestructionStarted,
        KeyEvent::Destroyed,
    ];

    /// Walks all pairs. Planted faults: a way out of `Destroyed`, destruction straight from
    /// `Disabled`, a way back from `Destroying`; all fail here.
    #[test]
    fn all_pairs_keep_the_promises() {
        let mut reached = vec![KeyState::Pending];
        for from in KeyState::ALL {
            for event in EVENTS {
                let Ok(to) = from.next(event) else { continue };
                reached.push(to);
                assert_ne!(from, KeyState::Destroyed, "destroyed is final");
                if to == KeyState::Destroying {
                    assert_eq!(from, KeyState::DestroyScheduled, "destroyed without a date");
                }
                if to == KeyState::Destroyed {
                    assert_eq!(from, KeyState::Destroying, "destroyed while it is still there");
                }
                assert!(from.has_key() || !to.has_key(), "a key comes back from nowhere");
                if to == KeyState::Active {
                    assert_eq!(from, KeyState::Pending, "an old version wraps again");
                }
            }
        }
        for state in KeyState::ALL {
            assert!(reached.contains(&state), "{state:?} cannot be reached");
            assert_eq!(KeyState::from_name(state.as_str()), Some(state));
            let json = serde_json::to_value(state).unwrap();
            assert_eq!(json, state.as_str(), "two names for one state");
        }
    }
}
