//! `[[store]]` as it is written.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::intake::profile::{PROFILES, Profile};

use super::super::{ConfigError, Layout, Poll, StoreConfig};
use super::{Span, bad, check_seal_key, must_be_absolute, span_within, within};

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStore {
    path: PathBuf,
    #[serde(default = "generic")]
    profile: String,
    #[serde(default)]
    layout: Layout,
    #[serde(default = "settle")]
    settle: Span,
    #[serde(default)]
    poll: Poll,
    #[serde(default = "poll_settle")]
    poll_settle: Span,
    #[serde(default = "empty_wait")]
    empty_wait: Span,
    #[serde(default = "unfinished_wait")]
    unfinished_wait: Span,
    #[serde(default = "pair_within")]
    pair_within: Span,
    #[serde(default = "yes")]
    overwrite: bool,
    #[serde(default)]
    seal_to: Option<String>,
}

impl RawStore {
    pub(super) fn validate(self, key: &str) -> Result<StoreConfig, ConfigError> {
        must_be_absolute(&format!("{key}.path"), &self.path)?;
        if Profile::named(&self.profile).is_err() {
            let known: Vec<&str> = PROFILES.iter().map(|profile| profile.name).collect();
            return Err(bad(
                &format!("{key}.profile"),
                &format!("there is no profile {:?}", self.profile),
                &format!("choose one of {}", known.join(", ")),
            ));
        }
        for (name, span, least_secs) in [
            ("settle", self.settle, 1),
            ("poll_settle", self.poll_settle, 1),
            ("empty_wait", self.empty_wait, 1),
            ("unfinished_wait", self.unfinished_wait, 0),
            ("pair_within", self.pair_within, 0),
        ] {
            span_within(&format!("{key}.{name}"), span.0, least_secs, 30 * 24 * 3600)?;
        }
        check_seal_key(&format!("{key}.seal_to"), self.seal_to.as_deref())?;
        Ok(StoreConfig {
            path: self.path,
            profile: self.profile,
            layout: self.layout,
            settle: self.settle.0,
            poll: self.poll,
            poll_settle: self.poll_settle.0,
            empty_wait: self.empty_wait.0,
            unfinished_wait: self.unfinished_wait.0,
            pair_within: self.pair_within.0,
            overwrite: self.overwrite,
            seal_to: self.seal_to,
        })
    }
}

/// A store named on the command line: a new one with defaults, or a profile for one of the file.
pub(super) fn lay_over(
    stores: &mut Vec<StoreConfig>,
    path: PathBuf,
    profile: Option<&'static str>,
) {
    if let Some(known) = stores.iter_mut().find(|store| store.path == path) {
        if let Some(profile) = profile {
            known.profile = profile.to_owned();
        }
        return;
    }
    stores.push(StoreConfig {
        path,
        profile: profile.unwrap_or(PROFILES[0].name).to_owned(),
        layout: Layout::default(),
        settle: settle().0,
        poll: Poll::default(),
        poll_settle: poll_settle().0,
        empty_wait: empty_wait().0,
        unfinished_wait: unfinished_wait().0,
        pair_within: pair_within().0,
        overwrite: yes(),
        seal_to: None,
    });
}

/// Two stores one inside the other would fight over the same file.
pub(super) fn check_apart(stores: &[StoreConfig]) -> Result<(), ConfigError> {
    within("store", stores.len(), 0, STORES_MAX)?;
    for (index, store) in stores.iter().enumerate() {
        if let Some(other) = stores[..index].iter().position(|earlier| {
            earlier.path.starts_with(&store.path) || store.path.starts_with(&earlier.path)
        }) {
            return Err(bad(
                &format!("store[{index}].path"),
                &format!("lies in the same tree as store[{other}].path"),
                "name the outer folder once; a store takes all its subfolders",
            ));
        }
    }
    Ok(())
}

impl From<&StoreConfig> for RawStore {
    fn from(store: &StoreConfig) -> Self {
        Self {
            path: store.path.clone(),
            profile: store.profile.clone(),
            layout: store.layout,
            settle: Span(store.settle),
            poll: store.poll,
            poll_settle: Span(store.poll_settle),
            empty_wait: Span(store.empty_wait),
            unfinished_wait: Span(store.unfinished_wait),
            pair_within: Span(store.pair_within),
            overwrite: store.overwrite,
            seal_to: store.seal_to.clone(),
        }
    }
}

fn generic() -> String {
    PROFILES[0].name.to_owned()
}
fn settle() -> Span {
    Span(Duration::from_secs(10))
}
fn poll_settle() -> Span {
    Span(Duration::from_secs(60))
}
fn empty_wait() -> Span {
    Span(Duration::from_secs(24 * 3600))
}
fn unfinished_wait() -> Span {
    Span(Duration::from_secs(600))
}
fn pair_within() -> Span {
    Span(Duration::from_secs(600))
}
fn yes() -> bool {
    true
}

const STORES_MAX: usize = 256;
