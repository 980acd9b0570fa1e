//! Server-sent events, cut out of a stream of bytes.

use super::super::failure::{Failure, exit};

/// One event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    /// To be sent back to go on from here.
    pub(super) id: String,
    /// What it is.
    pub(super) name: String,
    /// Its document.
    pub(super) data: String,
}

/// Takes bytes however they are cut, and gives whole events.
#[derive(Default)]
pub(super) struct Cutter(Vec<u8>);

impl Cutter {
    /// The events that are whole now. Comments are left out.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Vec<Event>, Failure> {
        self.0.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(end) = self.0.windows(2).position(|pair| pair == b"\n\n") {
            let block: Vec<u8> = self.0.drain(..end + 2).collect();
            let mut event = Event::default();
            for line in String::from_utf8_lossy(&block).lines() {
                match line.split_once(": ") {
                    Some(("id", text)) => event.id = text.to_owned(),
                    Some(("event", text)) => event.name = text.to_owned(),
                    Some(("data", text)) => event.data.push_str(text),
                    Some(_) | None => {}
                }
            }
            if !event.name.is_empty() {
                events.push(event);
            }
        }
        if self.0.len() > EVENT_BYTES_MAX {
            let hint = "is the daemon of another version? compare `recseal --version`";
            return Err(Failure::new(exit::FAILED, "an event has no end", hint));
        }
        Ok(events)
    }
}

/// Far longer than any event.
const EVENT_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// Planted fault: a heartbeat taken for an event.
    #[test]
    fn events_are_taken_however_they_are_cut() {
        let text = "id: a-1\nevent: job\ndata: {\"x\":1}\n\n: still here\n\nid: a-2\nevent: queue\n\
                    data: {}\n\n";
        let event = |id: &str, name: &str, data: &str| Event {
            id: id.to_owned(),
            name: name.to_owned(),
            data: data.to_owned(),
        };
        let wanted = [event("a-1", "job", "{\"x\":1}"), event("a-2", "queue", "{}")];
        for size in 1..=text.len() {
            let mut cutter = Cutter::default();
            let mut found = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                found.extend(cutter.take(piece).unwrap());
            }
            assert_eq!(found, wanted, "{size}");
        }
        assert!(Cutter::default().take(&vec![b'x'; EVENT_BYTES_MAX + 1]).is_err());
    }
}
