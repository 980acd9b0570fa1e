//! A certificate for people: as text for a terminal, and as a page to print.
//!
//! The page needs nothing but itself: no script, nothing from elsewhere. What was signed stands at
//! its end to the byte, so whoever has the paper can check it.

use std::fmt::Write;

use super::fields::{fields, kind_of};
use super::{CertifiedFile, ErasureCertificate, Finality, hexadecimal, with_finality};

/// The certificate as text for a terminal. Of `finalities` those count that are of it.
pub fn plain(certificate: &ErasureCertificate, finalities: &[Finality]) -> String {
    let facts = certificate.facts();
    let finality = finalities.iter().find(|one| one.is_of(certificate));
    let mut out = format!("Certificate of erasure {}\n\n", facts.number);
    let says = certificate.says().iter().chain(finality.into_iter().flat_map(Finality::says));
    for sentence in says {
        out.push_str(&wrapped(sentence));
    }
    out.push('\n');
    let rows = fields(facts);
    let width = rows.iter().map(|row| row.label.len()).max().unwrap_or(0);
    for row in &rows {
        put(&mut out, format_args!("{:width$}  {}\n", row.label, row.value));
        put(&mut out, format_args!("{:width$}  ({})\n", "", row.meaning));
    }
    for (number, file) in (1..).zip(&facts.files) {
        let label = format!("file {number}");
        put(&mut out, format_args!("{label:width$}  {}\n", file_line(file)));
    }
    let signer = hexadecimal(&certificate.key_id());
    put(&mut out, format_args!("{:width$}  {signer}\n", "signing key"));
    put(&mut out, format_args!("{:width$}  {}\n", "final", final_word(finality)));
    out
}

/// The certificate as a page to print. Of `finalities` those count that are of it.
pub fn html(certificate: &ErasureCertificate, finalities: &[Finality]) -> String {
    let facts = certificate.facts();
    let finality = finalities.iter().find(|one| one.is_of(certificate));
    let mut out = String::from(HEAD);
    put(
        &mut out,
        format_args!(
            "<title>Certificate of erasure {number}</title>\n<style>{STYLE}</style>\n</head>\n\
             <body>\n<main>\n<h1>Certificate of erasure {number}</h1>\n\
             <p>Recording {}, issued {}</p>\n<h2>What can be said</h2>\n<ul>\n",
            facts.recording,
            facts.issued_at,
            number = facts.number,
        ),
    );
    for sentence in certificate.says() {
        put(&mut out, format_args!("<li>{}</li>\n", escaped(sentence)));
    }
    out.push_str("</ul>\n<h2>Finality</h2>\n");
    put(&mut out, format_args!("<p>{}</p>\n", escaped(&final_word(finality))));
    if let Some(finality) = finality {
        out.push_str("<ul>\n");
        for sentence in finality.says() {
            put(&mut out, format_args!("<li>{}</li>\n", escaped(sentence)));
        }
        out.push_str("</ul>\n");
    }
    put_fields(&mut out, certificate);
    put_files(&mut out, &facts.files);
    let text = with_finality(&certificate.to_text(), finality.map(Finality::to_text).as_deref());
    put(
        &mut out,
        format_args!(
            "<h2>What was signed</h2>\n<p>Signed with key {}. This page is only as true as the \
             text below: save that text, and check it with the public keys of the host and \
             <code>recseal certificate verify FILE --public-key FILE</code>.</p>\n\
             <pre>{}</pre>\n</main>\n</body>\n</html>\n",
            hexadecimal(&certificate.key_id()),
            escaped(&text),
        ),
    );
    out
}

fn put_fields(out: &mut String, certificate: &ErasureCertificate) {
    out.push_str(
        "<h2>Line by line</h2>\n<table>\n<thead><tr><th scope=\"col\">Line</th>\
         <th scope=\"col\">Value</th><th scope=\"col\">Meaning</th></tr></thead>\n<tbody>\n",
    );
    for row in fields(certificate.facts()) {
        put(
            out,
            format_args!(
                "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td></tr>\n",
                escaped(row.label),
                escaped(&row.value),
                escaped(row.meaning),
            ),
        );
    }
    out.push_str("</tbody>\n</table>\n");
}

