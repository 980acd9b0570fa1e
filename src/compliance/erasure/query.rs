//! x
use crate::clock::Timestamp;
use crate::domain::lifecycle::RecordingState;
use crate::domain::*;
#[derive(Debug)]
pub struct E;
impl std::fmt::Display for E {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Ok(())
    }
}
pub struct PersonValue;
impl PersonValue {
    pub fn parse(_: &str) -> Result<Self, E> {
        Err(E)
    }
    pub fn matches(&self, _: &str) -> bool {
        false
    }
}
pub struct Query;
impl Query {
    pub fn parse(_: &str) -> Result<Self, E> {
        Err(E)
    }
    pub fn matches(&self, _: &QueryFacts) -> bool {
        false
    }
}
pub struct QueryFacts<'a> {
    pub store_id: StoreId,
    pub store_path: &'a str,
    pub name: &'a str,
    pub from: Option<&'a str>,
    pub to: Option<&'a str>,
    pub call: Option<&'a str>,
    pub recorded_at: Timestamp,
    pub media: Option<&'a MediaInfo>,
    pub size_bytes: u64,
    pub state: RecordingState,
    pub quarantine: Option<&'a str>,
}
