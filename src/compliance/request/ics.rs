//! Deadlines as a calendar file (RFC 5545), for the calendar of the office.
//!
//! One all-day event for each thing that is due, named by law, right and id of the request; nothing
//! about the person. An event keeps its UID, so a calendar that reads the file again moves it.

use crate::clock::Timestamp;

use super::clock::{Deadline, WorkingDays};
use super::{Law, Request, Right};

/// The calendar of all that is due of `requests`, as it stands at `now`. Lines end in CRLF.
pub fn calendar(requests: &[Request], days: &WorkingDays, now: Timestamp) -> String {
    let mut text = Lines::default();
    text.line("BEGIN", "VCALENDAR");
    text.line("VERSION", "2.0");
    text.line("PRODID", "-//recseal//requests//EN");
    text.line("CALSCALE", "GREGORIAN");
    text.line("METHOD", "PUBLISH");
    for request in requests {
        for deadline in request.deadlines(days) {
            event(&mut text, request, deadline, now);
        }
    }
    text.line("END", "VCALENDAR");
    text.0
}

fn event(text: &mut Lines, request: &Request, deadline: Deadline, now: Timestamp) {
    let law = match request.law {
        Law::Ccpa => "CCPA",
        Law::Gdpr => "GDPR",
    };
    let right = match request.right {
        Right::Access => "access request",
        Right::Correct => "request to correct",
        Right::Delete => "request to delete",
        Right::Portability => "portability request",
        Right::OptOut => "opt-out",
    };
    let (kind, due) = (deadline.kind, deadline.due);
    let day = |day: jiff::civil::Date| day.strftime("%Y%m%d").to_string();
    text.line("BEGIN", "VEVENT");
    text.line("UID", &format!("{}-{}@recseal", request.id, kind.as_str()));
    text.line("DTSTAMP", &stamp(now));
    text.line("DTSTART;VALUE=DATE", &day(due));
    text.line("DTEND;VALUE=DATE", &day(due.tomorrow().unwrap_or(due)));
    text.text("SUMMARY", &format!("{} {law} {right} {}", kind.label(), request.id));
    let extended = if request.extended_on.is_some() { "; extended" } else { "" };
    text.text(
        "DESCRIPTION",
        &format!(
            "Last day, {due}.\nReceived {}{extended}, state {}.",
            request.received_on, request.state
        ),
    );
    text.line("CATEGORIES", law);
    text.line("TRANSP", "TRANSPARENT");
    text.line("END", "VEVENT");
}

fn stamp(now: Timestamp) -> String {
    let moment = jiff::Timestamp::from_millisecond(now.as_millis()).unwrap_or_default();
    moment.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// Content lines, folded.
#[derive(Default)]
struct Lines(String);

impl Lines {
    /// A value of TEXT type: escaped.
    fn text(&mut self, name: &str, value: &str) {
        let mut escaped = String::with_capacity(value.len());
        for c in value.chars() {
            match c {
                '\\' | ';' | ',' => escaped.extend(['\\', c]),
                '\n' => escaped.push_str("\\n"),
                '\r' => {}
                c => escaped.push(c),
            }
        }
        self.line(name, &escaped);
    }

    /// A value as it is. No line has more than 75 bytes, and no character is cut in two.
    fn line(&mut self, name: &str, value: &str) {
        let mut left = LINE_BYTES_MAX;
        for c in name.chars().chain([':']).chain(value.chars()) {
            if c.len_utf8() > left {
                self.0.push_str("\r\n ");
                left = LINE_BYTES_MAX - 1;
            }
            self.0.push(c);
            left -= c.len_utf8();
        }
        self.0.push_str("\r\n");
    }
}

const LINE_BYTES_MAX: usize = 75;

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::compliance::person::PersonHandle;
    use crate::compliance::request::{Manner, RequestOutcome};
    use crate::domain::RequestId;

    /// Planted faults: folded at 76 bytes; characters counted for bytes; commas as they are; LF
    /// alone.
    #[test]
    fn lines_are_folded_and_escaped() {
        let mut lines = Lines::default();
        lines.text("SUMMARY", "a\\b;c,d\ne\r");
        assert_eq!(lines.0, "SUMMARY:a\\\\b\\;c\\,d\\ne\r\n");
        for filler in 60..80 {
            let mut lines = Lines::default();
            let value = format!("{}{}", "x".repeat(filler), "\u{e9}\u{65e5}\u{1f4c5}".repeat(40));
            lines.text("DESCRIPTION", &value);
            assert!(lines.0.split("\r\n").all(|line| line.len() <= 75), "{filler}");
            assert_eq!(lines.0.replace("\r\n ", ""), format!("DESCRIPTION:{value}\r\n"));
            assert!(!lines.0.replace("\r\n", "").contains(['\r', '\n']));
        }
    }

    /// Planted faults: closed requests listed; the day after as the last.
    #[test]
    fn a_calendar_of_what_is_due_and_of_nobody() {
        let days = WorkingDays::default();
        let id: RequestId = "0190163d-8694-739b-aea5-966c26f8ad91".parse().unwrap();
        let person = vec![PersonHandle([0xab; 32])];
        let what = (Law::Gdpr, Right::Delete, Manner::Phone);
        let open = Request::received(id, what, date(2026, 9, 3), person);
        let mut closed = Request { id: RequestId::new(), ..open.clone() };
        closed.close(date(2026, 9, 4), RequestOutcome::Withdrawn).unwrap();
        let text = calendar(&[open, closed], &days, Timestamp::from_millis(0));
        let expected = "BEGIN:VCALENDAR\r\n\
            VERSION:2.0\r\n\
            PRODID:-//recseal//requests//EN\r\n\
            CALSCALE:GREGORIAN\r\n\
            METHOD:PUBLISH\r\n\
            BEGIN:VEVENT\r\n\
            UID:0190163d-8694-739b-aea5-966c26f8ad91-answer@recseal\r\n\
            DTSTAMP:19700101T000000Z\r\n\
            DTSTART;VALUE=DATE:20261005\r\n\
            DTEND;VALUE=DATE:20261006\r\n\
            SUMMARY:Answer GDPR request to delete 0190163d-8694-739b-aea5-966c26f8ad91\r\n\
            DESCRIPTION:Last day\\, 2026-10-05.\\nReceived 2026-09-03\\, state received.\r\n\
            CATEGORIES:GDPR\r\n\
            TRANSP:TRANSPARENT\r\n\
            END:VEVENT\r\n\
            END:VCALENDAR\r\n";
        assert_eq!(text.replace("\r\n ", ""), expected);
    }
}