fn put_files(out: &mut String, files: &[CertifiedFile]) {
    out.push_str("<h2>Files</h2>\n");
    if files.is_empty() {
        out.push_str("<p>None was known.</p>\n");
        return;
    }
    out.push_str("<table>\n<thead><tr>");
    for column in FILE_COLUMNS {
        put(out, format_args!("<th scope=\"col\">{column}</th>"));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for (number, file) in (1_u64..).zip(files) {
        let mut cells = vec![number.to_string(), kind_of(file).to_owned(), file.bytes.to_string()];
        match &file.evidence {
            None => cells.push(NOT_FOUND.to_owned()),
            Some(evidence) => {
                let destruction = &evidence.destruction;
                cells.extend([
                    destruction.overwrite.as_str().to_owned(),
                    destruction.overwritten_bytes.to_string(),
                    evidence.journal.as_str().to_owned(),
                    destruction.file_system.clone(),
                    destruction.media.clone(),
                    evidence.at.to_string(),
                ]);
            }
        }
        cells.resize(FILE_COLUMNS.len(), "-".to_owned());
        let cells: String =
            cells.iter().map(|cell| format!("<td>{}</td>", escaped(cell))).collect();
        put(out, format_args!("<tr>{cells}</tr>\n"));
    }
    out.push_str("</tbody>\n</table>\n");
}

fn file_line(file: &CertifiedFile) -> String {
    let what = format!("{}, {} bytes: ", kind_of(file), file.bytes);
    let end = match &file.evidence {
        None => NOT_FOUND.to_owned(),
        Some(evidence) => format!(
            "{}, {} bytes overwritten, journal {}, {} on {}",
            evidence.destruction.overwrite.as_str(),
            evidence.destruction.overwritten_bytes,
            evidence.journal.as_str(),
            evidence.destruction.file_system,
            evidence.destruction.media,
        ),
    };
    what + &end
}

/// Whether it is final, in words.
fn final_word(finality: Option<&Finality>) -> String {
    match finality {
        Some(finality) => format!("Final since {}.", finality.final_at()),
        None => "No statement of finality is with this certificate.".to_owned(),
    }
}

/// A paragraph of lines that fit a terminal.
fn wrapped(sentence: &str) -> String {
    let (mut out, mut column) = (String::from("-"), 1);
    for word in sentence.split_whitespace() {
        let width = word.chars().count() + 1;
        if column + width > COLUMNS {
            out.push_str("\n ");
            column = 1;
        }
        out.push(' ');
        out.push_str(word);
        column += width;
    }
    out.push('\n');
    out
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

fn put(out: &mut String, what: std::fmt::Arguments<'_>) {
    out.write_fmt(what).expect("a string takes everything");
}

const COLUMNS: usize = 96;
const NOT_FOUND: &str = "not found";
const FILE_COLUMNS: [&str; 9] = [
    "File",
    "Kind",
    "Bytes",
    "Overwrite",
    "Bytes overwritten",
    "Journal",
    "File system",
    "Medium",
    "Overwritten at",
];
const HEAD: &str = "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
    <meta http-equiv=\"Content-Security-Policy\" \
    content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
    <meta name=\"referrer\" content=\"no-referrer\">\n";
const STYLE: &str = "\n@page { size: A4; margin: 18mm }\n\
    body { font: 11pt/1.45 Georgia, serif; color: #111; background: #fff; margin: 0 }\n\
    main { max-width: 46rem; margin: 2rem auto; padding: 0 1rem }\n\
    h1 { font-size: 1.5rem; border-bottom: 2px solid #111 }\n\
    h2 { font-size: 1.1rem; margin-top: 1.6rem; break-after: avoid }\n\
    table { border-collapse: collapse; width: 100%; font-size: 8.5pt }\n\
    th, td { border: 1px solid #767676; padding: 2px 5px; text-align: left; vertical-align: top; \
    overflow-wrap: anywhere }\n\
    tr { break-inside: avoid }\n\
    pre { font: 7.5pt/1.35 monospace; white-space: pre-wrap; overflow-wrap: anywhere; \
    border: 1px solid #767676; padding: 6px }\n\
    @media print { main { max-width: none; margin: 0; padding: 0 } }\n";
