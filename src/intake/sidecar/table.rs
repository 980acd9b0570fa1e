//! Comma-separated values, read strictly: UTF-8, quotes closed, not too many of anything.

use csv::{ReaderBuilder, StringRecord};

use super::fault::{FaultKind, Page, SidecarFault};
use super::json::TEXT_BYTES_MAX;

/// One row, and where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) fields: Vec<String>,
    pub(super) at: usize,
}

/// Every row of `page`, each with as many fields as it has; empty lines are none.
///
/// # Errors
///
/// `Syntax` for a quote that is not closed, `TooMany` or `TooLong`.
pub(super) fn rows(page: &Page<'_>) -> Result<Vec<Row>, SidecarFault> {
    let text = page.text();
    let mut reader =
        ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    let mut record = StringRecord::new();
    let (mut rows, mut fields) = (Vec::new(), 0);
    loop {
        let at = usize::try_from(reader.position().byte()).unwrap_or(usize::MAX);
        let blank = text.get(at..).unwrap_or_default().bytes().take_while(u8::is_ascii_whitespace);
        let at = at + blank.count();
        let fault = |kind| page.fault(kind, at);
        if !reader.read_record(&mut record).map_err(|_| fault(FaultKind::Syntax))? {
            return Ok(rows);
        }
        let end = usize::try_from(reader.position().byte()).unwrap_or(usize::MAX);
        // The parser takes the end of the file for the end of a quote. Doubled or paired, the
        // quotes of a whole row are even.
        let raw = text.as_bytes().get(at..end.min(text.len())).unwrap_or_default();
        if raw.iter().filter(|b| **b == b'"').count() % 2 == 1 {
            return Err(fault(FaultKind::Syntax));
        }
        fields += record.len();
        if record.len() > ROW_FIELDS_MAX || rows.len() == ROWS_MAX || fields > FIELDS_MAX {
            return Err(fault(FaultKind::TooMany));
        }
        if record.iter().any(|field| field.len() > TEXT_BYTES_MAX) {
            return Err(fault(FaultKind::TooLong));
        }
        rows.push(Row { fields: record.iter().map(|field| field.trim().to_owned()).collect(), at });
    }
}

const ROW_FIELDS_MAX: usize = 256;
const FIELDS_MAX: usize = 2_000_000;
const ROWS_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Row>, SidecarFault> {
        rows(&Page::new(text.as_bytes(), usize::MAX).unwrap())
    }

    #[test]
    fn quotes_commas_and_line_breaks_are_content() {
        let rows = read("\"a \"\"b\"\", c\nd\",2\r\n\n\"=1+1\",\"\"\n").unwrap();
        let fields: Vec<_> = rows.iter().map(|row| row.fields.clone()).collect();
        assert_eq!(fields, [["a \"b\", c\nd", "2"], ["=1+1", ""]]);
    }

    #[test]
    fn what_is_cut_or_endless_is_refused_with_its_line() {
        for (text, kind, line) in [
            // Planted fault: without the count of quotes, the last row swallows the rest.
            ("\"a\",1\n\"b,2\nc,3\n".to_owned(), FaultKind::Syntax, 2),
            (",".repeat(ROW_FIELDS_MAX), FaultKind::TooMany, 1),
            ("a\n".repeat(ROWS_MAX + 1), FaultKind::TooMany, ROWS_MAX as u32 + 1),
            ("a,".to_owned() + &"x".repeat(TEXT_BYTES_MAX + 1), FaultKind::TooLong, 1),
        ] {
            let fault = read(&text).unwrap_err();
            assert_eq!((fault.kind, fault.line), (kind, line), "{:.20}", text);
        }
    }
}
